"""What became of each write, kept for good: the evidence that a value reached a system, or was refused there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import select

from syncbroker.core.types import Micros, Value
from syncbroker.decoding import decoder
from syncbroker.store import tables
from syncbroker.store.database import Tx

Status = Literal["done", "seen", "found", "refused"]
"""done: the vendor confirmed it; seen: its answer was lost, and a later read showed the value; found: the answer to a
create was lost, and a record was there (whoever made it); refused: a permanent no."""


class Body(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """`values`: field -> the golden value written, `decisions`: field -> the decision that had set it (also of
    what a `found` create had tried to write). `sent`: the raw
    values by vendor's path, `shown`: field -> what the answer showed; both only where they are another value.

    `mapping`: the version under which it was sent. `message`: the vendor's.
    """

    system: str
    object: str
    external_id: str | None
    status: Status
    values: dict[str, Value] = {}
    decisions: dict[str, int] = {}
    sent: dict[str, Any] = {}
    shown: dict[str, Any] = {}
    message: str = ""
    key: str = ""
    attempts: int = 1
    mapping: str = ""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt as it is kept. `run`: the run whose decisions owed the write, 0 for none. `id` 0: not stored yet."""

    id: int = 0
    record_id: str
    link: int
    run: int
    at: Micros
    op: str
    body: Body


_encode = msgspec.json.Encoder().encode
_decode = decoder(Body).decode
_COLUMNS = ["id", "record_id", "link", "run", "at", "op", "body"]


def append(tx: Tx, kept: Sequence[Kept]) -> None:
    if not kept:
        return
    numbers = tx.numbers("receipts", len(kept))
    rows = [
        (n, one.record_id, one.link, one.run, one.at, one.op, _encode(one.body).decode())
        for n, one in zip(numbers, kept, strict=True)
    ]
    tx.insert(tables.receipts, _COLUMNS, rows)


def history(tx: Tx, record_id: str, *, until: Micros | None = None, limit: int = 500) -> list[Kept]:
    """A record's receipts, newest first; none later than `until`."""
    r = tables.receipts.c
    query = select(tables.receipts).where(r.record_id == record_id)
    query = query.where(r.at <= until) if until is not None else query
    return [_kept(row) for row in tx.run(query.order_by(r.id.desc()).limit(limit))]


def creates(tx: Tx, record_ids: Sequence[str]) -> list[Kept]:
    """The receipts of creates for these records."""
    rows = tx.lookup(tables.receipts, _COLUMNS, "record_id", sorted(set(record_ids)), op="create")
    return [Kept(**dict(zip(_COLUMNS[:-1], row, strict=False)), body=_decode(row[-1])) for row in rows]


def of_run(tx: Tx, run: int, *, after: int = 0, limit: int = 500) -> list[Kept]:
    """Writes that the decisions of a run owed, oldest first."""
    r = tables.receipts.c
    query = select(tables.receipts).where(r.run == run, r.id > after).order_by(r.id).limit(limit)
    return [_kept(row) for row in tx.run(query)]


def following(tx: Tx, *, after: int = 0, limit: int = 500) -> list[Kept]:
    """The receipts after a number, oldest first."""
    r = tables.receipts.c
    query = select(tables.receipts).where(r.id > after).order_by(r.id).limit(limit)
    return [_kept(row) for row in tx.run(query)]


def _kept(row: Any) -> Kept:
    return Kept(
        id=row.id,
        record_id=row.record_id,
        link=row.link,
        run=row.run,
        at=row.at,
        op=row.op,
        body=_decode(row.body),
    )
