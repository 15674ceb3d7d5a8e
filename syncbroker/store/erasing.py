"""Taking everything out of the store that belongs to some records: what `engine.purge` found, table by table.

Where a table has no index for it, it is read from end to end: an erasure is rare, and must not miss a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import msgspec
from sqlalchemy import Column, Table, or_, select

from syncbroker.core.erasing import Needles
from syncbroker.core.types import Micros
from syncbroker.decoding import decode
from syncbroker.store import chain, tables
from syncbroker.store.database import Store, Tx, translated

PAGE = 200
"""Rows, some as large as a webhook's body, in memory at a time."""

LONG = 12
"""An id with so many characters is nobody else's."""

External = tuple[str, str, str]
"""(system, object, external id)."""


class Found(msgspec.Struct, kw_only=True):
    """What belongs to the records. `named`: values that tell who it is wherever they stand.

    `parted`: (another record, from which decision, until when) of merges that were taken apart: what was decided in
    between may have come from either side.
    """

    records: list[str]
    links: list[int]
    externals: list[External]
    named: set[str]
    values: set[str]
    parted: list[tuple[str, int, Micros]]

    def of(self, system: str) -> Needles:
        """What to look for in something that came from a system."""
        return Needles({id_ for where, _, id_ in self.externals if where == system}, self.named)

    def mentions(self) -> Needles:
        """What to look for in what is about others. A short id may be anybody's, so it needs its system with it."""
        ids = {id_ for _, _, id_ in self.externals if len(id_) >= LONG}
        return Needles(ids | {":".join(external) for external in self.externals}, self.named)


def external_ids(tx: Tx, records: Sequence[str]) -> list[External]:
    """Every id that a system knows or knew the records by, as far as it is stored."""
    links = tx.lookup(tables.links, ["system", "object", "external_id"], "record_id", records)
    found = {tuple(row) for row in links if row[2] is not None}
    for (body,) in tx.lookup(tables.receipts, ["body"], "record_id", records):
        kept = decode(body)
        if kept.get("external_id"):
            found.add((kept["system"], kept["object"], kept["external_id"]))
    a = tables.aliases.c
    todo = list(found)
    while todo:  # an id that was changed twice has two former ones
        system, object_, id_ = todo.pop()
        same = (a.system == system) & (a.object == object_)
        for row in tx.run(select(a.external_id, a.now).where(same, or_(a.now == id_, a.external_id == id_))):
            new = {(system, object_, row.external_id), (system, object_, row.now)} - found
            found |= new
            todo += new
    return sorted(found)


def bodies(tx: Tx, records: Sequence[str]) -> Iterator[Any]:
    """Everything that is stored as JSON about the records and their links."""
    for table, column in (
        (tables.records, "golden"),
        (tables.links, "state"),
        (tables.decisions, "body"),
        (tables.receipts, "body"),
    ):
        key = "id" if table is tables.records else "record_id"
        for (body,) in tx.lookup(table, [column], key, records):
            yield decode(body)


def deliveries(tx: Tx, whose: Found, state: str = "") -> list[int]:
    """Numbers of the stored deliveries that name one of its ids in their system, or one of its values."""
    d, found, after = tables.deliveries.c, list[int](), 0
    of: dict[str, Needles] = {}
    while True:
        query = (
            select(d.id, d.system, d.body, d.request, d.error).where(d.id > after).order_by(d.id).limit(PAGE)
        )
        rows = tx.run(query.where(d.state == state) if state else query).all()
        for row in rows:
            text = f"{bytes(row.body).decode(errors='replace')}\n{row.request}\n{row.error or ''}"
            if row.system not in of:
                of[row.system] = whose.of(row.system)
            if of[row.system].within(text):
                found.append(row.id)
        if len(rows) < PAGE:
            return found
        after = rows[-1].id


