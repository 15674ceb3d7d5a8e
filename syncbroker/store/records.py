"""Records and their links: loading by id, by external id and by match key; saving what a transaction changed."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from syncbroker.core.match import Key
from syncbroker.core.state import Golden, LinkState, Record
from syncbroker.decoding import decoder
from syncbroker.store import tables
from syncbroker.store.database import Tx

_golden = decoder(dict[str, Golden])
_link = decoder(LinkState)
_encode = msgspec.json.Encoder().encode

PURGED = "purged"
"""The reason of the tombstones of what was erased on request."""

FAR = 2**62
"""A time that does not come by itself: what waits until it is woken."""


def load(tx: Tx, ids: Iterable[str]) -> dict[str, Record]:
    """Whole records with all their links, by record id. Unknown ids are left out."""
    wanted = list(dict.fromkeys(ids))
    links: dict[str, dict[int, LinkState]] = {}
    for record_id, n, state in sorted(
        tx.lookup(tables.links, ["record_id", "n", "state"], "record_id", wanted)
    ):
        links.setdefault(record_id, {})[n] = _link.decode(state)
    return {
        id_: Record(id_, entity, _golden.decode(golden), links.get(id_, {}), seal or "")
        for id_, entity, golden, seal in tx.lookup(
            tables.records, ["id", "entity", "golden", "seal"], "id", wanted
        )
    }


class Head(msgspec.Struct, frozen=True):
    """Of a link what can be told without its fields; see `core.state.LinkState`."""

    system: str
    n: int
    status: str = "live"
    primary: bool = True
    rules: str = ""
    open: bool = False


def heads(tx: Tx, ids: Sequence[str]) -> dict[str, tuple[str, dict[str, Golden], list[Head], str]]:
    """Record id -> (entity, golden values, heads of its links, seal of its last decision).

    Costs a third of loading them in full.
    """
    found: dict[str, list[Head]] = {}
    for record_id, state in tx.lookup(tables.links, ["record_id", "state"], "record_id", ids):
        found.setdefault(record_id, []).append(_head.decode(state))
    return {
        id_: (entity, _golden.decode(golden), found.get(id_, []), seal or "")
        for id_, entity, golden, seal in tx.lookup(
            tables.records, ["id", "entity", "golden", "seal"], "id", ids
        )
    }


_head = decoder(Head)


def lock(tx: Tx, ids: Iterable[str]) -> None:
    """Hold these records until the transaction ends (PostgreSQL; SQLite has one writer)."""
    if not tx.sqlite:
        tx.connection.exec_driver_sql(
            "SELECT id FROM records WHERE id = ANY(%b) ORDER BY id FOR UPDATE", (sorted(set(ids)),)
        )


def lock_free(tx: Tx, ids: Iterable[str]) -> set[str]:
    """Hold those of these records that nobody else holds, without waiting for the others. Which they are."""
    wanted = sorted(set(ids))
    if tx.sqlite:
        return set(wanted)
    rows = tx.rows("SELECT id FROM records WHERE id = ANY(%b) ORDER BY id FOR UPDATE SKIP LOCKED", (wanted,))
    return {row[0] for row in rows}


def by_external_id(
    tx: Tx, system: str, object_: str, external_ids: Sequence[str]
) -> dict[str, list[tuple[int, str, str | None]]]:
    """External id -> (link number, entity, record id) of each of its links."""
    found: dict[str, list[tuple[int, str, str | None]]] = {}
    rows = tx.lookup(
        tables.links,
        ["external_id", "n", "entity", "record_id"],
        "external_id",
        external_ids,
        system=system,
        object=object_,
    )
    for external_id, n, entity, record_id in rows:
        found.setdefault(external_id, []).append((n, entity, record_id))
    return found


def link_states(tx: Tx, numbers: Sequence[int]) -> dict[int, tuple[LinkState, str | None, str]]:
    """Link number -> (state, record id, entity)."""
    rows = tx.lookup(tables.links, ["n", "state", "record_id", "entity"], "n", numbers)
    return {n: (_link.decode(state), record_id, entity) for n, state, record_id, entity in rows}


def by_keys(tx: Tx, entity: str, keys: Sequence[Key]) -> dict[Key, list[str]]:
    found: dict[Key, list[str]] = {}
    for key, record_id in tx.lookup(tables.match_keys, ["key", "record_id"], "key", keys, entity=entity):
        found.setdefault(key, []).append(record_id)
    return found


def in_blocks(tx: Tx, entity: str, keys: Sequence[Key], limit: int) -> dict[Key, list[str]]:
    """Record ids per key, in their order, at most `limit` each. For the few keys of one observation."""
    if not keys:
        return {}
    one = (
        "SELECT * FROM (SELECT key, record_id FROM match_keys WHERE entity = ? AND key = ? "  # noqa: S608  # a number
        f"ORDER BY record_id LIMIT {int(limit)}) AS k"
    )
    arguments = tuple(part for key in keys for part in (entity, key))
    found: dict[Key, list[str]] = {}
    for block, record_id in tx.rows(" UNION ALL ".join([one] * len(keys)), arguments):
        found.setdefault(block, []).append(record_id)
    return found


def references(tx: Tx, system: str, object_: str, entity: str, external_ids: Sequence[str]) -> dict[str, str]:
    """External id -> record id, for those that are linked."""
    rows = tx.lookup(
        tables.links,
        ["external_id", "record_id"],
        "external_id",
        external_ids,
        system=system,
        object=object_,
        entity=entity,
    )
    return {external_id: record_id for external_id, record_id in rows if record_id is not None}


def externals(tx: Tx, system: str, record_ids: Sequence[str]) -> dict[str, str]:
    """Record id -> external id in the system (its primary, live link there)."""
    rows = tx.lookup(
        tables.links, ["record_id", "external_id"], "record_id", record_ids, system=system, status="live"
    )
    return dict(sorted(rows, reverse=True))


def save(tx: Tx, new: Sequence[Record], changed: Sequence[Record]) -> None:
    """The records' own rows (golden values, and the head of the chain of decisions); their links are saved apart."""
    tx.insert(
        tables.records,
        ["id", "entity", "golden", "seal"],
        [(r.id, r.entity, _encode(r.golden).decode(), r.seal or None) for r in new],
    )
    rows = [(_encode(r.golden).decode(), r.seal or None, r.id) for r in changed]
    tx.update(tables.records, ["id"], ["golden", "seal"], rows)


