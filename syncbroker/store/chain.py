"""The sealed chains of decisions: their key, their heads, and the proof that nobody changed them.

A chain is that of one record, or of one held run (its decisions belong to no record). Its head is the seal of its last
decision; `records.seal` has it too, so that a decision cut off at the end is missed. Verifying reads all decisions in
the order of their records, one page at a time.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import select, tuple_

from syncbroker.core.chain import Link, digest, hidden, seal
from syncbroker.store import packing, tables
from syncbroker.store.database import Store, Tx

PAGE = 1000
"""Decisions, or records, in memory at a time."""

MEANWHILE = 5
"""How often a chain's end is looked at again while more is decided."""

_KEY, _SINCE = "chain_key", "chain_since"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a chain. `name` is a keyed hash: which record it is, only the store can tell."""

    name: str
    seal: str
    count: int
    last: int


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong. `chain`: a record id, or "run 12"; `decision` is 0 where one is missing."""

    chain: str
    decision: int
    what: str


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """One chain as it was walked. `unsealed`: rows from before there were seals."""

    name: str
    seal: str
    count: int
    unsealed: int
    last: int
    broken: Broken | None = None


def key(tx: Tx) -> bytes:
    """The key of this store's seals, made on first use; from then on every decision is sealed."""
    asked = "SELECT value FROM meta WHERE key = ?", (_KEY,)
    found = tx.rows(*asked)
    if not found:
        newest = select(tables.decisions.c.id).order_by(tables.decisions.c.id.desc()).limit(1)
        since = tx.run(newest).scalar() or 0
        rows = [(_KEY, secrets.token_hex(32)), (_SINCE, str(since))]
        tx.insert(tables.meta, ["key", "value"], rows, conflict="ignore")
        found = tx.rows(*asked)
    return bytes.fromhex(found[0][0])


def stored_key(tx: Tx) -> tuple[bytes, int]:
    """(the key, the last decision from before it); no key where nothing was decided yet."""
    found = {row[0]: row[1] for row in tx.lookup(tables.meta, ["key", "value"], "key", [_KEY, _SINCE])}
    return bytes.fromhex(found.get(_KEY, "")), int(found.get(_SINCE, "0"))


def name(record_id: str, run: int) -> str:
    """A chain's name: the record's id, or for what belongs to no record its run."""
    return record_id or f"run {run}"


def last_seal(tx: Tx, record_id: str, run: int) -> str:
    """The seal that the next decision of a chain follows on."""
    d = tables.decisions.c
    query = select(d.seal).where(d.record_id == record_id).order_by(d.id.desc()).limit(1)
    if not record_id:  # the sum keeps to the index by record: few rows have none, a run may have very many
        query = query.where(d.run + 0 == run)
    return tx.run(query).scalar() or ""


# ---------------------------------------------------------------------------------------------- walking


def walk(store: Store, expected: Callable[[str], Head | None] = lambda _: None) -> Iterator[Chain]:
    """Every chain there is, those of runs first. A chain that is broken says where it is first.

    `expected`: what was known of a chain's head before, by its hidden name.
    """
    with store.read() as tx:
        mac, since = stored_key(tx)
    walker: _Walker | None = None
    for rows, heads in _pages(store):
        for row in rows:
            of = name(row.record_id, row.run)
            if walker is None or walker.name != of:
                if walker is not None:
                    yield _closed(store, walker)
                walker = _Walker(of, mac, since, expected(hide(mac, of)) if mac else None)
            walker.see(row)
            walker.head = heads.get(of, walker.seal)
    if walker is not None:
        yield _closed(store, walker)
    yield from _without_decisions(store)


def _pages(store: Store) -> Iterator[tuple[Sequence[Any], dict[str, str]]]:
    """Decisions in the order of their chains, with the heads that their records keep."""
    d = tables.decisions.c
    for belongs, first in ((d.record_id == "", d.run), (d.record_id > "", d.record_id)):
        after: tuple[Any, ...] | None = None
        while True:
            query = select(tables.decisions).where(belongs).order_by(first, d.id).limit(PAGE)
            with store.read() as tx:
                rows = tx.run(query.where(tuple_(first, d.id) > after) if after else query).all()
                ids = sorted({row.record_id for row in rows} - {""})
                kept = tx.lookup(tables.records, ["id", "seal"], "id", ids)
            if rows:
                yield rows, {id_: seal_ or "" for id_, seal_ in kept}
                after = (getattr(rows[-1], first.name), rows[-1].id)
            if len(rows) < PAGE:
                break


