"""Merged records: what each side had before, which record an absorbed one leads to, and who refers to whom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import select

from syncbroker.core.state import Golden
from syncbroker.core.types import Micros
from syncbroker.decoding import decoder
from syncbroker.store import tables
from syncbroker.store.database import Tx


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to take a merge apart. Golden values of both sides; `links`: those that came from the absorbed
    record; `demoted`: those that were primary on their own side and became duplicates. `buried`: (system, object) into
    which the survivor is not created because the absorbed record was not to be."""

    survivor: dict[str, Golden]
    absorbed: dict[str, Golden]
    links: list[int]
    demoted: list[int] = []
    buried: list[tuple[str, str]] = []
    person: str = ""
    why: str = ""


class Merge(msgspec.Struct, frozen=True, kw_only=True):
    """`id` is the decision on the survivor; `undone` when it was taken apart."""

    id: int
    survivor: str
    absorbed: str
    at: Micros
    before: Before
    undone: Micros | None = None


_encode = msgspec.json.Encoder().encode
_before = decoder(Before)


def save(tx: Tx, merge: Merge) -> None:
    tx.insert(
        tables.merges,
        ["id", "survivor", "absorbed", "at", "body"],
        [(merge.id, merge.survivor, merge.absorbed, merge.at, _encode(merge.before).decode())],
    )


def undo(tx: Tx, number: int, at: Micros) -> None:
    tx.update(tables.merges, ["id"], ["undone"], [(at, number)])


def by_number(tx: Tx, number: int) -> Merge | None:
    row = tx.run(select(tables.merges).where(tables.merges.c.id == number)).first()
    return _merge(row) if row else None


def of_survivor(tx: Tx, record_id: str) -> list[Merge]:
    """Merges that stand, whose survivor the record is, newest first."""
    m = tables.merges.c
    query = select(tables.merges).where(m.survivor == record_id, m.undone.is_(None)).order_by(m.id.desc())
    return [_merge(row) for row in tx.run(query)]


def around(tx: Tx, record_id: str) -> list[Merge]:
    """All merges that a record was ever part of, those that were taken apart too."""
    m = tables.merges.c
    return [
        _merge(row)
        for side in (m.survivor, m.absorbed)
        for row in tx.run(select(tables.merges).where(side == record_id).order_by(m.id))
    ]


def undone_since(tx: Tx, record_id: str, number: int) -> list[Merge]:
    """Later merges into the record that were taken apart again."""
    m = tables.merges.c
    query = select(tables.merges).where(m.survivor == record_id, m.id > number, m.undone.is_not(None))
    return [_merge(row) for row in tx.run(query.order_by(m.id))]


def of_absorbed(tx: Tx, record_id: str) -> Merge | None:
    """The merge that stands and that the record went into."""
    m = tables.merges.c
    query = select(tables.merges).where(m.absorbed == record_id, m.undone.is_(None)).order_by(m.id.desc())
    row = tx.run(query.limit(1)).first()
    return _merge(row) if row else None


def _merge(row: Any) -> Merge:
    return Merge(
        id=row.id,
        survivor=row.survivor,
        absorbed=row.absorbed,
        at=row.at,
        undone=row.undone,
        before=_before.decode(row.body),
    )


def survivors(tx: Tx, record_ids: Iterable[str]) -> dict[str, str]:
    """Absorbed record -> the record that stands for it now; those that were not merged away are left out."""
    found: dict[str, str] = {}
    asked = dict.fromkeys(record_ids)
    todo = list(asked)
    while todo:
        rows = tx.lookup(tables.merges, ["absorbed", "survivor", "undone"], "absorbed", todo)
        new = {absorbed: survivor for absorbed, survivor, undone in rows if undone is None}
        found |= new
        todo = [one for one in dict.fromkeys(new.values()) if one not in found]
    return {id_: _end(found, id_) for id_ in asked if id_ in found}


def _end(leads: dict[str, str], id_: str) -> str:
    while id_ in leads:
        id_ = leads[id_]
    return id_


def beginning(tx: Tx, start: str, limit: int) -> list[str]:
    """Ids of absorbed records that begin so."""
    m = tables.merges.c
    query = select(m.absorbed).distinct().where(m.undone.is_(None), m.absorbed >= start)
    rows = tx.run(query.where(m.absorbed < f"{start}g").order_by(m.absorbed).limit(limit))
    return [row[0] for row in rows if row[0].startswith(start)]


# ------------------------------------------------------------------------------------------------ referrers


def save_referrals(tx: Tx, added: Iterable[tuple[str, str]], removed: Iterable[tuple[str, str]]) -> None:
    """(target, referrer) rows."""
    tx.delete(tables.referrals, ["target", "referrer"], sorted(removed))
    tx.insert(tables.referrals, ["target", "referrer"], sorted(added), conflict="ignore")


def referrers(tx: Tx, target: str, after: str, limit: int) -> list[str]:
    """Records that refer to `target`, in the order of their ids."""
    r = tables.referrals.c
    query = select(r.referrer).where(r.target == target, r.referrer > after).order_by(r.referrer).limit(limit)
    return [row[0] for row in tx.run(query)]


# --------------------------------------------------------------------------------- references under way


class Repointing(msgspec.Struct, frozen=True, kw_only=True):
    """References that still lead to the wrong record: `apart` after a merge was taken apart. `after`: how far it is."""

    merge: int
    survivor: str
    absorbed: str
    apart: bool = False
    after: str = ""


_REPOINT = "repoint:"
_repointing = decoder(Repointing)


def repoint(tx: Tx, work: Repointing) -> None:
    rows = [(f"{_REPOINT}{work.merge}", _encode(work).decode())]
    tx.insert(tables.meta, ["key", "value"], rows, conflict="replace")


def repointing(tx: Tx) -> list[Repointing]:
    """What is under way, oldest first."""
    rows = tx.rows("SELECT value FROM meta WHERE key LIKE ?", (f"{_REPOINT}%",))
    return sorted((_repointing.decode(row[0]) for row in rows), key=lambda one: one.merge)


def leads(work: Sequence[Repointing]) -> dict[str, str]:
    """Absorbed record -> the one that stands for it, for the references that are under way."""
    direct = {one.absorbed: one.survivor for one in work if not one.apart}
    return {absorbed: _end(direct, absorbed) for absorbed in direct}


def repointed(tx: Tx, merge: int) -> None:
    tx.delete(tables.meta, ["key"], [(f"{_REPOINT}{merge}",)])


def repoint_reviews(tx: Tx, old: str, new: str, links: Sequence[int] | None = None) -> None:
    """Open questions about a record are about another one from now on (with `links`: only those about these)."""
    rows = tx.lookup(tables.reviews, ["id", "closed", "link"], "record_id", [old])
    moved = [
        (new, number) for number, closed, link in rows if closed is None and (links is None or link in links)
    ]
    tx.update(tables.reviews, ["id"], ["record_id"], moved)
