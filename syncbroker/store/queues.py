"""What waits: webhook deliveries as they came, observations (inbox), writes owed (outbox)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import func, select

from syncbroker.core.types import Actor, Micros, Value
from syncbroker.decoding import decoder
from syncbroker.store import shards, tables
from syncbroker.store.database import Tx
from syncbroker.store.records import FAR

_encode = msgspec.json.Encoder().encode

LIVE = 0
"""The run number of observations that no run staged: webhooks, settling reads, woken references."""


class Sighting(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One observation as it waits in the inbox: the item's mapped raw members by path, and how it came to be seen.

    `fingerprint` (hex) is that of the whole item, "" when the item was incomplete. `renamed_from`: the external id the
    vendor knew it by before. `trace` follows the delivery that it came with (`run_trace` stands for a run). See
    `core.observe.Look` for the rest.
    """

    id: str
    fields: dict[str, Any] = {}
    complete: bool = True
    deleted: bool = False
    merged_into: str | None = None
    aliases: tuple[str, ...] = ()
    renamed_from: str = ""
    stamp: Micros | None = None
    begun: Micros = 0
    ended: Micros = 0
    read: bool = True
    second: bool = False
    unsure: bool = False
    via: str = "poll"
    event: str = ""
    consent: str | None = None
    actor: Actor | None = None
    field_times: dict[str, Micros] | None = None
    fingerprint: str = ""
    trace: str = ""


class Waiting(msgspec.Struct, frozen=True):
    """An inbox row."""

    number: int
    system: str
    object: str
    sighting: Sighting


_sighting = decoder(Sighting)


def stage(tx: Tx, run: int, system: str, object_: str, sightings: Sequence[Sighting]) -> None:
    if not sightings:
        return
    numbers = tx.numbers("inbox", len(sightings))
    of = shards.of_external_ids(tx, system, object_, [s.id for s in sightings])
    tx.insert(
        tables.inbox,
        ["id", "run", "system", "object", "external_id", "due", "body", "shard"],
        [
            (n, run, system, object_, s.id, 0, _encode(s).decode(), of.get(s.id, shards.ALONE))
            for n, s in zip(numbers, sightings, strict=True)
        ],
    )


def take(tx: Tx, run: int, now: Micros, limit: int, shard: int | None = None) -> list[Waiting]:
    """The next observations of a run (in a shard) that are due, oldest first."""
    some, given = ("", ()) if shard is None else ("AND shard = ? ", (shard,))
    rows = tx.rows(
        f"SELECT id, system, object, body FROM inbox WHERE run = ? AND due <= ? {some}ORDER BY due, id LIMIT ?",  # noqa: S608  # one of two texts
        (run, now, *given, limit),
    )
    return [waiting(row) for row in rows]


def take_these(tx: Tx, run: int, numbers: Sequence[int], now: Micros) -> list[Waiting]:
    """Of these observations those that still wait and are due, oldest first."""
    rows = tx.lookup(tables.inbox, ["id", "system", "object", "body", "due"], "id", numbers, run=run)
    return [waiting(row) for row in sorted(rows, key=lambda row: (row[4], row[0])) if row[4] <= now]


def waiting(row: Any) -> Waiting:
    """Of (number, system, object, body, ...)."""
    return Waiting(row[0], row[1], row[2], _sighting.decode(row[3]))


def is_due(tx: Tx, run: int, now: Micros) -> bool:
    return bool(tx.rows("SELECT 1 FROM inbox WHERE run = ? AND due <= ? LIMIT 1", (run, now)))


def finish(tx: Tx, numbers: Sequence[int]) -> None:
    tx.delete(tables.inbox, ["id"], [(n,) for n in numbers])


def put_off(tx: Tx, rows: Sequence[tuple[int, Micros]]) -> None:
    """(inbox number, due) rows; `FAR` waits for `wake`."""
    tx.update(tables.inbox, ["id"], ["due"], [(due, n) for n, due in rows])


class SetAside(msgspec.Struct, frozen=True, kw_only=True):
    """An observation that could not be decided. `error`: kind and place of the fault, no values."""

    number: int
    system: str
    object: str
    attempts: int
    error: str


def strike(tx: Tx, number: int, error: str, tries: int, due: Micros) -> SetAside | None:
    """Deciding the observation met a fault. After so many `tries` it is set aside, else it is due again then.

    Returns it if it was set aside.
    """
    columns = ["id", "system", "object", "attempts"]
    found = tx.lookup(tables.inbox, columns, "id", [number])
    if not found:
        return None
    _, system, object_, attempts = found[0]
    last = attempts + 1 >= tries
    row = (attempts + 1, error if last else None, FAR if last else due, number)
    tx.update(tables.inbox, ["id"], ["attempts", "error", "due"], [row])
    if not last:
        return None
    return SetAside(number=number, system=system, object=object_, attempts=attempts + 1, error=error)