def _deliveries(tx: Tx, found: Found) -> list[int]:
    """Those about the records; and of a record that was one with them for a while those that tell its values."""
    mine = deliveries(tx, found)
    others = [other for other, _, _ in found.parted]
    if not others:
        return mine
    named = msgspec.structs.replace(found, externals=external_ids(tx, others), named=set())
    about = sorted(set(deliveries(tx, named)) - set(mine))
    values = Needles((), found.values)
    rows = tx.lookup(tables.deliveries, ["id", "body"], "id", about)
    return mine + [row[0] for row in rows if values.within(bytes(row[1]).decode(errors="replace"))]


def _questions(tx: Tx, found: Found) -> None:
    """Questions about a record that was one with them for a while lose the values of the other side."""
    values = Needles((), found.values)
    rows = tx.lookup(tables.reviews, ["body", "id"], "record_id", [other for other, _, _ in found.parted])
    made = [(_scrubbed(body, values), n) for body, n in rows if values.within(body)]
    tx.update(tables.reviews, ["id"], ["body"], made)


def remove(tx: Tx, found: Found, now: Micros) -> dict[str, int]:
    """Rows gone or emptied, by table."""
    t, counts = tables, dict[str, int]()
    counts["decisions"] = _erase_decisions(tx, found)
    counts["receipts"] = _empty_receipts(tx, found)
    counts["deliveries"] = _delete(tx, t.deliveries, "id", _deliveries(tx, found))
    counts["reviews"] = _delete(tx, t.reviews, "record_id", found.records)
    counts["reviews"] += _delete(tx, t.reviews, "link", found.links)
    _questions(tx, found)
    for table in (t.inbox, t.fingerprints, t.aliases):
        keys = ["system", "object", "external_id"]
        counts[table.name] = _count(tx, table, "external_id", found.externals)
        tx.delete(table, keys, found.externals)
    tx.delete(t.aliases, ["system", "object", "now"], found.externals)
    waited = sorted({(system, id_) for system, _, id_ in found.externals})
    tx.delete(t.pending_references, ["system", "external_id"], waited)
    counts["outbox"] = _delete(tx, t.outbox, "link", found.links)
    tx.delete(t.pending_references, ["link"], [(n,) for n in found.links])
    counts["links"] = _delete(tx, t.links, "n", found.links)
    ids = [(id_,) for id_ in found.records]
    tx.delete(t.match_keys, ["record_id"], ids)
    tx.delete(t.alarms, ["record_id"], ids)
    tx.delete(t.referrals, ["referrer"], ids)
    tx.update(t.drift, ["record_id"], ["healed"], [(now, id_) for id_ in _open_drift(tx, found.records)])
    counts["merges"] = _forget_merges(tx, found)
    counts["records"] = _delete(tx, t.records, "id", found.records)
    counts["mentions"] = _scrub(tx, found.mentions())
    return {name: count for name, count in counts.items() if count}


def _open_drift(tx: Tx, records: Sequence[str]) -> list[str]:
    d = tables.drift.c
    query = select(d.record_id).distinct().where(d.healed.is_(None), d.record_id.in_(records))
    return [row[0] for row in tx.run(query)]


def _count(tx: Tx, table: Table, key: str, externals: Sequence[External]) -> int:
    return sum(
        len(tx.lookup(table, [key], key, [id_], system=system, object=object_))
        for system, object_, id_ in externals
    )


def _delete(tx: Tx, table: Table, key: str, values: Sequence[Any]) -> int:
    rows = tx.lookup(table, [key], key, values)
    tx.delete(table, [key], [(value,) for value in values])
    return len(rows)


def _erase_decisions(tx: Tx, found: Found) -> int:
    d, count = tables.decisions.c, 0
    scopes = [d.record_id == id_ for id_ in found.records]
    scopes += [
        (d.record_id == other) & (d.id >= first) & (d.at <= until) for other, first, until in found.parted
    ]
    for scope in scopes:
        after = 0
        while True:
            query = select(d.id, d.record_id, d.body).where(scope, d.id > after).order_by(d.id).limit(PAGE)
            rows = [(row.id, row.record_id, row.body) for row in tx.run(query)]
            chain.erase(tx, rows)
            count += len(rows)
            if len(rows) < PAGE:
                break
            after = rows[-1][0]
    return count


