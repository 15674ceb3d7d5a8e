"""What guards ask of the store: how many links an object has, what a run has staged, and the rolling windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from sqlalchemy import func, select

from syncbroker.core.types import Micros
from syncbroker.store import queues, tables
from syncbroker.store.database import Tx
from syncbroker.store.queues import Row, Waiting

MINUTE: Micros = 60_000_000

Key = tuple[str, str, str]
"""(system, object, entity)."""


class Pushes(NamedTuple):
    """How many writes of one operation a run has staged for an object."""

    system: str
    object: str
    entity: str
    op: str
    many: int


def links(tx: Tx, key: Key, *, shared: bool) -> int:
    """How many live links an object has. `shared`: other entities read it too, and theirs are left out."""
    sql = "SELECT COUNT(*) FROM links WHERE status = 'live' AND system = ? AND object = ?"
    if shared:
        return int(tx.rows(f"{sql} AND entity = ?", key)[0][0])
    return int(tx.rows(sql, key[:2])[0][0])


# ------------------------------------------------------------------------------------ staged observations


def observations(tx: Tx, run: int, limit: int) -> Iterator[list[Waiting]]:
    """All staged observations of a run, `limit` at a time."""
    i, after = tables.inbox.c, (-1, 0)
    while True:
        query = (
            select(i.id, i.system, i.object, i.body, i.due)
            .where(i.run == run, (i.due > after[0]) | ((i.due == after[0]) & (i.id > after[1])))
            .order_by(i.due, i.id)
            .limit(limit)
        )
        rows = list(tx.run(query))
        if rows:
            yield [queues.waiting(row) for row in rows]
        if len(rows) < limit:
            return
        after = (rows[-1][4], rows[-1][0])


def staged(
    tx: Tx, runs: Sequence[int], system: str, object_: str, external_ids: Sequence[str]
) -> list[Waiting]:
    """What runs have staged about these records."""
    columns = ["id", "system", "object", "body", "run"]
    found = tx.lookup(tables.inbox, columns, "external_id", external_ids, system=system, object=object_)
    return [queues.waiting(row) for row in found if row[4] in runs]


def move(tx: Tx, numbers: Sequence[int], run: int) -> None:
    """Staged observations become those of another run, due at once."""
    tx.update(tables.inbox, ["id"], ["run", "due"], [(run, 0, n) for n in numbers])


def move_all(tx: Tx, run: int, to: int) -> int:
    """How many there were."""
    i = tables.inbox
    return int(tx.run(i.update().where(i.c.run == run).values(run=to, due=0)).rowcount)


def drop_all(tx: Tx, run: int) -> int:
    """How many there were."""
    return int(tx.run(tables.inbox.delete().where(tables.inbox.c.run == run)).rowcount)


# ------------------------------------------------------------------------------------------ staged pushes


def pushes(tx: Tx, run: int) -> list[Pushes]:
    """What a run has staged, by object, entity and operation."""
    sql = (
        "SELECT o.system, o.object, l.entity, o.op, COUNT(*) FROM outbox o JOIN links l ON l.n = o.link "
        "WHERE o.state = 'staged' AND o.run = ? GROUP BY o.system, o.object, l.entity, o.op ORDER BY 1, 2, 3, 4"
    )
    return [Pushes(*row) for row in tx.rows(sql, (run,))]


def push_count(tx: Tx, run: int) -> int:
    return int(tx.rows("SELECT COUNT(*) FROM outbox WHERE state = 'staged' AND run = ?", (run,))[0][0])


def staged_pushes(tx: Tx, run: int, limit: int) -> Iterator[list[Row]]:
    """All staged writes of a run, `limit` at a time."""
    after = 0
    while rows := staged_rows(tx, run, after, limit):
        yield rows
        after = rows[-1].link


def staged_rows(tx: Tx, run: int, after: int, limit: int) -> list[Row]:
    """Staged writes of a run to links after a number, in their order."""
    sql = "SELECT link FROM outbox WHERE state = 'staged' AND run = ? AND link > ? ORDER BY link LIMIT ?"
    numbers = [row[0] for row in tx.rows(sql, (run, after, limit))]
    found = queues.outbox_rows(tx, numbers)
    return [found[n] for n in numbers]


def send(tx: Tx, run: int, only: Sequence[int] | None = None) -> int:
    """Staged writes of a run (on these links) are due now. How many."""
    mark = "?" if tx.sqlite else "%s"
    sql = f"UPDATE outbox SET state = 'due', due = 0 WHERE state = 'staged' AND run = {mark}"  # noqa: S608  # a mark
    if only is None:
        return int(tx.connection.exec_driver_sql(sql, (run,)).rowcount)
    return sum(
        int(tx.connection.exec_driver_sql(f"{sql} AND link = {mark}", (run, n)).rowcount) for n in only
    )


def hurry(tx: Tx, numbers: Sequence[int]) -> None:
    """Writes that waited because their records were held may be claimed again."""
    tx.update(tables.outbox, ["link", "state"], ["due"], [(0, n, "due") for n in numbers])


# ------------------------------------------------------------------------------------------------ windows

What = Literal[
    "changed", "emptied", "deleted", "push_changed", "push_created", "push_emptied", "push_deleted"
]


def window(tx: Tx, key: Key, now: Micros, span: Micros) -> dict[str, int]:
    """What went through within the last `span`, by word."""
    w = tables.windows.c
    query = (
        select(w.what, func.sum(w.count))
        .where(w.system == key[0], w.object == key[1], w.entity == key[2], w.minute > (now - span) // MINUTE)
        .group_by(w.what)
    )
    return {what: int(count) for what, count in tx.run(query)}


def note(tx: Tx, key: Key, counts: Mapping[str, int], now: Micros, span: Micros) -> None:
    """Count what goes through now; what is older than `span` goes."""
    mark, w = "?" if tx.sqlite else "%s", tables.windows
    rows = [(*key, what, now // MINUTE, count) for what, count in sorted(counts.items()) if count]
    if not rows:
        return
    tx.connection.exec_driver_sql(
        f"INSERT INTO windows (system, object, entity, what, minute, count) VALUES ({', '.join([mark] * 6)}) "  # noqa: S608  # marks
        "ON CONFLICT (system, object, entity, what, minute) DO UPDATE SET count = windows.count + excluded.count",
        rows,
    )
    mine = (w.c.system == key[0]) & (w.c.object == key[1]) & (w.c.entity == key[2])
    tx.run(w.delete().where(mine & (w.c.minute <= (now - span) // MINUTE)))


def forget(tx: Tx, system: str, object_: str) -> None:
    """A person has looked at what went through: the counting begins anew."""
    w = tables.windows
    tx.run(w.delete().where((w.c.system == system) & (w.c.object == object_)))
