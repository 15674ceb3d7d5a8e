"""Undo: every value that is still that of the decisions in scope goes back to what it was before them.

What somebody changed, confirmed or questioned since is left, and listed with the reason. An undoing is a decision of
its own, under a person's name and in a run of its own, so that it can be undone, too. The values are only set in the
golden records; what the systems are owed follows by the normal way. `plan` looks, `carry_out` does; both go through
the same decisions in the same pieces, so that an undo that broke off is simply run again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from syncbroker.core import undo as core
from syncbroker.core.plan import Plan
from syncbroker.core.resolve import Question
from syncbroker.core.state import Golden, Record
from syncbroker.core.types import Type
from syncbroker.core.undo import Back, Change, Needs, Stays
from syncbroker.engine import Engine
from syncbroker.engine import scope as scopes
from syncbroker.engine.explain import standing
from syncbroker.engine.find import label
from syncbroker.engine.finish import finish
from syncbroker.engine.history import BY_HAND, listed
from syncbroker.engine.reading import fits, refresh
from syncbroker.engine.scope import Scope
from syncbroker.engine.unmake import Made, of_chunk, of_mapping, unmake
from syncbroker.engine.workspace import Workspace
from syncbroker.errors import Retry
from syncbroker.store import decisions, records, runs, tables
from syncbroker.store.database import Tx
from syncbroker.store.decisions import Cause, Decision, Outcome

LISTED = 500
"""How many values, and how many of what is left, are listed; the rest is only counted."""

TRIES = 3

T = TypeVar("T")


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


class Undone(msgspec.Struct, kw_only=True):
    """What an undo did in its `run`, or (run 0) would do. `scope` in words.

    `decisions` were looked at; `values` go back, `left_by_reason` counts what does not. `reverted`, `left` and `made`
    list the first `LISTED` of each. `writes`: system -> values that it is owed. `made`: what creates made in the
    systems, with what becomes of each; `unmade` counts those that are undone.
    """

    scope: str
    run: int = 0
    decisions: int = 0
    values: int = 0
    reverted: list[Reverted] = []
    left: list[Left] = []
    left_by_reason: dict[str, int] = {}
    writes: dict[str, int] = {}
    made: list[Made] = []
    made_count: int = 0
    unmade: int = 0

    @property
    def empty(self) -> bool:
        return not (self.values or self.unmade)


def plan(engine: Engine, scope: Scope, *, creates: bool = False) -> Undone:
    """What `carry_out` would do now. Changes nothing."""
    done, seen = Undone(scope=scope.words), set[int]()
    for chunk in scopes.chunks(engine, scope):
        with engine.store.read() as tx:
            known = records.load(tx, {decision.record_id for decision in chunk})
            for record in known.values():
                if record.entity in engine.plans:
                    refresh(engine.plans[record.entity], record)
            _add(done, _look(engine, tx, scope, chunk, known))
            made = of_chunk(engine, tx, scope, chunk, seen)
        _add_made(done, [one.planned(creates=creates) for one in made])
    for made in of_mapping(engine, scope, seen):
        _add_made(done, [one.planned(creates=creates) for one in made])
    return done


def carry_out(
    engine: Engine,
    scope: Scope,
    person: str,
    *,
    creates: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Undone:
    """Undo it, a piece at a time, in a person's name. What was done stays done when a piece fails: run it again."""
    run = _begin(engine, scope)
    done, seen = Undone(scope=scope.words, run=run), set[int]()
    for chunk in scopes.chunks(engine, scope):
        _add(done, _repeated(partial(_undo_chunk, engine, scope, chunk, person, run)))
        with engine.store.read() as tx:
            made = of_chunk(engine, tx, scope, chunk, seen)
        _add_made(done, _repeated(partial(unmake, engine, made, person, run, scope.words, creates=creates)))
        progress(len(chunk))
    for made in of_mapping(engine, scope, seen):
        _add_made(done, _repeated(partial(unmake, engine, made, person, run, scope.words, creates=creates)))
    with engine.store.write() as tx:
        counts = {"changed": done.values, "unmade": done.unmade, "left": sum(done.left_by_reason.values())}
        runs.move(tx, run, "done", counts, ended=engine.now())
    return done


def undo_run(engine: Engine, run: int, person: str) -> Undone:
    """Undo every value of a run's decisions that is still theirs, in the name of a person; creates are left."""
    return carry_out(engine, Scope(run=run), person)


def _begin(engine: Engine, scope: Scope) -> int:
    with engine.store.write() as tx:
        for one in runs.unfinished(tx):
            if one.kind == "undo":  # it broke off, and this one may be its repetition
                runs.move(tx, one.id, "failed", one.counts, ended=engine.now())
        return runs.begin(tx, "undo", scope.system, "", engine.now())


def _repeated(step: Callable[[], T]) -> T:
    for _ in range(TRIES - 1):
        try:
            return step()
        except Retry:  # two processes were in each other's way; nothing of the piece was done
            continue
    return step()