def set_aside(tx: Tx, limit: int = 100) -> list[SetAside]:
    """The oldest of what could not be decided."""
    i = tables.inbox.c
    query = select(i.id, i.system, i.object, i.attempts, i.error).where(i.error.is_not(None))
    rows = tx.run(query.order_by(i.system, i.object, i.id).limit(limit))
    return [SetAside(number=r[0], system=r[1], object=r[2], attempts=r[3], error=r[4]) for r in rows]


def set_aside_counts(tx: Tx) -> dict[tuple[str, str], int]:
    """(system, object) -> observations that could not be decided."""
    i = tables.inbox.c
    query = select(i.system, i.object, func.count()).where(i.error.is_not(None))
    return {(r[0], r[1]): int(r[2]) for r in tx.run(query.group_by(i.system, i.object))}


def revive(tx: Tx, system: str = "") -> int:
    """What could not be decided (of one system) is tried again at once, as if it had just come. How many."""
    i = tables.inbox
    query = i.update().where(i.c.error.is_not(None))
    query = query.where(i.c.system == system) if system else query
    return int(tx.run(query.values(error=None, attempts=0, due=0)).rowcount)


def amend(tx: Tx, number: int, sighting: Sighting, due: Micros) -> None:
    tx.update(tables.inbox, ["id"], ["body", "due"], [(_encode(sighting).decode(), due, number)])


def wake(tx: Tx, system: str, object_: str, external_ids: Sequence[str]) -> None:
    tx.update(
        tables.inbox,
        ["system", "object", "external_id"],
        ["due"],
        [(0, system, object_, external_id) for external_id in external_ids],
    )


def unjudged(tx: Tx, system: str, object_: str, external_ids: Sequence[str], now: Micros) -> set[str]:
    """Those of the ids that an observation waits for which is due."""
    columns = ["external_id", "due"]
    rows = tx.lookup(tables.inbox, columns, "external_id", external_ids, system=system, object=object_)
    return {row[0] for row in rows if row[1] <= now}


def late_runs(tx: Tx, now: Micros) -> dict[int, bool]:
    """Runs with observations that are due: put off by one that is done, or left by one whose deciding broke off.

    Run -> whether what it owes is staged: until it is finished, and while a guard holds its pushes.
    """
    found: dict[int, bool] = {}
    run = LIVE
    while True:  # from run to run: there are few in the inbox, and many done ones
        run = tx.rows("SELECT MIN(run) FROM inbox WHERE run > ?", (run,))[0][0]
        if run is None:
            return found
        rows = tx.rows("SELECT state, ended FROM runs WHERE id = ?", (run,))
        state, ended = rows[0] if rows else ("", None)
        let_go = state in ("done", "released") or (state == "held" and ended is not None)
        if let_go and is_due(tx, run, now):
            found[run] = state != "done"


def inbox_size(tx: Tx, run: int | None = None) -> int:
    query = select(func.count()).select_from(tables.inbox)
    return int(tx.run(query.where(tables.inbox.c.run == run) if run is not None else query).scalar_one())


# -------------------------------------------------------------------------------------------------- outbox


Op = Literal["create", "update", "delete"]


