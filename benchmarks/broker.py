"""The broker itself: its first load is a `sync` into an empty store, its sweeps are sweeps of all three systems."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks import world
from benchmarks.job import Job, Result
from syncbroker.bootstrap import build
from syncbroker.engine import cycle
from syncbroker.settings import Settings
from syncbroker.store import schema
from syncbroker.store.database import open_store


def prepare(job: Job) -> Callable[[], Result]:
    folder = Path(job.folder)
    store = open_store(job.url)
    if job.what == "load":
        schema.upgrade(store)
    mappings = folder / ("parsed" if job.parsed else "lines")
    settings = Settings(mappings=mappings, database_url=job.url)  # type: ignore[call-arg]  # the rest is usual
    engine = build(settings, store=store, environment={}, registry=world.REGISTRY)
    cycle.activate(engine)
    step = cycle.sync if job.what == "load" else cycle.sweep

    def run() -> Result:
        summary = step(engine)
        if summary.failed:
            raise RuntimeError(f"the broker left systems alone: {summary.failed}")
        return sum(summary.seen.values()), sum(summary.changed.values()), dict(summary.kinds)

    return run
