"""What vendors say -> observations in the inbox. Nothing is judged here; unchanged records are left out by fingerprint.

`pull` reads what changed since the last cursor (or everything, the first time or when the reading rules changed).
`receive` turns a stored webhook delivery into reads by id: payloads are hints. `reread` asks again for what could not
be judged. A pulled run stays staged until it is released; only then may it be decided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec
import orjson
from msgspec.structs import replace

from syncbroker.core.types import Event, Item, Micros
from syncbroker.engine import Engine, Source, held, intake, silent, staging
from syncbroker.engine.fingerprints import fingerprints, mapped
from syncbroker.errors import BadDelivery, Refused, Retry, StoreUnusable, SyncbrokerError, Unavailable
from syncbroker.sdk.connector import Delivery, Page
from syncbroker.store import queues, records, runs, stops, tables
from syncbroker.store import sweep as sweeping
from syncbroker.store.database import Tx
from syncbroker.store.queues import Sighting, Stored, Waiting
from syncbroker.store.records import FAR
from syncbroker.store.runs import Cursor, Held, Run

Progress = Callable[[int], None]

TOGETHER = 1000
"""So many changed records of one reading share a transaction, from however few or many pages they come."""


def lease(source: Source) -> str:
    """Whoever reads an object holds this, so that a reading without it is one that a dead process left."""
    return f"read:{source.system}:{source.object}"


def quiet(_count: int) -> None:
    """Progress that nobody watches."""


@dataclass
class Read:
    """What one reading of an object found. `run` is to be decided; `whole`: everything was read, and provably so.

    `sweep`: everything was compared, whatever that proves. `holding`: the run of the object that a guard held when the
    reading began. `held`: a guard holds this one now. `reads`: it moves the cursor when it is finished.
    """

    run: int
    source: Source
    seen: int = 0
    changed: int = 0
    whole: bool = False
    first: bool = False
    cursor: str | None = None
    sweep: bool = False
    holding: int = 0
    held: bool = False
    reads: bool = True


# ------------------------------------------------------------------------------------------------- pulling


def pull(engine: Engine, source: Source, progress: Progress = quiet) -> Read:
    """Stage what changed in one object since the last pull. The run is released when all of it is staged."""
    connector = engine.connectors[source.system]
    with engine.store.write() as tx:
        at = runs.cursor(tx, source.system, source.object)
        run = runs.begin(tx, "pull", source.system, source.object, engine.now())
        kept = holding(tx, source)
    first = at.first_read is None or at.rules != source.rules
    began = engine.now()
    result = Read(run, source, first=first, holding=kept)
    try:
        pages: Iterator[Page]
        via = "first_read" if first else "poll"
        if first or at.cursor is None:
            pages = connector.scan(source.object, source.paths)
            whole = True
        else:
            try:
                pages, whole = _begun(connector.poll(source.object, source.paths, cursor=at.cursor)), False
            except Refused:  # the vendor does not know the cursor (any more)
                pages, whole = connector.scan(source.object, source.paths), True
        last = stage_pages(engine, source, pages, result, via, progress, began=began)
        result.whole = whole and last is not None and last.proven
        result.cursor = (
            connector.start_cursor(source.object, began) if whole else (last.cursor if last else at.cursor)
        )
    except SyncbrokerError:
        abandon(engine, result)
        raise
    release(engine, result)
    return result


def holding(tx: Tx, source: Source) -> int:
    """The run of an object that a guard holds with observations, or 0."""
    run = held.readings(tx, source)
    return run.id if run is not None else 0


def _begun(pages: Iterator[Page]) -> Iterator[Page]:
    """The same pages with the first one asked for, so that a refusal shows before anything is staged."""
    first = next(pages, None)
    return pages if first is None else chain([first], pages)


def stage_pages(
    engine: Engine,
    source: Source,
    pages: Iterable[Page],
    result: Read,
    via: str,
    progress: Progress = quiet,
    *,
    seen: bytearray | None = None,
    began: Micros = 0,
) -> Page | None:
    """Stage every item whose fingerprint is not the stored one. Returns the last page.

    `began`: when the first page was asked for, where that was before.
    `seen`: one byte per link number, set for every record that was there unchanged. An unchanged record costs a hash
    and a probe: nothing is parsed, nothing is written.
    """
    last = None
    waiting: list[Sighting] = []
    begun = began or engine.now()
    for page in pages:
        engine.holder.check(lease(source))
        ended = engine.now()
        ids = [item.id for item in page.items]
        marks = fingerprints(source, page.items)
        with engine.store.read() as tx:
            if stops.is_stopped(tx, source.system):
                raise Retry("the system was paused while it was read", system=source.system)
            stored = sweeping.probe(tx, source.system, source.object, ids, source.spec.sorted_scan)
        changed = [
            sighting(source, item, begun, ended, via, mark=mark)
            for item, mark, known in zip(page.items, marks, map(stored.marks.get, ids), strict=True)
            if mark != known and (via == "sweep" or known != mark + sweeping.DROPPED)
        ]
        if seen is not None:
            sweeping.note(seen, stored)
        waiting += changed
        if len(waiting) >= TOGETHER:
            _stage(engine, result, waiting)
        if result.holding:
            moved = {one.id for one in changed}
            held.seen_unchanged(engine, result.holding, source, [id_ for id_ in ids if id_ not in moved])
        result.seen += len(page.items)
        result.changed += len(changed)
        progress(len(page.items))
        last, begun = page, engine.now()
    _stage(engine, result, waiting)
    return last


def _stage(engine: Engine, result: Read, waiting: list[Sighting]) -> None:
    """Stage these and forget them."""
    if waiting:
        with engine.store.write() as tx:
            queues.stage(tx, result.run, result.source.system, result.source.object, waiting)
        waiting.clear()


def sighting(
    source: Source,
    item: Item,
    begun: Micros,
    ended: Micros,
    via: str,
    *,
    read: bool = True,
    mark: bytes | None = None,
) -> Sighting:
    """An item as an observation: only its mapped raw members are kept, and their fingerprint."""
    whole = _decoded(source, item.fields) if isinstance(item.fields, bytes) else item.fields
    if mark is None:
        mark = fingerprints(source, [item])[0]
    return Sighting(
        id=item.id,
        fields=mapped(source, whole),
        complete=item.complete,
        deleted=item.deleted,
        merged_into=item.merged_into,
        aliases=item.aliases,
        stamp=item.stamp,
        begun=begun,
        ended=ended,
        read=read,
        via=via,
        consent=item.consent,
        actor=item.actor,
        field_times=item.field_times,
        fingerprint=mark.hex(),
    )


def _decoded(source: Source, text: bytes) -> dict[str, Any]:
    try:
        whole = orjson.loads(text)
    except ValueError:
        whole = None
    if not isinstance(whole, dict):
        raise Unavailable(f"a record of {source.object} is no JSON object", system=source.system)
    return whole


def release(engine: Engine, result: Read) -> None:
    """The input guards: a staged run is let go as a whole, or held as a whole."""
    counts = {"seen": result.seen, "changed": result.changed}
    reading = Held(
        review=0,
        waits="observations",
        reading=True,
        cursor=result.cursor,
        whole=result.whole,
        sweep=result.sweep,
    )
    try:
        engine.holder.check(lease(source := result.source))
    except Retry:
        abandon(engine, result)
        raise
    number, goes = intake.gate(engine, source, result.run, counts, reading)
    result.held = not goes
    if goes and number != result.run:
        with engine.store.read() as tx:
            run = runs.get(tx, number)
        if run is not None:
            _take_over(result, run)


def resumed(engine: Engine, run: Run) -> Read | None:
    """A run that was held and let go, to be decided and finished. None when the mapping no longer reads its object."""
    source = engine.sources.get((run.system, run.object))
    if source is None:
        return None
    result = Read(run.id, source)
    _take_over(result, run)
    return result


def _take_over(result: Read, run: Run) -> None:
    result.run, result.seen, result.changed = run.id, run.counts.get("seen", 0), run.counts.get("changed", 0)
    if run.held is not None:
        result.cursor, result.whole, result.sweep = run.held.cursor, run.held.whole, run.held.sweep
        result.reads = run.held.reading


def abandon(engine: Engine, result: Read) -> None:
    """A reading that broke off: what it staged goes, the cursor stays, the next run reads it again."""
    with engine.store.write() as tx:
        tx.run(tables.inbox.delete().where(tables.inbox.c.run == result.run))
        runs.move(tx, result.run, "failed", {"seen": result.seen}, ended=engine.now())


def finish(engine: Engine, result: Read, kinds: dict[str, int]) -> None:
    """All of a run is decided: the cursor moves, and what it owes may be written if its guards agree.

    A complete first read opens the object for creates.
    """
    closing = staging.look(engine, result.run)
    with engine.store.write() as tx:
        if result.reads:
            _move_cursor(engine, tx, result, kinds)
        staging.close(engine, tx, closing, {"seen": result.seen, "changed": result.changed, **kinds})


def _move_cursor(engine: Engine, tx: Tx, result: Read, kinds: dict[str, int]) -> None:
    now, source = engine.now(), result.source
    at = runs.cursor(tx, source.system, source.object)
    if not result.first:
        silent.note(tx, source, at, kinds, now)
    opens = result.whole and at.first_read is None
    after = Cursor(
        cursor=result.cursor,
        first_read=now if opens else at.first_read,
        swept=now if result.sweep or result.whole else at.swept,
        pulled=now,
        rules=source.rules if result.whole else at.rules,
    )
    runs.set_cursor(tx, source.system, source.object, after)
    if opens:
        creating = [plan for plan, reader in source.readers if reader.rule.create == "always"]
        runs.want_derived(tx, [plan.entity.name for plan in creating])


# ------------------------------------------------------------------------------------------------ webhooks


def receive(engine: Engine, *numbers: int) -> int:
    """Stored deliveries of one system -> reads by id -> staged observations; how many. A repeated call finds nothing
    to do.

    Several at once cost one transaction, and one read for each record, however many of them name it. Where a delivery
    says that an external id changed or that records became one, each has its turn alone: there the order counts.
    """
    with engine.store.read() as tx:
        found = queues.waiting_deliveries(tx, numbers)
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
        still = queues.still_waiting(tx, [one.id for one, _ in told])
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
        queues.close_deliveries(tx, [one.id for one, _ in mine])
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
    if not same or holding(tx, source):
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
        _close(engine, stored.id, "rejected", "the system is no longer in the mapping")
        return None
    try:
        return list(connector.events(_delivery(stored)))
    except BadDelivery as error:
        _close(engine, stored.id, "rejected", error.message)
        return None


def _delivery(stored: Stored) -> Delivery:
    return Delivery(**msgspec.structs.asdict(stored.request), body=stored.body, received=stored.received)


def _close(engine: Engine, number: int, state: str, error: str) -> None:
    with engine.store.write() as tx:
        queues.close_delivery(tx, number, "rejected" if state == "rejected" else "done", error)


def _of_events(engine: Engine, source: Source, events: Sequence[Event]) -> list[Sighting]:
    """Bodies with a version of their own are observations; every other event causes a read by id."""
    told = [
        replace(sighting(source, e.item, 0, engine.now(), "webhook", read=False), event=e.event_id or "")
        for e in events
        if e.item is not None and e.item.stamp is not None and source.spec.stamp is not None
    ]
    asked = [e for e in events if e.item is None or e.item.stamp is None or source.spec.stamp is None]
    asked = _surprising(engine, source, asked)
    latest = {e.new_id or e.id: e for e in asked}
    former = {e.new_id: e.id for e in asked if e.kind == "rekeyed" and e.new_id}
    read = read_now(engine, source, [id_ for id_ in latest if id_ not in former.values()], "webhook")
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


def read_now(engine: Engine, source: Source, ids: Sequence[str], via: str) -> list[Sighting]:
    """These records as they are at the vendor now; several calls at once, where the system's `concurrency` says so."""
    connector = engine.connectors[source.system]

    def read(some: Sequence[str]) -> list[Sighting]:
        begun = engine.now()
        items = connector.read(source.object, some, source.paths)
        ended = engine.now()
        return [sighting(source, item, begun, ended, via) for item in items]

    size = source.spec.read_batch
    calls = [ids[start : start + size] for start in range(0, len(ids), size)]
    wide = min(engine.mapping.systems[source.system].concurrency, len(calls))
    if wide < 2:
        return [one for some in calls for one in read(some)]
    with ThreadPoolExecutor(wide, thread_name_prefix="read") as pool:
        return [one for found in pool.map(read, calls) for one in found]