class Push(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The state of a write once it is claimed.

    `values`: field -> golden value being written. `key`: idempotency key. `based_on`: order of the re-check.
    `decisions`: field -> the decision that had set the value being written. `job`: the vendor's job. `holder`:
    the process that claimed it. `refused`: values that the vendor refused for good. `review`: the review that
    says so. `stage`: what is owed after it is staged by this run. `until`: how long a create in doubt may
    still arrive (µs). `ends`: the record is to be deleted as soon as this write is settled.
    `since`: when it came to be owed (µs, 0: not known); `claimed`: when its key was made (µs, 0: not known);
    `trace`: of what caused it.
    """

    values: dict[str, Value] = {}
    decisions: dict[str, int] = {}
    key: str = ""
    based_on: Micros = 0
    job: str = ""
    holder: str = ""
    refused: dict[str, Value] = {}
    review: int = 0
    until: Micros = 0
    ends: bool = False
    stage: int = 0
    since: Micros = 0
    claimed: Micros = 0
    trace: str = ""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An outbox row. A `staged` one is claimed by nobody until the guards of its run pass, or a person says so."""

    link: int
    system: str
    object: str
    op: Op
    state: Literal["due", "claimed", "pending", "unknown", "refused", "waiting", "staged"]
    due: Micros
    attempts: int
    run: int
    push: Push
    error: str | None = None


def anew(row: Row) -> Push:
    """Nothing is being written any more; what was refused before stays refused."""
    kept = row.push
    return Push(refused=kept.refused, review=kept.review, since=kept.since, trace=kept.trace)


def run_trace(run: int) -> str:
    """What follows everything that a run read, up to the writes it causes; "" outside runs."""
    return f"run-{run}" if run != LIVE else ""


def trace_of(row: Row) -> str:
    return row.push.trace or run_trace(row.run)


def remainder(row: Row) -> Row | None:
    """What is left of a row once its write is done: what was refused before, if anything."""
    if not row.push.refused:
        return None
    return msgspec.structs.replace(row, state="refused", due=FAR, push=anew(row))


_push = decoder(Push)
_OUTBOX = ["link", "system", "object", "op", "state", "due", "attempts", "run", "body", "error"]


def outbox_rows(tx: Tx, links: Sequence[int]) -> dict[int, Row]:
    return {row[0]: _row(row) for row in tx.lookup(tables.outbox, _OUTBOX, "link", links)}


def outbox_due(tx: Tx, system: str, states: Sequence[str], now: Micros, limit: int) -> list[Row]:
    """Rows of a system in one of the states whose time has come, oldest first; locked against other workers."""
    o = tables.outbox.c
    query = (
        select(*[o[name] for name in _OUTBOX])
        .where(o.system == system, o.state.in_(states), o.due <= now)
        .order_by(o.due, o.link)
        .limit(limit)
    )
    if not tx.sqlite:
        query = query.with_for_update(skip_locked=True)
    return [_row(row) for row in tx.run(query)]


def save_outbox(tx: Tx, rows: Sequence[Row]) -> None:
    tx.insert(
        tables.outbox,
        _OUTBOX,
        [
            (
                r.link,
                r.system,
                r.object,
                r.op,
                r.state,
                r.due,
                r.attempts,
                r.run,
                _encode(r.push).decode(),
                r.error,
            )
            for r in rows
        ],
        conflict="replace",
    )


def drop_outbox(tx: Tx, links: Sequence[int]) -> None:
    tx.delete(tables.outbox, ["link"], [(n,) for n in links])


def wake_waiting(tx: Tx, system: str) -> None:
    """Something new is linked in a system: writes that waited to refer to it may go."""
    o = tables.outbox.c
    waiting = (o.system == system) & (o.state == "waiting")
    tx.run(tables.outbox.update().where(waiting).values(state="due", due=0))


def expire_claims(tx: Tx, systems: Iterable[str]) -> None:
    """No worker is alive: the outcome of every claimed write is unknown from now on."""
    o = tables.outbox
    for system in systems:
        claimed = (o.c.system == system) & (o.c.state == "claimed")
        tx.run(o.update().where(claimed).values(state="unknown", due=0))


def outbox_counts(tx: Tx) -> dict[tuple[str, str], int]:
    """(system, state) -> rows."""
    rows = tx.connection.exec_driver_sql("SELECT system, state, COUNT(*) FROM outbox GROUP BY system, state")
    return {(system, state): int(count) for system, state, count in rows}


def next_due(tx: Tx, system: str) -> Micros | None:
    """When the earliest write of a system is due, None when none ever will be by itself."""
    due = tx.rows(
        "SELECT MIN(due) FROM outbox WHERE system = ? AND state IN ('due', 'claimed', 'pending', 'unknown')",
        (system,),
    )[0][0]
    return None if due is None or due >= FAR else int(due)


def is_claimed(tx: Tx, system: str) -> bool:
    """Whether something is being written to a system."""
    sql = "SELECT 1 FROM outbox WHERE system = ? AND state = 'claimed' LIMIT 1"
    return bool(tx.rows(sql, (system,)))


def due_states(tx: Tx, system: str, now: Micros) -> set[str]:
    """The states of a system's writes whose time has come."""
    states = ["due", "claimed", "pending", "unknown"]
    sql = "SELECT 1 FROM outbox WHERE system = ? AND state = ? AND due <= ? LIMIT 1"
    return {state for state in states if tx.rows(sql, (system, state, now))}


def _row(row: Any) -> Row:
    return Row(
        link=row[0],
        system=row[1],
        object=row[2],
        op=row[3],
        state=row[4],
        due=row[5],
        attempts=row[6],
        run=row[7],
        push=_push.decode(row[8]),
        error=row[9],
    )
