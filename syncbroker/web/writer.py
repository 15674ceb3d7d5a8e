"""Group commit: one thread stores all deliveries that wait, in one transaction, and then answers all of them.

A commit waits for the disk, and while it does the next group gathers; so the more there is to store, the more of it
one commit carries, and a single delivery waits for nobody. Each request waits for its own commit. An error fails the
whole group: none of it is stored, and every vendor delivers again.

The writer also knows how many deliveries wait to be dealt with: the store says so now and then, and what was stored
since is added. What workers have dealt with meanwhile is seen at the next look, so the bound is held to within that.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from syncbroker.errors import Retry, SyncbrokerError
from syncbroker.store import deliveries, hearing
from syncbroker.store.database import Store
from syncbroker.store.deliveries import Arrival, Placed

Nudge = Callable[[int, str], None]
"""(delivery, system): there is something to do; lost, it costs at most a tick."""

QUEUED = 2000
"""How many deliveries may wait for a commit; more are turned away."""

GROUP = 500
"""The most rows of one transaction."""

GROUP_BYTES = 16_777_216
"""The most bytes of bodies of one transaction, unless one body alone is larger."""

LOOK_SECONDS = 2.0
"""How old the count of what waits in the store may be."""

NOTE_SECONDS = 60.0
"""How often it is written down that a system delivers."""

STOP_SECONDS = 10.0
"""How long what is queued may take to be stored once the writer stops."""

_log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class _Job:
    arrival: Arrival
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Placed]


class Writer:
    """`put` is for event loops; the thread is started and stopped by `writing`."""

    def __init__(self, store: Store, nudge: Nudge, most: int) -> None:
        """`most`: how many deliveries may wait to be dealt with; half of them of one system."""
        self._store = store
        self._nudge = nudge
        self._most = most
        self._jobs: deque[_Job] = deque()
        self._some = threading.Condition()
        self._stopping = False
        self._calling = False
        self._counted: Counter[str] = Counter()
        self._looked = float("-inf")
        self._noted: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    async def put(self, arrival: Arrival) -> Placed:
        """Where it is, once it is durable. Retry when too many wait for the disk; what the store raises."""
        loop = asyncio.get_running_loop()
        job = _Job(arrival, loop, loop.create_future())
        if self._stopping or len(self._jobs) >= QUEUED:
            raise Retry("too many deliveries wait to be stored", hint="is the disk slow?")
        self._jobs.append(job)
        if not self._calling:
            # after all requests that this step of the loop has found: they are one group then
            self._calling = True
            loop.call_soon(self._call)
        return await job.answer

    def _call(self) -> None:
        self._calling = False
        with self._some:
            self._some.notify()

    def full(self, system: str) -> bool:
        """Whether as many deliveries wait to be dealt with as may: of this system, or of all."""
        counted = self._counted
        return counted[system] >= self._most // 2 or counted.total() >= self._most

    def start(self) -> None:
        with self._store.read() as tx:
            self._counted = Counter(deliveries.waiting(tx))
        self._thread.start()

    def stop(self) -> None:
        """Store what is queued, and end."""
        with self._some:
            self._stopping = True
            self._some.notify()
        self._thread.join(STOP_SECONDS)

    # ---- the thread ----

    def _run(self) -> None:
        while (group := self._gathered()) is not None:
            if self._place(group):
                self._look(time.monotonic())

    def _gathered(self) -> list[_Job] | None:
        """What waits, up to a group; [] when it is only time to look. None at the end."""
        with self._some:
            while not self._jobs:
                if self._stopping:
                    return None
                if not self._some.wait(LOOK_SECONDS if self._counted else None):
                    return []
            size, group = 0, list[_Job]()
            while self._jobs and len(group) < GROUP:  # requests append meanwhile: nothing may iterate
                size += len(self._jobs[0].arrival.body)
                if group and size > GROUP_BYTES:
                    break
                group.append(self._jobs.popleft())
            return group

    def _place(self, group: Sequence[_Job]) -> bool:
        """Store the group and answer it; whether the store could."""
        if not group:
            return True
        try:
            with self._store.write() as tx:
                placed = deliveries.store(tx, [job.arrival for job in group])
                heard = self._unnoted(group)
                hearing.note_heard(tx, heard, max((job.arrival.received for job in group), default=0))
        except SyncbrokerError as error:
            _answer(group, error)
            return False
        except Exception:  # noqa: BLE001  # whatever it is, the thread goes on: it is the only way into the store
            _log.exception("fault", work="store deliveries", count=len(group))
            _answer(group, Retry("the deliveries could not be stored"))
            return False
        self._noted.update(dict.fromkeys(heard, time.monotonic()))
        self._counted = self._counted + Counter(
            job.arrival.system for job, one in zip(group, placed, strict=True) if one.wakes
        )
        _answer(group, placed)
        for job, one in zip(group, placed, strict=True):
            if one.wakes:
                self._announce(one.number, job.arrival.system)
        return True

    def _unnoted(self, group: Sequence[_Job]) -> set[str]:
        """Systems of the group of which it was not written down lately that they deliver."""
        old = time.monotonic() - NOTE_SECONDS
        return {
            job.arrival.system for job in group if self._noted.get(job.arrival.system, float("-inf")) < old
        }

    def _announce(self, number: int, system: str) -> None:
        try:
            self._nudge(number, system)
        except Exception as error:  # noqa: BLE001  # a queue that cannot be reached costs a tick, not a delivery
            _log.warning("put off", work="nudge", system=system, kind=type(error).__name__)

    def _look(self, now: float) -> None:
        """Count anew what waits, when the last count is old."""
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        try:
            with self._store.read() as tx:
                self._counted = Counter(deliveries.waiting(tx))
        except SyncbrokerError as error:
            _log.warning("put off", work="count deliveries", error=error.message)


def _answer(group: Sequence[_Job], told: Sequence[Placed] | SyncbrokerError) -> None:
    """Tell every request what became of it: one call into each event loop, not one per request."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Placed], Placed | None]]] = {}
    for n, job in enumerate(group):
        placed = told[n] if not isinstance(told, SyncbrokerError) else None
        by_loop.setdefault(job.loop, []).append((job.answer, placed))
    error = told if isinstance(told, SyncbrokerError) else None
    for loop, answers in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, answers, error)
        except RuntimeError:  # the loop is closed: the server stopped, and nobody waits any more
            _log.info("put off", work="answer deliveries", count=len(answers))


def _resolve(
    answers: Sequence[tuple[asyncio.Future[Placed], Placed | None]], error: SyncbrokerError | None
) -> None:
    for answer, placed in answers:
        if answer.done():  # whoever asked is gone
            continue
        if placed is not None:
            answer.set_result(placed)
        elif error is not None:
            answer.set_exception(error)


@contextmanager
def writing(store: Store, nudge: Nudge, most: int) -> Iterator[Writer]:
    """A writer that takes deliveries while the body runs. What was taken is stored before it ends."""
    writer = Writer(store, nudge, most)
    writer.start()
    try:
        yield writer
    finally:
        writer.stop()
