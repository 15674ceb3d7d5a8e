"""The decision log and the review queue.

A decision row holds all outcomes of one record in one transaction. Its *shape* is the multiset of (kind, field) pairs;
few shapes exist, so a search by kind or field goes through them instead of through one index row per outcome.

`append` is the one way in: it seals each row together with the one before it (`core.chain`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from sqlalchemy import func, select

from syncbroker.core.chain import Link, digest, seal
from syncbroker.core.types import Micros
from syncbroker.decoding import decode
from syncbroker.store import chain, packing, tables
from syncbroker.store.database import Tx
from syncbroker.store.packing import Cause, Outcome

__all__ = ["Cause", "Decision", "Entry", "Outcome", "Review", "ReviewKind", "token"]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """`erased`: its values were purged; its outcomes have neither values nor questions any more."""

    id: int
    record_id: str
    entity: str
    run: int
    at: Micros
    actor: str
    mapping: str
    outcomes: list[Outcome]
    erased: bool = False


ReviewKind = Literal[
    "conflict", "contested", "proposal", "invalid", "match", "merge", "delete", "refused", "guard"
]


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """A question that waits for a person. `body` holds what is asked; its form depends on `kind`.

    conflict: {candidates: {system: value}}; proposal, invalid: {raw, value, why}; match: {records, rule};
    delete: {policy, why}; refused: {values, message}; guard: see `engine.held`.
    """

    id: int
    kind: ReviewKind
    entity: str
    record_id: str | None
    link: int | None
    field: str
    system: str
    opened: Micros
    closed: Micros | None = None
    body: dict[str, Any] = {}
    person: str | None = None


def token(review: Review) -> str:
    """Short text that changes when what the review asks changes."""
    return hashlib.sha256(msgspec.json.encode(review.body)).hexdigest()[:8]


_encode = msgspec.json.Encoder().encode
_COLUMNS = ["id", "record_id", "entity", "shape", "run", "at", "actor", "mapping", "body", "seal"]
_READ = [name for name in _COLUMNS if name not in ("shape", "seal")]


class Entry(NamedTuple):
    """A decision as it is stored; `shape` is the text of its shape, `body` its packed outcomes and `outline` what is
    left of them when they are erased."""

    id: int
    record_id: str
    entity: str
    shape: str
    run: int
    at: Micros
    actor: str
    mapping: str
    body: str
    outline: str


def append(
    tx: Tx, decisions: Sequence[Decision], shapes: dict[str, int], known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Write decisions, in the order of their numbers, each sealed. Returns record id -> seal of its last one.

    `shapes` is the caller's memory of numbered shape texts; those that were committed before are added to it. `known`:
    the seal of each record's last decision ("" for none); those of other records are looked up.
    """
    entries = [
        Entry(
            d.id,
            d.record_id,
            d.entity,
            shape((outcome.kind, outcome.field) for outcome in d.outcomes),
            d.run,
            d.at,
            d.actor,
            d.mapping,
            packing.encode(looks := packing.gathered(d.outcomes)),
            packing.outlined(looks),
        )
        for d in decisions
    ]
    return append_packed(tx, entries, shapes, known or {})


def append_packed(
    tx: Tx, entries: Sequence[Entry], shapes: dict[str, int], known: Mapping[str, str]
) -> dict[str, str]:
    """The only way in for decisions. `shapes`, `known` and what it returns as in `append`."""
    unknown = sorted({entry.shape for entry in entries} - shapes.keys())
    if unknown:
        rows = tx.lookup(tables.shapes, ["outcomes", "id"], "outcomes", unknown)
        shapes.update({row[0]: row[1] for row in rows})
    new = {
        text: _add_shape(tx, text) for text in unknown if text not in shapes
    }  # gone if this is rolled back
    numbers = {**shapes, **new} if new else shapes
    heads = dict(known)
    key = chain.key(tx)
    rows = []
    for one in entries:
        of = chain.name(one.record_id, one.run)
        before = heads[of] if of in heads else chain.last_seal(tx, one.record_id, one.run)
        mark = digest(key, one.id, one.record_id, one.body)
        given = (*one[:3], numbers[one.shape], *one[4:8])
        heads[of] = seal(key, before, Link(*given, one.outline, mark))
        rows.append((*given, one.body, heads[of]))
    tx.insert(tables.decisions, _COLUMNS, rows)
    return {one.record_id: heads[one.record_id] for one in entries if one.record_id}


def shape(pairs: Iterable[tuple[str, str]]) -> str:
    """The text of the shape of outcomes with these (kind, field) pairs."""
    return ";".join(f"{kind}:{field}:{times}" for (kind, field), times in sorted(Counter(pairs).items()))