def save_seals(tx: Tx, seals: Mapping[str, str]) -> None:
    """New heads of records that are otherwise as they were, by record id."""
    tx.update(tables.records, ["id"], ["seal"], [(seal, id_) for id_, seal in seals.items()])


def drop(tx: Tx, ids: Sequence[str]) -> None:
    """Records that were merged into others; their links have moved."""
    tx.delete(tables.records, ["id"], [(id_,) for id_ in ids])


LINK_COLUMNS = ["n", "system", "object", "external_id", "entity", "record_id", "status", "ord", "state"]


def save_links(
    tx: Tx,
    new: Sequence[tuple[LinkState, str, str | None]],
    changed: Sequence[tuple[LinkState, str, str | None]],
) -> None:
    """Each link with its entity and record id."""
    tx.insert(tables.links, LINK_COLUMNS, [_row(*one) for one in new])
    tx.update(
        tables.links,
        ["n"],
        ["external_id", "record_id", "status", "ord", "state"],
        [(s.external_id, record, s.status, s.order, _encode(s).decode(), s.n) for s, _, record in changed],
    )


def save_states(tx: Tx, links: Iterable[LinkState]) -> None:
    """What links hold that are where they were: what is looked for by an index stays as it is."""
    rows = [(s.order, _encode(s).decode(), s.n) for s in links]
    tx.update(tables.links, ["n"], ["ord", "state"], rows)


def _row(state: LinkState, entity: str, record_id: str | None) -> tuple[object, ...]:
    return (
        state.n,
        state.system,
        state.object,
        state.external_id,
        entity,
        record_id,
        state.status,
        state.order,
        _encode(state).decode(),
    )


