"""What lies between the measured phases. It is done by children too: a child's peak memory begins at its parent's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg

from benchmarks import world
from benchmarks.job import Job, Result
from benchmarks.server import plain


def prepare(job: Job) -> Callable[[], Result]:
    folder = Path(job.folder)
    if job.who == "files":
        return partial(_write, folder, job.count)
    if job.who == "change":
        return partial(_change, folder, job.count)
    return partial(_keep if job.who == "keep" else _upkeep, job.url)


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
    with psycopg.connect(plain(url), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    return 0, 0, {}


def _keep(url: str) -> Result:
    """A copy of the tables of `core` as they are now."""
    with psycopg.connect(plain(url), autocommit=True) as connection:
        for system in world.SYSTEMS:
            connection.execute(f"DROP TABLE IF EXISTS before_{system}")
            connection.execute(f"CREATE TABLE before_{system} AS SELECT * FROM core_{system}")
            connection.execute(f"ALTER TABLE before_{system} ADD PRIMARY KEY (id)")
        connection.execute("VACUUM ANALYZE")
    return 0, 0, {}