# -------------------------------------------------------------------------------------------- one piece


@dataclass(frozen=True)
class _Way:
    """A field that goes back."""

    record: Record
    name: str
    back: Back


@dataclass
class _Piece:
    """What one transaction found."""

    decisions: int = 0
    ways: list[_Way] = field(default_factory=list)
    reverted: list[Reverted] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)


def _undo_chunk(engine: Engine, scope: Scope, chunk: Sequence[Decision], person: str, run: int) -> _Piece:
    with engine.store.write() as tx:
        tx.serialise("decide")
        ws = Workspace(engine, tx, run, actor=person)
        ws.load({decision.record_id for decision in chunk})
        piece = _look(engine, tx, scope, chunk, ws.records)
        for way in piece.ways:
            _set_back(ws, way, scope)
        finish(ws)
        return piece


def _set_back(ws: Workspace, way: _Way, scope: Scope) -> None:
    record, name, newest = way.record, way.name, way.back.undone[0]
    before, rule_plan = record.golden[name], ws.plan(record.id)
    golden = _restored(before, way.back, ws.now)
    ws.put_golden(record.id, name, golden)
    if name in {field for field, _ in rule_plan.keyed.values()}:
        ws.rekey(record.id)
    numbers = ", ".join(str(one) for one in _numbers(way.back)[:5])
    ws.add(
        record.id,
        Outcome(
            kind="undone",
            field=name,
            system=newest.system,
            link=newest.link if newest.link in record.by_number else 0,
            policy=rule_plan.fields[name].rule.policy,
            place=rule_plan.places[name],
            why=f"set back to what it was before decision {numbers}",
            after=golden.value,
            question=Question(system=newest.system, golden=before),
            cause=Cause("undo", event=scope.words, at=ws.now),
        ),
    )


def _restored(standing_: Golden, back: Back, now: int) -> Golden:
    """A person's value from now on: nothing outranks it until somebody edits what they have seen of it."""
    return replace(standing_, value=back.to.value, source="", since=now, until=now, frozen=None, review=0)


def _numbers(back: Back) -> list[int]:
    return list(dict.fromkeys(change.decision for change in back.undone))


def _look(
    engine: Engine, tx: Tx, scope: Scope, chunk: Sequence[Decision], known: Mapping[str, Record]
) -> _Piece:
    """What becomes of everything that a piece of the scope decided. Each field is told once, with the newest decision
    in scope that changed it."""
    piece = _Piece(decisions=len(chunk))
    in_chunk = {decision.id: decision for decision in chunk}
    found, loaded = _ways(tx, scope, in_chunk, known)
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
        piece.ways.append(_Way(record, name, way))
        piece.reverted.append(_reverted(engine, record, name, way))
    for decision in chunk:
        piece.left.extend(_unmapped(engine, scope, decision, known))
        piece.left.extend(_identity(engine, scope, decision, known.get(decision.record_id)))
    return piece


def _ways(
    tx: Tx, scope: Scope, in_chunk: Mapping[int, Decision], known: Mapping[str, Record]
) -> tuple[dict[tuple[str, str], Back | Stays], Mapping[int, Decision]]:
    """The way back of every field that a decision in scope changed, and all decisions that were looked at."""
    loaded = dict(in_chunk)
    trails: dict[tuple[str, str], dict[int, list[Change]]] = {}
    for decision in in_chunk.values():
        record = known.get(decision.record_id)
        for name in {o.field for o in decision.outcomes if o.field and scope.within(decision, o)}:
            changes = _changes(scope, decision, name)
            if (
                record is not None
                and name in record.golden
                and any(one.within and one.moved for one in changes)
            ):
                trails.setdefault((record.id, name), {})
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
    golden = _restored(record.golden[name], back, engine.now())
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
        decisions=_numbers(back),
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
    record, plan_ = known.get(decision.record_id), engine.plans.get(decision.entity)
    names = [
        o.field
        for o in decision.outcomes
        if o.field
        and scope.within(decision, o)
        and o.question is not None
        and o.question.golden.value != o.after
        and (record is None or plan_ is None or o.field not in record.golden or o.field not in plan_.fields)
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


def _add(done: Undone, piece: _Piece) -> None:
    done.decisions += piece.decisions
    done.values += len(piece.reverted)
    done.reverted.extend(piece.reverted[: LISTED - len(done.reverted)])
    done.left.extend(piece.left[: LISTED - len(done.left)])
    for left in piece.left:
        done.left_by_reason[left.why] = done.left_by_reason.get(left.why, 0) + 1
    for reverted in piece.reverted:
        for system in reverted.writes:
            done.writes[system] = done.writes.get(system, 0) + 1


def _add_made(done: Undone, made: Sequence[Made]) -> None:
    done.made_count += len(made)
    done.unmade += sum(1 for one in made if one.undone)
    done.made.extend(made[: LISTED - len(done.made)])
