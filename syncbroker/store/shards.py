"""Which observations may be decided at the same time: those of different shards (PostgreSQL).

An observation of something linked waits in the shard of its record, so that whoever holds a shard meets nobody on its
records, whichever system they are seen in. Whatever may touch more than its own record waits in `ALONE`: what is not
linked, what was staged under an older release, what was found to reach further, and what comes behind one of these of
the same external id. A record belongs to its shard by its id alone; when a link moves to another record, what waits for
it is to be decided alone.

SQLite has one writer: there the column stays 0 and nobody asks for it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

from syncbroker.core.types import Micros
from syncbroker.store import tables
from syncbroker.store.database import Tx

SHARDS = 16
"""More than any number of workers that one database feeds, so that each finds a free one."""

ALONE = 0


def shard_of(record_ids: Iterable[str]) -> int:
    """Of an observation that these records are linked to; one object may be two records, of two entities."""
    return 1 + zlib.crc32(min(record_ids).encode()) % SHARDS


def of_external_ids(tx: Tx, system: str, object_: str, external_ids: Sequence[str]) -> dict[str, int]:
    """External id -> shard, of those that are linked to records."""
    if tx.sqlite:
        return {}
    owners: dict[str, list[str]] = {}
    columns = ["external_id", "record_id"]
    rows = tx.lookup(
        tables.links, columns, "external_id", sorted(set(external_ids)), system=system, object=object_
    )
    for external_id, record_id in rows:
        owners.setdefault(external_id, []).append(record_id)
    return {id_: shard_of(found) for id_, found in owners.items() if None not in found}


def due(tx: Tx, run: int, now: Micros) -> list[int]:
    """The shards in which something of a run is due, the one that has waited longest first."""
    rows = tx.rows(
        "SELECT s FROM generate_series(0, %s) AS s CROSS JOIN LATERAL (SELECT i.due, i.id FROM inbox AS i "
        "WHERE i.run = %s AND i.shard = s AND i.due <= %s ORDER BY i.due, i.id LIMIT 1) AS first "
        "ORDER BY first.due, first.id",
        (SHARDS, run, now),
    )
    return [int(row[0]) for row in rows]


def behind(tx: Tx, run: int, system: str, object_: str, external_ids: Sequence[str], now: Micros) -> set[str]:
    """Those of the ids of which an observation of the run is due that is to be decided alone."""
    fixed = {"system": system, "object": object_, "run": run, "shard": ALONE}
    rows = tx.lookup(tables.inbox, ["external_id", "due"], "external_id", external_ids, **fixed)
    return {row[0] for row in rows if row[1] <= now}


def put_apart(tx: Tx, numbers: Sequence[int]) -> None:
    """These observations are to be decided alone."""
    tx.update(tables.inbox, ["id"], ["shard"], [(ALONE, n) for n in numbers])


def put_apart_by_id(tx: Tx, ids: Sequence[tuple[str, str, str]]) -> None:
    """What waits for these, (system, object, external id), is to be decided alone: their record is another one now."""
    if not tx.sqlite:
        rows = [(ALONE, *one) for one in ids]
        tx.update(tables.inbox, ["system", "object", "external_id"], ["shard"], rows)
