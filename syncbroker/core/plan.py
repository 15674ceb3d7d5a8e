"""Mapping rules compiled for work: per entity its fields (a group is one field), per system a reader of raw items.

A plan is made once per mapping version. It turns an item of a system into canonical observations and golden values
into raw writes; nothing after it looks at dotted paths or transforms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from syncbroker.core import values
from syncbroker.core.conditions import Condition, compile_condition
from syncbroker.core.mapping import EntityRules, FieldLink, FieldRule, LinkRule
from syncbroker.core.types import Invalid, Type, Value

References = Mapping[tuple[str, str, str], str]
"""(system, referred entity, external id) -> record id, for the references of a batch."""

PENDING = "refers to a record that is not linked yet"

EMPTY_RAWS: tuple[Any, ...] = (None, "", [], {})


class Seen(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One field as observed: `raw` (a list for a group), its canonical `value`, or why there is none."""

    raw: Any = None
    value: Value = None
    invalid: str = ""
    placeholder: bool = False

    @property
    def pending(self) -> bool:
        return self.invalid == PENDING


class Field(msgspec.Struct, frozen=True):
    """One field (or group) of an entity: its rule (a group takes its first member's) and its members."""

    name: str
    rule: FieldRule
    members: tuple[FieldRule, ...]
    single: bool = True


class Term(msgspec.Struct, frozen=True):
    """What an authority hangs on: a condition, or None, and how long after its last edit it lapses (µs, 0: never)."""

    condition: Condition | None
    stale_after: int


class Reader(msgspec.Struct, frozen=True):
    """One entity on one system: which raw paths make which field, and back.

    `plain`: (field, path, canonicaliser) of every field that is neither a group nor a reference; `others` are those.
    `refers`: some field is a reference. `pushed`: the fields that the mapping pushes here.
    """

    system: str
    rule: LinkRule
    fields: dict[str, tuple[FieldLink, ...]]
    canonicalisers: dict[str, tuple[Callable[[object], Value | Invalid], ...]]
    paths: tuple[str, ...]
    create_when: Condition | None
    plain: tuple[tuple[str, str, Callable[[object], Value | Invalid]], ...] = ()
    others: tuple[str, ...] = ()
    refers: bool = False
    pushed: tuple[str, ...] = ()

    def pulls(self, field: str) -> bool:
        return field in self.fields and self.fields[field][0].pull

    def pushes(self, field: str) -> bool:
        return field in self.fields and self.fields[field][0].push

    def see(self, field: str, raws: list[Any], references: References) -> Seen:
        """The canonical value of a field's raw members. A reference that is not linked yet is invalid as PENDING."""
        links, makers = self.fields[field], self.canonicalisers[field]
        made: list[Value] = []
        for link, make, raw in zip(links, makers, raws, strict=True):
            value = make(raw)
            if isinstance(value, Invalid):
                return Seen(raws[0] if len(raws) == 1 else raws, None, value.reason)
            if link.spec.type is Type.REFERENCE and value is not None:
                value = references.get((self.system, link.spec.entity, str(value)))
                if value is None:
                    return Seen(raws[0] if len(raws) == 1 else raws, None, PENDING)
            made.append(value)
        if len(made) == 1:
            filler = made[0] is None and raws[0] not in EMPTY_RAWS
            return Seen(raws[0], made[0], "", filler)
        whole = None if all(value is None for value in made) else tuple(made)
        return Seen(raws, whole)  # type: ignore[arg-type]  # members are scalars or flat tuples by construction

    def read(self, item: Mapping[str, Any], complete: bool, references: References) -> dict[str, Seen]:
        """Every mapped field that the item shows, an item of raw members by path.

        In an incomplete item, a field with an absent member is left out.
        """
        found: dict[str, Seen] = {}
        for field, path, make in self.plain:
            raw = item.get(path, ABSENT)
            if raw is ABSENT:
                if not complete:
                    continue
                raw = None
            value = make(raw)
            if isinstance(value, Invalid):
                found[field] = Seen(raw, None, value.reason)
            else:
                found[field] = Seen(raw, value, "", value is None and raw not in EMPTY_RAWS)
        for field in self.others:
            raws = [item.get(link.path, ABSENT) for link in self.fields[field]]
            if ABSENT in raws:
                if not complete:
                    continue
                raws = [None if raw is ABSENT else raw for raw in raws]
            found[field] = self.see(field, raws, references)
        return found

    def render(self, field: str, value: Value, externals: Mapping[str, str]) -> dict[str, Any] | None:
        """Vendor path -> raw value to write. `externals`: record id -> external id here; None when a reference of the
        value has no counterpart in this system yet."""
        links = self.fields[field]
        members: tuple[Any, ...] = (value,) if len(links) == 1 else (value or (None,) * len(links))  # type: ignore[assignment]
        out: dict[str, Any] = {}
        for link, member in zip(links, members, strict=True):
            if link.spec.type is not Type.REFERENCE or member is None:
                out[link.path] = values.render(link.spec, member)
            elif (external := externals.get(str(member))) is None:
                return None
            else:
                out[link.path] = values.render(link.spec, external)
        return out


