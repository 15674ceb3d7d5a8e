"""The drift ledger: what only a sweep found, with its cause, and when it was in order again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import msgspec
from sqlalchemy import func, select

from syncbroker.core.types import Micros
from syncbroker.decoding import decode
from syncbroker.store import tables
from syncbroker.store.database import Tx

Cause = Literal[
    "missed_event",
    "foreign_edit",
    "lost_write",
    "rewritten_by_system",
    "format_only",
    "deleted",
    "created",
    "mapping_changed",
]
CAUSES: tuple[str, ...] = get_args(Cause)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. `field` is "" where the whole record was the difference. `evidence` says how the cause is known;
    it holds no values of fields. `healed`: when the field (or record) agreed everywhere it may be written, or None."""

    id: int = 0
    run: int
    entity: str
    record_id: str
    link: int
    system: str
    object: str
    field: str = ""
    cause: Cause
    found: Micros
    healed: Micros | None = None
    evidence: dict[str, Any] = {}


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """Findings of one cause, system and field. `first`, `last`: when they were found (µs)."""

    system: str
    entity: str
    field: str
    cause: str
    count: int
    open: int
    first: Micros
    last: Micros


_COLUMNS = [
    "id",
    "run",
    "entity",
    "record_id",
    "link",
    "system",
    "object",
    "field",
    "cause",
    "found",
    "healed",
    "body",
]


def add(tx: Tx, findings: Sequence[Finding]) -> None:
    if not findings:
        return
    numbers = tx.numbers("drift", len(findings))
    rows = [
        (
            n,
            f.run,
            f.entity,
            f.record_id,
            f.link,
            f.system,
            f.object,
            f.field,
            f.cause,
            f.found,
            f.healed,
            msgspec.json.encode(f.evidence).decode(),
        )
        for n, f in zip(numbers, findings, strict=True)
    ]
    tx.insert(tables.drift, _COLUMNS, rows)


def any_open(tx: Tx) -> bool:
    return bool(tx.rows("SELECT 1 FROM drift WHERE healed IS NULL LIMIT 1"))


def open_on(tx: Tx, links: Iterable[int]) -> list[tuple[int, int, str]]:
    """(finding, link number, field) of those that are not healed."""
    d, found = tables.drift.c, []
    numbers = sorted(set(links))
    for start in range(0, len(numbers), 500):
        some = numbers[start : start + 500]
        query = select(d.id, d.link, d.field).where(d.healed.is_(None), d.link.in_(some))
        found += [(int(row[0]), int(row[1]), str(row[2])) for row in tx.run(query)]
    return found


def heal(tx: Tx, findings: Iterable[int], now: Micros) -> None:
    tx.update(tables.drift, ["id"], ["healed"], [(now, n) for n in findings])


def counts(tx: Tx, since: Micros = 0) -> list[Count]:
    """Findings since then by system, entity, field and cause."""
    d = tables.drift.c
    keys = (d.system, d.entity, d.field, d.cause)
    query = (
        select(*keys, func.count(), func.count() - func.count(d.healed), func.min(d.found), func.max(d.found))
        .where(d.found >= since)
        .group_by(*keys)
        .order_by(*keys)
    )
    return [
        Count(
            system=row[0],
            entity=row[1],
            field=row[2],
            cause=row[3],
            count=int(row[4]),
            open=int(row[5]),
            first=int(row[6]),
            last=int(row[7]),
        )
        for row in tx.run(query)
    ]


def open_counts(tx: Tx) -> dict[str, int]:
    """Cause -> findings that are not healed."""
    d = tables.drift.c
    query = select(d.cause, func.count()).where(d.healed.is_(None)).group_by(d.cause).order_by(d.cause)
    return {str(row[0]): int(row[1]) for row in tx.run(query)}


def by_run(tx: Tx, since: Micros = 0, limit: int = 20) -> list[tuple[int, Micros, str, int]]:
    """(run, when it found the first, cause, findings) of the newest runs that found something, newest first."""
    d, found = tables.drift.c, list[tuple[int, Micros, str, int]]()
    run = tx.run(select(func.max(d.run))).scalar_one()
    for _ in range(limit):
        if run is None:
            break
        query = select(d.cause, func.count(), func.min(d.found)).where(d.run == run)
        rows = tx.run(query.group_by(d.cause).order_by(d.cause)).all()
        first = min(int(row[2]) for row in rows)
        if first < since:
            break
        found += [(int(run), first, str(row[0]), int(row[1])) for row in rows]
        run = tx.run(select(func.max(d.run)).where(d.run < run)).scalar_one()
    return found


def newest(
    tx: Tx, since: Micros = 0, *, cause: str = "", open_only: bool = False, limit: int = 50
) -> list[Finding]:
    """Newest first."""
    d = tables.drift.c
    query = select(tables.drift).where(d.found >= since).order_by(d.found.desc(), d.id.desc()).limit(limit)
    if cause:
        query = query.where(d.cause == cause)
    if open_only:
        query = query.where(d.healed.is_(None))
    return [_finding(row._mapping) for row in tx.run(query)]  # noqa: SLF001  # SQLAlchemy's public name for a row as a mapping


def _finding(row: Any) -> Finding:
    given = {name: row[name] for name in _COLUMNS if name != "body"}
    return Finding(**given, evidence=decode(row["body"]))
