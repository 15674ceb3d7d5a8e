"""Erasure on request: everything that the store holds of one record goes, and does not come back by itself.

What stays: that there were decisions, when, of which kind and rule, with a digest in the place of the values, so that
the log still verifies; and tombstones, keyed hashes of its ids, that keep a later read from taking it in again.
Nothing is written to or deleted at a vendor: that is another request, to the systems themselves.

What is under way is not raced: a write whose outcome is open, a delivery that waits, or a question that asks whether
another record is this one come first, and the erasure is refused until they are settled.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from syncbroker.core.erasing import texts
from syncbroker.core.plan import Plan
from syncbroker.core.types import Type
from syncbroker.decoding import decode
from syncbroker.engine import Engine
from syncbroker.errors import BadAnswer, Missing, Retry
from syncbroker.store import audit, erasing, merges, records, runs, tables
from syncbroker.store.database import Tx
from syncbroker.store.erasing import Found

_OPEN = ("claimed", "pending", "unknown")
_IDENTIFYING = (Type.EMAIL, Type.PHONE)


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """What goes. `records`: the record, and those that were merged into it. `ids`: how many ids of systems are barred
    from coming back. `referrers`: records that refer to it. `rows`: by table, once it is done."""

    record: str
    entity: str
    records: list[str]
    systems: list[str]
    ids: int
    referrers: int
    rows: dict[str, int] = {}
    compacted: bool = False


def plan(engine: Engine, record_id: str) -> Erasure:
    """What `carry_out` would do now. Changes nothing; raises what stands in the way."""
    with engine.store.read() as tx:
        found, entity = _look(engine, tx, record_id)
        _refuse_under_way(tx, found)
        return _told(tx, record_id, entity, found, {})


def carry_out(engine: Engine, record_id: str, person: str) -> Erasure:
    """Erase it in a person's name: one transaction, and then the file is rid of what was deleted."""
    with engine.store.write() as tx:
        tx.serialise("decide")
        found, entity = _look(engine, tx, record_id)
        records.lock(tx, found.records)
        _refuse_under_way(tx, found)
        told = _told(tx, record_id, entity, found, {})
        _forget_referrers(engine, tx, found)
        _forget_parted(tx, found)
        rows = erasing.remove(tx, found, engine.now())
        _bury(engine, tx, found)
        kept = {"systems": told.systems, "ids": told.ids, "rows": rows}
        audit.note(tx, engine.now(), person, "purge", record_id, kept)
    compacted = erasing.compact(engine.store)
    return msgspec.structs.replace(told, rows=rows, compacted=compacted)


def _told(tx: Tx, record_id: str, entity: str, found: Found, rows: dict[str, int]) -> Erasure:
    return Erasure(
        record=record_id,
        entity=entity,
        records=found.records,
        systems=sorted({system for system, _, _ in found.externals}),
        ids=len(found.externals),
        referrers=len(_referrers(tx, found)),
        rows=rows,
    )


# ---------------------------------------------------------------------------------------- what belongs to it


def _look(engine: Engine, tx: Tx, record_id: str) -> tuple[Found, str]:
    stored = records.load(tx, [record_id]).get(record_id)
    if stored is None:
        raise Missing(f"there is no record {record_id}", hint="name the record that it was merged into")
    family, parted = _family(tx, record_id)
    externals = erasing.external_ids(tx, family)
    values = {text for body in erasing.bodies(tx, family) for text in texts(body)}
    links = sorted({row[0] for row in tx.lookup(tables.links, ["n"], "record_id", family)})
    found = Found(
        records=family,
        links=links,
        externals=externals,
        named=_identifying(engine, tx, family),
        values=values,
        parted=parted,
    )
    return found, stored.entity


def _family(tx: Tx, record_id: str) -> tuple[list[str], list[tuple[str, int, int]]]:
    """The record with all that were merged into it, and the records that it was one with for a while."""
    family, todo, parted = {record_id}, [record_id], []
    while todo:
        id_ = todo.pop()
        for merge in merges.around(tx, id_):
            other = merge.absorbed if merge.survivor == id_ else merge.survivor
            if merge.undone is not None:
                parted.append((other, merge.id, merge.undone))
            elif merge.survivor == id_ and other not in family:
                family.add(other)
                todo.append(other)
    return sorted(family), [one for one in parted if one[0] not in family]


