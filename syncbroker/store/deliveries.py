"""Webhook deliveries, from when they are stored until they are dealt with.

They are taken in many in one transaction: one look for those that came before, one insert for the others. One is known
by its `dedupe` key within its system. What becomes of one that came before depends on what the key is. `certain`: it is
the vendor's own id of the event, so one that was dealt with is left alone. Otherwise it is a digest, and two events may
look alike: what was dealt with is dealt with once more, which costs a read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec
from sqlalchemy import func, select

from syncbroker.core.types import Micros
from syncbroker.decoding import decoder
from syncbroker.store import tables
from syncbroker.store.database import Tx
from syncbroker.store.records import FAR


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What of a webhook request is kept beside its raw body. Header names are those the vendor signs with."""

    method: str
    url: str
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    secret: str = ""


_request = decoder(Request)


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as it was stored."""

    id: int
    system: str
    received: Micros
    request: Request
    body: bytes
    trace: str = ""


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """An authenticated delivery. `trace` follows it into the log, up to the writes that it causes."""

    system: str
    dedupe: str
    received: Micros
    request: Request
    body: bytes
    trace: str = ""
    certain: bool = False


class Placed(NamedTuple):
    """The number of a delivery. `new`: it was not known. `wakes`: there is something to do about it."""

    number: int
    new: bool
    wakes: bool


_COLUMNS = ["id", "system", "dedupe", "received", "request", "body", "state", "trace"]
_encode = msgspec.json.Encoder().encode


def store(tx: Tx, arrivals: Sequence[Arrival]) -> list[Placed]:
    """Keep all of them; where each is, in the same order."""
    places = _known(tx, arrivals)
    fresh: dict[tuple[str, str], Arrival] = {}
    for one in arrivals:
        if (one.system, one.dedupe) not in places:
            fresh.setdefault((one.system, one.dedupe), one)
    numbers = tx.numbers("deliveries", len(fresh)) if fresh else range(0)
    rows = [
        (n, a.system, a.dedupe, a.received, _encode(a.request).decode(), a.body, "new", a.trace)
        for n, a in zip(numbers, fresh.values(), strict=True)
    ]
    # another process may have been quicker by a moment: then its row stands, and this number leads nowhere
    tx.insert(tables.deliveries, _COLUMNS, rows, conflict="ignore")
    made = dict(zip(fresh, numbers, strict=True))
    found: list[Placed] = []
    for one in arrivals:
        key = (one.system, one.dedupe)
        if fresh.get(key) is one:
            found.append(Placed(made[key], new=True, wakes=True))
        else:
            number, state = places.get(key) or (made[key], "new")
            settled = state == "new" or (state == "done" and one.certain)
            found.append(Placed(number, new=False, wakes=not settled))
    woken = [(one.number,) for one in found if one.wakes and not one.new]
    tx.update(
        tables.deliveries,
        ["id"],
        ["state", "error", "attempts", "due"],
        [("new", None, 0, 0, *n) for n in dict.fromkeys(woken)],
    )
    return found


def _known(tx: Tx, arrivals: Sequence[Arrival]) -> dict[tuple[str, str], tuple[int, str]]:
    """(system, key) -> number and state of those that came before."""
    by_system: dict[str, list[str]] = {}
    for one in arrivals:
        by_system.setdefault(one.system, []).append(one.dedupe)
    return {
        (system, row[0]): (row[1], row[2])
        for system, keys in by_system.items()
        for row in tx.lookup(
            tables.deliveries, ["dedupe", "id", "state"], "dedupe", list(dict.fromkeys(keys)), system=system
        )
    }


def waiting(tx: Tx) -> dict[str, int]:
    """System -> deliveries that nobody has dealt with."""
    sql = "SELECT system, COUNT(*) FROM deliveries WHERE state = 'new' GROUP BY system"
    return {system: int(count) for system, count in tx.rows(sql, ())}


def due(tx: Tx, system: str, now: Micros, limit: int) -> list[int]:
    """Those of one system that nobody has dealt with and whose time has come, oldest first."""
    sql = "SELECT id FROM deliveries WHERE state = 'new' AND system = ? AND due <= ? ORDER BY due, id LIMIT ?"
    return [row[0] for row in tx.rows(sql, (system, now, limit))]


def note_fault(tx: Tx, number: int, error: str, now: Micros, *, tries: int, wait: Micros) -> bool:
    """A delivery could not be dealt with by a fault: tried again later, and from `tries` on no more (then True).

    `error`: the kind of the fault, never its text. `wait`: until the second try, doubled with each.
    """
    d = tables.deliveries
    row = tx.run(select(d.c.attempts).where(d.c.id == number, d.c.state == "new")).first()
    if row is None:
        return False
    many = int(row.attempts) + 1
    state = "poison" if many >= tries else "new"
    due = now + wait * 2 ** (many - 1)
    tx.update(
        tables.deliveries, ["id"], ["state", "attempts", "due", "error"], [(state, many, due, error, number)]
    )
    return many >= tries


def load(tx: Tx, numbers: Sequence[int]) -> list[Stored]:
    """Those of the deliveries that were not dealt with yet, in the same order."""
    columns = ["id", "system", "received", "request", "body", "trace"]
    rows = {row[0]: row for row in tx.lookup(tables.deliveries, columns, "id", numbers, state="new")}
    return [
        Stored(
            id=n,
            system=rows[n][1],
            received=rows[n][2],
            request=_request.decode(rows[n][3]),
            body=rows[n][4],
            trace=rows[n][5],
        )
        for n in numbers
        if n in rows
    ]


def systems(tx: Tx) -> list[str]:
    """Those of which deliveries wait, from one to the next: each costs one probe."""
    d, found = tables.deliveries.c, list[str]()
    after = ""
    while (
        row := tx.run(select(func.min(d.system)).where(d.state == "new", d.system > after)).scalar()
    ) is not None:
        found.append(after := row)
    return found


def new(tx: Tx, limit: int, without: Sequence[str] = (), now: Micros = FAR) -> list[tuple[int, str]]:
    """(number, system) of those that nobody has dealt with and whose time has come: of each system at most `limit`, by
    when they are due and then by age; none of the systems `without`. Thousands of one system hide no other's."""
    d = tables.deliveries.c
    found: list[tuple[int, str]] = []
    for system in systems(tx) if limit else ():
        if system not in without:
            query = (
                select(d.id, d.system)
                .where(d.state == "new", d.system == system, d.due <= now)
                .order_by(d.due, d.id)
                .limit(limit)
            )
            found += [(row[0], row[1]) for row in tx.run(query)]
    return found


def reopen(tx: Tx, system: str, state: Literal["poison", "rejected"]) -> int:
    """Deliveries of a system that were given up are dealt with once more, as if they had just come. How many."""
    d = tables.deliveries
    given_up = (d.c.system == system) & (d.c.state == state)
    again = d.update().where(given_up).values(state="new", attempts=0, due=0, error=None)
    return int(tx.run(again).rowcount)


def still_waiting(tx: Tx, numbers: Sequence[int]) -> set[int]:
    """Those of the deliveries that were not dealt with yet."""
    return {row[0] for row in tx.lookup(tables.deliveries, ["id"], "id", numbers, state="new")}


def done(tx: Tx, numbers: Iterable[int]) -> None:
    """They are dealt with."""
    tx.update(tables.deliveries, ["id"], ["state", "error"], [("done", None, n) for n in numbers])


def reject(tx: Tx, number: int, why: str) -> None:
    """It tells nothing that can be read."""
    tx.update(tables.deliveries, ["id"], ["state", "error"], [("rejected", why, number)])


def counts(tx: Tx) -> dict[str, int]:
    rows = tx.connection.exec_driver_sql("SELECT state, COUNT(*) FROM deliveries GROUP BY state")
    return {state: int(count) for state, count in rows}
