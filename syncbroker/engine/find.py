"""Which record a person means, and what to call it: from an id, a system's own id, or the value of a match key."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from sqlalchemy import ColumnElement, and_, select

from syncbroker.core import values
from syncbroker.core.match import key_of
from syncbroker.core.plan import Plan
from syncbroker.core.state import NOTHING, Record
from syncbroker.core.types import Invalid, Type
from syncbroker.engine import Engine
from syncbroker.errors import Missing
from syncbroker.store import merges, records, runs, tables
from syncbroker.store.database import Tx

SHORT_ID = 8
"""How many characters of a record id are enough to look for it."""

FOUND = 20
"""How many records a vague name may lead to before the rest is left out."""


def find(engine: Engine, entity: str, name: str) -> list[str]:
    """Ids of the records of an entity that `name` may mean, at most `FOUND`.

    A record id or the beginning of one (`SHORT_ID` characters or more; that of a merged record means the one it went
    into); `system:external id`; or the value of a match key ("ann@x.example"; for a rule with several fields their
    values with commas between, or only the first).
    """
    plan = plan_of(engine, entity)
    with engine.store.read() as tx:
        system, colon, external_id = name.partition(":")
        if colon and system in engine.mapping.systems:
            return _by_external_id(tx, plan, system, external_id)
        return _by_id(tx, entity, name) or _by_key(tx, plan, name)


def find_one(engine: Engine, entity: str, name: str) -> str:
    """The one record that is meant; Missing when there is none or more than one."""
    found = find(engine, entity, name)
    if not found and was_purged(engine, entity, name):
        raise Missing(
            f"that {entity} was purged: its values were erased on request",
            hint="that it was decided, and when, is still in the log: syncbroker decisions",
        )
    if not found:
        raise Missing(
            f"no {entity} is known by that name",
            hint="give a record id, system:external-id, or a match key such as an e-mail address",
        )
    if len(found) > 1:
        some = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise Missing(
            f"that name means {len(found)} records of {entity}: {some}", hint=f"name one: {entity}:{found[0]}"
        )
    return found[0]


def was_purged(engine: Engine, entity: str, name: str) -> bool:
    """Whether `name`, a whole record id or `system:external id`, is that of a record that was erased."""
    plan = plan_of(engine, entity)
    system, colon, external_id = name.partition(":")
    readers = {system: plan.readers[system]} if colon and system in plan.readers else plan.readers
    what = ("external", external_id) if colon else ("record", name.lower())
    with engine.store.read() as tx:
        digest = records.digest(runs.stored_secret(tx), *what)
        return any(
            records.PURGED in records.reasons(tx, there, reader.rule.object, [digest])
            for there, reader in readers.items()
        )


def plan_of(engine: Engine, entity: str) -> Plan:
    if entity not in engine.plans:
        raise Missing(f"there is no entity {entity!r}", hint=_near(entity, engine.plans))
    return engine.plans[entity]


def field_of(plan: Plan, name: str) -> str:
    """The field that is meant; a group may be named by any of its members."""
    for field in plan.fields.values():
        if name == field.name or name in (member.name for member in field.members):
            return field.name
    raise Missing(f"{plan.entity.name} has no field {name!r}", hint=_near(name, plan.entity.fields))


def _near(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known)}"


def _by_external_id(tx: Tx, plan: Plan, system: str, external_id: str) -> list[str]:
    reader = plan.readers.get(system)
    if reader is None:
        return []
    object_ = reader.rule.object
    now = records.resolve_aliases(tx, system, object_, [external_id]).get(external_id, external_id)
    found = records.by_external_id(tx, system, object_, [external_id, now])
    links = [link for links in found.values() for link in links]
    return sorted({record for _, entity, record in links if record and entity == plan.entity.name})


def _by_id(tx: Tx, entity: str, start: str) -> list[str]:
    low = start.lower()
    if len(low) < SHORT_ID or not set(low) <= set("0123456789abcdef-"):
        return []
    r = tables.records.c
    query = select(r.id).where(r.entity == entity, _begins(tx, r.id, low)).order_by(r.id).limit(FOUND)
    found = dict.fromkeys(row[0] for row in tx.run(query))
    into = merges.survivors(tx, merges.beginning(tx, low, FOUND))
    alive = records.load(tx, into.values())
    found.update(dict.fromkeys(id_ for id_, record in sorted(alive.items()) if record.entity == entity))
    return list(found)


def _begins(tx: Tx, column: ColumnElement[str], start: str) -> ColumnElement[bool]:
    """SQLite's LIKE uses no index, PostgreSQL's order of texts is no order of bytes."""
    if tx.sqlite:
        return and_(column >= start, column < start + "\U0010ffff")
    return column.startswith(start, autoescape=True)


def _by_key(tx: Tx, plan: Plan, text: str) -> list[str]:
    """Rules with several fields are found by their first ones alone: their keys begin with these."""
    k, found = tables.match_keys.c, dict[str, None]()
    for rule in plan.entity.match:
        parts = [part.strip() for part in text.split(",")] if len(rule.on) > 1 else [text]
        keys = [_key(plan, name, part) for name, part in zip(rule.on, parts, strict=False)]
        if len(parts) > len(rule.on) or not all(keys):
            continue
        start = key_of(rule, keys)
        whole = len(keys) == len(rule.on)
        query = select(k.record_id).distinct().where(k.entity == plan.entity.name)
        query = query.where(k.key == start if whole else _begins(tx, k.key, f"{start}|"))
        found.update(dict.fromkeys(row[0] for row in tx.run(query.order_by(k.record_id).limit(FOUND))))
    return list(found)


def _key(plan: Plan, name: str, text: str) -> str:
    value = values.canonical(plan.entity.fields[name].spec, text)
    return "" if isinstance(value, Invalid) else plan.spec_key(name, value) or ""


def label(engine: Engine, record: Record) -> str:
    """A few words that tell a person which record it is: its first required value, else its first text."""
    plan = engine.plans.get(record.entity)
    if plan is None:
        return ""
    singles = [
        field for field in plan.fields.values() if field.single and field.rule.type is not Type.REFERENCE
    ]
    for field in sorted(singles, key=lambda one: not one.rule.required):
        value = record.golden.get(field.name, NOTHING).value
        if isinstance(value, str):
            return value
    return ""
