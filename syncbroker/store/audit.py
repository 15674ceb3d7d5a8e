"""What people did to the broker itself, beside their decisions: paused, retried, restored, rotated, erased."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import select

from syncbroker.core.types import Micros
from syncbroker.decoding import decode
from syncbroker.store import tables
from syncbroker.store.database import Tx


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`action` in the command's words, `subject` what it was done to; `body` tells more, never personal data."""

    id: int
    at: Micros
    person: str
    action: str
    subject: str
    body: dict[str, Any]


def note(tx: Tx, at: Micros, person: str, action: str, subject: str, body: Mapping[str, Any]) -> None:
    """In the transaction that does it, so that neither is there without the other."""
    number = tx.numbers("audit", 1)[0]
    text = msgspec.json.encode(dict(body)).decode()
    columns = ["id", "at", "person", "action", "subject", "body"]
    tx.insert(tables.audit, columns, [(number, at, person, action, subject, text)])


def entries(tx: Tx, *, since: Micros = 0, limit: int = 100) -> list[Entry]:
    """Newest first."""
    a = tables.audit.c
    query = select(tables.audit).where(a.at >= since).order_by(a.at.desc(), a.id.desc()).limit(limit)
    return [
        Entry(
            id=row.id,
            at=row.at,
            person=row.person,
            action=row.action,
            subject=row.subject,
            body=decode(row.body),
        )
        for row in tx.run(query)
    ]
