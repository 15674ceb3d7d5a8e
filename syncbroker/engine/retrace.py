"""What becomes of everything that some decisions of an undo's scope decided: what goes back, what is left, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from syncbroker.core import undo as core
from syncbroker.core.plan import Plan
from syncbroker.core.state import Golden, Record
from syncbroker.core.types import Type
from syncbroker.core.undo import Back, Change, Needs, Stays
from syncbroker.engine import Engine
from syncbroker.engine.explain import standing
from syncbroker.engine.find import label
from syncbroker.engine.history import BY_HAND, listed
from syncbroker.engine.reading import fits
from syncbroker.engine.scope import Scope
from syncbroker.store import decisions, tables
from syncbroker.store.database import Tx
from syncbroker.store.decisions import Decision


class Reverted(msgspec.Struct, frozen=True, kw_only=True):
    """A value that goes back from `now` to `back`, undoing `decisions` (newest first) on edits in `system`.

    `writes`: systems that are owed the value. `stays`: system -> why it keeps what it has (one of explain's standings).
    """

    record: str
    entity: str
    label: str
    field: str
    system: str
    now: Any
    back: Any
    decisions: list[int]
    writes: list[str]
    stays: dict[str, str]


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What is left as it is, and why. `decision` is the one that stands in the way (by `actor`), 0 for none."""

    record: str
    entity: str
    label: str
    field: str
    why: str
    decision: int = 0
    kind: str = ""
    actor: str = ""


@dataclass(frozen=True)
class Way:
    """A field that goes back."""

    record: Record
    name: str
    back: Back


@dataclass
class Piece:
    """What one transaction found."""

    decisions: int = 0
    ways: list[Way] = field(default_factory=list)
    reverted: list[Reverted] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)


def restored(standing_: Golden, back: Back, now: int) -> Golden:
    """A person's value from now on: nothing outranks it until somebody edits what they have seen of it."""
    return replace(standing_, value=back.to.value, source="", since=now, until=now, frozen=None, review=0)


def numbers(back: Back) -> list[int]:
    return list(dict.fromkeys(change.decision for change in back.undone))


def look(
    engine: Engine, tx: Tx, scope: Scope, chunk: Sequence[Decision], known: Mapping[str, Record]
) -> Piece:
    """What becomes of everything that a piece of the scope decided. Each field is told once, with the newest decision
    in scope that changed it."""
    piece = Piece(decisions=len(chunk))
    in_chunk = {decision.id: decision for decision in chunk}
    found, loaded = _ways(engine, tx, scope, in_chunk, known)
    gone = _gone(tx, engine, [(known[id_], name, way) for (id_, name), way in found.items()])
    for (record_id, name), way in found.items():
        record = known[record_id]
        if isinstance(way, Stays):
            if way.newest in in_chunk or not way.newest:
                piece.left.append(_left(engine, record, name, way, loaded))
            continue
        newest = way.undone[0].decision
        if newest not in in_chunk:
            continue  # its turn comes with that decision
        why = _obstacle(engine.plans[record.entity], record, name, way)
        if way.to.value in gone:
            why = why or "it refers to a record that is gone"
        if why:
            piece.left.append(_stays(engine, record, name, why))
            continue
        piece.ways.append(Way(record, name, way))
        piece.reverted.append(_reverted(engine, record, name, way))
    for decision in chunk:
        piece.left.extend(_unmapped(engine, scope, decision, known))
        piece.left.extend(_identity(engine, scope, decision, known.get(decision.record_id)))
    return piece


def _ways(
    engine: Engine, tx: Tx, scope: Scope, in_chunk: Mapping[int, Decision], known: Mapping[str, Record]
) -> tuple[dict[tuple[str, str], Back | Stays], Mapping[int, Decision]]:
    """The way back of every field that a decision in scope changed, and all decisions that were looked at."""
    loaded = dict(in_chunk)
    trails: dict[tuple[str, str], dict[int, list[Change]]] = {}
    for decision in in_chunk.values():
        record = known.get(decision.record_id)
        for name in dict.fromkeys(
            o.field for o in decision.outcomes if o.field and scope.within(decision, o)
        ):
            changes = _changes(scope, decision, name)
            if _mapped(engine, record, decision.entity, name) and any(
                one.within and one.moved for one in changes
            ):
                trails.setdefault((decision.record_id, name), {})
    found: dict[tuple[str, str], Back | Stays] = {}
    open_ = list(trails)
    while open_:
        needed: list[tuple[tuple[str, str], int]] = []
        for key in open_:
            way = core.way_back(known[key[0]].golden[key[1]], trails[key])
            if isinstance(way, Needs):
                needed.append((key, way.decision))
            else:
                found[key] = way
        loaded.update(decisions.by_numbers(tx, [n for _, n in needed if n not in loaded]))
        for key, n in needed:
            decision_ = loaded.get(n)
            same = decision_ is not None and decision_.record_id == key[0]
            trails[key][n] = _changes(scope, decision_, key[1]) if decision_ is not None and same else []
        open_ = [key for key, _ in needed]
    return found, loaded