def drop_links(tx: Tx, numbers: Sequence[int]) -> None:
    tx.delete(tables.links, ["n"], [(n,) for n in numbers])
    tx.delete(tables.pending_references, ["link"], [(n,) for n in numbers])


def save_keys(tx: Tx, added: Iterable[tuple[str, Key, str]], removed: Iterable[tuple[str, Key, str]]) -> None:
    """(entity, key, record id) rows."""
    tx.delete(tables.match_keys, ["entity", "key", "record_id"], sorted(removed))
    tx.insert(tables.match_keys, ["entity", "key", "record_id"], sorted(added), conflict="ignore")


def fingerprints(
    tx: Tx, rows: Sequence[tuple[str, str, str, bytes, int]], gone: Sequence[tuple[str, str, str]]
) -> None:
    """Rows are (system, object, external id, fingerprint, n)."""
    tx.delete(tables.fingerprints, ["system", "object", "external_id"], gone)
    tx.insert(
        tables.fingerprints, ["system", "object", "external_id", "fingerprint", "n"], rows, conflict="replace"
    )


def resolve_aliases(tx: Tx, system: str, object_: str, ids: Sequence[str]) -> dict[str, str]:
    """Former or other external id -> the external id that its link has now."""
    rows = tx.lookup(
        tables.aliases, ["external_id", "now"], "external_id", ids, system=system, object=object_
    )
    return {row[0]: row[1] for row in rows}


def save_aliases(tx: Tx, rows: Sequence[tuple[str, str, str, str]]) -> None:
    """Rows are (system, object, alias, external id now)."""
    tx.insert(tables.aliases, ["system", "object", "external_id", "now"], rows, conflict="replace")


def repoint_aliases(tx: Tx, system: str, object_: str, old: str, new: str) -> None:
    where = (
        (tables.aliases.c.system == system)
        & (tables.aliases.c.object == object_)
        & (tables.aliases.c.now == old)
    )
    tx.run(tables.aliases.update().where(where).values(now=new))
    save_aliases(tx, [(system, object_, old, new)])


def pend(tx: Tx, rows: Sequence[tuple[str, str, str, int]]) -> None:
    """(system, entity referred to, external id, waiting link) rows."""
    tx.insert(
        tables.pending_references,
        ["system", "entity", "external_id", "link"],
        sorted(set(rows)),
        conflict="ignore",
    )


def take_pending(tx: Tx, system: str, entity: str, external_ids: Sequence[str]) -> list[int]:
    """Links that waited for these to be linked; they wait no longer."""
    rows = tx.lookup(
        tables.pending_references,
        ["external_id", "link"],
        "external_id",
        external_ids,
        system=system,
        entity=entity,
    )
    tx.delete(
        tables.pending_references,
        ["system", "entity", "external_id", "link"],
        [(system, entity, external_id, link) for external_id, link in rows],
    )
    return sorted({link for _, link in rows})


def digest(key: bytes, *parts: str) -> str:
    """Keyed hash that a tombstone keeps instead of an id."""
    return hmac.new(key, "\0".join(parts).encode(), hashlib.sha256).hexdigest()


def bury(tx: Tx, rows: Sequence[tuple[str, str, str, int, str]]) -> None:
    """(system, object, digest, at, reason) rows."""
    tx.insert(tables.tombstones, ["system", "object", "digest", "at", "reason"], rows, conflict="replace")


def buried(tx: Tx, system: str, object_: str, digests: Sequence[str]) -> set[str]:
    rows = tx.lookup(tables.tombstones, ["digest"], "digest", digests, system=system, object=object_)
    return {row[0] for row in rows}


def reasons(tx: Tx, system: str, object_: str, digests: Sequence[str]) -> set[str]:
    """Why these are buried; nothing for those that are not."""
    rows = tx.lookup(tables.tombstones, ["reason"], "digest", digests, system=system, object=object_)
    return {row[0] for row in rows}


def lift(tx: Tx, rows: Sequence[tuple[str, str, str]]) -> None:
    tx.delete(tables.tombstones, ["system", "object", "digest"], rows)
