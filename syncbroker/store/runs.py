"""Runs, cursors, breakers, counters, and the few facts about the store itself."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from sqlalchemy import func, select

from syncbroker.core.mapping import EntityRules
from syncbroker.core.types import Micros
from syncbroker.decoding import decode, decoder
from syncbroker.store import tables
from syncbroker.store.database import Tx

_encode = msgspec.json.Encoder().encode

RunState = Literal["reading", "released", "done", "failed", "held"]


class Held(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What of a run waits for a person, and how it goes on when it is let go.

    `review` asks about it. `observations` that were read wait to be decided, or `pushes` that it owes wait to be sent.
    `cursor`: where the next poll begins, if `reading`s were joined into it; `whole` and `sweep`: how much they saw.
    `split`: a person let a part of it go, so the rest goes only when a person says so. `allowed`: how many records a
    person has let change, be emptied and be deleted, by word.
    """

    review: int
    waits: Literal["observations", "pushes"]
    reading: bool = False
    cursor: str | None = None
    whole: bool = False
    sweep: bool = False
    split: bool = False
    allowed: dict[str, int] = {}


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of pull, push, sweep or undo. `counts`: what it saw and did, by word."""

    id: int
    kind: str
    system: str
    object: str
    state: RunState
    started: Micros
    ended: Micros | None
    counts: dict[str, int]
    held: Held | None = None


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


def hold(tx: Tx, number: int, held: Held, counts: Mapping[str, int], *, ended: Micros | None = None) -> None:
    """A guard holds the run. `ended`: when it was decided, if only its pushes are held."""
    body, kept = _encode(dict(counts)).decode(), _encode(held).decode()
    tx.update(tables.runs, ["id"], ["state", "body", "ended", "held"], [("held", body, ended, kept, number)])


def let_go_on(tx: Tx, run: Run, allowed: Mapping[str, int]) -> None:
    """A person lets a held run be decided."""
    if run.held is not None:
        hold(tx, run.id, msgspec.structs.replace(run.held, allowed=dict(allowed)), run.counts)
    move(tx, run.id, "released", run.counts)


def get(tx: Tx, number: int) -> Run | None:
    row = tx.run(select(tables.runs).where(tables.runs.c.id == number)).first()
    return _run(row) if row else None


def locked(tx: Tx, number: int) -> Run | None:
    """The run as it is now, and as it stays until this transaction ends."""
    query = select(tables.runs).where(tables.runs.c.id == number)
    row = tx.run(query if tx.sqlite else query.with_for_update()).first()
    return _run(row) if row else None


def held(tx: Tx) -> list[Run]:
    """Runs that a guard holds, oldest first."""
    r = tables.runs
    if not tx.rows("SELECT 1 FROM runs WHERE state = 'held' LIMIT 1"):  # mostly, and quickly said
        return []
    return [_run(row) for row in tx.run(select(r).where(r.c.state == "held").order_by(r.c.id))]


def holding(tx: Tx, system: str, object_: str, waits: str) -> Run | None:
    """The run of an object that a guard holds, if there is one, which more of the same joins.

    Of those that hold pushes only that of live decisions: each other run has pushes of its own.
    """
    for run in held(tx):
        if (run.system, run.object) != (system, object_) or run.held is None or run.held.waits != waits:
            continue
        if waits == "observations" or run.kind == "live":
            return run
    return None


def let_go(tx: Tx) -> list[Run]:
    """Runs whose observations a person has approved, and that nobody has finished since."""
    return [run for run in unfinished(tx) if run.state == "released" and run.held is not None]


def unfinished(tx: Tx) -> list[Run]:
    """Runs that a process left behind: reading (to be read again) or released (to be decided)."""
    r = tables.runs
    if not tx.rows("SELECT 1 FROM runs WHERE state IN ('reading', 'released') LIMIT 1"):
        return []
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
        counts=decode(row.body),
        held=decode(row.held, Held) if row.held else None,
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


def open_breakers(tx: Tx, now: Micros) -> set[str]:
    """Names of those that let no call pass now: there are few."""
    return {row[0] for row in tx.rows("SELECT system FROM breakers WHERE open_until > ?", (now,))}


def set_breaker(tx: Tx, system: str, value: Breaker) -> None:
    tx.insert(
        tables.breakers,
        ["system", "failures", "open_until", "message"],
        [(system, value.failures, value.open_until, value.message)],
        conflict="replace",
    )


def try_breaker(tx: Tx, system: str, seen: Breaker, until: Micros) -> bool:
    """Whether the caller is the one that may try now; nobody else does before `until`."""
    b = tables.breakers
    here = (b.c.system == system) & (b.c.open_until == seen.open_until)
    return bool(tx.run(b.update().where(here).values(open_until=until)).rowcount)


# ------------------------------------------------------------------------------------------------ the store


def secret_key(tx: Tx) -> bytes:
    """The key of this store's tombstone hashes, made on first use."""
    asked = "SELECT value FROM meta WHERE key = 'tombstone_key'"
    rows = tx.rows(asked)
    if not rows:
        tx.insert(
            tables.meta, ["key", "value"], [("tombstone_key", secrets.token_hex(32))], conflict="ignore"
        )
        rows = tx.rows(asked)
    return bytes.fromhex(rows[0][0])


