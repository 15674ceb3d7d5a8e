"""Input guards: what was read, or told by webhooks, is let in or held as a whole, before anything of it is decided.

`gate` stands behind every reading of an object, `admit` behind every webhook delivery. Both weigh observations against
what the links hold, so a first read of an object passes: there nothing changes, and its pushes are guarded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from syncbroker.core import guards
from syncbroker.core.guards import Tally
from syncbroker.core.types import Micros
from syncbroker.engine import Engine, Source, held, measure
from syncbroker.engine.measure import CHUNK, Measured, Scale
from syncbroker.errors import Retry
from syncbroker.store import decisions, queues, runs
from syncbroker.store import guards as stored
from syncbroker.store.database import Tx
from syncbroker.store.queues import LIVE, Sighting
from syncbroker.store.runs import Held, Run


def gate(
    engine: Engine, source: Source, number: int, counts: Mapping[str, int], reading: Held
) -> tuple[int, bool]:
    """Let a run whose observations are all staged go, or hold it. `reading`: how it goes on once it is let go.

    Returns the run that is to be decided (another one, if it joined that), and whether it may be now.
    """
    with engine.store.write() as tx:
        _alone(tx, source)
        reader = runs.locked(tx, number)
        if reader is None or reader.state != "reading":
            raise Retry("another process has taken this reading over", system=source.system)
        waiting = held.readings(tx, source)
        if waiting is None and not _can_trip(tx, source, counts["changed"]):
            runs.move(tx, number, "released", counts)
            return number, True
        if waiting is not None:
            _join(tx, waiting, number, counts, reading, engine.now())
            number = waiting.id
    with engine.store.read() as tx:
        found = measure.staged(engine, tx, source, number)
    with engine.store.write() as tx:
        _alone(tx, source)
        run = runs.get(tx, number)
        if run is None or run.state not in ("reading", "held"):  # a person has answered meanwhile
            return number, False
        if run.held is not None:
            return number, _again(engine, tx, source, run, found)
        if not found.limits:
            runs.move(tx, number, "released", counts)
            return number, True
        waiting = held.readings(tx, source)
        if waiting is not None:  # another process, or a webhook, was quicker
            _join(tx, waiting, number, counts, reading, engine.now())
            held.count_waiting(tx, [waiting.id])
            return waiting.id, False
        held.hold(engine, tx, replace(run, counts=dict(counts)), reading, found)
        runs.count(tx, {("guard_held", source.system, source.object): counts["changed"]})
        _read_at(tx, source, reading, engine.now())
        return number, False


def _alone(tx: Tx, source: Source) -> None:
    """Of each object one run waits at most, whoever holds it."""
    if measure.guarded(source):
        tx.serialise(f"guard {source.system} {source.object}")


def _can_trip(tx: Tx, source: Source, changed: int) -> bool:
    """Whether so many observations could pass a limit at all. Most runs are let go by this."""
    readers = measure.guarded(source)
    if all(guards.harmless(plan.entity.guard, changed) for plan, _ in readers):
        return False
    return runs.cursor(tx, source.system, source.object).first_read is not None


def _join(tx: Tx, waiting: Run, number: int, counts: Mapping[str, int], reading: Held, now: Micros) -> None:
    """What was read while a run of the object is held becomes part of it."""
    for rows in stored.observations(tx, number, CHUNK):
        held.join(tx, waiting.id, rows)
    before = waiting.held or reading
    keeps = reading.sweep and before.reading  # a sweep does not move the cursor
    after = replace(
        before,
        reading=True,
        cursor=before.cursor if keeps else reading.cursor,
        whole=before.whole or reading.whole,
        sweep=before.sweep or reading.sweep,
    )
    changed = queues.inbox_size(tx, waiting.id)
    runs.hold(tx, waiting.id, after, {**waiting.counts, "changed": changed})
    runs.move(tx, number, "done", {**counts, "joined": waiting.id}, ended=now)


def _again(engine: Engine, tx: Tx, source: Source, run: Run, found: Measured) -> bool:
    """A held run after another reading: it goes by itself when it keeps the limits, the vendor having put things right.

    Not what a person has let go in part, nor what webhooks brought, as long as anything of it is left.
    """
    kept = run.held
    if kept is None:
        return False
    asks = kept.split or run.kind == "live"
    if found.limits or (asks and queues.inbox_size(tx, run.id)):
        held.renew(tx, run, kept, found)
        _read_at(tx, source, kept, engine.now())
        return False
    decisions.close_reviews(tx, [(kept.review, engine.now(), "within the limits again")])
    held.hurry(tx, run.id)
    runs.move(tx, run.id, "released", run.counts)
    return True


def _read_at(tx: Tx, source: Source, reading: Held, now: Micros) -> None:
    """The object was read, and is not read again before its time; the cursor stays where it is."""
    at = runs.cursor(tx, source.system, source.object)
    swept = now if reading.sweep or reading.whole else at.swept
    runs.set_cursor(tx, source.system, source.object, replace(at, pulled=now, swept=swept))


# ------------------------------------------------------------------------------------------------ webhooks


def admit(engine: Engine, tx: Tx, source: Source, sightings: Sequence[Sighting]) -> None:
    """Stage what webhooks brought, to be decided at once, or in a run that is held.

    What would change something is counted in a rolling window. Beyond the limits, and until a person has answered, it
    goes to a held run.
    """
    if not sightings:
        return
    if not measure.guarded(source):
        queues.stage(tx, LIVE, source.system, source.object, sightings)
        return
    _alone(tx, source)
    scale = Scale(engine, source)
    moving = scale.weigh(tx, _news(tx, source, sightings))
    waiting = held.readings(tx, source)
    is_open = waiting is not None and waiting.kind == "live"
    limits = [] if is_open else _tripped(engine, tx, source, scale.found)
    if not (limits or is_open):
        for key, tally in scale.found.tallies.items():
            span = engine.plans[key[2]].entity.guard.window
            counts = {what: getattr(tally, what) for what in _COUNTED}
            stored.note(tx, key, counts, engine.now(), span)
        queues.stage(tx, LIVE, source.system, source.object, sightings)
        return
    stays = [s for s in sightings if s.id in moving]
    passes = [s for s in sightings if s.id not in moving]
    queues.stage(tx, LIVE, source.system, source.object, passes)
    if not stays:
        return
    runs.count(tx, {("guard_held", source.system, source.object): len(stays)})
    if waiting is not None:
        held.stage(tx, waiting, source, stays)
        return
    scale.found.limits = limits
    run = held.live(tx, engine, source.system, source.object)
    queues.stage(tx, run.id, source.system, source.object, stays)
    held.hold(engine, tx, run, Held(review=0, waits="observations"), scale.found)


_COUNTED = ("changed", "emptied", "deleted")


def _news(tx: Tx, source: Source, sightings: Sequence[Sighting]) -> list[Sighting]:
    """Without what waits to be decided already: a vendor may tell the same thing twice."""
    ids = sorted({s.id for s in sightings})
    waiting = {
        row.sighting.id: row.sighting for row in stored.staged(tx, [LIVE], source.system, source.object, ids)
    }
    return [s for s in sightings if not _same(s, waiting.get(s.id))]


def _same(one: Sighting, other: Sighting | None) -> bool:
    return other is not None and (one.fields, one.deleted) == (other.fields, other.deleted)


def _tripped(engine: Engine, tx: Tx, source: Source, found: Measured) -> list[guards.Limit]:
    """The limits that this delivery passes, together with what went through in the window before it."""
    limits: list[guards.Limit] = []
    for plan, _ in measure.guarded(source):
        key = (source.system, source.object, plan.entity.name)
        tally, guard = found.tally(key), plan.entity.guard
        if not (tally.changed or tally.deleted):
            continue
        before = stored.window(tx, key, engine.now(), guard.window)
        whole = Tally(
            changed=tally.changed + before.get("changed", 0),
            emptied=tally.emptied + before.get("emptied", 0),
            deleted=tally.deleted + before.get("deleted", 0),
            collapses=tally.collapses,
        )
        limits += measure.tripped(engine, tx, guard, key, whole)
    return limits
