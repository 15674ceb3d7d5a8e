"""Probing what was seen against what is stored, many records at a time, and finding what was not seen at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select

from syncbroker.store import tables
from syncbroker.store.database import Tx


class Stored(NamedTuple):
    """Of the probed external ids those that are known: their fingerprints, and their link numbers in the same order."""

    marks: dict[str, bytes]
    numbers: list[int]


def probe(tx: Tx, system: str, object_: str, external_ids: Sequence[str], ascending: bool) -> Stored:
    """Stored fingerprints. For an ascending source one range scan is quicker than a probe per id."""
    if not external_ids:
        return Stored({}, [])
    if ascending and external_ids[0] <= external_ids[-1]:
        mark = "?" if tx.sqlite else "%s"
        rows = tx.connection.exec_driver_sql(
            f"SELECT external_id, fingerprint, n FROM fingerprints WHERE system = {mark} AND object = {mark} "  # noqa: S608  # marks
            f"AND external_id BETWEEN {mark} AND {mark}",
            (system, object_, external_ids[0], external_ids[-1]),
        ).fetchall()
    else:
        rows = tx.lookup(
            tables.fingerprints,
            ["external_id", "fingerprint", "n"],
            "external_id",
            external_ids,
            system=system,
            object=object_,
        )
    asked = set(external_ids)  # a range also holds records that the page does not
    return Stored({row[0]: row[1] for row in rows}, [row[2] for row in rows if row[0] in asked])


def note(seen: bytearray, stored: Stored) -> None:
    """Set the byte of every link that was met, changed or not."""
    for n in stored.numbers:
        if n >= len(seen):
            seen.extend(bytes(n - len(seen) + 1024))
        seen[n] = 1


def unseen(tx: Tx, system: str, object_: str, run: int, seen: bytearray, limit: int) -> list[str]:
    """External ids of live links that a complete sweep did not meet, at most `limit`."""
    mark = "?" if tx.sqlite else "%s"
    found = []
    rows = tx.connection.exec_driver_sql(
        "SELECT l.external_id, l.n, f.n FROM links l LEFT JOIN fingerprints f ON f.system = l.system "  # noqa: S608  # marks
        "AND f.object = l.object AND f.external_id = l.external_id "
        f"WHERE l.status IN ('live', 'queued') AND l.system = {mark} AND l.object = {mark}",
        (system, object_),
    )
    inbox = tables.inbox.c
    staged = {row[0] for row in tx.run(select(inbox.external_id).where(inbox.run == run))}
    for external_id, n, by in rows:
        number = by or n
        if (number >= len(seen) or not seen[number]) and external_id not in staged:
            found.append(external_id)
            if len(found) >= limit:
                break
    return found
