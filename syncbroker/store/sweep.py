"""Probing what was seen against what is stored, many records at a time, and finding what was not seen at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple

import orjson

from syncbroker.store import tables
from syncbroker.store.database import Tx

DROPPED = b"!"
"""What follows the fingerprint of an observation that a person dropped: polls pass it by, a sweep does not."""

MARK = 16
"""Bytes of a fingerprint."""

NUMBERS = 20_000
"""How many link numbers are compared at a time."""


class Stored(NamedTuple):
    """Of the probed external ids those that are known: their fingerprints, and their link numbers in the same order."""

    marks: dict[str, bytes]
    numbers: list[int]


def probe(tx: Tx, system: str, object_: str, external_ids: Sequence[str], ascending: bool) -> Stored:
    """Stored fingerprints. For an ascending source one range scan is quicker than a probe per id."""
    if not external_ids:
        return Stored({}, [])
    if ascending and external_ids[0] <= external_ids[-1]:
        ids, marks, numbers = _between(tx, system, object_, external_ids[0], external_ids[-1])
    else:
        rows = _by_id(tx, system, object_, external_ids)
        ids, marks, numbers = ([row[at] for row in rows] for at in range(3))
    known = dict(zip(ids, marks, strict=True))
    if ids != external_ids:  # a range also holds records that the page does not
        asked = set(external_ids)
        numbers = [n for id_, n in zip(ids, numbers, strict=True) if id_ in asked]
    return Stored(known, numbers)


def _between(
    tx: Tx, system: str, object_: str, first: str, last: str
) -> tuple[list[str], list[bytes], list[int]]:
    """Ids, fingerprints and link numbers of a range, in one row of the database: a row each costs thrice as much."""
    array, join = (
        ("json_group_array({})", "CAST(group_concat(fingerprint, '') AS BLOB)")
        if tx.sqlite
        else ("json_agg({})::text", "string_agg(fingerprint, ''::bytea)")
    )
    where = "FROM fingerprints WHERE system = ? AND object = ? AND external_id BETWEEN ? AND ?"
    arguments = (system, object_, first, last)
    gathered = f"SELECT {array.format('external_id')}, {join}, {array.format('n')} {where}"
    ((ids, joined, numbers),) = tx.rows(gathered, arguments)
    if not joined:
        return [], [], []
    found: list[str] = orjson.loads(ids)
    if len(joined) != MARK * len(found):  # one of them is marked as `DROPPED`
        rows = tx.rows(f"SELECT external_id, fingerprint, n {where}", arguments)
        return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]
    marks = [joined[at : at + MARK] for at in range(0, len(joined), MARK)]
    return found, marks, orjson.loads(numbers)


def _by_id(tx: Tx, system: str, object_: str, external_ids: Sequence[str]) -> list[Any]:
    columns = ["external_id", "fingerprint", "n"]
    return tx.lookup(tables.fingerprints, columns, "external_id", external_ids, system=system, object=object_)


def drop(tx: Tx, system: str, object_: str, marks: Mapping[str, bytes]) -> None:
    """These observations (external id -> fingerprint) are not to be staged again by a poll."""
    ids = sorted(marks)
    numbers = {row[0]: row[2] for row in _by_id(tx, system, object_, ids)}
    links = tx.lookup(tables.links, ["external_id", "n"], "external_id", ids, system=system, object=object_)
    for external_id, n in sorted(links):
        numbers.setdefault(external_id, n)
    rows = [(system, object_, id_, marks[id_] + DROPPED, numbers.get(id_, 0)) for id_ in ids]
    columns = ["system", "object", "external_id", "fingerprint", "n"]
    tx.insert(tables.fingerprints, columns, rows, conflict="replace")


def note(seen: bytearray, stored: Stored) -> None:
    """Set the byte of every link that was met, changed or not."""
    _reach(seen, max(stored.numbers, default=0))
    for n in stored.numbers:
        seen[n] = 1


def _reach(seen: bytearray, last: int) -> None:
    if last >= len(seen):
        seen.extend(bytes(last - len(seen) + 1024))


def unseen(tx: Tx, system: str, object_: str, run: int, seen: bytearray, limit: int) -> list[str]:
    """External ids of live links that a complete sweep did not meet, at most `limit`.

    Link numbers come from an index alone; only the links of numbers that were not met are looked at.
    """
    if _all_met(tx, system, object_, seen):
        return []
    sql = (
        "SELECT n FROM links WHERE status = ? AND system = ? AND object = ? AND n > ? "  # noqa: S608  # a number
        f"ORDER BY n LIMIT {NUMBERS}"
    )
    found: dict[str, None] = {}
    for status in ("live", "queued"):
        last = 0
        while rows := tx.rows(sql, (status, system, object_, last)):
            last = rows[-1][0]
            _reach(seen, last)
            found.update(
                dict.fromkeys(_missing(tx, system, object_, run, seen, [n for (n,) in rows if not seen[n]]))
            )
            if len(found) >= limit:
                return list(found)[:limit]
    return list(found)


def _all_met(tx: Tx, system: str, object_: str, seen: bytearray) -> bool:
    """Whether the numbers met are as many as those of all live links, with the same sum.

    A number that was met is that of a live link, so nobody is missing then. It says no where one external id has
    several links, of which its fingerprint names one.
    """
    ((count, total),) = tx.rows(
        "SELECT COUNT(*), SUM(n) FROM links WHERE status IN ('live', 'queued') AND system = ? AND object = ?",
        (system, object_),
    )
    return seen.count(1, 1) == count and sum(compress(range(len(seen)), seen)) == (total or 0)


def _missing(
    tx: Tx, system: str, object_: str, run: int, seen: bytearray, numbers: Sequence[int]
) -> Iterator[str]:
    """The external ids of these links, without those that were met under another link's number or are staged."""
    ids = [row[0] for row in tx.lookup(tables.links, ["external_id"], "n", numbers)]
    met = {row[0] for row in _by_id(tx, system, object_, ids) if row[2] and seen[row[2]]}
    staged = tx.lookup(
        tables.inbox, ["external_id"], "external_id", ids, system=system, object=object_, run=run
    )
    met.update(row[0] for row in staged)
    return (id_ for id_ in ids if id_ not in met)
