"""Systems that a person has paused: no reads and no writes, while their webhooks are still stored."""

from __future__ import annotations

import msgspec

from syncbroker.core.types import Micros
from syncbroker.store import tables, turns
from syncbroker.store.database import Tx


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """Who paused a system, when and why."""

    system: str
    since: Micros
    person: str
    why: str


_COLUMNS = ["system", "since", "person", "why"]


def stop(tx: Tx, one: Stop) -> bool:
    """Pause a system; False when it is paused already, which stays as it is."""
    known = is_stopped(tx, one.system)
    row = (one.system, one.since, one.person, one.why)
    tx.insert(tables.stops, _COLUMNS, [row], conflict="ignore")
    return not known


def resume(tx: Tx, system: str, now: Micros) -> bool:
    """Let a system go on, and have it read at once, so that what changed meanwhile is caught up; False when it was not
    paused."""
    known = is_stopped(tx, system)
    tx.delete(tables.stops, ["system"], [(system,)])
    if known:
        turns.hasten(tx, system, now)
    return known


def is_stopped(tx: Tx, system: str) -> bool:
    return bool(tx.lookup(tables.stops, ["system"], "system", [system]))


def stopped(tx: Tx) -> dict[str, Stop]:
    """All of them, by system: there are few."""
    rows = tx.rows("SELECT system, since, person, why FROM stops ORDER BY system")
    return {row[0]: Stop(system=row[0], since=row[1], person=row[2], why=row[3]) for row in rows}
