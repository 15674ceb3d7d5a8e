"""What the parent asks of a measured process, and what that answers: each one line of JSON."""

from __future__ import annotations

import msgspec


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
