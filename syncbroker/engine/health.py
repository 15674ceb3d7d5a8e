"""How each system fares: what waits and for how long, whether it is reached, read in time, and paused. It only looks.

The lag of a system is the age of the oldest thing that is known to be there for it and is not dealt with: a delivery
that was not read, an observation that was not decided, a write that was not made. What waits for a person, for a value
or for its run is not late. `max_lag` of `systems.yaml` is the lag that is still fine.
"""

from __future__ import annotations

from datetime import datetime
from typing import get_args

import msgspec

from syncbroker.core import schedule
from syncbroker.core.types import Micros
from syncbroker.engine import Engine, breaker, silent
from syncbroker.engine.history import moment
from syncbroker.store import backlog, queues, runs, stops, turns
from syncbroker.store.backlog import Read
from syncbroker.store.database import Tx
from syncbroker.store.decisions import ReviewKind
from syncbroker.store.runs import Breaker
from syncbroker.store.stops import Stop
from syncbroker.store.turns import Turn

DELIVERY_STATES = backlog.WAITING
PUSH_STATES = backlog.STATES


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds; 0 where nothing waits."""

    delivery: float = 0.0
    observation: float = 0.0
    push: float = 0.0

    @property
    def longest(self) -> float:
        return max(self.delivery, self.observation, self.push)


class Scheduled(msgspec.Struct, frozen=True, kw_only=True):
    """A turn, and how many seconds ago it should have begun; 0 while its system is paused."""

    turn: Turn
    late: float


class SystemHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One system of the mapping. Counts by state; `max_lag` in seconds, None where none is set."""

    name: str
    lag: Lag
    max_lag: float | None
    deliveries: dict[str, int]
    observations: int
    set_aside: int
    pushes: dict[str, int]
    reviews: int
    breaker: Breaker
    is_open: bool
    paused: Stop | None
    reads: list[Read]
    turns: list[Scheduled]
    silent: bool

    @property
    def in_time(self) -> bool:
        return self.max_lag is None or self.lag.longest <= self.max_lag

    @property
    def poison(self) -> int:
        """Work that failed so often that it was set aside."""
        return self.deliveries.get("poison", 0) + self.set_aside

    @property
    def owed(self) -> int:
        """Writes that go on by themselves."""
        return sum(self.pushes.get(state, 0) for state in backlog.OWED)

    @property
    def last_read(self) -> Micros | None:
        """When the object that was read longest ago was read; None when one never was."""
        times = [max(one.pulled or 0, one.swept or 0) for one in self.reads]
        return min(times, default=0) or None

    @property
    def next_turn(self) -> Micros | None:
        return min((one.turn.due for one in self.turns), default=None)


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The whole store at one moment. `drift`: (system, cause) -> open findings; `held`: system -> runs that a guard
    holds."""

    at: Micros
    systems: list[SystemHealth]
    reviews: dict[str, int]
    oldest_reviews: dict[str, Micros]
    drift: dict[tuple[str, str], int]
    held: dict[str, int]
    leases: int


def health(engine: Engine) -> Health:
    """Reads bounded parts of indexes only, in one transaction."""
    now = engine.now()
    with engine.store.read() as tx:
        return Health(
            at=now,
            systems=_systems(engine, tx, now),
            reviews=backlog.reviews(tx, get_args(ReviewKind)),
            oldest_reviews=backlog.oldest_reviews(tx),
            drift=backlog.drift(tx),
            held=_held(tx),
            leases=backlog.leases(tx, now),
        )


def _held(tx: Tx) -> dict[str, int]:
    found: dict[str, int] = {}
    for run in runs.held(tx):
        found[run.system] = found.get(run.system, 0) + 1
    return found


def _systems(engine: Engine, tx: Tx, now: Micros) -> list[SystemHealth]:
    names = list(engine.mapping.systems)
    deliveries, pushes = backlog.deliveries(tx, names), backlog.outbox(tx, names)
    observations, aside = backlog.inbox(tx, names), queues.set_aside_counts(tx)
    breakers, quiet = backlog.breakers(tx, names), silent.silent(tx, now)
    seen, reviews = backlog.oldest_observations(tx, now), backlog.reviews_by_system(tx)
    reads, every, paused = backlog.reads(tx), turns.every(tx), stops.stopped(tx)

    def age(at: Micros | None) -> float:
        return max(0, now - at) / 1_000_000 if at is not None else 0.0

    found = []
    for name in names:
        worst = max((one for _, one in breakers[name]), key=_failing, default=Breaker())
        mapped = {object_ for system, object_ in engine.sources if system == name}
        found.append(
            SystemHealth(
                name=name,
                lag=Lag(
                    delivery=age(backlog.oldest_delivery(tx, name)),
                    observation=age(seen.get(name)),
                    push=age(backlog.oldest_push(tx, name)),
                ),
                max_lag=engine.mapping.systems[name].max_lag,
                deliveries={
                    state: count for (of, state), count in deliveries.items() if of == name and count
                },
                observations=observations[name],
                set_aside=sum(count for (of, _), count in aside.items() if of == name),
                pushes={state: count for (of, state), count in pushes.items() if of == name and count},
                reviews=reviews.get(name, 0),
                breaker=worst,
                is_open=breaker.holds_back(worst, now),
                paused=paused.get(name),
                reads=_reads(reads, name, mapped),
                silent=name in quiet,
                turns=[
                    Scheduled(turn=one, late=0.0 if name in paused else _late(engine, one, now))
                    for one in every
                    if one.system == name and one.object in mapped
                ],
            )
        )
    return found


def _failing(one: Breaker) -> tuple[int, Micros]:
    return one.failures, one.open_until


def _reads(reads: list[Read], name: str, mapped: set[str]) -> list[Read]:
    """Of every object that the mapping reads, those that were never read too."""
    known = {one.object: one for one in reads if one.system == name}
    never = {object_: Read(system=name, object=object_, pulled=None, swept=None) for object_ in mapped}
    return [known.get(object_, never[object_]) for object_ in sorted(mapped)]


def _late(engine: Engine, turn: Turn, now: Micros) -> float:
    """A turn that nobody takes is announced again and again, so its time follows from when it was last begun."""
    plan = engine.mapping.systems[turn.system].schedule(
        turn.object, "sweep" if turn.kind == "sweep" else "pull"
    )
    expected = turn.due
    if plan is not None and turn.started is not None:
        name = f"{turn.system} {turn.object} {turn.kind}"
        expected = min(expected, schedule.following(plan, turn.started, name))
    return max(0, now - expected) / 1_000_000


class Fare(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the screen: how a system fares now. Lags in seconds.

    `state`: the worst of paused, held back (calls fail), late (above `max_lag`), set aside (poison) and fine.
    """

    system: str
    state: str
    lag: float
    lags: Lag
    max_lag: float | None
    last_read: datetime | None
    next_turn: datetime | None
    queue: int
    owed: int
    staged: int
    poison: int
    failures: int
    held_back_until: datetime | None
    held_back_why: str
    paused_since: datetime | None
    paused_by: str
    paused_why: str
    reviews: int
    silent: bool