def _identifying(engine: Engine, tx: Tx, family: list[str]) -> set[str]:
    """Values that name a person wherever they stand: addresses, telephone numbers, and what records are matched by."""
    found: set[str] = set()
    for record in records.load(tx, family).values():
        rules = engine.plans.get(record.entity)
        for name in _named(rules) if rules else ():
            if name in record.golden:
                found |= texts(record.golden[name].value)
            for link in record.links:
                if name in link.fields:
                    state = link.fields[name]
                    found |= texts([state.raw, state.value, state.base, list(state.known)])
    return found


def _named(rules: Plan) -> set[str]:
    matched = {name for rule in rules.entity.match for name in rule.on if len(rule.on) == 1}
    typed = {
        name
        for name, field in rules.fields.items()
        if any(member.type in _IDENTIFYING for member in field.members)
    }
    return (matched | typed) - set(rules.referring)


def _referrers(tx: Tx, found: Found) -> list[str]:
    rows = tx.lookup(tables.referrals, ["referrer"], "target", found.records)
    return sorted({row[0] for row in rows} - set(found.records))


# --------------------------------------------------------------------------------------- what stands in the way


def _refuse_under_way(tx: Tx, found: Found) -> None:
    rows = tx.lookup(tables.outbox, ["system", "state"], "link", found.links)
    if busy := sorted({system for system, state in rows if state in _OPEN}):
        raise Retry(
            f"a write of the record to {', '.join(busy)} is under way",
            hint="let it be settled (syncbroker sync, or serve), then purge again",
        )
    if waiting := erasing.deliveries(tx, found, "new"):
        raise Retry(
            f"{len(waiting)} deliveries that name the record are not dealt with yet",
            hint="let them be (syncbroker sync, or serve), then purge again",
        )
    if asking := _asking(tx, found):
        raise BadAnswer(
            f"review {asking[0]} asks whether another record is this one",
            hint=f"answer it first: syncbroker review show {asking[0]}",
        )


def _asking(tx: Tx, found: Found) -> list[int]:
    """Open questions about this record and another one."""
    r = tables.reviews.c
    query = tables.reviews.select().where(r.closed.is_(None), r.kind.in_(("match", "merge")))
    mine = set(found.records)
    return [row.id for row in tx.run(query) if row.record_id in mine or texts(decode(row.body)) & mine]


# --------------------------------------------------------------------------------------------- other records


def _forget_referrers(engine: Engine, tx: Tx, found: Found) -> None:
    """Others go on referring to its id of ours, which leads nowhere. The id that a system has for it is forgotten."""
    ids = {id_ for _, _, id_ in found.externals}
    _rewrite(tx, _referrers(tx, found), lambda state, name: _without_raw(engine, state, name, ids))


def _without_raw(engine: Engine, state: list[Any], name: str, ids: set[str]) -> list[Any]:
    refers = any(name in rules.referring for rules in engine.plans.values())
    return [None, *state[1:]] if refers and state and texts(state[0]) & ids else state


def _forget_parted(tx: Tx, found: Found) -> None:
    """Values that a record was sent while it was one with this one."""
    known = 6  # of the fields of `core.state.FieldState`

    def without(state: list[Any], _name: str) -> list[Any]:
        if len(state) <= known:
            return state
        left = [value for value in state[known] if value == state[1] or not texts(value) & found.values]
        return [*state[:known], left, *state[known + 1 :]]

    _rewrite(tx, [other for other, _, _ in found.parted], without)


def _rewrite(tx: Tx, ids: Iterable[str], change: Any) -> None:
    changed = []
    for n, text in tx.lookup(tables.links, ["n", "state"], "record_id", sorted(set(ids))):
        state = decode(text)
        fields = {name: change(one, name) for name, one in state.get("fields", {}).items()}
        if fields != state.get("fields", {}):
            changed.append((n, {**state, "fields": fields}))
    erasing.forget_held(tx, changed)


def _bury(engine: Engine, tx: Tx, found: Found) -> None:
    key, now = runs.secret_key(tx), engine.now()
    rows = [
        (system, object_, records.digest(key, "external", id_), now, records.PURGED)
        for system, object_, id_ in found.externals
    ]
    rows += [
        (system, object_, records.digest(key, "record", id_), now, records.PURGED)
        for id_ in found.records
        for system, object_ in sorted(engine.sources)
    ]
    records.bury(tx, rows)