class Plan(msgspec.Struct, frozen=True):
    """One entity, compiled. `version` is the mapping version.

    `terms`: field -> system -> what its authority hangs on, for those that hang on something.
    `keyed`: member field of a match rule -> (field, place in its group or None). `likened`: those that rules compare by
    likeness. `referring`: fields that refer to records. `places`: field -> file:line.
    """

    version: str
    entity: EntityRules
    fields: dict[str, Field]
    readers: dict[str, Reader]
    keyed: dict[str, tuple[str, int | None]]
    places: dict[str, str]
    likened: tuple[str, ...] = ()
    referring: tuple[str, ...] = ()
    terms: dict[str, dict[str, Term]] = {}

    def spec_key(self, name: str, value: Value) -> str | None:
        """The match key text of a golden value of the (ungrouped) field."""
        return values.key(self.entity.fields[name].spec, value)


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()


def pick(item: Mapping[str, Any], path: str) -> Any:
    """The member at a dotted path (a number counts in a list), or ABSENT. A key that is the whole path wins."""
    if path in item:
        return item[path]
    here: Any = item
    for part in path.split("."):
        if isinstance(here, Mapping) and part in here:
            here = here[part]
        elif isinstance(here, list) and part.isdecimal() and int(part) < len(here):
            here = here[int(part)]
        else:
            return ABSENT
    return here


def compile_plan(entity: EntityRules, version: str) -> Plan:
    fields: dict[str, Field] = {}
    for rule in entity.fields.values():
        name = rule.group or rule.name
        known = fields.get(name)
        fields[name] = (
            Field(name, known.rule, (*known.members, rule), single=False)
            if known
            else Field(name, rule, (rule,))
        )
    types = {rule.name: rule.type for rule in entity.fields.values()}
    readers = {}
    for system, link in entity.links.items():
        here = {
            name: tuple(member.links[system] for member in field.members)
            for name, field in fields.items()
            if all(system in member.links for member in field.members)
        }
        makers = {name: tuple(values.compile(one.spec) for one in links) for name, links in here.items()}
        plain = [name for name, links in here.items() if len(links) == 1 and not links[0].spec.entity]
        readers[system] = Reader(
            system=system,
            rule=link,
            fields=here,
            canonicalisers=makers,
            plain=tuple((name, here[name][0].path, makers[name][0]) for name in plain),
            others=tuple(name for name in here if name not in plain),
            refers=any(one.spec.entity for links in here.values() for one in links),
            pushed=tuple(name for name, links in here.items() if links[0].push),
            paths=tuple(sorted({one.path for links in here.values() for one in links})),
            create_when=compile_condition(link.create_when, types) if link.create_when else None,
        )
    keyed = {}
    likened = tuple(dict.fromkeys(name for match in entity.match for name, _ in match.similar))
    for name in {*likened, *(name for match in entity.match for name in match.on)}:
        group = entity.fields[name].group
        members = [member.name for member in fields[group].members] if group else []
        keyed[name] = (group or name, members.index(name) if len(members) > 1 else None)
    places = {name: f"{entity.file}:{field.rule.line}" for name, field in fields.items()}
    terms = {
        name: {
            system: Term(compile_condition(one.when, types) if one.when else None, one.stale_after)
            for system, one in field.rule.terms.items()
        }
        for name, field in fields.items()
        if field.rule.terms
    }
    referring = tuple(
        name for name, field in fields.items() if any(member.spec.entity for member in field.members)
    )
    return Plan(version, entity, fields, readers, keyed, places, likened, referring, terms)


def flat(plan: Plan, golden: Mapping[str, Value]) -> dict[str, Value]:
    """Golden values by member field: a group is spread over its members."""
    out: dict[str, Value] = {}
    for name, field in plan.fields.items():
        value = golden.get(name)
        if field.single:
            out[field.members[0].name] = value
            continue
        members = value if isinstance(value, tuple) else (None,) * len(field.members)
        out.update({member.name: one for member, one in zip(field.members, members, strict=True)})
    return out
