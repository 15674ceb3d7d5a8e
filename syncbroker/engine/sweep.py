"""Everything a vendor holds against what the broker believes it holds: the net under webhooks and polls.

A sweep streams a whole object and stages only what differs from the stored fingerprints. Records it did not meet are
read by id before they count as deleted, and only when the scan was proven complete: absence from a page is no evidence.
"""

from __future__ import annotations

from syncbroker.engine import Engine, Source, ingest
from syncbroker.engine.ingest import Progress, Read
from syncbroker.errors import SyncbrokerError
from syncbroker.store import queues, runs
from syncbroker.store import sweep as sweeping

MISSING_BOUND = 10_000
"""How many unmet records one sweep reads by id; more than that is no deletion but a fault, and the run says so."""


def sweep(engine: Engine, source: Source, progress: Progress = ingest.quiet) -> Read:
    """Stage every difference in one object; the released run is decided like any other."""
    connector = engine.connectors[source.system]
    with engine.store.write() as tx:
        at = runs.cursor(tx, source.system, source.object)
        run = runs.begin(tx, "sweep", source.system, source.object, engine.now())
        holding = ingest.holding(tx, source)
    result = Read(run, source, first=at.first_read is None, cursor=at.cursor, sweep=True, holding=holding)
    seen = bytearray()
    try:
        pages = connector.scan(source.object, source.paths)
        via = "first_read" if result.first else "sweep"
        last = ingest.stage_pages(engine, source, pages, result, via, progress, seen=seen)
        result.whole = last is not None and last.proven
        if result.whole:
            _stage_missing(engine, source, result, seen)
    except SyncbrokerError:
        ingest.abandon(engine, result)
        raise
    ingest.release(engine, result)
    return result


def _stage_missing(engine: Engine, source: Source, result: Read, seen: bytearray) -> None:
    with engine.store.read() as tx:
        missing = sweeping.unseen(tx, source.system, source.object, result.run, seen, MISSING_BOUND)
    if len(missing) == MISSING_BOUND:
        with engine.store.write() as tx:
            runs.count(tx, {("too_many_missing", source.system, source.object): 1})
        return
    found = ingest.read_now(engine, source, missing, "sweep")
    if found:
        with engine.store.write() as tx:
            queues.stage(tx, result.run, source.system, source.object, found)
        result.changed += len(found)
