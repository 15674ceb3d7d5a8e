"""How much waits, and for how long: what metrics and `status` show. Each question reads a bounded part of an index.

Counts stop at `MOST`; ages are those of the oldest among the first `LOOK` rows in the order in which they are worked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import func, literal, select

from syncbroker.core.types import Micros
from syncbroker.decoding import decoder
from syncbroker.store import tables
from syncbroker.store.database import Tx
from syncbroker.store.queues import LIVE
from syncbroker.store.records import FAR
from syncbroker.store.runs import Breaker

MOST = 100_000
"""What is counted no further."""

LOOK = 200
"""How many rows are looked at for the oldest."""

WAITING = ("new", "poison", "rejected")
"""States of deliveries that are counted; those that are done are history."""

OWED = ("due", "claimed", "pending", "unknown")
"""States of pushes that go on by themselves. The others wait for something else: a person, a value, a run."""

STATES = (*OWED, "refused", "waiting", "staged")


class _Told(msgspec.Struct):
    """Of an observation: when it was read, or told."""

    ended: Micros = 0


class _Owed(msgspec.Struct):
    """Of a push: since when it is owed."""

    since: Micros = 0


_told = decoder(_Told)
_owed = decoder(_Owed)


def count(tx: Tx, query: Any) -> int:
    """How many rows a query finds, up to `MOST`."""
    return int(tx.run(select(func.count()).select_from(query.limit(MOST).subquery())).scalar_one())


def deliveries(tx: Tx, systems: Iterable[str]) -> dict[tuple[str, str], int]:
    """(system, state) -> deliveries that are not done."""
    d = tables.deliveries.c
    return {
        (system, state): count(tx, select(literal(1)).where(d.state == state, d.system == system))
        for system in systems
        for state in WAITING
    }


def inbox(tx: Tx, systems: Iterable[str]) -> dict[str, int]:
    """System -> observations that wait, for whatever reason."""
    i = tables.inbox.c
    return {system: count(tx, select(literal(1)).where(i.system == system)) for system in systems}


def outbox(tx: Tx, systems: Iterable[str]) -> dict[tuple[str, str], int]:
    """(system, state) -> pushes."""
    o = tables.outbox.c
    return {
        (system, state): count(tx, select(literal(1)).where(o.system == system, o.state == state))
        for system in systems
        for state in STATES
    }


def oldest_delivery(tx: Tx, system: str) -> Micros | None:
    """When the oldest delivery came that is not dealt with."""
    d = tables.deliveries.c
    rows = select(d.received).where(d.state == "new", d.system == system).order_by(d.due, d.id).limit(LOOK)
    return min((int(row[0]) for row in tx.run(rows)), default=None)


def oldest_observations(tx: Tx, now: Micros) -> dict[str, Micros]:
    """System -> when the oldest observation was made that could be decided now and is not."""
    i = tables.inbox.c
    rows = select(i.system, i.body).where(i.run == LIVE, i.due <= now).order_by(i.due, i.id).limit(LOOK)
    return _earliest((row[0], _told.decode(row[1]).ended) for row in tx.run(rows))


def oldest_push(tx: Tx, system: str) -> Micros | None:
    """Since when the oldest push is owed that goes on by itself."""
    o = tables.outbox.c
    rows = (
        select(o.system, o.body)
        .where(o.system == system, o.state.in_(OWED), o.due < FAR)
        .order_by(o.due, o.link)
        .limit(LOOK)
    )
    return _earliest((row[0], _owed.decode(row[1]).since) for row in tx.run(rows)).get(system)


def _earliest(found: Iterable[tuple[str, Micros]]) -> dict[str, Micros]:
    earliest: dict[str, Micros] = {}
    for system, at in found:
        if at:
            earliest[system] = min(at, earliest.get(system, at))
    return earliest


def leases(tx: Tx, now: Micros) -> int:
    """Leases that a process holds."""
    rows = select(func.count()).select_from(tables.leases).where(tables.leases.c.until > now)
    return int(tx.run(rows).scalar_one())


def reviews(tx: Tx, kinds: Sequence[str]) -> dict[str, int]:
    """Kind -> open reviews."""
    r = tables.reviews.c
    return {kind: count(tx, select(literal(1)).where(r.closed.is_(None), r.kind == kind)) for kind in kinds}


def oldest_reviews(tx: Tx) -> dict[str, Micros]:
    """Kind -> when the oldest open review was opened, of the kinds among the oldest ones."""
    r = tables.reviews.c
    rows = tx.run(select(r.kind, r.opened).where(r.closed.is_(None)).order_by(r.opened, r.id).limit(LOOK))
    return _earliest((row[0], row[1]) for row in rows)


def reviews_by_system(tx: Tx) -> Mapping[str, int]:
    """System -> open reviews about it, among the first `MOST`."""
    r = tables.reviews.c
    first = select(r.system).where(r.closed.is_(None)).limit(MOST).subquery()
    return {
        row[0]: int(row[1]) for row in tx.run(select(first.c.system, func.count()).group_by(first.c.system))
    }


def drift(tx: Tx) -> dict[tuple[str, str], int]:
    """(system, cause) -> findings of sweeps that are not in order yet, among the first `MOST`."""
    d = tables.drift.c
    first = select(d.system, d.cause).where(d.healed.is_(None)).limit(MOST).subquery()
    rows = tx.run(select(first.c.system, first.c.cause, func.count()).group_by(first.c.system, first.c.cause))
    return {(row[0], row[1]): int(row[2]) for row in rows}


def breakers(tx: Tx, systems: Iterable[str]) -> dict[str, list[tuple[str, Breaker]]]:
    """System -> its breakers that count failures, by name: its own, and those of a part of its calls ("crm/reads")."""
    found: dict[str, list[tuple[str, Breaker]]] = {system: [] for system in systems}
    b = tables.breakers.c
    rows = tx.run(
        select(b.system, b.failures, b.open_until, b.message).where(b.failures > 0).order_by(b.system)
    )
    for name, failures, until, message in rows:
        system = name.partition("/")[0]
        if system in found:
            found[system].append((name, Breaker(failures=failures, open_until=until, message=message)))
    return found


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """When an object was last read to the end, and compared whole."""

    system: str
    object: str
    pulled: Micros | None
    swept: Micros | None


def reads(tx: Tx) -> list[Read]:
    c = tables.cursors.c
    rows = tx.run(select(c.system, c.object, c.pulled, c.swept).order_by(c.system, c.object))
    return [Read(system=row[0], object=row[1], pulled=row[2], swept=row[3]) for row in rows]
