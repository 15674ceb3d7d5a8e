"""A fault while deciding: the one observation that causes it is found, tried again later, and at last set aside.
The one record that it comes of where time has passed is found in the same way (`anew.wake`).

A fault is an exception that is none of ours: a mistake in the code, or a value that the database refuses. Without this
a run that holds such an observation could never be finished. What is set aside keeps its place in the inbox, is counted
by `status`, and is tried again when a person says so (`queues.revive`). Its neighbours are decided.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from syncbroker.core.types import Micros
from syncbroker.engine import Engine
from syncbroker.errors import SyncbrokerError
from syncbroker.store import queues, runs

FAULTS = 3
"""How often deciding an observation may meet a fault before it is set aside."""

PAUSE: Micros = 30_000_000
"""How long it waits before it is tried again; what surrounds it may be another by then."""


_T = TypeVar("_T")


def isolate(
    some: Sequence[_T], decide: Callable[[Sequence[_T]], None], strike: Callable[[_T, Exception], None]
) -> int:
    """`decide` these; in halves, down to the one that causes it, which is struck, if that meets a fault. How many did.

    An error of ours ends it; what was not decided still waits.
    """
    try:
        decide(some)
    except SyncbrokerError:
        raise
    except Exception as fault:  # noqa: BLE001  # whatever it is, its neighbours are decided
        if len(some) == 1:
            strike(some[0], fault)
            return 1
    else:
        return 0
    middle = len(some) // 2
    return sum(isolate(half, decide, strike) for half in (some[:middle], some[middle:]))


def strike(engine: Engine, number: int, fault: Exception) -> None:
    """Deciding this observation met a fault: it waits, or is set aside."""
    what = described(fault)
    with engine.store.write() as tx:
        aside = queues.strike(tx, number, what, FAULTS, engine.now() + PAUSE)
        if aside is not None:
            runs.count(tx, {("set_aside", aside.system, aside.object): 1})
    engine.tell("fault", work="decide", ids=[number], error=what)


def described(fault: Exception) -> str:
    """Kind and place of a fault. Its text may hold values, so it is left out."""
    frames = traceback.extract_tb(fault.__traceback__)
    ours = [frame for frame in frames if "syncbroker" in Path(frame.filename).parts] or frames
    if not ours:
        return type(fault).__name__
    last = ours[-1]
    parts = Path(last.filename).parts
    start = max((n for n, part in enumerate(parts) if part == "syncbroker"), default=len(parts) - 1)
    return f"{type(fault).__name__} in {last.name} at {'/'.join(parts[start:])}:{last.lineno}"
