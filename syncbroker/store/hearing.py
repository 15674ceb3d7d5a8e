"""When each system's webhooks were last heard, and what was found since without them: two small rows of `meta` each."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import select

from syncbroker.core.types import Micros
from syncbroker.decoding import decode
from syncbroker.store import tables
from syncbroker.store.database import Tx

_HEARD = "heard:"
_UNTOLD = "untold:"


class Untold(msgspec.Struct, frozen=True, kw_only=True):
    """Edits that reads of a system found, and no delivery had come since the reading before.

    `since`: that reading before the first of them; `found`: when the first was found; `reads` that found any.
    """

    since: Micros
    found: Micros
    reads: int
    edits: int


def heard(tx: Tx) -> dict[str, Micros]:
    """System -> when it last delivered, to the minute."""
    return {system: int(value) for system, value in _rows(tx, _HEARD)}


def note_heard(tx: Tx, systems: Iterable[str], at: Micros) -> None:
    rows = [(_HEARD + system, str(at)) for system in sorted(systems)]
    tx.insert(tables.meta, ["key", "value"], rows, conflict="replace")


def untold(tx: Tx) -> dict[str, Untold]:
    return {system: decode(value, Untold) for system, value in _rows(tx, _UNTOLD)}


def set_untold(tx: Tx, system: str, value: Untold | None) -> None:
    """None: its webhooks are heard again."""
    key = _UNTOLD + system
    if value is None:
        tx.delete(tables.meta, ["key"], [(key,)])
    else:
        row = (key, msgspec.json.encode(value).decode())
        tx.insert(tables.meta, ["key", "value"], [row], conflict="replace")


def _rows(tx: Tx, prefix: str) -> list[tuple[str, str]]:
    m = tables.meta.c
    found = tx.run(select(m.key, m.value).where(m.key.startswith(prefix, autoescape=True)).order_by(m.key))
    return [(row[0].removeprefix(prefix), row[1]) for row in found]
