"""Leases: what one process at a time may do, and for how long nobody else may when it is not heard of any more.

    process:ID            the process is alive; pushes that it claimed are its own
    read:SYSTEM:OBJECT    reads an object: pull, sweep, or what a dead process left of one
    receive:SYSTEM        reads what webhooks told about a system
    write:SYSTEM:SLOT     writes to a system; there are as many slots as its `concurrency`

Time is the database's, so that clocks of hosts may differ or be set. Every function is one statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import BigInteger, literal_column, select

from syncbroker.core.types import Micros
from syncbroker.store import tables
from syncbroker.store.database import Tx

TERM: Micros = 20_000_000
"""How long a lease lasts that nobody renews: a killed process's work is free after this."""

# to the millisecond; unixepoch('subsec') says the same, but only from SQLite 3.42 on
_SQLITE_NOW = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000"
_POSTGRES_NOW = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"


def _now(tx: Tx) -> str:
    return _SQLITE_NOW if tx.sqlite else _POSTGRES_NOW


def take(tx: Tx, name: str, holder: str, term: Micros = TERM) -> bool:
    """Whether the lease is the holder's now: it was free, over, or the holder's already."""
    now = _now(tx)
    sql = (
        f"INSERT INTO leases (name, holder, until) VALUES (?, ?, {now} + ?) "  # noqa: S608  # no values
        "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until "
        f"WHERE leases.until <= {now} OR leases.holder = excluded.holder RETURNING name"
    )
    return bool(tx.rows(sql, (name, holder, term)))


def renew(tx: Tx, holder: str, names: Iterable[str], term: Micros = TERM) -> set[str]:
    """Prolong those of the names that the holder has; their names. What is missing was taken by another."""
    found = tables.leases
    until = literal_column(_now(tx), BigInteger) + term
    query = found.update().where(found.c.holder == holder, found.c.name.in_(sorted(names)))
    query = query.values(until=until).returning(found.c.name)
    return {row[0] for row in tx.run(query)}


def release(tx: Tx, names: Iterable[str], holder: str) -> None:
    tx.delete(tables.leases, ["name", "holder"], [(name, holder) for name in names])


def release_all(tx: Tx, holder: str) -> None:
    """The holder ends: everything it had is free at once."""
    tx.delete(tables.leases, ["holder"], [(holder,)])


def held(tx: Tx, names: Sequence[str]) -> set[str]:
    """Those of the names that somebody holds now."""
    lease = tables.leases.c
    now = literal_column(_now(tx), BigInteger)
    return {row[0] for row in tx.run(select(lease.name).where(lease.name.in_(names), lease.until > now))}


def others(tx: Tx, prefix: str, holder: str) -> bool:
    """Whether anybody else holds a lease of a kind now."""
    lease = tables.leases.c
    now = literal_column(_now(tx), BigInteger)
    theirs = select(lease.name).where(
        lease.name.startswith(prefix, autoescape=True), lease.holder != holder, lease.until > now
    )
    return tx.run(theirs.limit(1)).first() is not None


def forget(tx: Tx, prefix: str, age: Micros) -> None:
    """Leases of a kind that ended so long ago: nobody asks for them any more."""
    lease = tables.leases
    over = literal_column(_now(tx), BigInteger) - age
    tx.run(lease.delete().where(lease.c.name.startswith(prefix, autoescape=True), lease.c.until < over))
