"""Turns: when each object of each system is to be read next, and how. One row per (system, object, kind).

However many processes look at the schedule, a due turn is announced by one of them (`announce`) and made once
(`begin`): both are one statement that only one can win. A turn that was announced and not begun is announced
again.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import ColumnElement, or_, select

from syncbroker.core.types import Micros
from syncbroker.store import tables
from syncbroker.store.database import Tx

AGAIN: Micros = 30_000_000
"""When a turn that was announced, and that nobody has begun, is announced again: its message may be lost."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """`kind`: pull or sweep. `plan`: the text of the schedule that `due` follows from; "" for none, then it is due when
    somebody asks for it. `started`, `ended`: the last time it was made."""

    system: str
    object: str
    kind: str
    due: Micros
    plan: str
    started: Micros | None = None
    ended: Micros | None = None


_COLUMNS = ["system", "object", "kind", "due", "plan", "started", "ended"]
_KEY = ["system", "object", "kind"]


def every(tx: Tx) -> list[Turn]:
    """All of them: as many as objects are mapped, and ways to read them."""
    rows = tx.run(select(*[tables.turns.c[name] for name in _COLUMNS]))
    return [Turn(**dict(zip(_COLUMNS, row, strict=True))) for row in rows]


def due(tx: Tx, now: Micros) -> list[Turn]:
    t = tables.turns.c
    rows = tx.run(select(*[t[name] for name in _COLUMNS]).where(t.due <= now).order_by(t.due))
    return [Turn(**dict(zip(_COLUMNS, row, strict=True))) for row in rows]


def put(tx: Tx, found: Iterable[Turn]) -> None:
    """Turns that are new; those that there are stay as they are."""
    rows = [tuple(getattr(one, name) for name in _COLUMNS) for one in found]
    tx.insert(tables.turns, _COLUMNS, rows, conflict="ignore")


def count_anew(tx: Tx, one: Turn, before: Turn) -> bool:
    """Another plan, or another time for it, unless somebody was quicker. `one.started` is None where the clock was set
    back: a turn that was begun later than now would keep the next one from being begun."""
    t = tables.turns
    here = _is(before) & (t.c.due == before.due) & (t.c.plan == before.plan)
    return bool(
        tx.run(t.update().where(here).values(due=one.due, plan=one.plan, started=one.started)).rowcount
    )


def drop(tx: Tx, found: Iterable[Turn]) -> None:
    """What the mapping no longer reads."""
    tx.delete(tables.turns, _KEY, [(one.system, one.object, one.kind) for one in found])


def announce(tx: Tx, one: Turn, now: Micros) -> bool:
    """Whether it is the caller's to announce: of all who see a due turn one."""
    t = tables.turns
    return bool(
        tx.run(t.update().where(_is(one), t.c.due == one.due).values(due=max(now, one.due) + AGAIN)).rowcount
    )


def begin(tx: Tx, one: Turn, now: Micros, following: Micros) -> bool:
    """Whether the turn that was due at `one.due` is the caller's to make: it was not begun since. `following`: when the
    next one is due."""
    t = tables.turns
    fresh = or_(t.c.started.is_(None), t.c.started < one.due)
    return bool(
        tx.run(t.update().where(_is(one), fresh).values(started=max(now, one.due), due=following)).rowcount
    )


def end(tx: Tx, one: Turn, now: Micros) -> None:
    t = tables.turns
    tx.run(t.update().where(_is(one)).values(ended=now))


def bring_forward(tx: Tx, one: Turn, at: Micros) -> bool:
    """Have it made at `at`, unless it is due sooner."""
    t = tables.turns
    return bool(tx.run(t.update().where(_is(one), t.c.due > at).values(due=at)).rowcount)


def hasten(tx: Tx, system: str, now: Micros) -> None:
    """Have everything of a system pulled now."""
    t = tables.turns
    pulls = (t.c.system == system) & (t.c.kind == "pull") & (t.c.due > now)
    tx.run(t.update().where(pulls).values(due=now))


def _is(one: Turn) -> ColumnElement[bool]:
    t = tables.turns.c
    return (t.system == one.system) & (t.object == one.object) & (t.kind == one.kind)
