"""Output guards: pushes that a run's decisions owe stay staged until the run is finished and its limits are kept.

`stage` is asked at the end of every deciding transaction. In a run it makes the new pushes of guarded entities
`staged`; for live decisions it counts them in a rolling window, and holds what passes it. `close` ends a run: its
pushes are due with one statement, or the run is held with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from syncbroker.core import guards
from syncbroker.engine import Engine, held, measure, sharing
from syncbroker.engine.measure import Measured
from syncbroker.engine.workspace import Workspace
from syncbroker.store import guards as stored
from syncbroker.store import runs
from syncbroker.store.database import Tx
from syncbroker.store.guards import Key
from syncbroker.store.queues import Row
from syncbroker.store.records import FAR
from syncbroker.store.runs import Held, Run

_WORDS = {"create": "created", "update": "changed", "delete": "deleted"}


def stage(ws: Workspace, existing: Mapping[int, Row], empties: set[int]) -> None:
    """What a transaction newly owes, of entities with output limits. `existing`: rows as they were before it.

    `empties`: links of which a value would be emptied. A person's answer owes what that person wants.
    """
    if not ws.engine.guarded:
        return
    live: dict[Key, list[Row]] = {}
    for id_ in ws.touched:
        record = ws.records[id_]
        if not ws.plan(id_).entity.guard.guards_output:
            continue
        for link in record.links:
            row = ws.outbox.get(link.n, existing.get(link.n))
            if row is None or row.state == "staged":
                continue
            if ws.stages:
                _stage_one(ws, row, link.open, decided=id_ in ws.outcomes)
            elif link.n in ws.made and row.state == "due":
                if link.n in ws.stage_as:
                    ws.outbox[link.n] = staged(row, ws.stage_as[link.n])
                elif ws.actor == "rules":
                    live.setdefault((row.system, row.object, record.entity), []).append(row)
    for key, rows in sorted(live.items()):
        _window(ws, key, rows, empties)


def _stage_one(ws: Workspace, row: Row, under_way: bool, *, decided: bool) -> None:
    """In a run. A write that was owed before carries the run's values too, as does whatever follows one under way."""
    if under_way:
        if decided and row.push.stage != ws.run:
            ws.outbox[row.link] = replace(row, push=replace(row.push, stage=ws.run))
    elif row.state == "due" and (row.link in ws.made or decided):
        ws.outbox[row.link] = staged(row, ws.run)


def staged(row: Row, run: int) -> Row:
    """The same write, waiting for the guards of a run."""
    return replace(row, state="staged", due=FAR, run=run, push=replace(row.push, stage=0))


def after(ws: Workspace, row: Row) -> int:
    """The run that stages what is owed once this write is settled; 0 when that run is finished, or there is none."""
    run = runs.get(ws.tx, row.push.stage) if row.push.stage else None
    return run.id if run is not None and run.state in ("reading", "released", "held") else 0


# ------------------------------------------------------------------------------------------------- windows


def _window(ws: Workspace, key: Key, rows: list[Row], empties: set[int]) -> None:
    """Pushes that live decisions owe: they pass within the limits, and are held by a run beyond them."""
    engine, tx, guard = ws.engine, ws.tx, ws.engine.plans[key[2]].entity.guard
    tx.serialise("window " + " ".join(key))  # what was counted before is to stand until this is
    run = runs.holding(tx, *key[:2], "pushes")
    if run is not None:
        ws.reach()
    fresh = {"created": 0, "changed": 0, "emptied": 0, "deleted": 0}
    for row in rows:
        fresh[_WORDS[row.op]] += 1
        fresh["emptied"] += row.op == "update" and row.link in empties
    if run is None:
        before = stored.window(tx, key, ws.now, guard.window)
        sums = {what: count + before.get(f"push_{what}", 0) for what, count in fresh.items()}
        found = Measured()
        tally = found.tally(key)
        tally.created, tally.changed, tally.emptied, tally.deleted = (sums[what] for what in fresh)
        tally.seen = tally.created + tally.changed + tally.deleted
        found.limits = measure.tripped(engine, tx, guard, key, tally)
        if not found.limits:
            stored.note(tx, key, {f"push_{what}": n for what, n in fresh.items()}, ws.now, guard.window)
            return
        ws.reach()
        run = _hold_live(ws, key, rows, found)
    else:
        ws.held.add(run.id)
    for row in rows:
        ws.outbox[row.link] = staged(row, run.id)
    ws.count("guard_staged", *key[:2], len(rows))


def _hold_live(ws: Workspace, key: Key, rows: list[Row], found: Measured) -> Run:
    for row in rows[: guards.SAMPLES]:
        record = ws.records[ws.home[row.link]]
        found.keep(_WORDS[row.op], measure.push_sample(ws.plan(record.id), record, row.link, row.op))
    run = held.live(ws.tx, ws.engine, *key[:2])
    kept = held.hold(ws.engine, ws.tx, run, Held(review=0, waits="pushes"), found, ended=ws.now)
    ws.held.add(run.id)
    return replace(run, held=kept)


# ------------------------------------------------------------------------------------------------- closing


@dataclass
class Closing:
    """A run about to be finished, with what its pushes were found to do."""

    run: int
    found: Measured = field(default_factory=Measured)


def look(engine: Engine, run: int) -> Closing:
    """Measure what a run has staged, before the transaction that ends it."""
    if not engine.guarded:
        return Closing(run)
    with engine.store.read() as tx:
        return Closing(run, measure.owed(engine, tx, run))


def close(engine: Engine, tx: Tx, closing: Closing, counts: Mapping[str, int]) -> bool:
    """End a run: what it staged is due from now on, or it is held with that. Returns whether it is held."""
    now = engine.now()
    run = runs.get(tx, closing.run)
    if run is None:
        return False
    if run.state == "held":  # another process ended it
        return True
    found = closing.found
    if engine.guarded:
        tx.serialise(sharing.DECIDE)
        if stored.pushes(tx, run.id) != found.pushes:  # something was decided meanwhile
            found = measure.owed(engine, tx, run.id)
    allowed = run.held.allowed if run.held is not None else {}
    found.limits = [one for one in found.limits if one.found > allowed.get(one.what, 0)]
    if found.limits:
        run = replace(run, counts=dict(counts))
        held.hold(engine, tx, run, Held(review=0, waits="pushes"), found, ended=now)
        runs.count(tx, {("guard_staged", one.system, one.object): one.many for one in found.pushes})
        return True
    if found.pushes:
        stored.send(tx, run.id)
    runs.move(tx, run.id, "done", counts, ended=now)
    return False