def fares(found: Health) -> list[Fare]:
    """The screen's lines, in the order of the mapping. `queue`: deliveries and observations that wait."""
    return [_fare(one) for one in found.systems]


def _fare(one: SystemHealth) -> Fare:
    return Fare(
        system=one.name,
        state=_state(one),
        lag=one.lag.longest,
        lags=one.lag,
        max_lag=one.max_lag,
        last_read=moment(one.last_read),
        next_turn=moment(one.next_turn),
        queue=one.deliveries.get("new", 0) + one.observations,
        owed=one.owed,
        staged=sum(one.pushes.get(state, 0) for state in ("refused", "waiting", "staged")),
        poison=one.poison,
        failures=one.breaker.failures,
        held_back_until=moment(one.breaker.open_until) if one.is_open else None,
        held_back_why=one.breaker.message if one.is_open else "",
        paused_since=moment(one.paused.since) if one.paused else None,
        paused_by=one.paused.person if one.paused else "",
        paused_why=one.paused.why if one.paused else "",
        reviews=one.reviews,
        silent=one.silent,
    )


def _state(one: SystemHealth) -> str:
    if one.paused:
        return "paused"
    if one.is_open:
        return "held back"
    if not one.in_time:
        return "late"
    return "set aside" if one.poison else "fine"
