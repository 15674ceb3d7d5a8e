"""Taking deliveries in, many in one transaction: one look for those that came before, one insert for the others.

A delivery is known by its `dedupe` key within its system. What becomes of one that came before depends on what the key
is. `certain`: it is the vendor's own id of the event, so one that was dealt with is left alone. Otherwise it is a
digest, and two events may look alike: what was dealt with is dealt with once more, which costs a read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from syncbroker.core.types import Micros
from syncbroker.store import tables
from syncbroker.store.database import Tx
from syncbroker.store.queues import Request


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
