"""The shell around the core, in the order data flows. Read the four steps first, top to bottom.

    ingest   what vendors say -> observations in the inbox
    decide   inbox -> golden values, decisions, pushes owed: one transaction
    deliver  pushes owed -> re-check, write, confirm
    sweep    everything a vendor holds against what we believe it holds

    cycle    the four put together: what commands and workers run, and how they catch up after a crash

What the steps lean on: `sharing` says who may decide at the same time, `isolating` finds what causes a fault,
`meeting` decides first meetings many at a time. `workspace` is what a deciding transaction holds in its hands,
`finish` ends it and `saving` writes it back (`owing`: what is owed now; `waking`: what had waited; `takeover`:
authority that passed on). `judge` puts edits before their rules, `fights` counts those that never end, `ledger` notes
what only a sweep found, `removal` ends and re-points links. `settle` is what became of a write, `doubt` what to do
when nobody knows. `intake` guards what comes in, `staging` what goes out; `measure` counts for both, `held` is what
waits then, `letting_go` how a person lets it go. `answer` is decide for a person, `purge` erases for one, `retry`
makes due again what was given up; `receive` is ingest for stored deliveries, `silent` notices webhooks that are not
heard any more. `holder` is this process as others see it, `breaker` leaves a system alone whose calls fail; `find`,
`explain`, `status`, `health` and `drift_report` only look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import orjson
import xxhash
from uuid_utils.compat import uuid7

from syncbroker.core.mapping import Mapping
from syncbroker.core.observe import Timing
from syncbroker.core.plan import Plan, Reader
from syncbroker.core.types import Micros
from syncbroker.engine.fingerprints import Members, make_members
from syncbroker.engine.holder import Holder
from syncbroker.sdk.connector import Connector, ObjectSpec
from syncbroker.sdk.http import Http
from syncbroker.store.database import Store
from syncbroker.store.retention import Keep


@dataclass(frozen=True)
class Source:
    """One object of one system, with everyone who reads it. `salt` changes when anything about the reading does."""

    system: str
    object: str
    spec: ObjectSpec
    readers: tuple[tuple[Plan, Reader], ...]
    paths: tuple[str, ...]
    salt: int

    @property
    def timing(self) -> Timing:
        spec = self.spec
        return Timing(spec.stamp is not None, int(spec.lag * 1_000_000), spec.conditional, spec.shows)

    @cached_property
    def members(self) -> Members:
        return make_members(self.paths)

    @property
    def rules(self) -> str:
        return f"{self.salt:016x}"


def fresh_id() -> str:
    """An id that was never given before (UUIDv7)."""
    return str(uuid7())


Tell = Callable[..., None]
"""(event, field=value, ...): something was committed that a log or a metric wants to know. Never personal data."""


def untold(_event: str, **_fields: object) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True)
class Engine:
    """Everything the four steps need. `sources` is in reading order: an object before those that refer to it.

    `now` and `new_id` are the only ways in which time and chance come in, `tell` the only one in which news go out.
    """

    store: Store
    mapping: Mapping
    plans: dict[str, Plan]
    connectors: dict[str, Connector]
    sources: dict[tuple[str, str], Source]
    now: Callable[[], Micros]
    shapes: dict[str, int] = field(default_factory=dict)
    clients: list[Http] = field(default_factory=list)
    ending: list[Callable[[], None]] = field(default_factory=list)
    new_id: Callable[[], str] = fresh_id
    tell: Tell = untold
    keep: Keep = field(default_factory=Keep)

    @cached_property
    def guarded(self) -> bool:
        """Whether any entity has limits."""
        guards = [plan.entity.guard for plan in self.plans.values()]
        return any(one.guards_input or one.guards_output for one in guards)

    @cached_property
    def holder(self) -> Holder:
        """What others see of this process in the store."""
        return Holder(self.store)

    def close(self) -> None:
        """Let go of the leases, and of the connections to the systems; the store is its opener's."""
        if "holder" in self.__dict__:
            self.holder.close()
        for client in self.clients:
            client.close()
        for end in self.ending:
            end()

    def place(self, plan: Plan, line: int) -> str:
        return f"{plan.entity.file}:{line}"


def make_sources(plans: dict[str, Plan], connectors: dict[str, Connector]) -> dict[tuple[str, str], Source]:
    found: dict[tuple[str, str], list[tuple[Plan, Reader]]] = {}
    for plan in _referred_first(plans):
        for system, reader in plan.readers.items():
            found.setdefault((system, reader.rule.object), []).append((plan, reader))
    sources = {}
    for (system, object_), readers in found.items():
        paths = tuple(sorted({path for _, reader in readers for path in reader.paths}))
        rules = [repr(reader.fields) for _, reader in readers]
        salt = xxhash.xxh3_64_intdigest(orjson.dumps([paths, rules]))
        spec = connectors[system].objects[object_]
        sources[system, object_] = Source(system, object_, spec, tuple(readers), paths, salt)
    return sources


def _referred_first(plans: dict[str, Plan]) -> list[Plan]:
    """Entities so that one comes after those it refers to, where the references allow it."""
    order: list[Plan] = []
    visiting: set[str] = set()

    def visit(name: str) -> None:
        plan = plans.get(name)
        if plan is None or plan in order or name in visiting:
            return
        visiting.add(name)
        for rule in plan.entity.fields.values():
            if rule.spec.entity and rule.spec.entity != name:
                visit(rule.spec.entity)
        order.append(plan)

    for name in plans:
        visit(name)
    return order
