"""Which decisions an undo is about: those of a run, under a mapping version, or since a time on edits in a system."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from syncbroker.core.types import Micros
from syncbroker.engine import Engine
from syncbroker.engine.history import moment
from syncbroker.errors import Missing, Retry
from syncbroker.store import decisions, runs, tables
from syncbroker.store.database import Tx
from syncbroker.store.decisions import Decision, Outcome
from syncbroker.store.since import first_since

CHUNK = 500
"""Decisions that are looked at, or undone, in one transaction."""

OVERLAP: Micros = 3_600_000_000
"""How long processes may go on under a mapping version after another one was put to use."""


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """One of `run`, `mapping` or (`since`, `system`); `entity` and `field` narrow it. `until` µs, 0: no end.

    Of a run everything counts, what a person decided too: that is how an undo is undone. Of a time or a version only
    what rules decided: answers and undoings of people stand.
    """

    run: int = 0
    mapping: str = ""
    since: Micros = 0
    until: Micros = 0
    system: str = ""
    entity: str = ""
    field: str = ""

    def within(self, decision: Decision, outcome: Outcome) -> bool:
        if self.entity and decision.entity != self.entity:
            return False
        if self.field and outcome.field != self.field:
            return False
        if self.run:
            return decision.run == self.run
        if not (self.mapping or self.system) or decision.actor != "rules":
            return False  # nothing is named: nothing is within
        if self.mapping and decision.mapping != self.mapping:
            return False
        return decision.at >= self.since and (not self.system or outcome.system == self.system)

    @property
    def words(self) -> str:
        """For example "run 12"; what the event of each undone value says."""
        told = f"run {self.run}" if self.run else f"mapping {self.mapping}"
        if self.system:
            told = f"{self.system} since {moment(self.since):%Y-%m-%dT%H:%M:%SZ}"
        return " ".join(word for word in (told, self.entity, self.field) if word)


def of_run(engine: Engine, run: int, *, entity: str = "", field: str = "") -> Scope:
    """Missing when there is no such run, Retry while it is being decided."""
    with engine.store.read() as tx:
        found = runs.get(tx, run)
    if found is None:
        raise Missing(f"there is no run {run}", hint="see: syncbroker status; decisions name their run")
    if found.kind in ("pull", "sweep") and found.state in ("reading", "released"):
        raise Retry(f"run {run} is not over yet", hint="wait for it, or run: syncbroker sync")
    return Scope(run=run, entity=entity, field=field)


def of_mapping(engine: Engine, version: str, *, entity: str = "", field: str = "") -> Scope:
    """The version may be given by its beginning. Missing when no version, or more than one, begins so."""
    with engine.store.read() as tx:
        every = runs.versions(tx)
    found = [name for name in every if name.startswith(version)]
    if len(found) != 1:
        raise Missing(
            f"{'several mapping versions begin' if found else 'no mapping version begins'} with {version}",
            hint=f"there are: {', '.join(list(every)[-5:])}",
        )
    used = every[found[0]]
    later = [
        at
        for one in every.values()
        for at in (one.first_used, one.last_used)
        if one is not used and at > used.last_used
    ]
    until = min(later) + OVERLAP if later else 0
    return Scope(mapping=found[0], since=used.first_used, until=until, entity=entity, field=field)


def chunks(engine: Engine, scope: Scope) -> Iterator[list[Decision]]:
    """The decisions of a scope in pieces, oldest first; none that is made meanwhile."""
    with engine.store.read() as tx:
        last = decisions.last_id(tx)
        after = 0 if scope.run else first_since(tx, tables.decisions, scope.since) - 1
    while after < last:
        with engine.store.read() as tx:
            found = _following(tx, scope, after)
        chunk = [one for one in found if one.id <= last]
        if not chunk or (scope.until and chunk[0].at > scope.until):
            return
        after = chunk[-1].id
        yield [one for one in chunk if any(scope.within(one, outcome) for outcome in one.outcomes)]


def _following(tx: Tx, scope: Scope, after: int) -> list[Decision]:
    return decisions.following(tx, after=after, run=scope.run or None, limit=CHUNK)