def reread(engine: Engine, waiting: Sequence[Waiting]) -> int:
    """Read by id what could not be judged; the new reading is judged first, then the old one, a last time."""
    done = 0
    by_source: dict[tuple[str, str], list[Waiting]] = {}
    for row in waiting:
        by_source.setdefault((row.system, row.object), []).append(row)
    for key, rows in by_source.items():
        source = engine.sources[key]
        with engine.store.read() as tx:
            if stops.is_stopped(tx, source.system):
                continue
        try:
            asked = {row.sighting.id: row.sighting.trace for row in rows}
            found = read_now(engine, source, list(asked), "read")
        except StoreUnusable:
            raise
        except SyncbrokerError:
            with engine.store.write() as tx:  # they come due again by themselves
                runs.count(tx, {("reread_failed", *key): len(rows)})
            continue
        with engine.store.write() as tx:
            traced = [replace(one, trace=asked.get(one.id, "")) for one in found]
            queues.stage(tx, queues.LIVE, *key, traced)
            for row in rows:
                queues.amend(tx, row.number, replace(row.sighting, second=True), 1)
        done += len(found)
    return done


_READINGS = ("pull", "sweep", "live")


def abandoned(tx: Tx) -> list[Run]:
    """Readings that are not finished, but for those that a person has let go: these have their own way."""
    return [
        run
        for run in runs.unfinished(tx)
        if run.kind in _READINGS and (run.state == "reading" or run.held is None)
    ]


def recover(engine: Engine, only: Source | None = None) -> list[Read]:
    """Runs (of one object) that a dead process left: half-read ones are dropped and read anew, released ones decided.

    The caller holds the lease of the object. Without an object: of what the mapping no longer reads.
    """
    left = []
    with engine.store.read() as tx:
        found = abandoned(tx)
    for run in found:
        source = engine.sources.get((run.system, run.object))
        if source is not only:
            continue
        if source is None or run.state == "reading":
            with engine.store.write() as tx:
                now = runs.locked(tx, run.id)
                if now is None or now.state != run.state:
                    continue
                tx.run(tables.inbox.delete().where(tables.inbox.c.run == run.id))
                runs.move(tx, run.id, "failed", run.counts, ended=engine.now())
            continue
        result = Read(run.id, source, reads=False)
        _take_over(result, run)
        left.append(result)
    return left
