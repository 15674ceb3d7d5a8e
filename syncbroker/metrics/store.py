"""How the store fares, read when somebody scrapes: bounded questions (`engine.health`), at most once in `REST` seconds.

Every process that serves metrics shows the same here, so a query over several of them takes `max`, never `sum`. A store
that cannot be read is `syncbroker_store_up 0`, and everything else of this is left out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from syncbroker.engine import Engine
from syncbroker.engine import health as looking
from syncbroker.engine.health import Health, SystemHealth
from syncbroker.errors import SyncbrokerError
from syncbroker.store import room

REST = 5.0
"""Seconds for which one look at the store answers every scrape."""


class Sample(NamedTuple):
    labels: tuple[str, ...]
    value: float


class Gauge(NamedTuple):
    """`name` without prefix. `of` picks the samples out of what was read."""

    name: str
    text: str
    labels: tuple[str, ...]
    of: Callable[[Health], Iterable[Sample]]


def _each(pick: Callable[[SystemHealth], float | None]) -> Callable[[Health], Iterable[Sample]]:
    """One sample for each system that has such a number."""

    def samples(found: Health) -> Iterator[Sample]:
        for one in found.systems:
            if (value := pick(one)) is not None:
                yield Sample((one.name,), value)

    return samples


def _states(
    pick: Callable[[SystemHealth], dict[str, int]], states: Sequence[str]
) -> Callable[[Health], Iterable[Sample]]:
    """One sample for each system and state, 0 where there is none: a series that comes and goes cannot be watched."""

    def samples(found: Health) -> Iterator[Sample]:
        for one in found.systems:
            counts = pick(one)
            yield from (Sample((one.name, state), counts.get(state, 0)) for state in states)

    return samples


def _lags(found: Health) -> Iterator[Sample]:
    for one in found.systems:
        yield Sample((one.name, "delivery"), one.lag.delivery)
        yield Sample((one.name, "observation"), one.lag.observation)
        yield Sample((one.name, "push"), one.lag.push)


def _reads(found: Health) -> Iterator[Sample]:
    for system in found.systems:
        for one in system.reads:
            if at := max(one.pulled or 0, one.swept or 0):
                yield Sample((one.system, one.object), max(0, found.at - at) / 1_000_000)


def _late(found: Health) -> Iterator[Sample]:
    for system in found.systems:
        for one in system.turns:
            yield Sample((one.turn.system, one.turn.object, one.turn.kind), one.late)


def _reviews(found: Health) -> Iterator[Sample]:
    return (Sample((kind,), count) for kind, count in found.reviews.items())


def _oldest(found: Health) -> Iterator[Sample]:
    for kind in found.reviews:
        at = found.oldest_reviews.get(kind)
        yield Sample((kind,), max(0, found.at - at) / 1_000_000 if at else 0)


def _paused(found: Health) -> Iterator[Sample]:
    for one in found.systems:
        since = one.paused.since if one.paused else found.at
        yield Sample((one.name,), max(0, found.at - since) / 1_000_000)


def _held(found: Health) -> Iterator[Sample]:
    yield from (Sample((one.name,), found.held.get(one.name, 0)) for one in found.systems)


GAUGES = (
    Gauge(
        "lag_seconds",
        "Age of the oldest thing that waits: a delivery to be read, an observation to be decided, a write to be made.",
        ("system", "step"),
        _lags,
    ),
    Gauge(
        "max_lag_seconds",
        "The lag that the mapping file allows; missing where it names none.",
        ("system",),
        _each(lambda one: one.max_lag),
    ),
    Gauge(
        "in_time",
        "1 while no lag of the system is above its max_lag.",
        ("system",),
        _each(lambda one: float(one.in_time)),
    ),
    Gauge(
        "read_age_seconds",
        "Seconds since the object was last read to the end; missing where it never was.",
        ("system", "object"),
        _reads,
    ),
    Gauge(
        "schedule_late_seconds",
        "How long ago a scheduled reading should have begun.",
        ("system", "object", "kind"),
        _late,
    ),
    Gauge(
        "deliveries",
        "Stored webhook deliveries that are not done, by state; counted up to 100000.",
        ("system", "state"),
        _states(lambda one: one.deliveries, looking.DELIVERY_STATES),
    ),
    Gauge(
        "inbox",
        "Observations that wait to be decided, for whatever reason; counted up to 100000.",
        ("system",),
        _each(lambda one: one.observations),
    ),
    Gauge(
        "outbox",
        "Writes owed, by state; counted up to 100000.",
        ("system", "state"),
        _states(lambda one: one.pushes, looking.PUSH_STATES),
    ),
    Gauge(
        "poison",
        "Deliveries and observations that failed so often that they were set aside.",
        ("system",),
        _each(lambda one: one.poison),
    ),
    Gauge(
        "breaker_open",
        "1 while calls to the system are held back.",
        ("system",),
        _each(lambda one: one.is_open),
    ),
    Gauge(
        "webhook_silent",
        "1 while polls keep finding edits that webhooks should have told of.",
        ("system",),
        _each(lambda one: float(one.silent)),
    ),
    Gauge(
        "failures",
        "How many times in a row calls to the system failed.",
        ("system",),
        _each(lambda one: one.breaker.failures),
    ),
    Gauge(
        "paused_seconds",
        "How long the system has been paused by a person; 0 while it is not.",
        ("system",),
        _paused,
    ),
    Gauge("runs_held", "Runs that a guard holds until a person answers.", ("system",), _held),
    Gauge("reviews", "Open reviews by kind; counted up to 100000.", ("kind",), _reviews),
    Gauge("review_age_seconds", "Age of the oldest open review; 0 where there is none.", ("kind",), _oldest),
    Gauge(
        "drift_open",
        "Differences that sweeps found and that are not in order yet, by cause.",
        ("system", "cause"),
        lambda found: (Sample(key, count) for key, count in sorted(found.drift.items())),
    ),
    Gauge("leases", "Leases that processes hold.", (), lambda found: [Sample((), found.leases)]),
)


class StoreCollector(Collector):
    """`clock` is monotonic, seconds."""

    def __init__(self, engine: Engine, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock
        self._lock = threading.Lock()
        self._read: tuple[float, Health | None] | None = None

    def collect(self) -> Iterable[GaugeMetricFamily]:
        found = self._health()
        if (free := self._free()) is not None:
            disk = GaugeMetricFamily("syncbroker_disk_free_bytes", "Room on the disk of the SQLite file.")
            disk.add_metric((), free)
            yield disk
        up = GaugeMetricFamily("syncbroker_store_up", "1 while the store can be read.")
        up.add_metric((), float(found is not None))
        yield up
        if found is None:
            return
        for gauge in GAUGES:
            family = GaugeMetricFamily(f"syncbroker_{gauge.name}", gauge.text, labels=gauge.labels)
            for sample in gauge.of(found):
                family.add_metric(sample.labels, sample.value)
            yield family

    def _free(self) -> int | None:
        try:
            return room.free(self._engine.store)
        except OSError:  # the folder is gone, and so is the store
            return None

    def _health(self) -> Health | None:
        """One look at a time: who comes while another looks waits for that one's answer."""
        with self._lock:
            now = self._clock()
            if self._read is None or now - self._read[0] >= REST:
                self._read = (now, self._look())
            return self._read[1]

    def _look(self) -> Health | None:
        try:
            return looking.health(self._engine)
        except SyncbrokerError:  # that is what the metric says; the log has it from whoever needs the store
            return None
