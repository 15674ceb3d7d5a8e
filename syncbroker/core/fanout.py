"""What is owed to whom, derived from state alone (design rule 6). Deriving twice gives the same answer.

A push is owed to a link iff the mapping pushes the field there, the field is not frozen, and what the link holds is
neither the golden value, nor its recorded equivalent, nor a divergence that was let stand.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import msgspec
from msgspec.structs import replace

from syncbroker.core.mapping import FieldRule
from syncbroker.core.plan import Plan, Reader, flat
from syncbroker.core.state import NOTHING, UNSEEN, FieldState, Golden, LinkState, Record
from syncbroker.core.types import Value


class Owed(msgspec.Struct, frozen=True):
    """`updates`: link number -> field -> golden value. `creates`: system -> field -> golden value.

    `missing`: (system, field) pairs: a create waits because a required value is missing.
    """

    updates: dict[int, dict[str, Value]]
    creates: dict[str, dict[str, Value]]
    missing: tuple[tuple[str, str], ...] = ()


def in_step(state: FieldState, value: Value) -> bool:
    return not state.invalid and (state.value == value or state.equivalent == (value, state.value))


def let_stand(state: FieldState, value: Value) -> bool:
    """Whether the link may hold something else than this golden value."""
    return not state.invalid and state.ignored in ((state.value,), (state.value, value))


def owes(rule: FieldRule, golden: Golden, state: FieldState) -> bool:
    """Whether a push-able link is owed this field."""
    if golden.frozen is not None or state.blocked or in_step(state, golden.value):
        return False
    if let_stand(state, golden.value):
        return False
    if golden.value is None:
        return rule.empty == "clear" and golden.until > 0 and not rule.required
    return rule.policy != "seed" or (state.value is None and not state.invalid)


def step(record: Record) -> list[LinkState]:
    """Rule 3: when the golden value becomes what a link without an open write holds, that link's base moves with it.

    Returns the links that changed.
    """
    changed = []
    for link in record.links:
        if link.open:
            continue
        moved = {}
        for name, state in link.fields.items():
            golden = record.golden.get(name, NOTHING)
            if state.met and state.base == golden.value:
                continue
            if golden.value is None and not golden.until:
                continue  # both never had a value: nothing was met yet
            if in_step(state, golden.value):
                moved[name] = replace(state, met=True, base=golden.value)
        if moved:
            changed.append(replace(link, fields={**link.fields, **moved}))
    return changed


def owed(plan: Plan, record: Record, paused: AbstractSet[tuple[str, str, str]] = frozenset()) -> Owed:
    """Everything the systems are owed for this record. Creates that other rules forbid are the caller's to drop.

    `paused`: (system, entity, field) of what is not pushed for now.
    """
    updates: dict[int, dict[str, Value]] = {}
    for link in record.links:
        reader = plan.readers.get(link.system)
        if reader is None or not link.primary or link.status != "live" or not link.seen:
            continue
        values = _link_owed(plan, reader, record, link)
        if paused:
            here = (link.system, plan.entity.name)
            values = {name: value for name, value in values.items() if (*here, name) not in paused}
        if values:
            updates[link.n] = values
    creates, missing = _creates(plan, record)
    return Owed(updates, creates, missing)


def _link_owed(plan: Plan, reader: Reader, record: Record, link: LinkState) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name in reader.pushed:
        golden = record.golden.get(name, NOTHING)
        if owes(plan.fields[name].rule, golden, link.fields.get(name, UNSEEN)):
            values[name] = golden.value
    return values


def _creates(plan: Plan, record: Record) -> tuple[dict[str, dict[str, Value]], tuple[tuple[str, str], ...]]:
    creates: dict[str, dict[str, Value]] = {}
    missing: list[tuple[str, str]] = []
    linked = {link.system for link in record.links if link.status in ("live", "gone")}
    if not any(link.status == "live" for link in record.links):
        return creates, ()
    golden: dict[str, Value] = {}
    for system, reader in plan.readers.items():
        if system in linked or reader.rule.create != "always":
            continue
        golden = golden or flat(plan, {name: one.value for name, one in record.golden.items()})
        if reader.create_when is not None and not reader.create_when.holds(golden):
            continue
        values: dict[str, Value] = {
            name: one.value
            for name in reader.fields  # a frozen one too: a new link gets the value from before the freeze
            if reader.pushes(name) and (one := record.golden.get(name, NOTHING)).value is not None
        }
        lacking = [
            name
            for name in reader.fields
            if plan.fields[name].rule.required and reader.pushes(name) and name not in values
        ]
        missing.extend((system, name) for name in lacking)
        if values and not lacking:
            creates[system] = values
    return creates, tuple(missing)
