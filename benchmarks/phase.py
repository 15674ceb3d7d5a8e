"""One measured phase in a process of its own, so that its CPU time and its peak memory are its own.

Setting up (imports, opening the store, reading the mapping, creating tables) is not counted, on any side. The parent
gives a `Job` as JSON and reads a `Measured` as JSON from the last line.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import psycopg
from sqlalchemy import make_url

from benchmarks import peers, world


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """`who`: broker, core, orm, floor, or the parent's own errands (files, change, upkeep). `folder` holds the files.

    `sample`: how many rows of each file the ORM script does. `count`: people to write; or the seed of a change.
    """

    who: str
    what: str
    folder: str
    url: str = ""
    parsed: bool = False
    sample: int = 0
    count: int = 0


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """`cpu`: user and system seconds of this process; `server`: of the PostgreSQL server, 0 where it cannot be seen.

    `base` and `peak`: kB of resident memory before the phase and at most. `done`: records that the phase went through.
    `changed`: records that it found to differ. `counts`: decided outcomes by kind.
    """

    wall: float
    cpu: float
    server: float
    base: int
    peak: int
    done: int
    changed: int = 0
    counts: dict[str, int] = {}


Result = tuple[int, int, dict[str, int]]
"""(records gone through, records that differed, outcomes by kind)."""


def broker(job: Job) -> Callable[[], Result]:
    from syncbroker.bootstrap import build  # noqa: PLC0415  # the peers' memory must not hold the broker
    from syncbroker.engine import cycle  # noqa: PLC0415
    from syncbroker.settings import Settings  # noqa: PLC0415
    from syncbroker.store import schema  # noqa: PLC0415
    from syncbroker.store.database import open_store  # noqa: PLC0415

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


def peer(job: Job) -> Callable[[], Result]:
    files = world.files(Path(job.folder))
    if job.who == "floor":
        floor = peers.Floor(job.url)
        if job.what == "load":
            return lambda: (floor.fill(files), 0, {})
        return lambda: (*floor.sweep(files), {})
    engine = peers.connect(job.url)
    if job.who == "core":
        peers.prepare_core(engine)
        return lambda: (peers.core(engine, files), 0, {})
    peers.prepare_orm(engine)
    return lambda: (peers.orm(engine, files, job.sample), 0, {})


def errand(job: Job) -> Callable[[], Result]:
    """What lies between the phases, here so that the parent stays small: a child's peak begins at its parent's."""
    folder = Path(job.folder)
    if job.who == "files":
        return partial(_write, folder, job.count)
    if job.who == "change":
        return partial(_change, folder, job.count)
    return partial(_upkeep, job.url)


def _write(folder: Path, count: int) -> Result:
    folder.mkdir(parents=True, exist_ok=True)
    files = world.write_files(folder, count)
    world.mapping_files(folder / "lines", files)
    world.mapping_files(folder / "parsed", files, parsed=True)
    return count, 0, {}


def _change(folder: Path, seed: int) -> Result:
    return 0, world.change_some(world.files(folder), 0.01, seed), {}


def _upkeep(url: str) -> Result:
    """What a server does by itself within minutes of a load."""
    with psycopg.connect(_plain(url), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    return 0, 0, {}


def _plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


# ------------------------------------------------------------------------------------------------- measuring


def measure(job: Job) -> Measured:
    makers = {"broker": broker, "core": peer, "orm": peer, "floor": peer}
    run = makers.get(job.who, errand)(job)
    server = _Server(job.url)
    base = _resident()
    before, wall, cpu = server.seconds(), time.perf_counter(), time.process_time()
    done, changed, counts = run()
    wall, cpu, after = time.perf_counter() - wall, time.process_time() - cpu, server.seconds()
    return Measured(
        wall=wall,
        cpu=cpu,
        server=after - before,
        base=base,
        peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        done=done,
        changed=changed,
        counts=counts,
    )


def _resident() -> int:
    """kB now, on Linux; elsewhere the most so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * resource.getpagesize() // 1024


class _Server:
    """The CPU time of a PostgreSQL server on this machine: of its processes, and of those that it outlived."""

    def __init__(self, url: str) -> None:
        self._first = 0
        if url.startswith("postgresql"):
            with psycopg.connect(_plain(url)) as connection:
                row = connection.execute("SELECT pg_backend_pid(), inet_server_addr() IS NULL").fetchone()
                if row and row[1]:
                    fields = _stat(row[0])
                    self._first = int(fields[1]) if fields else 0

    def seconds(self) -> float:
        if not self._first:
            return 0.0
        ticks = 0
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and (fields := _stat(int(folder.name))):
                if int(folder.name) == self._first:
                    ticks += sum(int(part) for part in fields[11:15])  # its own, and its children's that ended
                elif int(fields[1]) == self._first:
                    ticks += sum(int(part) for part in fields[11:13])
        return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the command's name; the parent's pid is the second."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def main() -> None:
    print(msgspec.json.encode(measure(msgspec.json.decode(sys.argv[1], type=Job))).decode())


if __name__ == "__main__":
    main()
