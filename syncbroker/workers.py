"""Work that goes on by itself: the actors, and the process that works.

A message is a nudge that carries ids; the store is the only truth about work (`runtime`).

    delivery stored -> receive_system     read it at its vendor
                    -> settle_now         decide
                    -> deliver_system     write to each system that is owed
                    -> settle_now         what the writes brought to light
    schedule        -> pull_source, sweep_source, backfill_source
"""

from __future__ import annotations

from contextlib import suppress

import dramatiq

from syncbroker.core.types import Micros
from syncbroker.engine import Engine, breaker, cycle
from syncbroker.runtime.clock import Clock
from syncbroker.runtime.nudges import BACKFILL, DELIVER, PULL, RECEIVE, SETTLE, SWEEP, Nudges, make_broker
from syncbroker.runtime.work import Work
from syncbroker.store import queues, runs, stops, turns
from syncbroker.store.turns import Turn

STOP_SECONDS = 4.0
"""How long work that is under way may take once the workers stop. What is cut off is done again after the start."""


def make_actors(work: Work, broker: dramatiq.Broker) -> dict[str, dramatiq.Actor[..., None]]:
    """Register the actors with a broker: each puts its job into a lane."""

    @dramatiq.actor(broker=broker, queue_name=RECEIVE.queue, priority=RECEIVE.urgency)
    def receive_system(system: str) -> None:
        work.lane(system, "receive").do(work.receive, system)

    @dramatiq.actor(broker=broker, queue_name=SETTLE.queue, priority=SETTLE.urgency)
    def settle_now() -> None:
        work.deciding.do(work.settle)

    @dramatiq.actor(broker=broker, queue_name=DELIVER.queue, priority=DELIVER.urgency)
    def deliver_system(system: str) -> None:
        work.lane(system, "write").do(work.deliver, system)

    @dramatiq.actor(broker=broker, queue_name=PULL.queue, priority=PULL.urgency)
    def pull_source(system: str, object_: str, slot: int) -> None:
        work.lane(system, "poll").do(work.pull, system, object_, more=(slot,))

    @dramatiq.actor(broker=broker, queue_name=SWEEP.queue, priority=SWEEP.urgency)
    def sweep_source(system: str, object_: str, slot: int) -> None:
        work.lane(system, "long").do(work.sweep, system, object_, urgency=SWEEP.urgency, more=(slot,))

    @dramatiq.actor(broker=broker, queue_name=BACKFILL.queue, priority=BACKFILL.urgency)
    def backfill_source(system: str, object_: str, slot: int) -> None:
        work.lane(system, "long").do(work.pull, system, object_, urgency=BACKFILL.urgency, more=(slot,))

    found = (receive_system, settle_now, deliver_system, pull_source, sweep_source, backfill_source)
    return {actor.actor_name: actor for actor in found}


class Sender:
    """A process that stores deliveries and works on none: it tells those that work."""

    def __init__(self, redis_url: str) -> None:
        self._nudges = Nudges(make_broker(redis_url)) if redis_url else None

    def nudge(self, _number: int, system: str) -> None:
        """A delivery was stored; without Redis another process finds it in the store."""
        if self._nudges is not None:
            self._nudges.send(RECEIVE, system)

    def close(self) -> None:
        if self._nudges is not None:
            self._nudges.close()


class Scheduler:
    """A process that only announces: the clock, and nothing else."""

    def __init__(self, engine: Engine, tick: float, redis_url: str) -> None:
        self._nudges = Nudges(make_broker(redis_url))
        self._clock = Clock(engine, self._nudges, tick)

    def start(self) -> None:
        self._clock.start()

    def stop(self) -> bool:
        ended = self._clock.stop(STOP_SECONDS)
        self._nudges.close()
        return ended


class Workers:
    """The worker of one process: on a broker in its own memory, or on Redis beside others."""

    def __init__(self, engine: Engine, tick: float, redis_url: str = "") -> None:
        """`tick`: seconds between two looks for work that no message announced."""
        self.engine = engine
        self.broker = make_broker(redis_url)
        self.nudges = Nudges(self.broker)
        self.work = Work(engine, self.nudges)
        self.actors = make_actors(self.work, self.broker)
        self.nudges.here = lambda name, ids: self.actors[name].fn(*ids)
        self.clock = Clock(engine, self.nudges, tick)
        self._began: Micros | None = None
        self._awaited: set[tuple[str, str]] = set()  # what is read once, since nobody worked before
        self._caught_up = False
        self._started = False
        # Redis is asked that often for each queue; the memory of the process tells by itself, and this is how soon
        # idle threads see that they are to end
        self._worker = dramatiq.Worker(
            self.broker, worker_threads=self.work.width, worker_timeout=100 if redis_url else 250
        )

    def nudge(self, _number: int, system: str) -> None:
        """A delivery was stored."""
        self.nudges.send(RECEIVE, system)

    def begin(self) -> None:
        """Take up what is left of earlier processes. Whoever comes first has everything read once, to catch up
        with what happened while nobody worked."""
        alone = self.engine.holder.begin()
        cycle.begin(self.engine)
        self.clock.plan()
        now = self.engine.now()
        with self.engine.store.write() as tx:
            for (system, object_), source in self.engine.sources.items():
                if alone or runs.cursor(tx, system, object_).rules != source.rules:
                    self._awaited.add((system, object_))
                    turns.bring_forward(
                        tx, Turn(system=system, object=object_, kind="pull", due=0, plan=""), now
                    )
        self._began = now

    def start(self) -> None:
        self._started = True
        self._worker.start()
        self.clock.look()
        self.clock.start()

    @property
    def synced(self) -> bool:
        """Whether everything was read since the start, and what was found is decided and written as far as it
        can be."""
        if not self._caught_up and self._began is not None:
            self._caught_up = self._is_caught_up(self._began)
        return self._caught_up

    def _is_caught_up(self, began: Micros) -> bool:
        now = self.engine.now()
        with self.engine.store.read() as tx:
            there = {(one.system, one.object): one for one in turns.every(tx) if one.kind == "pull"}
            paused = stops.stopped(tx)
            asked = {  # no more can be done for the others now
                name
                for name in self.engine.mapping.systems
                if name not in paused and runs.breaker(tx, breaker.reads(name)).open_until <= now
            }
        for key in self.engine.sources:
            one = there.get(key)
            if one is None or one.system not in asked:
                continue
            ended = one.ended or 0
            # a turn that was announced is due later, though nobody may have begun it
            if one.due <= began or (one.started or 0) > ended or (key in self._awaited and ended < began):
                return False
        due = cycle.due(self.engine)
        if due.told or due.observations or due.owed:
            return False
        # after the look at what is due: what was claimed meanwhile is here
        with self.engine.store.read() as tx:
            return not any(queues.is_claimed(tx, name) for name in asked)

    def stop(self) -> bool:
        """Wait for what is under way, but not for long; False when some of it still was. Nothing of it is lost."""
        self.work.close()
        ended = self.clock.stop(STOP_SECONDS)
        if self._started:
            with suppress(Exception):  # what it says to a Redis that is away is of no use to anybody
                self._worker.stop(int(STOP_SECONDS * 1000))
        self.nudges.close()
        self.engine.holder.close()
        return ended and not any(thread.is_alive() for thread in self._worker.workers)