def _empty_receipts(tx: Tx, found: Found) -> int:
    """That there was a write, and how it ended, stays."""
    r = tables.receipts.c
    rows = tx.lookup(tables.receipts, ["id", "body"], "record_id", found.records)
    for other, first, until in found.parted:
        since = select(tables.decisions.c.at).where(tables.decisions.c.id == first).scalar_subquery()
        query = select(r.id, r.body).where(r.record_id == other, r.at >= since, r.at <= until)
        rows += [tuple(row) for row in tx.run(query)]
    kept = ("system", "object", "status")
    made = []
    for number, body in rows:
        old = decode(body)
        bare = {"external_id": None, **{name: old[name] for name in kept}}
        made.append((msgspec.json.encode(bare).decode(), number))
    tx.update(tables.receipts, ["id"], ["body"], made)
    return len(made)


_BARE = '{"survivor":{},"absorbed":{},"links":[]}'


def _forget_merges(tx: Tx, found: Found) -> int:
    m = tables.merges.c
    mine = or_(m.survivor.in_(found.records), m.absorbed.in_(found.records))
    return int(tx.run(tables.merges.update().where(mine).values(body=_BARE)).rowcount)


def _scrub(tx: Tx, needles: Needles) -> int:
    """What others' rows say of the records: samples and texts in questions, runs, errors and what people did."""
    t, count = tables, 0
    for table, columns in (
        (t.reviews, [t.reviews.c.body]),
        (t.runs, [t.runs.c.body, t.runs.c.held]),
        (t.audit, [t.audit.c.body, t.audit.c.subject]),
        (t.breakers, [t.breakers.c.message]),
        (t.outbox, [t.outbox.c.error]),
        (t.inbox, [t.inbox.c.error]),
    ):
        count += sum(_scrub_column(tx, table, column, needles) for column in columns)
    return count


def _scrub_column(tx: Tx, table: Table, column: Column[Any], needles: Needles) -> int:
    key = next(iter(table.primary_key.columns))
    count, after = 0, None
    while True:
        query = select(key, column).where(column.is_not(None)).order_by(key).limit(PAGE)
        rows = tx.run(query.where(key > after) if after is not None else query).all()
        made = [(_scrubbed(row[1], needles), row[0]) for row in rows if needles.within(row[1])]
        tx.update(table, [key.name], [column.name], made)
        count += len(made)
        if len(rows) < PAGE:
            return count
        after = rows[-1][0]


def _scrubbed(text: str, needles: Needles) -> str:
    try:
        body = decode(text)
    except msgspec.MsgspecError:
        body = text
    scrubbed = needles.scrub(body)
    return scrubbed if isinstance(body, str) else msgspec.json.encode(scrubbed).decode()


def forget_held(tx: Tx, links: Sequence[tuple[int, dict[str, Any]]]) -> None:
    """Save the states of links of other records, (number, state as JSON data)."""
    rows = [(msgspec.json.encode(state).decode(), n) for n, state in links]
    tx.update(tables.links, ["n"], ["state"], rows)


def compact(store: Store) -> bool:
    """Leave nothing of deleted rows in the database's file. PostgreSQL does that with VACUUM FULL, which locks tables
    and is left to its operator: False."""
    if not store.single:
        return False
    with translated(store.where), closing(store.engine.raw_connection()) as connection:
        cursor = connection.cursor()
        for pragma in ("temp_store=FILE", "VACUUM", "wal_checkpoint(TRUNCATE)", "temp_store=MEMORY"):
            cursor.execute(pragma if pragma == "VACUUM" else f"PRAGMA {pragma}").fetchall()
        cursor.close()
    return True
