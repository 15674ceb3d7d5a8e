"""Stored deliveries of one system, oldest first: each becomes reads by id (payloads are hints) and then observations in
the inbox, and one that cannot be dealt with is set aside.

A vendor that cannot be reached now leaves them as they are. A fault of ours or of a connector counts against the one
delivery: after `TRIES` it is `poison`, kept with the kind of its fault until a person has it tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog
from msgspec.structs import replace

from syncbroker.core.types import Event, Micros
from syncbroker.engine import Engine, Source, breaker, ingest, intake
from syncbroker.engine.fingerprints import fingerprints
from syncbroker.errors import BadDelivery, SyncbrokerError
from syncbroker.sdk.connector import Delivery
from syncbroker.store import deliveries, queues, records, runs, stops
from syncbroker.store import sweep as sweeping
from syncbroker.store.database import Tx
from syncbroker.store.deliveries import Stored
from syncbroker.store.queues import Sighting
from syncbroker.store.records import FAR

TRIES = 5
"""How often a delivery may fail by a fault before it is set aside."""

WAIT: Micros = 2_000_000
"""How long after its first fault a delivery is tried again; doubled with each."""

SOME = 100
"""Deliveries looked up at a time."""

_log = structlog.get_logger()


def waiting(engine: Engine, system: str) -> bool:
    """Whether deliveries of a system are to be dealt with now."""
    with engine.store.read() as tx:
        return not stops.is_stopped(tx, system) and bool(deliveries.due(tx, system, engine.now(), 1))


def receive_due(engine: Engine, system: str, told: Callable[[], None]) -> int:
    """Everything that was delivered for a system; how many deliveries. `told`: something of it is to be decided."""
    done = 0
    while numbers := _due(engine, system):
        engine.holder.check()
        if breaker.closed(engine, breaker.reads(system)):
            return done
        if receive_some(engine, numbers, system):
            told()
        done += len(numbers)
        if len(numbers) < SOME:  # whoever asked looks once more when it is over
            break
    return done


def receive_some(engine: Engine, numbers: list[int], system: str) -> int:
    """Deliveries together; how many observations they led to. After a fault one by one, to find whose it is."""
    try:
        with breaker.reading(engine, system):
            return receive(engine, *numbers)
    except SyncbrokerError:
        raise
    except Exception as error:  # noqa: BLE001  # it is told below, where it is known whose it is
        _log.info("fault", work="receive", system=system, kind=type(error).__name__, deliveries=len(numbers))
    return sum(receive_one(engine, number, system) for number in numbers)


def receive_one(engine: Engine, number: int, system: str) -> int:
    """One delivery; how many observations it led to. A fault is noted, an error of the system is raised."""
    try:
        with breaker.reading(engine, system):
            return receive(engine, number)
    except SyncbrokerError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever it is, the other deliveries go on
        _log.exception("fault", work="receive", system=system, delivery=number)
        with engine.store.write() as tx:
            poisoned = deliveries.note_fault(
                tx, number, type(error).__name__, engine.now(), tries=TRIES, wait=WAIT
            )
            runs.count(tx, {("poison_delivery", system, ""): int(poisoned)})
        return 0


def _due(engine: Engine, system: str) -> list[int]:
    with engine.store.read() as tx:
        if stops.is_stopped(tx, system):
            return []
        return deliveries.due(tx, system, engine.now(), SOME)


# ---------------------------------------------------------------------------------- what deliveries tell


def receive(engine: Engine, *numbers: int) -> int:
    """Stored deliveries of one system -> reads by id -> staged observations; how many. A repeated call finds nothing
    to do.

    Several at once cost one transaction, and one read for each record, however many of them name it. Where a delivery
    says that an external id changed or that records became one, each has its turn alone: there the order counts.
    """
    with engine.store.read() as tx:
        found = deliveries.load(tx, numbers)
    told = [(one, events) for one in found if (events := _events(engine, one)) is not None]
    every = [event for _, events in told for event in events]
    if len(told) > 1 and any(event.kind in ("rekeyed", "merged") for event in every):
        return sum(receive(engine, one.id) for one, _ in told)
    if not told:
        return 0
    system = told[0][0].system
    staged: list[tuple[Source, list[Sighting]]] = []
    for object_ in dict.fromkeys(event.object for event in every):
        source = engine.sources.get((system, object_))
        if source is not None:
            seen = _of_events(engine, source, [e for e in every if e.object == object_])
            staged.append((source, _traced(seen, told)))
    with engine.store.write() as tx:
        still = deliveries.still_waiting(tx, [one.id for one, _ in told])
        mine = [(one, events) for one, events in told if one.id in still]
        if not mine:  # another worker was quicker
            return 0
        staged = [(source, _news(tx, source, sightings)) for source, sightings in staged]
        for source, sightings in staged:
            intake.admit(engine, tx, source, sightings)
        strange = [e for _, events in mine for e in events if (system, e.object) not in engine.sources]
        known = engine.connectors[system].objects
        unmapped = sum(event.object in known for event in strange)
        runs.count(tx, {("unmapped_event", system, ""): unmapped})
        runs.count(tx, {("unknown_event", system, ""): len(strange) - unmapped})
        deliveries.done(tx, [one.id for one, _ in mine])
    for one, events in mine:
        engine.tell("received", system=system, delivery=one.id, count=len(events), trace=one.trace)
    return sum(len(sightings) for _, sightings in staged)


def _surprising(engine: Engine, source: Source, events: Sequence[Event]) -> list[Event]:
    """Without those about records of which every body shows what is known: echoes of what the broker wrote, mostly.
    A body that shows anything else is a hint, and the record is read."""
    shown: dict[str, list[bytes]] = {}
    for e in events:
        plain = e.item is not None and e.kind in ("created", "changed") and e.new_id is None
        shown.setdefault(e.id, []).append(fingerprints(source, [e.item])[0] if plain and e.item else b"")
    marks = {id_: found[0] for id_, found in shown.items() if len(set(found)) == 1 and found[0]}
    if not marks:
        return list(events)
    with engine.store.read() as tx:
        known = _known(tx, source, marks)
    return [e for e in events if e.id not in known]


def _news(tx: Tx, source: Source, found: Sequence[Sighting]) -> list[Sighting]:
    """Without readings that show what is known."""
    marks = {
        one.id: bytes.fromhex(one.fingerprint)
        for one in found
        if one.read and one.fingerprint and not one.aliases and not one.renamed_from
    }
    known = _known(tx, source, marks)
    return [one for one in found if one.id not in known]


def _known(tx: Tx, source: Source, marks: Mapping[str, bytes]) -> set[str]:
    """External ids that have these fingerprints, and about which nothing is under way: what waits to be decided, or is
    being written, may be about to make them other ones."""
    where = source.system, source.object
    stored = sweeping.probe(tx, *where, list(marks), ascending=False)
    same = sorted(
        id_ for id_, mark in stored.marks.items() if mark in (marks[id_], marks[id_] + sweeping.DROPPED)
    )
    if not same or ingest.holding(tx, source):
        return set()
    waiting = queues.unjudged(tx, *where, same, FAR)
    links = {id_: [n for n, *_ in found] for id_, found in records.by_external_id(tx, *where, same).items()}
    writing = queues.outbox_rows(tx, [n for found in links.values() for n in found])
    return {id_ for id_ in same if id_ not in waiting and writing.keys().isdisjoint(links.get(id_, ()))}


def _traced(found: Sequence[Sighting], told: Sequence[tuple[Stored, Sequence[Event]]]) -> list[Sighting]:
    """Each with the trace of the last delivery that named its record."""
    of = {id_: one.trace for one, events in told for e in events for id_ in (e.id, e.new_id) if id_}
    return [replace(one, trace=of.get(one.id, "")) for one in found]


def _events(engine: Engine, stored: Stored) -> list[Event] | None:
    """What a delivery tells; one that tells nothing that can be read is closed, and None."""
    connector = engine.connectors.get(stored.system)
    if connector is None:
        _reject(engine, stored.id, "the system is no longer in the mapping")
        return None
    try:
        return list(connector.events(_delivery(stored)))
    except BadDelivery as error:
        _reject(engine, stored.id, error.message)
        return None


def _delivery(stored: Stored) -> Delivery:
    return Delivery(**msgspec.structs.asdict(stored.request), body=stored.body, received=stored.received)


def _reject(engine: Engine, number: int, why: str) -> None:
    with engine.store.write() as tx:
        deliveries.reject(tx, number, why)


def _of_events(engine: Engine, source: Source, events: Sequence[Event]) -> list[Sighting]:
    """Bodies with a version of their own are observations; every other event causes a read by id."""
    told = [
        replace(
            ingest.sighting(source, e.item, 0, engine.now(), "webhook", read=False), event=e.event_id or ""
        )
        for e in events
        if e.item is not None and e.item.stamp is not None and source.spec.stamp is not None
    ]
    asked = [e for e in events if e.item is None or e.item.stamp is None or source.spec.stamp is None]
    asked = _surprising(engine, source, asked)
    latest = {e.new_id or e.id: e for e in asked}
    former = {e.new_id: e.id for e in asked if e.kind == "rekeyed" and e.new_id}
    read = ingest.read_now(engine, source, [id_ for id_ in latest if id_ not in former.values()], "webhook")
    found = []
    for one in read:
        event, renamed = latest.get(one.id), former.get(one.id, "")
        while renamed in former:  # more than once in one delivery
            renamed = former[renamed]
        if event is not None:
            one = replace(one, event=event.event_id or "", actor=event.actor or one.actor)  # noqa: PLW2901
        found.append(replace(one, renamed_from=renamed))
    now = engine.now()
    found += [
        Sighting(id=e.id, merged_into=e.new_id, begun=now, ended=now, via="webhook", event=e.event_id or "")
        for e in asked
        if e.kind == "merged" and e.new_id and e.id != e.new_id
    ]
    return told + found
