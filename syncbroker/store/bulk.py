"""Many rows in one go, as each database takes them best.

SQLite is next door: the driver binds and steps a prepared statement per row. PostgreSQL takes all rows in one
statement, as JSON: a statement per row costs three to five times as much, on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, LargeBinary, Table

Row = tuple[Any, ...]
Conflict = Literal["error", "ignore", "replace"]

MOST = 64_000_000
"""Characters that one statement takes at most; PostgreSQL refuses JSON of four times as many."""


def insert(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row], conflict: Conflict
) -> None:
    if not rows:
        return
    keys = [column.name for column in table.primary_key.columns]
    names = ", ".join(columns)
    end = ""
    if conflict == "ignore":
        end = " ON CONFLICT DO NOTHING"
    elif conflict == "replace":
        changed = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in keys)
        end = f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}"
    into = f"INSERT INTO {table.name} ({names})"
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"{into} VALUES ({marks}){end}", list(rows))
    else:
        if conflict == "replace":
            rows = _last(rows, itemgetter(*map(columns.index, keys)))
        sql = f"{into} SELECT {names} FROM {_given(table, tuple(columns))}{end}"  # noqa: S608  # names come from our own tables
        _send(connection, sql, table, columns, rows)


def update(
    connection: Connection, table: Table, keys: Sequence[str], columns: Sequence[str], rows: Sequence[Row]
) -> None:
    """Rows are (*columns, *keys)."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        sets = ", ".join(f"{name} = ?" for name in columns)
        where = " AND ".join(f"{name} = ?" for name in keys)
        connection.exec_driver_sql(f"UPDATE {table.name} SET {sets} WHERE {where}", list(rows))  # noqa: S608  # as above
        return
    given = (*columns, *keys)
    rows = _last(rows, itemgetter(slice(len(columns), None)))
    sets = ", ".join(f"{name} = given.{name}" for name in columns)
    where = " AND ".join(f"t.{name} = given.{name}" for name in keys)
    sql = f"UPDATE {table.name} t SET {sets} FROM {_given(table, given)} WHERE {where}"  # noqa: S608  # as above
    _send(connection, sql, table, given, rows)


def delete(connection: Connection, table: Table, keys: Sequence[str], rows: Sequence[Row]) -> None:
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        where = " AND ".join(f"{name} = ?" for name in keys)
        connection.exec_driver_sql(f"DELETE FROM {table.name} WHERE {where}", list(rows))  # noqa: S608  # as above
        return
    where = " AND ".join(f"t.{name} = given.{name}" for name in keys)
    sql = f"DELETE FROM {table.name} t USING {_given(table, tuple(keys))} WHERE {where}"  # noqa: S608  # as above
    _send(connection, sql, table, keys, rows)


def _last(rows: Sequence[Row], key: Callable[[Row], object]) -> Sequence[Row]:
    """Of rows with the same key the last: one statement changes a row once."""
    found: Mapping[object, Row] = {key(row): row for row in rows}
    return rows if len(found) == len(rows) else list(found.values())


@cache
def _given(table: Table, columns: tuple[str, ...]) -> str:
    """What `_send` sends, as a table `given`."""
    kinds = ((name, table.c[name].type) for name in columns)
    types = (f"{name} {'BYTEA' if isinstance(kind, LargeBinary) else kind}" for name, kind in kinds)
    return f"jsonb_to_recordset(%s::jsonb) AS given({', '.join(types)})"


def _send(
    connection: Connection, sql: str, table: Table, columns: Sequence[str], rows: Sequence[Row]
) -> None:
    names = list(map(str, columns))  # SQLAlchemy's are of a class of its own
    for place, name in enumerate(names):
        if isinstance(table.c[name].type, LargeBinary):
            rows = [(*row[:place], _hex(row[place]), *row[place + 1 :]) for row in rows]
    for text in _json(names, rows):
        connection.exec_driver_sql(sql, (text,))


def _json(names: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    """As few texts as may be."""
    text = orjson.dumps([dict(zip(names, row, strict=True)) for row in rows])
    if len(text) <= MOST or len(rows) == 1:
        yield text.decode()
        return
    half = len(rows) // 2
    yield from _json(names, rows[:half])
    yield from _json(names, rows[half:])


def _hex(value: bytes | None) -> str | None:
    return None if value is None else "\\x" + value.hex()
