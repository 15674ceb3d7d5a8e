"""Which record an unlinked observation belongs to (design section 6), by exact normalised keys in the order written.

A key that hits two records is never guessed. A rule with `then: review` only proposes, and so does likeness
(`core.similar`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from syncbroker.core.mapping import MatchRule
from syncbroker.core.plan import Plan
from syncbroker.core.similar import Likeness, blocks
from syncbroker.core.types import Value

Key = str
"""`field,field...|key text|key text...` of one match rule; equal keys of one entity are a hit.

It names the fields and not the rule's place, so that keys outlive a change of other rules.
"""


class Match(msgspec.Struct, frozen=True):
    """`record`: link to it ("" with no `proposed`: make a new one). `proposed`: a person must choose among these.

    `rule` is the rule that hit, by its fields; `line` is its place in the mapping file. `scores`: how alike each of the
    proposed is, where the rule is one of likeness: record -> field -> 0..1.
    """

    record: str = ""
    proposed: tuple[str, ...] = ()
    rule: str = ""
    line: int = 0
    scores: dict[str, dict[str, float]] = {}


def key_values(plan: Plan, value_of: Callable[[str], Value]) -> dict[str, Value]:
    """The member fields that match rules look at, from `value_of(field)` (a group's value is a tuple)."""
    out: dict[str, Value] = {}
    for name, (field, place) in plan.keyed.items():
        value = value_of(field)
        if place is not None:
            value = value[place] if isinstance(value, tuple) else None
        out[name] = value
    return out


def keys(plan: Plan, values: Mapping[str, Value]) -> list[Key]:
    """One key per match rule whose fields all have values, in rule order. `values` by member field."""
    found = []
    for rule in plan.entity.match:
        if not rule.on:
            continue
        parts = [plan.spec_key(name, values.get(name)) for name in rule.on]
        if all(parts):
            found.append(key_of(rule, [str(part) for part in parts]))
    return found


def key_of(rule: MatchRule, parts: Sequence[str]) -> Key:
    """The key of a rule for these texts; with fewer than the rule has fields, how its keys begin."""
    return "|".join([",".join(rule.on), *(part.replace("\\", "\\\\").replace("|", "\\p") for part in parts)])


def index(plan: Plan, values: Mapping[str, Value]) -> list[Key]:
    """Everything under which a record with these values is found: its keys and its blocks."""
    return [*keys(plan, values), *blocks(plan, values)] if plan.likened else keys(plan, values)


def _nobody(_rule: MatchRule) -> Sequence[Likeness]:
    return ()


def match(
    plan: Plan,
    found: Sequence[Key],
    hits: Mapping[Key, Sequence[str]],
    alike: Callable[[MatchRule], Sequence[Likeness]] = _nobody,
) -> Match:
    """The first rule that hits decides. `hits`: record ids per key. `alike`: asked when it is likeness's turn."""
    by_fields = {key.split("|", 1)[0]: key for key in found}
    for rule in plan.entity.match:
        if rule.similar:
            near = alike(rule)
            if near:
                name = ", ".join(f"like {field}" for field, _ in rule.similar)
                scores = {one.record: one.scores for one in near}
                return Match(proposed=tuple(scores), rule=name, line=rule.line, scores=scores)
            continue
        records = sorted(set(hits.get(by_fields.get(",".join(rule.on), ""), ())))
        if not records:
            continue
        name = ", ".join(rule.on)
        if len(records) == 1 and rule.then == "link":
            return Match(records[0], rule=name, line=rule.line)
        return Match(proposed=tuple(records), rule=name, line=rule.line)
    return Match()
