"""Undo: every value that is still that of the decisions in scope goes back to what it was before them.

What somebody changed, confirmed or questioned since is left, and listed with the reason. An undoing is a decision of
its own, under a person's name and in a run of its own, so that it can be undone, too. The values are only set in the
golden records; what the systems are owed follows by the normal way. `plan` looks, `carry_out` does; both go through
the same decisions in the same pieces, so that an undo that broke off is simply run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from syncbroker.core.resolve import Question
from syncbroker.engine import Engine, sharing
from syncbroker.engine import scope as scopes
from syncbroker.engine.finish import finish
from syncbroker.engine.reading import refresh
from syncbroker.engine.retrace import Left, Piece, Reverted, Way, look, numbers, restored
from syncbroker.engine.scope import Scope
from syncbroker.engine.unmake import Made, of_chunk, of_mapping, unmake
from syncbroker.engine.workspace import Workspace
from syncbroker.errors import Retry
from syncbroker.store import records, runs
from syncbroker.store.decisions import Cause, Decision, Outcome

LISTED = 500
"""How many values, and how many of what is left, are listed; the rest is only counted."""

TRIES = 3

T = TypeVar("T")


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
            _add(done, look(engine, tx, scope, chunk, known))
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


def _undo_chunk(engine: Engine, scope: Scope, chunk: Sequence[Decision], person: str, run: int) -> Piece:
    with engine.store.write() as tx:
        tx.serialise(sharing.DECIDE)
        ws = Workspace(engine, tx, run, actor=person)
        ws.load({decision.record_id for decision in chunk})
        piece = look(engine, tx, scope, chunk, ws.records)
        for way in piece.ways:
            _set_back(ws, way, scope)
        finish(ws)
        return piece


def _set_back(ws: Workspace, way: Way, scope: Scope) -> None:
    record, name, newest = way.record, way.name, way.back.undone[0]
    before, rule_plan = record.golden[name], ws.plan(record.id)
    golden = restored(before, way.back, ws.now)
    ws.put_golden(record.id, name, golden)
    if name in {field for field, _ in rule_plan.keyed.values()}:
        ws.rekey(record.id)
    several = numbers(way.back)
    told = ", ".join(str(one) for one in several[:5]) + (", ..." if len(several) > 5 else "")
    ws.add(
        record.id,
        Outcome(
            kind="undone",
            field=name,
            system=newest.system,
            link=newest.link if newest.link in record.by_number else 0,
            policy=rule_plan.fields[name].rule.policy,
            place=rule_plan.places[name],
            why=f"set back to what it was before decision {told}",
            after=golden.value,
            question=Question(system=newest.system, golden=before),
            cause=Cause("undo", event=scope.words, at=ws.now),
        ),
    )


# -------------------------------------------------------------------------------------------- in sum


def _add(done: Undone, piece: Piece) -> None:
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
