"""What the store does not keep for ever: history that nobody needs any more, deleted in small transactions.

    deliveries   done or rejected: the body holds personal data, and what it told is in the decisions
    runs         done or failed, without a decision and without anything that still waits: most polls find nothing
    drift        findings that are in order again
    reviews      closed ones; not those of merges, whose answers keep a question from coming again
    receipts     of writes; `explain` and `undo` know nothing of a write without one
    audit        what people did to the broker

Whatever is still to be done is never touched, and neither are decisions. A limit of 0 days keeps everything.

Numbers grow with time in each of these tables, so that what is old is the beginning of its primary key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Table, select

from syncbroker.core.types import Micros
from syncbroker.store import tables
from syncbroker.store.database import Store, Tx

BATCH = 1_000
"""Rows looked at in one transaction."""

DAY: Micros = 86_400_000_000

_CLEANED = "cleaned"


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """Days for which rows of each table are kept; 0: for ever."""

    deliveries: int = 0
    runs: int = 0
    drift: int = 0
    reviews: int = 0
    receipts: int = 0
    audit: int = 0


Pick = Callable[[Tx, Sequence[Any], Micros], list[int]]
"""(transaction, old rows, older than) -> the numbers of those that may go."""


class _Rule(NamedTuple):
    """`begun`: the column that tells how old a row is."""

    table: Table
    begun: str
    pick: Pick


def _all(_tx: Tx, rows: Sequence[Any], _before: Micros) -> list[int]:
    return [row.id for row in rows]


def _dealt_with(_tx: Tx, rows: Sequence[Any], _before: Micros) -> list[int]:
    return [row.id for row in rows if row.state in ("done", "rejected")]


def _healed(_tx: Tx, rows: Sequence[Any], before: Micros) -> list[int]:
    return [row.id for row in rows if row.healed is not None and row.healed < before]


def _closed(_tx: Tx, rows: Sequence[Any], before: Micros) -> list[int]:
    return [row.id for row in rows if row.kind != "merge" and row.closed is not None and row.closed < before]


def _unused(tx: Tx, rows: Sequence[Any], _before: Micros) -> list[int]:
    i, d = tables.inbox.c, tables.decisions.c
    ended = [row.id for row in rows if row.state in ("done", "failed")]
    return [n for n in ended if not any(_any(tx, column == n) for column in (i.run, d.run))]


def _any(tx: Tx, where: Any) -> bool:
    return tx.run(select(1).where(where).limit(1)).first() is not None


_RULES = {
    "deliveries": _Rule(tables.deliveries, "received", _dealt_with),
    "runs": _Rule(tables.runs, "started", _unused),
    "drift": _Rule(tables.drift, "found", _healed),
    "reviews": _Rule(tables.reviews, "opened", _closed),
    "receipts": _Rule(tables.receipts, "at", _all),
    "audit": _Rule(tables.audit, "at", _all),
}
_LOOKED_AT = ("id", "received", "started", "found", "opened", "at", "state", "kind", "healed", "closed")


def clean(store: Store, keep: Keep, now: Micros, *, only_look: bool = False) -> Iterator[tuple[str, int]]:
    """(table, rows deleted) after each of the small transactions; whoever asks for the next one sets the pace.

    `only_look`: the rows that would be deleted.
    """
    for name, rule in _RULES.items():
        days, after = int(getattr(keep, name)), 0
        while days:
            with store.read() if only_look else store.write() as tx:
                ids, last = _old(tx, rule, now - days * DAY, after)
                if not only_look:
                    tx.delete(rule.table, ["id"], [(n,) for n in ids])
            yield name, len(ids)
            if last is None:
                break
            after = last


def _old(tx: Tx, rule: _Rule, before: Micros, after: int) -> tuple[list[int], int | None]:
    """Numbers of what may go among the rows after one, and the last one that was looked at if there may be more."""
    columns = rule.table.c
    looked_at = [columns[name] for name in _LOOKED_AT if name in columns]
    rows = tx.run(select(*looked_at).where(columns.id > after).order_by(columns.id).limit(BATCH)).all()
    old = [row for row in rows if getattr(row, rule.begun) < before]
    more = len(rows) == BATCH == len(old)
    return rule.pick(tx, old, before), int(rows[-1].id) if more else None


def claim(store: Store, now: Micros) -> bool:
    """Whether a day has passed since the store was last cleaned; then whoever asks is the one who does it."""
    m = tables.meta
    with store.read() as tx:
        at = tx.run(select(m.c.value).where(m.c.key == _CLEANED)).scalar()
    if at is not None and int(at) > now - DAY:
        return False
    with store.write() as tx:
        if at is None:
            tx.insert(m, ["key", "value"], [(_CLEANED, "0")], conflict="ignore")
        mine = (m.c.key == _CLEANED) & (m.c.value == (at or "0"))
        return bool(tx.run(m.update().where(mine).values(value=str(now))).rowcount)
