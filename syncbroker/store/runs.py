"""Runs, cursors, breakers, counters, and the few facts about the store itself."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from sqlalchemy import func, select

from syncbroker.core.types import Micros
from syncbroker.store import tables
from syncbroker.store.database import Tx

_encode = msgspec.json.Encoder().encode

RunState = Literal["reading", "released", "done", "failed", "held"]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of pull, push or sweep. `counts`: what it saw and did, by word."""

    id: int
    kind: str
    system: str
    object: str
    state: RunState
    started: Micros
    ended: Micros | None
    counts: dict[str, int]


def begin(tx: Tx, kind: str, system: str, object_: str, now: Micros) -> int:
    number = tx.numbers("runs", 1)[0]
    tx.insert(
        tables.runs,
        ["id", "kind", "system", "object", "state", "started", "body"],
        [(number, kind, system, object_, "reading", now, "{}")],
    )
    return number


def move(
    tx: Tx, number: int, state: RunState, counts: Mapping[str, int], *, ended: Micros | None = None
) -> None:
    tx.update(
        tables.runs,
        ["id"],
        ["state", "body", "ended"],
        [(state, _encode(dict(counts)).decode(), ended, number)],
    )


def unfinished(tx: Tx) -> list[Run]:
    """Runs that a process left behind: reading (to be read again) or released (to be decided)."""
    r = tables.runs
    return [
        _run(row) for row in tx.run(select(r).where(r.c.state.in_(["reading", "released"])).order_by(r.c.id))
    ]


def recent(tx: Tx, limit: int = 20) -> list[Run]:
    return [_run(row) for row in tx.run(select(tables.runs).order_by(tables.runs.c.id.desc()).limit(limit))]


def _run(row: Any) -> Run:
    return Run(
        id=row.id,
        kind=row.kind,
        system=row.system,
        object=row.object,
        state=row.state,
        started=row.started,
        ended=row.ended,
        counts=msgspec.json.decode(row.body),
    )


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """How far an object of a system has been read. `first_read`: when a complete first read had been matched.

    `rules`: the reading rules under which it was last read whole.
    """

    cursor: str | None = None
    first_read: Micros | None = None
    swept: Micros | None = None
    pulled: Micros | None = None
    rules: str | None = None


def cursor(tx: Tx, system: str, object_: str) -> Cursor:
    columns = ["cursor", "first_read", "swept", "pulled", "rules"]
    found = tx.lookup(tables.cursors, columns, "object", [object_], system=system)
    return Cursor(**dict(zip(columns, found[0], strict=True))) if found else Cursor()


def set_cursor(tx: Tx, system: str, object_: str, value: Cursor) -> None:
    tx.insert(
        tables.cursors,
        ["system", "object", "cursor", "first_read", "swept", "pulled", "rules"],
        [(system, object_, value.cursor, value.first_read, value.swept, value.pulled, value.rules)],
        conflict="replace",
    )


def first_reads(tx: Tx) -> set[tuple[str, str]]:
    """(system, object) pairs into which creates may go."""
    c = tables.cursors.c
    return {(row[0], row[1]) for row in tx.run(select(c.system, c.object).where(c.first_read.is_not(None)))}


def count(tx: Tx, amounts: Mapping[tuple[str, str, str], int]) -> None:
    """(what, system, object) -> how many more. Nothing is dropped, blocked, held or skipped without such a row."""
    rows = [(*key, amount) for key, amount in sorted(amounts.items()) if amount]
    mark = "?" if tx.sqlite else "%s"
    if rows:
        tx.connection.exec_driver_sql(
            f"INSERT INTO counters (what, system, object, count) VALUES ({', '.join([mark] * 4)}) "  # noqa: S608  # marks
            "ON CONFLICT (what, system, object) DO UPDATE SET count = counters.count + excluded.count",
            rows,
        )


def counters(tx: Tx) -> dict[tuple[str, str, str], int]:
    rows = tx.run(select(tables.counters).order_by(tables.counters.c.what, tables.counters.c.system))
    return {(row.what, row.system, row.object): int(row.count) for row in rows}


def link_counts(tx: Tx) -> dict[tuple[str, str, str], int]:
    """(system, object, status) -> links."""
    rows = tx.connection.exec_driver_sql(
        "SELECT system, object, status, COUNT(*) FROM links GROUP BY system, object, status ORDER BY 1, 2, 3"
    )
    return {(system, object_, status): int(many) for system, object_, status, many in rows}


def record_counts(tx: Tx) -> dict[str, int]:
    rows = tx.connection.exec_driver_sql(
        "SELECT entity, COUNT(*) FROM records GROUP BY entity ORDER BY entity"
    )
    return {entity: int(many) for entity, many in rows}


def pending_reference_count(tx: Tx) -> int:
    return int(tx.run(select(func.count()).select_from(tables.pending_references)).scalar_one())


# ---- breakers ----


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """A system whose calls failed `failures` times in a row is left alone until `open_until`."""

    failures: int = 0
    open_until: Micros = 0
    message: str = ""


def breaker(tx: Tx, system: str) -> Breaker:
    columns = ["failures", "open_until", "message"]
    found = tx.lookup(tables.breakers, columns, "system", [system])
    return Breaker(**dict(zip(columns, found[0], strict=True))) if found else Breaker()


def set_breaker(tx: Tx, system: str, value: Breaker) -> None:
    tx.insert(
        tables.breakers,
        ["system", "failures", "open_until", "message"],
        [(system, value.failures, value.open_until, value.message)],
        conflict="replace",
    )


# ------------------------------------------------------------------------------------------------ the store


def secret_key(tx: Tx) -> bytes:
    """The key of this store's tombstone hashes, made on first use."""
    row = tx.run(select(tables.meta.c.value).where(tables.meta.c.key == "tombstone_key")).first()
    if row is None:
        tx.insert(
            tables.meta, ["key", "value"], [("tombstone_key", secrets.token_hex(32))], conflict="ignore"
        )
        row = tx.run(select(tables.meta.c.value).where(tables.meta.c.key == "tombstone_key")).one()
    return bytes.fromhex(row[0])


_DERIVE = "derive:"


def want_derived(tx: Tx, entities: Iterable[str]) -> None:
    """What is owed for these entities is to be derived anew, by whoever comes first."""
    rows = [(f"{_DERIVE}{entity}", secrets.token_hex(8)) for entity in entities]
    tx.insert(tables.meta, ["key", "value"], rows, conflict="replace")


def to_derive(tx: Tx) -> dict[str, str]:
    """Entity -> the mark to give back when it was derived."""
    m = tables.meta.c
    rows = tx.run(select(m.key, m.value).where(m.key.startswith(_DERIVE, autoescape=True)).order_by(m.key))
    return {row[0].removeprefix(_DERIVE): row[1] for row in rows}


def derived(tx: Tx, entity: str, mark: str) -> None:
    """Nothing is left to derive, unless it was asked for once more meanwhile."""
    tx.delete(tables.meta, ["key", "value"], [(f"{_DERIVE}{entity}", mark)])


def use_mapping(tx: Tx, version: str, now: Micros) -> bool:
    """Make this mapping version the active one; True when another one was active before."""
    m = tables.mappings
    last = tx.run(select(m.c.version).order_by(m.c.last_used.desc()).limit(1)).scalar()
    tx.insert(m, ["version", "first_used", "last_used"], [(version, now, now)], conflict="ignore")
    tx.run(m.update().where(m.c.version == version).values(last_used=now))
    return last is not None and last != version
