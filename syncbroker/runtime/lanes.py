"""One thing at a time, in the order of its urgency: a system whose calls hang keeps nobody waiting but itself."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import structlog

from syncbroker.errors import SyncbrokerError

_log = structlog.get_logger()


class _Job(NamedTuple):
    urgency: int
    number: int
    run: Callable[..., None]
    ids: tuple[Any, ...]
    more: tuple[Any, ...]

    @property
    def name(self) -> tuple[Callable[..., None], tuple[Any, ...]]:
        return self.run, self.ids


class Lane:
    """One job at a time. Who finds it busy leaves the job to whoever is at it.

    A job is known by its function and ids: one that waits already is not asked for twice.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Job] = []
        self._at: _Job | None = None
        self._count = 0
        self._closed = False

    def holds(self, job: Callable[..., None], *ids: Any) -> bool:
        """Whether the job waits or is being done."""
        with self._lock:
            at = self._at is not None and self._at.name == (job, ids)
            return at or any(one.name == (job, ids) for one in self._waiting)

    def do(self, job: Callable[..., None], *ids: Any, urgency: int = 0, more: tuple[Any, ...] = ()) -> None:
        """Ask for a job, and do what waits unless another thread is at it. `urgency`: 0 is done first. `more`: further
        arguments, which are no part of what the job is known by."""
        with self._lock:
            if not self._closed and all(one.name != (job, ids) for one in self._waiting):
                self._count += 1
                heapq.heappush(self._waiting, _Job(urgency, self._count, job, ids, more))
        done: _Job | None = None
        while (done := self._next(done)) is not None:
            with reported(done.run.__name__, *done.ids):
                done.run(*done.ids, *done.more)

    def close(self) -> None:
        """Nothing more is begun."""
        with self._lock:
            self._closed = True
            self._waiting.clear()

    def _next(self, done: _Job | None) -> _Job | None:
        with self._lock:
            if done is not None:
                self._at = None
            if not self._waiting or self._at is not None:
                return None
            self._at = heapq.heappop(self._waiting)
            return self._at


@contextmanager
def reported(work: str, *ids: Any) -> Iterator[None]:
    """Whatever goes wrong becomes a line in the log, and the process goes on: the store still knows what is to do."""
    where = {"work": work, "ids": list(ids)}
    try:
        yield
    except SyncbrokerError as error:
        _log.warning("put off", **where, kind=type(error).__name__, system=error.system, error=error.message)
    except Exception:  # noqa: BLE001  # a fault in one job must not end the thread that all others wait for
        _log.exception("fault", **where)
