"""The composition root: settings -> mapping, connectors, store, engine. Nothing else builds these."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

from syncbroker.core.mapping import Mapping as MappingRules
from syncbroker.core.mapping import SystemRules
from syncbroker.core.plan import compile_plan
from syncbroker.core.types import Micros
from syncbroker.engine import Engine, Tell, make_sources, untold
from syncbroker.errors import Problem
from syncbroker.mapping import load_mapping
from syncbroker.sdk.connector import Account, Connector
from syncbroker.sdk.guarded import Guarded
from syncbroker.sdk.http import Http
from syncbroker.sdk.limits import RateBudget
from syncbroker.sdk.registry import Registry
from syncbroker.sdk.shared_limits import connect
from syncbroker.settings import Settings
from syncbroker.store.database import Store, open_store
from syncbroker.store.schema import require_current

if TYPE_CHECKING:
    from redis import Redis

USUAL_RATE = (600, 60.0)
"""Calls per seconds for a system whose file names no limit: slow enough for every vendor's smallest plan."""


def wall_clock() -> Micros:
    return time.time_ns() // 1000


class CallWatch(Protocol):
    """Whoever counts calls. Any thread may tell it."""

    def note(self, system: str, method: str, _path: str, status: int) -> None:
        """A call was answered, or not (0)."""

    def waited(self, system: str, seconds: float) -> None:
        """A call waited so long for its place in the rate budget."""


@dataclass
class Calls:
    """How many calls each system was sent, by method and outcome: what a summary shows."""

    made: dict[tuple[str, str, int], int] = field(default_factory=dict)

    def note(self, system: str, method: str, _path: str, status: int) -> None:
        key = (system, method, status)
        self.made[key] = self.made.get(key, 0) + 1

    def waited(self, system: str, seconds: float) -> None:
        """No summary shows it."""

    def of(self, system: str) -> int:
        return sum(count for (name, _, _), count in self.made.items() if name == system)


def read_mapping(
    settings: Settings, environment: Mapping[str, str] | None = None, registry: Registry | None = None
) -> tuple[MappingRules, list[Problem]]:
    """The checked mapping and its warnings; BadMapping with every problem."""
    registry = registry or Registry()
    connectors = {kind: registry.load(kind) for kind in registry.kinds()}
    return load_mapping(settings.mappings, environment=environment or os.environ, connectors=connectors)


def build(
    settings: Settings,
    *,
    store: Store | None = None,
    now: Callable[[], Micros] = wall_clock,
    calls: CallWatch | None = None,
    environment: Mapping[str, str] | None = None,
    registry: Registry | None = None,
    tell: Tell = untold,
) -> Engine:
    """An engine on an up-to-date store. FixSetup errors say what is missing."""
    registry = registry or Registry()
    rules = read_mapping(settings, environment, registry)[0]
    counted = calls or Calls()
    clients: list[Http] = []
    redis = connect(settings.redis_url) if settings.redis_url else None
    connectors = {
        name: _connector(registry, system, settings, now, counted, clients, redis=redis)
        for name, system in rules.systems.items()
    }
    opened = store or open_store(settings.database_url)
    require_current(opened)
    plans = {name: compile_plan(entity, rules.version) for name, entity in rules.entities.items()}
    sources = make_sources(plans, connectors)
    return Engine(
        store=opened,
        mapping=rules,
        plans=plans,
        connectors=connectors,
        sources=sources,
        now=now,
        clients=clients,
        keep=settings.keep(),
        tell=tell,
        ending=[redis.close] if redis is not None else [],
    )


def _timed(acquire: Callable[[], None], waited: Callable[[float], None]) -> None:
    begun = time.monotonic()
    try:
        acquire()
    finally:
        waited(time.monotonic() - begun)


def _connector(
    registry: Registry,
    system: SystemRules,
    settings: Settings,
    now: Callable[[], Micros],
    calls: CallWatch,
    clients: list[Http],
    *,
    redis: Redis | None,
) -> Connector:
    """`clients` takes every way out that the connector makes, so that the engine can close it. `redis`: where all
    processes count their calls."""
    kind = registry.check(
        system.connector, credentials=system.credentials, options=system.options, system=system.name
    )
    rate, seconds = system.rate or USUAL_RATE
    budget = RateBudget(rate, seconds, reserve=system.reserve, system=system.name, redis=redis)

    def http(*given: Any, **options: Any) -> Http:
        usual: dict[str, Any] = {
            "system": system.name,
            "now": now,
            "acquire": partial(_timed, budget.acquire, partial(calls.waited, system.name)),
            "timeout": settings.timeout,
            "on_call": partial(calls.note, system.name),
            "secrets": tuple(system.credentials.values()),
        }
        clients.append(Http(*given, **{**usual, **options}))
        return clients[-1]

    account = Account(
        system=system.name,
        credentials=system.credentials,
        options=system.options,
        http=http,
        now=now,
        url=system.url,
    )
    # the protocol speaks of classes, whose tables are class variables; this one passes an instance's on
    return cast("Connector", Guarded(kind(account), system.name))
