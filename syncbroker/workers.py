"""Work that goes on by itself: actors, the lanes they work in, and the clock that looks for what nobody announced.

A message is a nudge that carries ids; the store is the only truth about work. A lost message costs at most a tick, a
repeated one finds nothing to do, and a crash loses nothing at all.

    delivery stored -> receive_delivery   read it at its vendor               (the system's lane)
                    -> settle_now         decide                              (the deciding lane)
                    -> deliver_system     write to each system that is owed   (that system's lane)
                    -> settle_now         what the writes brought to light
    schedule        -> pull_source, sweep_source                              (the reading lane)

A lane does one thing at a time, in the order it was asked. Each system has its own, so that one whose calls hang keeps
nobody waiting but itself, and long readings have theirs, so that a webhook is not behind a sweep.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import dramatiq
import structlog
from cronsim import CronSim
from dramatiq.brokers.stub import StubBroker

from syncbroker.core.mapping import Schedule
from syncbroker.core.types import Micros
from syncbroker.engine import Engine, Source, cycle, deliver, ingest
from syncbroker.engine.cycle import Summary
from syncbroker.errors import Retry, SyncbrokerError
from syncbroker.store import runs

REST: Micros = 5_000_000
"""How long work that failed is left alone, unless the failure says longer."""

READ_AGAIN: Micros = 300_000_000
"""How long after a scheduled reading it is checked whether it took place; one that failed is due again then."""

DECIDING = "deciding"
LOOKING = "looking"
"""What rests after a failure that is no single system's."""

STOP_SECONDS = 5.0
"""How long work that is under way may take once the workers stop. What is cut off is done again after the start."""

_log = structlog.get_logger()


