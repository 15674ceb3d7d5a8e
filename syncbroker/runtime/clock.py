"""Announces what is due: turns of the schedule, and whatever the store says is left to do that no message told.

Any number of processes may run one. Each due turn is announced by one of them, since taking it is one statement; what
else they announce several times is done once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from syncbroker.core import schedule
from syncbroker.core.mapping import Schedule
from syncbroker.core.types import Micros
from syncbroker.engine import Engine, cycle
from syncbroker.runtime.lanes import reported
from syncbroker.runtime.nudges import BACKFILL, DELIVER, PULL, RECEIVE, SETTLE, SWEEP, Kind, Nudges
from syncbroker.store import retention, runs, stops, turns
from syncbroker.store.database import Tx
from syncbroker.store.records import FAR
from syncbroker.store.turns import Turn

KINDS = ("pull", "sweep")

CHECKED: Micros = 60_000_000
"""How often the turns are held against the schedule and the time: a clock that was set back must not delay them."""


class Clock:
    """`tick`: seconds between two looks."""

    def __init__(self, engine: Engine, nudges: Nudges, tick: float) -> None:
        self._engine, self._nudges, self._tick = engine, nudges, tick
        self._checked: Micros | None = None
        self._forgetting: Iterator[tuple[str, int]] | None = None
        self._looking = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, patience: float) -> bool:
        """Whether it ended within `patience` seconds."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(patience)
        return not self._thread.is_alive()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.wait(min(self._tick * 2**failures, max(self._tick, 5.0))):
            failures = min(failures + 1, 5)
            with reported("look"):
                self.look()
                failures = 0

    def look(self) -> None:
        """Announce everything that is due now. Threads take turns: a look that is under way is gone on with by nobody
        else."""
        with self._looking:
            self._look()

    def _look(self) -> None:
        engine, send = self._engine, self._nudges.send
        self._nudges.check()
        now = engine.now()
        if self._checked is None or not self._checked <= now < self._checked + CHECKED:
            self.plan()
            self._checked = now
        due = cycle.due(engine)
        for system in due.told:
            send(RECEIVE, system)
        if due.observations:
            send(SETTLE)
        for system in due.owed:
            send(DELIVER, system)
        if due.abandoned:
            with engine.store.write() as tx:
                for source, kind in due.abandoned:
                    turns.bring_forward(tx, _turn(source.system, source.object, kind), now)
        for one in self._take_turns(now):
            send(self._kind(one), one.system, one.object, one.due)
        self._forget(now)

    def _forget(self, now: Micros) -> None:
        """Once a day one of the clocks deletes history that is too old, a little at each look."""
        if self._forgetting is None and retention.claim(self._engine.store, now):
            self._forgetting = retention.clean(self._engine.store, self._engine.keep, now)
        if self._forgetting is not None and next(self._forgetting, None) is None:
            self._forgetting = None

    def _take_turns(self, now: Micros) -> list[Turn]:
        """Due turns that are this clock's to announce, in reading order."""
        engine = self._engine
        with engine.store.read() as tx:
            found = turns.due(tx, now)
            stopped = stops.stopped(tx) if found else {}
        order = {key: n for n, key in enumerate(engine.sources)}
        due = [one for one in found if (one.system, one.object) in order and one.system not in stopped]
        due.sort(key=lambda one: (one.kind, order[one.system, one.object]))
        mine = []
        for one in due:
            with engine.store.write() as tx:
                if turns.announce(tx, one, now):
                    mine.append(one)
        return mine

    def _kind(self, one: Turn) -> Kind:
        if one.kind == "sweep":
            return SWEEP
        with self._engine.store.read() as tx:
            at = runs.cursor(tx, one.system, one.object)
        first = at.first_read is None or at.rules != self._engine.sources[one.system, one.object].rules
        return BACKFILL if first else PULL

    def plan(self) -> None:
        """Hold the turns against the mapping: new objects have theirs, another schedule counts anew, and no turn is
        further away than its schedule allows."""
        engine = self._engine
        with engine.store.read() as tx:
            there = {(one.system, one.object, one.kind): one for one in turns.every(tx)}
            now = engine.now()  # after what is there: else what was just begun is taken for a clock set back
            wanted = {
                (system, object_, kind): self._wanted(tx, there, (system, object_, kind), now)
                for system, object_ in engine.sources
                for kind in KINDS
            }
        new = [one for key, one in wanted.items() if key not in there]
        other = [(one, there[key]) for key, one in wanted.items() if key in there and one != there[key]]
        if new or other:
            with engine.store.write() as tx:
                turns.put(tx, new)
                for one, before in other:
                    turns.count_anew(tx, one, before)

    def _wanted(
        self, tx: Tx, there: dict[tuple[str, str, str], Turn], key: tuple[str, str, str], now: Micros
    ) -> Turn:
        """The turn as it should be. Another plan counts from the last reading, so that it neither delays nor
        repeats."""
        system, object_, kind = key
        plan = self._engine.mapping.systems[system].schedule(object_, kind)
        text, known = schedule.text(plan), there.get(key)
        if known is not None and known.plan == text:
            latest = FAR if plan is None else _latest(plan, now, " ".join(key))
            if known.due <= latest:
                return known
            ahead = known.started is not None and known.started > now  # the clock was set back
            return _turn(*key, due=latest, plan=text, like=None if ahead else known)
        at = runs.cursor(tx, system, object_)
        last = at.pulled if kind == "pull" else at.swept
        if kind == "pull" and at.first_read is None and last is None:
            due = now  # a first read waits for nobody
        elif plan is None:
            due = FAR
        else:
            due = schedule.following(plan, now if last is None else last, " ".join(key))
        return _turn(*key, due=due, plan=text, like=known)


def _latest(plan: Schedule, now: Micros, key: str) -> Micros:
    """No turn that was counted from now, or before, is later than this."""
    return max(schedule.following(plan, now, key), now + turns.AGAIN * 2)


def _turn(
    system: str, object_: str, kind: str, *, due: Micros = 0, plan: str = "", like: Turn | None = None
) -> Turn:
    return Turn(
        system=system,
        object=object_,
        kind=kind,
        due=due,
        plan=plan,
        started=like.started if like else None,
        ended=like.ended if like else None,
    )