def stored_secret(tx: Tx) -> bytes:
    """The key of tombstones where there is one: as long as nothing was buried there may be none, b""."""
    rows = tx.lookup(tables.meta, ["value"], "key", ["tombstone_key"])
    return bytes.fromhex(rows[0][0]) if rows else b""


_DERIVE = "derive:"


def want_derived(tx: Tx, entities: Iterable[str]) -> None:
    """What is owed for these entities is to be derived anew, by whoever comes first."""
    rows = [(f"{_DERIVE}{entity}", secrets.token_hex(8)) for entity in entities]
    tx.insert(tables.meta, ["key", "value"], rows, conflict="replace")


def to_derive(tx: Tx) -> dict[str, str]:
    """Entity -> the mark to give back when it was derived."""
    rows = tx.rows("SELECT key, value FROM meta WHERE key LIKE ? ORDER BY key", (f"{_DERIVE}%",))
    return {row[0].removeprefix(_DERIVE): row[1] for row in rows}


def derived(tx: Tx, entity: str, mark: str) -> None:
    """Nothing is left to derive, unless it was asked for once more meanwhile."""
    tx.delete(tables.meta, ["key", "value"], [(f"{_DERIVE}{entity}", mark)])


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A mapping version that was active. `rules`: its entities, None when they were not kept or cannot be read now."""

    version: str
    first_used: Micros
    last_used: Micros
    rules: dict[str, EntityRules] | None


_rules = decoder(dict[str, EntityRules])


def use_mapping(tx: Tx, version: str, now: Micros, rules: Mapping[str, EntityRules]) -> bool:
    """Make this mapping version the active one; True when another one was active before.

    Its rules are kept (no systems, no credentials), so that what they decided can be resolved again.
    """
    m = tables.mappings
    last = tx.run(select(m.c.version).order_by(m.c.last_used.desc()).limit(1)).scalar()
    body = _encode(dict(rules)).decode()
    tx.insert(
        m, ["version", "first_used", "last_used", "body"], [(version, now, now, body)], conflict="ignore"
    )
    tx.run(m.update().where(m.c.version == version).values(last_used=now))
    tx.run(m.update().where(m.c.version == version, m.c.body.is_(None)).values(body=body))
    return last is not None and last != version


def versions(tx: Tx) -> dict[str, Version]:
    """Every mapping version that was ever active, oldest first."""
    m = tables.mappings
    return {row.version: _version(row) for row in tx.run(select(m).order_by(m.c.first_used))}


def _version(row: Any) -> Version:
    try:
        rules = _rules.decode(row.body) if row.body is not None else None
    except msgspec.ValidationError:  # kept by a release whose rules had another form
        rules = None
    return Version(version=row.version, first_used=row.first_used, last_used=row.last_used, rules=rules)