class Lane:
    """One thing at a time, in the order it was asked for. Who finds it busy leaves the job to the one who is at it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._busy = False
        self._at: tuple[Callable[..., None], tuple[Any, ...]] | None = None

    def holds(self, job: Callable[..., None], *ids: Any) -> bool:
        """Whether the job waits or is being done."""
        with self._lock:
            return (job, ids) in self._waiting or self._at == (job, ids)

    def do(self, job: Callable[..., None], *ids: Any) -> None:
        """A job that waits already is not asked for twice."""
        with self._lock:
            if (job, ids) not in self._waiting:
                self._waiting.append((job, ids))
            if self._busy:
                return
            self._busy = True
        while (found := self._next()) is not None:
            with reported(found[0].__name__, *found[1]):
                found[0](*found[1])

    def _next(self) -> tuple[Callable[..., None], tuple[Any, ...]] | None:
        with self._lock:
            self._at = self._waiting.popleft() if self._waiting else None
            self._busy = self._at is not None
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


class Actors(NamedTuple):
    """The nudges there are: `.send(ids)`."""

    receive_delivery: dramatiq.Actor[[int, str], None]
    settle_now: dramatiq.Actor[[], None]
    deliver_system: dramatiq.Actor[[str], None]
    pull_source: dramatiq.Actor[[str, str], None]
    sweep_source: dramatiq.Actor[[str, str], None]


def make_actors(work: Work, broker: dramatiq.Broker) -> Actors:
    """Register the actors with a broker: each puts its job into a lane."""

    @dramatiq.actor(broker=broker)
    def receive_delivery(number: int, system: str) -> None:
        work.lane(system).do(work.receive, number, system)

    @dramatiq.actor(broker=broker)
    def settle_now() -> None:
        work.deciding.do(work.settle)

    @dramatiq.actor(broker=broker)
    def deliver_system(system: str) -> None:
        work.lane(system).do(work.deliver, system)

    @dramatiq.actor(broker=broker)
    def pull_source(system: str, object_: str) -> None:
        work.reading.do(work.pull, system, object_)

    @dramatiq.actor(broker=broker)
    def sweep_source(system: str, object_: str) -> None:
        work.reading.do(work.sweep, system, object_)

    return Actors(receive_delivery, settle_now, deliver_system, pull_source, sweep_source)


class Work:
    """The lanes and the jobs that are done in them. Each job ends with the nudges that follow from it."""

    def __init__(self, engine: Engine, broker: dramatiq.Broker) -> None:
        self.engine = engine
        self.deciding, self.reading = Lane(), Lane()
        self.systems = {name: Lane() for name in engine.mapping.systems}
        self.actors = make_actors(self, broker)
        self._resting: dict[str, Micros] = {}

    def lane(self, system: str) -> Lane:
        """A system that the mapping no longer has gets no calls, so it needs no lane of its own."""
        return self.systems.get(system, self.deciding)

    def rests(self, what: str) -> bool:
        return self._resting.get(what, 0) > self.engine.now()

    @contextmanager
    def resting(self, what: str) -> Iterator[None]:
        """After a failure `what` is left alone for a while: trying each second would only fill the log."""
        try:
            yield
        except SyncbrokerError as error:
            delay = int(error.delay * 1_000_000) if isinstance(error, Retry) else 0
            self._resting[what] = self.engine.now() + max(delay, REST)
            raise

    def receive(self, number: int, system: str) -> None:
        """A delivery whose system rests stays as it is; the clock announces it again."""
        if not self.rests(system):
            with self.resting(system):
                if ingest.receive(self.engine, number):
                    self.actors.settle_now.send()

    def settle(self) -> None:
        with self.resting(DECIDING):
            for _ in range(cycle.ROUNDS):
                if not cycle.decide_waiting(self.engine, Summary()):
                    break
            for system in cycle.due(self.engine, limit=0).systems:
                self.actors.deliver_system.send(system)

    def deliver(self, system: str) -> None:
        done = deliver.deliver(self.engine, system)
        for name, why in done.failed.items():
            _log.warning("put off", work="deliver", system=name, error=why)
        if done.moved:
            self.actors.settle_now.send()

    def pull(self, system: str, object_: str) -> None:
        self._read(cycle.pull_source, system, object_)

    def sweep(self, system: str, object_: str) -> None:
        self._read(cycle.sweep_source, system, object_)

    def _read(self, read: Callable[[Engine, Source], Summary], system: str, object_: str) -> None:
        done = read(self.engine, self.engine.sources[system, object_])
        seen, changed = done.seen.total(), done.changed.total()
        _log.info("read", work=read.__name__, system=system, object=object_, seen=seen, changed=changed)
        self.actors.settle_now.send()


class Turn(NamedTuple):
    """One line of the schedule: a source, how it is read ("pull", "sweep"), and when to look at it next."""

    source: Source
    kind: str
    plan: Schedule
    at: Micros


def schedule(engine: Engine, start: Micros) -> list[Turn]:
    """What the mapping asks to be read by itself."""
    turns = []
    for source in engine.sources.values():
        rules = engine.mapping.systems[source.system]
        for kind, plan in (("pull", rules.pull), ("sweep", rules.sweep)):
            if plan is not None:
                turns.append(Turn(source, kind, plan, due_at(engine, source, kind, plan, start)))
    return turns


def due_at(engine: Engine, source: Source, kind: str, plan: Schedule, start: Micros) -> Micros:
    """When a source's turn comes: counted from when it was last read, so that a restart neither delays nor repeats
    it, and from `start` if it never was."""
    with engine.store.read() as tx:
        at = runs.cursor(tx, source.system, source.object)
    last = at.pulled if kind == "pull" else at.swept
    return next_time(plan, start if last is None else last)


def next_time(plan: Schedule, after: Micros) -> Micros:
    """The first time after `after` that the schedule names."""
    if plan.every is not None:
        return after + int(plan.every * 1_000_000)
    times = CronSim(plan.at or "", datetime.fromtimestamp(after / 1_000_000, UTC))
    return int(next(times).timestamp() * 1_000_000)


class Workers:
    """The worker of one process, on a broker in its own memory."""

    def __init__(self, engine: Engine, tick: float) -> None:
        """`tick`: seconds between two looks for work that no message announced."""
        self.engine = engine
        self.broker = StubBroker(middleware=[])  # none is needed: what failed is found again in the store
        self.work = Work(engine, self.broker)
        self.synced = False
        self._tick = tick
        self._turns: list[Turn] = []
        self._start: Micros = 0
        self._stopping = threading.Event()
        self._clock = threading.Thread(target=self._run, name="clock", daemon=True)
        threads = len(self.work.systems) + 2  # one per lane
        self._worker = dramatiq.Worker(self.broker, worker_threads=threads, worker_timeout=100)

    def nudge(self, number: int, system: str) -> None:
        """A delivery was stored."""
        self.work.actors.receive_delivery.send(number, system)

    def begin(self) -> Summary:
        """Catch up with what happened while nobody worked: what a dead process left, then one sync."""
        cycle.recover(self.engine)
        cycle.activate(self.engine)
        summary = cycle.sync(self.engine)
        for system, why in {**summary.delivered.failed, **summary.failed}.items():
            _log.warning("put off", work="sync", system=system, error=why)
        self.synced = True
        return summary

    def start(self) -> None:
        self._start = self.engine.now()
        self._turns = schedule(self.engine, self._start)
        self._worker.start()
        self._clock.start()

    def stop(self) -> bool:
        """Wait for what is under way, but not for long; False when some of it still was. Nothing of it is lost."""
        self._stopping.set()
        if not self._clock.is_alive():
            return True
        self._clock.join(STOP_SECONDS)
        self._worker.stop(int(STOP_SECONDS * 1000))
        return not any(thread.is_alive() for thread in (self._clock, *self._worker.workers))

    def _run(self) -> None:
        while not self._stopping.wait(self._tick):
            with reported("look"), self.work.resting(LOOKING):
                if not self.work.rests(LOOKING):
                    self.look()

    def look(self) -> None:
        """Announce what is due: deliveries, observations, writes, and the schedule's next turns."""
        resting = [name for name in self.work.systems if self.work.rests(name)]
        due = cycle.due(self.engine, without=resting)
        for number, system in due.deliveries:
            self.nudge(number, system)
        if due.observations and not self.work.rests(DECIDING):
            self.work.actors.settle_now.send()
        for system in due.systems:
            self.work.actors.deliver_system.send(system)
        for n, turn in enumerate(self._turns):
            self._turns[n] = self._take_turn(turn)

    def _take_turn(self, turn: Turn) -> Turn:
        """Announce a reading that is due, unless it took place meanwhile; the turn as it is from then on."""
        now = self.engine.now()
        if turn.at > now:
            return turn
        source, work = turn.source, self.work
        at = due_at(self.engine, source, turn.kind, turn.plan, self._start)
        if at > now:
            return turn._replace(at=at)
        job = work.pull if turn.kind == "pull" else work.sweep
        if not work.reading.holds(job, source.system, source.object):
            actor = work.actors.pull_source if turn.kind == "pull" else work.actors.sweep_source
            actor.send(source.system, source.object)
        return turn._replace(at=min(now + READ_AGAIN, next_time(turn.plan, now)))