def _mapped(engine: Engine, record: Record | None, entity: str, name: str) -> bool:
    """Whether the record is there, and has a golden value that the mapping knows of."""
    plan = engine.plans.get(entity)
    return record is not None and plan is not None and name in plan.fields and name in record.golden


def _changes(scope: Scope, decision: Decision, name: str) -> list[Change]:
    """What a decision said about a field, in order."""
    return [
        Change(
            decision=decision.id,
            system=outcome.system,
            link=outcome.link,
            before=q.golden,
            after=outcome.after,
            within=scope.within(decision, outcome),
            first=outcome.kind not in BY_HAND and not q.seen_before and not q.late,
        )
        for outcome in decision.outcomes
        if outcome.field == name and (q := outcome.question) is not None
    ]


def _gone(tx: Tx, engine: Engine, ways: Sequence[tuple[Record, str, Back | Stays]]) -> set[object]:
    """Values that refer to records which are no longer there."""
    wanted = {
        str(way.to.value)
        for record, name, way in ways
        if isinstance(way, Back)
        and way.to.value is not None
        and (found := engine.plans[record.entity].fields.get(name)) is not None
        and found.single
        and found.rule.type is Type.REFERENCE
    }
    there = {row[0] for row in tx.lookup(tables.records, ["id"], "id", sorted(wanted))}
    return set(wanted - there)


def _obstacle(plan_: Plan, record: Record, name: str, back: Back) -> str:
    found = plan_.fields[name]
    if not fits(found, back.to):
        return "the value from before is none that the mapping allows now"
    return core.obstacle(found.rule, record.golden[name], back)


# ------------------------------------------------------------------------------------------------ in words


def _reverted(engine: Engine, record: Record, name: str, back: Back) -> Reverted:
    plan_ = engine.plans[record.entity]
    golden = restored(record.golden[name], back, engine.now())
    after = Record(record.id, record.entity, {**record.golden, name: golden}, record.by_number)
    writes, stays = [], {}
    for link in record.links:
        reader = plan_.readers.get(link.system)
        if reader is None or name not in reader.fields:
            continue
        how = standing(plan_, after, link, name)
        if how == "push owed":
            writes.append(link.system)
        elif how not in ("in step", "rewritten"):
            stays[link.system] = how
    return Reverted(
        record=record.id,
        entity=record.entity,
        label=label(engine, record),
        field=name,
        system=back.undone[0].system,
        now=listed(record.golden[name].value),
        back=listed(back.to.value),
        decisions=numbers(back),
        writes=writes,
        stays=stays,
    )


def _left(engine: Engine, record: Record, name: str, way: Stays, loaded: Mapping[int, Decision]) -> Left:
    """A field that somebody changed, confirmed or questioned since."""
    decision = loaded.get(way.decision)
    about = [o for o in decision.outcomes if o.field == name] if decision is not None else []
    kind = about[-1].kind if about else ""
    return _stays(
        engine,
        record,
        name,
        "undone already" if kind == "undone" else way.why,
        decision=way.decision,
        kind=kind,
        actor=decision.actor if decision is not None else "",
    )


def _stays(engine: Engine, record: Record, name: str, why: str, **by: Any) -> Left:
    return Left(
        record=record.id, entity=record.entity, label=label(engine, record), field=name, why=why, **by
    )


def _unmapped(engine: Engine, scope: Scope, decision: Decision, known: Mapping[str, Record]) -> list[Left]:
    """Values of records and fields that are not there any more."""
    record = known.get(decision.record_id)
    names = [
        o.field
        for o in decision.outcomes
        if o.field
        and scope.within(decision, o)
        and o.question is not None
        and o.question.golden.value != o.after
        and not _mapped(engine, record, decision.entity, o.field)
    ]
    why = "the mapping no longer has it" if record is not None else "the record is gone"
    return [
        Left(
            record=decision.record_id,
            entity=decision.entity,
            label=label(engine, record) if record is not None else "",
            field=name,
            why=why,
            decision=decision.id,
        )
        for name in dict.fromkeys(names)
    ]


IDENTITY = {
    "created": "a system brought the record in; undo deletes none",
    "deleted": "a link ended; lift its tombstone to have it back",
    "undone": "what an undo did to a record that was created in a system is not done again",
    "merged": "records were merged; take them apart with unmerge",
}
"""Outcomes about whole records that are listed, because an undo does not touch them."""


def _identity(engine: Engine, scope: Scope, decision: Decision, record: Record | None) -> list[Left]:
    return [
        Left(
            record=decision.record_id,
            entity=decision.entity,
            label=label(engine, record) if record is not None else "",
            field="",
            why=IDENTITY[outcome.kind],
            decision=decision.id,
            kind=outcome.kind,
            actor=decision.actor,
        )
        for outcome in decision.outcomes
        if not outcome.field and outcome.kind in IDENTITY and scope.within(decision, outcome)
    ]