def _add_shape(tx: Tx, text: str) -> int:
    tx.serialise("shapes")  # whoever adds one at the same time waits here
    if others := tx.lookup(tables.shapes, ["id"], "outcomes", [text]):
        return int(others[0][0])
    number = tx.numbers("shapes", 1)[0]
    tx.insert(tables.shapes, ["id", "outcomes"], [(number, text)])
    parts = [part.split(":") for part in text.split(";")]
    rows = [(kind, field, number, int(times)) for kind, field, times in parts]
    tx.insert(tables.shape_outcomes, ["kind", "field", "shape", "times"], rows)
    return number


def history(
    tx: Tx, record_id: str, *, before: int = 0, until: Micros | None = None, limit: int = 500
) -> list[Decision]:
    """A record's decisions, newest first: those with a smaller number than `before`, none later than `until`."""
    d = tables.decisions.c
    query = select(tables.decisions).where(d.record_id == record_id)
    query = query.where(d.id < before) if before else query
    query = query.where(d.at <= until) if until is not None else query
    return [_decision(row) for row in tx.run(query.order_by(d.id.desc()).limit(limit))]


def after(tx: Tx, record_id: str, number: int, *, page: int = 200) -> Iterator[Decision]:
    """A record's decisions after one of them, oldest first."""
    d = tables.decisions.c
    while True:
        query = select(tables.decisions).where(d.record_id == record_id, d.id > number)
        rows = tx.run(query.order_by(d.id).limit(page)).all()
        yield from map(_decision, rows)
        if len(rows) < page:
            return
        number = rows[-1].id


def search(
    tx: Tx,
    *,
    kind: str = "",
    field: str = "",
    run: int | None = None,
    since: Micros = 0,
    before: int = 0,
    limit: int = 50,
) -> list[Decision]:
    """Newest first; `before` a decision id, for paging."""
    d, s = tables.decisions.c, tables.shape_outcomes.c
    query = select(tables.decisions).order_by(d.id.desc()).limit(limit)
    if kind or field:
        shapes = select(s.shape)
        shapes = shapes.where(s.kind == kind) if kind else shapes
        shapes = shapes.where(s.field == field) if field else shapes
        query = query.where(d.shape.in_(shapes))
    if run is not None:
        query = query.where(d.run == run)
    if since:
        query = query.where(d.at >= since)
    if before:
        query = query.where(d.id < before)
    return [_decision(row) for row in tx.run(query)]


def following(tx: Tx, *, after: int = 0, run: int | None = None, limit: int = 500) -> list[Decision]:
    """The decisions (of a run) after a number, oldest first."""
    d = tables.decisions.c
    query = select(tables.decisions).where(d.id > after).order_by(d.id).limit(limit)
    if run is not None:
        query = query.where(d.run == run)
    return [_decision(row) for row in tx.run(query)]


def by_numbers(tx: Tx, numbers: Sequence[int]) -> dict[int, Decision]:
    """Those that exist, by number."""
    rows = tx.lookup(tables.decisions, _READ, "id", sorted(set(numbers)))
    return {
        row[0]: Decision(
            **dict(zip(_READ[:-1], row, strict=False)),
            outcomes=packing.unpack(row[-1]),
            erased=packing.is_erased(row[-1]),
        )
        for row in rows
    }


def by_number(tx: Tx, number: int) -> Decision | None:
    row = tx.run(select(tables.decisions).where(tables.decisions.c.id == number)).first()
    return _decision(row) if row else None


def _decision(row: Any) -> Decision:
    return Decision(
        id=row.id,
        record_id=row.record_id,
        entity=row.entity,
        run=row.run,
        at=row.at,
        actor=row.actor,
        mapping=row.mapping,
        outcomes=packing.unpack(row.body),
        erased=packing.is_erased(row.body),
    )


def counts(tx: Tx, *, since_id: int = 0) -> dict[str, int]:
    """Outcomes by kind, over decisions after `since_id`."""
    where = f"WHERE d.id > {int(since_id)}" if since_id else ""
    sql = (
        "SELECT s.kind, SUM(s.times * d.many) FROM (SELECT shape, COUNT(*) AS many FROM decisions d "  # noqa: S608  # a number
        f"{where} GROUP BY shape) d JOIN shape_outcomes s ON s.shape = d.shape GROUP BY s.kind ORDER BY s.kind"
    )
    return {kind: int(count) for kind, count in tx.connection.exec_driver_sql(sql)}


def last_id(tx: Tx) -> int:
    row = tx.run(select(tables.decisions.c.id).order_by(tables.decisions.c.id.desc()).limit(1)).first()
    return int(row[0]) if row else 0


# ------------------------------------------------------------------------------------------------- reviews

_REVIEW = ["id", "kind", "entity", "record_id", "link", "field", "system", "opened", "body"]


