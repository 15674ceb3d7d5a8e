"""What waits for its time, or for a person to let it go on: alarms of records, pauses of fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import func, select

from syncbroker.core.types import Micros
from syncbroker.store import tables
from syncbroker.store.database import Tx


def set_alarms(tx: Tx, alarms: Mapping[str, Micros]) -> None:
    """Record id -> when it must be looked at again. A record has one alarm, the earliest that it needs."""
    tx.insert(tables.alarms, ["record_id", "due"], list(alarms.items()), conflict="replace")


def due_alarms(tx: Tx, now: Micros, limit: int) -> list[str]:
    """Records whose time has come, the longest due first."""
    a = tables.alarms.c
    return [row[0] for row in tx.run(select(a.record_id).where(a.due <= now).order_by(a.due).limit(limit))]


def take_alarms(tx: Tx, now: Micros, ids: Sequence[str]) -> list[str]:
    """Those of the records whose time has come. Their alarms are gone; whoever takes them sets new ones."""
    rows = tx.lookup(tables.alarms, ["record_id", "due"], "record_id", ids)
    found = [id_ for id_, due in rows if due <= now]
    tx.delete(tables.alarms, ["record_id"], [(id_,) for id_ in found])
    return found


def next_alarm(tx: Tx) -> Micros | None:
    due = tx.rows("SELECT MIN(due) FROM alarms")[0][0]
    return None if due is None else int(due)


def alarm_count(tx: Tx) -> int:
    return int(tx.run(select(func.count()).select_from(tables.alarms)).scalar_one())


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """A field that nothing is pushed into in one system, since too many records of it were fought over at once."""

    system: str
    entity: str
    field: str
    since: Micros
    why: str
    review: int


_PAUSE = ["system", "entity", "field", "since", "why", "review"]


def pause(tx: Tx, one: Pause) -> None:
    tx.insert(
        tables.pauses,
        _PAUSE,
        [(one.system, one.entity, one.field, one.since, one.why, one.review)],
        conflict="ignore",
    )


def pauses(tx: Tx) -> list[Pause]:
    """All of them: there are few, and people are asked about each."""
    names = [column.name for column in tables.pauses.columns]
    rows = tx.rows(f"SELECT {', '.join(names)} FROM pauses ORDER BY since")  # noqa: S608  # our own columns
    return [Pause(**dict(zip(names, row, strict=True))) for row in rows]


def resume(tx: Tx, system: str, entity: str, field: str) -> None:
    tx.delete(tables.pauses, ["system", "entity", "field"], [(system, entity, field)])
