"""What vendors say -> observations in the inbox. Nothing is judged here; unchanged records are left out by fingerprint.

`pull` reads what changed since the last cursor (or everything, the first time or when the reading rules changed).
`read_now` reads by id, for webhooks (see `receive`) and for what could not be judged (`reread`). A pulled run stays
staged until it is released; only then may it be decided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson
from msgspec.structs import replace

from syncbroker.core.types import Item, Micros
from syncbroker.engine import Engine, Source, held, intake, silent, staging
from syncbroker.engine.fingerprints import fingerprints, mapped
from syncbroker.errors import Refused, Retry, StoreUnusable, SyncbrokerError, Unavailable
from syncbroker.sdk.connector import Page
from syncbroker.store import queues, runs, stops, tables
from syncbroker.store import sweep as sweeping
from syncbroker.store.database import Tx
from syncbroker.store.queues import Sighting, Waiting
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


# ------------------------------------------------------------------------------------------ reading by id


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