def _closed(store: Store, walker: _Walker) -> Chain:
    """The walked chain against the head that its record keeps. Where they differ more may have been decided meanwhile:
    that is walked too."""
    d = tables.decisions.c
    head = walker.head
    for _ in range(MEANWHILE if head != walker.seal else 0):
        with store.read() as tx:
            kept = tx.lookup(tables.records, ["seal"], "id", [walker.name])
            later = select(tables.decisions).where(d.record_id == walker.name, d.id > walker.last)
            rows = tx.run(later.order_by(d.id).limit(PAGE)).all()
        head = (kept[0][0] or "") if kept else walker.seal
        for row in rows:
            walker.see(row)
        if not rows and head == walker.seal:
            break
    return walker.close(head)


def _without_decisions(store: Store) -> Iterator[Chain]:
    """Records that say they were decided, and of which no decision is left."""
    r, d = tables.records.c, tables.decisions.c
    after, left = "", select(d.id).where(d.record_id == r.id).exists()
    while True:
        query = select(r.id).where(r.id > after, r.seal.is_not(None), ~left).order_by(r.id).limit(PAGE)
        with store.read() as tx:
            ids = [row[0] for row in tx.run(query)]
        for id_ in ids:
            gone = Broken(chain=id_, decision=0, what="all its decisions were removed")
            yield Chain(name=id_, seal="", count=0, unsealed=0, last=0, broken=gone)
        if len(ids) < PAGE:
            return
        after = ids[-1]


class _Walker:
    """Goes along one chain. `head`: what its record keeps; `expected`: its head as it was known before."""

    def __init__(self, of: str, mac: bytes, since: int, expected: Head | None) -> None:
        self.name, self._mac, self._since, self._expected = of, mac, since, expected
        self.seal, self.head, self.last, self._count, self._unsealed = "", "", 0, 0, 0
        self._broken: Broken | None = None

    def see(self, row: Any) -> None:
        self._count += 1
        self.last = row.id
        wrong = self._wrong(row) or self._unexpected(row)
        if self._broken is None and wrong:
            self._broken = Broken(chain=self.name, decision=row.id, what=wrong)

    def _wrong(self, row: Any) -> str:
        if row.seal is None:
            self._unsealed += 1
            older = 0 < row.id <= self._since and not self.seal
            return "" if older else "it is not sealed: it was inserted, or its seal removed"
        before, self.seal = self.seal, row.seal
        if not self._mac:
            return "it is sealed, and the store's key is gone"
        try:
            outline, erased = packing.outline(row.body)
            mark = erased or digest(self._mac, row.id, row.record_id, row.body)
            given = (row.id, row.record_id, row.entity, row.shape, row.run, row.at, row.actor, row.mapping)
            right = seal(self._mac, before, Link(*given, outline, mark))
        except (ValueError, TypeError, AttributeError, msgspec.MsgspecError):
            return "its body cannot be read: it was altered"
        return "" if right == row.seal else "it was altered, or what came before it altered, removed or moved"

    def _unexpected(self, row: Any) -> str:
        known = self._expected
        if known is None or row.id != known.last or (known.seal, known.count) == (self.seal, self._count):
            return ""
        return "up to here the log is not the one whose head was exported"

    def close(self, head: str) -> Chain:
        what, known = "", self._expected
        if head != self.seal:
            what = "its record was decided later: the decisions after this one were removed"
        elif known is not None and known.last > self.last:
            what = f"the exported heads know decision {known.last}: the decisions after this one were removed"
        if self._broken is None and what:
            self._broken = Broken(chain=self.name, decision=self.last, what=what)
        return Chain(
            name=self.name,
            seal=self.seal,
            count=self._count,
            unsealed=self._unsealed,
            last=self.last,
            broken=self._broken,
        )


def hide(mac: bytes, of: str) -> str:
    """What a chain is called outside the store."""
    return hidden(mac, "chain", of)


def erase(tx: Tx, rows: list[tuple[int, str, str]]) -> None:
    """Take the values out of decisions, (number, record id, body) each. Their seals stay what they are."""
    mac = key(tx)
    bare = [(packing.erase(body, digest(mac, n, id_, body)), n) for n, id_, body in rows]
    tx.update(tables.decisions, ["id"], ["body"], bare)
