"""The jobs, and the lanes they are done in. Each job ends with the nudges that follow from it.

    receive   what webhooks told about a system: read it there            lane (system, receive)
    settle    decide what waits, and what whole entities are owed         the deciding lane
    deliver   write to a system that is owed                              lane (system, write)
    pull      read what changed in one object, and decide it              lane (system, poll)
    sweep     compare one whole object; also a first read                 lane (system, long)

So nothing but a system's own work of the same kind stands before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog

from syncbroker.core import schedule
from syncbroker.core.types import Micros
from syncbroker.engine import Engine, Source, breaker, cycle, deliver, ingest, receive
from syncbroker.engine.cycle import Summary
from syncbroker.errors import Retry, SyncbrokerError
from syncbroker.runtime.lanes import Lane
from syncbroker.runtime.nudges import DELIVER, RECEIVE, SETTLE, Nudges
from syncbroker.store import runs, stops, turns
from syncbroker.store.queues import Waiting
from syncbroker.store.records import FAR
from syncbroker.store.turns import Turn

REST: Micros = 5_000_000
"""How long deciding rests after a failure, unless the failure says longer."""

READ_AGAIN: Micros = 300_000_000
"""How long after a reading that failed it is tried again, unless it is due sooner."""

DECIDING = "deciding"

KINDS = ("receive", "write", "poll", "long")
"""Of lanes, for each system."""

_log = structlog.get_logger()


class Work:
    """The jobs of one process."""

    def __init__(self, engine: Engine, nudges: Nudges) -> None:
        self.engine, self.nudges = engine, nudges
        self.deciding = Lane()
        self._lanes = {(name, kind): Lane() for name in engine.mapping.systems for kind in KINDS}
        self._resting: dict[str, Micros] = {}

    @property
    def lanes(self) -> list[Lane]:
        return [self.deciding, *self._lanes.values()]

    @property
    def width(self) -> int:
        """How many jobs may be done at once."""
        return len(self.lanes)

    def lane(self, system: str, kind: str) -> Lane:
        """A system that the mapping no longer has gets no calls, so it needs no lane of its own."""
        return self._lanes.get((system, kind), self.deciding)

    def close(self) -> None:
        """Nothing more is begun, and what is under way ends at its next step."""
        self.engine.holder.halt()
        for lane in self.lanes:
            lane.close()

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

    # ---- webhooks ----

    def receive(self, system: str) -> None:
        done = 0
        with self.engine.holder.holding(f"receive:{system}") as alone:
            if alone:
                done = receive.receive_due(self.engine, system, lambda: self.nudges.send(SETTLE))
        if done and receive.waiting(
            self.engine, system
        ):  # it came when this was ending, and others were turned away
            self.nudges.send(RECEIVE, system)

    # ---- deciding ----

    def settle(self) -> None:
        if self.rests(DECIDING):
            return
        with self.resting(DECIDING):
            for _ in range(cycle.ROUNDS):
                moved = cycle.decide_waiting(self.engine, Summary(), reread=self._hand_over)
                self._announce_writes()
                if not moved:
                    break
            cycle.derive(self.engine, self._between)
            self._announce_writes()

    def _between(self, _step: str, _what: str, _count: int) -> None:
        """Between the chunks of what a whole entity is owed: what came by itself does not wait for its end."""
        cycle.decide_live(self.engine, self._hand_over)

    def _announce_writes(self) -> None:
        for system in cycle.owed(self.engine):
            self.nudges.send(DELIVER, system)

    def _hand_over(self, rows: Sequence[Waiting]) -> int:
        """What must be read again is read where a system that hangs keeps nobody waiting."""
        for system in dict.fromkeys(row.system for row in rows):
            own = [row for row in rows if row.system == system]
            self.nudges.aside(self.lane(system, "receive").do, self.reread, own[0].number, more=(own,))
        return 0

    def reread(self, _first: int, rows: Sequence[Waiting]) -> None:
        """Read by id what could not be judged. What is lost of this comes due again by itself."""
        if ingest.reread(self.engine, rows):
            self.nudges.send(SETTLE)

    # ---- writes ----

    def deliver(self, system: str) -> None:
        done = deliver.deliver(self.engine, system)
        for name, why in done.failed.items():
            _log.warning("put off", work="deliver", system=name, error=why)
        if done.moved:
            self.nudges.send(SETTLE)
            if system in cycle.owed(self.engine):  # it came when this was ending, and others were turned away
                self.nudges.send(DELIVER, system)

    # ---- the schedule ----

    def pull(self, system: str, object_: str, slot: Micros) -> None:
        self._read(cycle.pull_source, "pull", system, object_, slot)

    def sweep(self, system: str, object_: str, slot: Micros) -> None:
        self._read(cycle.sweep_source, "sweep", system, object_, slot)

    def _read(
        self, read: Callable[[Engine, Source], Summary], kind: str, system: str, object_: str, slot: Micros
    ) -> None:
        """Make the turn that was due at `slot`, unless it was made. One that cannot begin is announced again."""
        engine, source = self.engine, self.engine.sources.get((system, object_))
        turn = Turn(system=system, object=object_, kind=kind, due=slot, plan="")
        if source is None or not self._may_read(source) or not self._begin(source, turn):
            return
        try:
            with breaker.reading(engine, system, lasting=False):
                done = read(engine, source)
        except SyncbrokerError:
            halted = engine.holder.halted.is_set()
            with engine.store.write() as tx:
                turns.bring_forward(tx, turn, engine.now() + (0 if halted else READ_AGAIN))
                turns.end(tx, turn, engine.now())
            raise
        with engine.store.write() as tx:
            turns.end(tx, turn, engine.now())
        seen, changed = done.seen.total(), done.changed.total()
        _log.info("read", work=f"{kind}_source", system=system, object=object_, seen=seen, changed=changed)
        self.nudges.send(SETTLE)

    def _may_read(self, source: Source) -> bool:
        with self.engine.store.read() as tx:
            stopped = stops.is_stopped(tx, source.system)
        return (
            not stopped
            and not self.engine.holder.others_hold([ingest.lease(source)])
            and not breaker.closed(self.engine, breaker.reads(source.system))
        )

    def _begin(self, source: Source, turn: Turn) -> bool:
        engine, now = self.engine, self.engine.now()
        plan = engine.mapping.systems[source.system].schedule(source.object, turn.kind)
        key = f"{turn.system} {turn.object} {turn.kind}"
        following = schedule.following(plan, max(now, turn.due), key) if plan is not None else FAR
        with engine.store.write() as tx:
            at = runs.cursor(tx, source.system, source.object)
            last = at.pulled if turn.kind == "pull" else at.swept
            if not turns.begin(tx, turn, now, following):
                return False
            if last is not None and turn.due <= last <= max(
                now, turn.due
            ):  # somebody had it read since it was due
                turns.end(tx, turn, now)
                return False
        return True
