"""Where a time begins in a table whose ids rise with it, found by bisecting the primary key: no index is needed."""

from __future__ import annotations

from sqlalchemy import Table, func, select

from syncbroker.core.types import Micros
from syncbroker.store.database import Tx

SLACK: Micros = 600_000_000
"""How much a row's time may lie before that of a row with a smaller id: transactions overlap, clocks differ."""


def first_since(tx: Tx, table: Table, since: Micros) -> int:
    """An id such that every row of `since` or later has it or a larger one; a few before may have, too.

    `table` has the columns `id` and `at`. One past the last id when there is none.
    """
    t = table.c
    low = tx.run(select(func.min(t.id))).scalar()
    last = tx.run(select(func.max(t.id))).scalar()
    if low is None or last is None:
        return 1
    high = int(last) + 1
    while low < high:  # every row before `low` is older
        middle = (low + high) // 2
        row = tx.run(select(t.id, t.at).where(t.id >= middle).order_by(t.id).limit(1)).first()
        if row is not None and row.at < since - SLACK:
            low = int(row.id) + 1
        else:
            high = middle
    return int(low)