def open_reviews(tx: Tx, reviews: Sequence[Review]) -> None:
    tx.insert(
        tables.reviews,
        _REVIEW,
        [
            (
                r.id,
                r.kind,
                r.entity,
                r.record_id,
                r.link,
                r.field,
                r.system,
                r.opened,
                _encode(r.body).decode(),
            )
            for r in reviews
        ],
    )


def renew_reviews(tx: Tx, bodies: Mapping[int, dict[str, Any]]) -> None:
    """What open reviews ask has changed; they keep their place in the queue."""
    tx.update(tables.reviews, ["id"], ["body"], [(_encode(body).decode(), n) for n, body in bodies.items()])


def close_reviews(tx: Tx, rows: Sequence[tuple[int, Micros, str]]) -> None:
    """(review id, when, the person or why it closed by itself) rows."""
    tx.update(tables.reviews, ["id"], ["closed", "person"], [(at, person, n) for n, at, person in rows])


def review(tx: Tx, number: int) -> Review | None:
    row = tx.run(select(tables.reviews).where(tables.reviews.c.id == number)).first()
    return _review(row) if row else None


def waiting(tx: Tx, *, limit: int = 100, kind: str = "", record_id: str = "") -> list[Review]:
    """Open reviews, oldest first."""
    r = tables.reviews.c
    query = select(tables.reviews).where(r.closed.is_(None)).order_by(r.opened, r.id).limit(limit)
    if kind:
        query = query.where(r.kind == kind)
    if record_id:
        query = query.where(r.record_id == record_id)
    return [_review(row) for row in tx.run(query)]


def alike(tx: Tx, review: Review, *, after: int = 0, limit: int = 500) -> list[int]:
    """Open reviews that ask the same about other records, after a number, in order."""
    r = tables.reviews.c
    same = (r.kind == review.kind) & (r.entity == review.entity) & (r.field == review.field)
    query = (
        select(r.id)
        .where(r.closed.is_(None), same, r.system == review.system, r.record_id.is_not(None), r.id > after)
        .order_by(r.id)
        .limit(limit)
    )
    return [int(row[0]) for row in tx.run(query)]


def open_of_system(tx: Tx, kind: ReviewKind, system: str, *, after: int = 0, limit: int = 500) -> list[int]:
    """Open reviews of a kind about a system, after a number, in order."""
    r = tables.reviews.c
    query = select(r.id).where(r.closed.is_(None), r.kind == kind, r.system == system, r.id > after)
    return [int(row[0]) for row in tx.run(query.order_by(r.id).limit(limit))]


def count_alike(tx: Tx, kind: ReviewKind, entity: str, field: str, system: str) -> int:
    """Open reviews of records that ask the same about different records."""
    r = tables.reviews.c
    same = (r.kind == kind) & (r.entity == entity) & (r.field == field) & (r.system == system)
    query = select(func.count()).where(r.closed.is_(None), same, r.record_id.is_not(None))
    return int(tx.run(query).scalar_one())


def about(tx: Tx, kind: ReviewKind, record_ids: Sequence[str]) -> list[Review]:
    """All reviews of a kind about these records, closed ones too, oldest first."""
    columns = [*_REVIEW, "closed", "person"]
    rows = tx.lookup(tables.reviews, columns, "record_id", record_ids, kind=kind)
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    made = [Review(**{**one, "body": decode(one["body"])}) for one in found]
    return sorted(made, key=lambda one: one.id)


def unmatched(tx: Tx, record_ids: Sequence[str]) -> dict[int, tuple[str, str]]:
    """Open match reviews that propose one of these records before all others: review -> (record id, system)."""
    if not tx.rows("SELECT 1 FROM reviews WHERE closed IS NULL AND kind = 'match' LIMIT 1"):
        return {}
    rows = tx.lookup(
        tables.reviews, ["id", "record_id", "system", "closed"], "record_id", record_ids, kind="match"
    )
    return {n: (record_id, system) for n, record_id, system, closed in rows if closed is None}


def matched(tx: Tx, numbers: Sequence[int]) -> list[str]:
    """The records that these reviews proposed before all others, of those among them that asked for a match."""
    rows = tx.lookup(tables.reviews, ["record_id"], "id", numbers, kind="match")
    return sorted({row[0] for row in rows if row[0]})


def waiting_counts(tx: Tx) -> dict[str, int]:
    rows = tx.connection.exec_driver_sql(
        "SELECT kind, COUNT(*) FROM reviews WHERE closed IS NULL GROUP BY kind ORDER BY kind"
    )
    return {kind: int(count) for kind, count in rows}


def _review(row: Any) -> Review:
    return Review(
        id=row.id,
        kind=row.kind,
        entity=row.entity,
        record_id=row.record_id,
        link=row.link,
        field=row.field,
        system=row.system,
        opened=row.opened,
        closed=row.closed,
        body=decode(row.body),
        person=row.person,
    )
