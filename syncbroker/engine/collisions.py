"""Two linked records that seem to be one: they came to share a match key, or a vendor merged what they are linked to.

A linked observation is never matched again; a person is asked whether the records shall be merged. About one pair there
is one open question, and none again after somebody said that they are different, unless there is new evidence.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from syncbroker.core.match import Key
from syncbroker.engine.workspace import Collision, Workspace
from syncbroker.store import decisions, records, runs
from syncbroker.store.decisions import Cause, Outcome, Review

PROPOSED = 5
"""How many other records one new key of a record is compared with at most."""

LOCKS = 64
"""How many locks all match keys share."""

EVIDENCE = 50
"""How much of what speaks for a merge is remembered, the newest of it."""


def propose(ws: Workspace) -> None:
    """Ask about every pair that this transaction brought together."""
    _find(ws)
    asked: dict[tuple[str, str], list[Collision]] = {}
    for one in ws.collisions:
        first, second = sorted(one.pair)
        if first == second or (first, second) in ws.kept_apart:
            continue
        if ws.ended.isdisjoint(one.pair):
            asked.setdefault((first, second), []).append(one)
    known = _known(ws, [first for first, _ in asked]) if asked else {}
    for pair, found in asked.items():
        _ask(ws, pair, found, known.get(pair))


def _find(ws: Workspace) -> None:
    new = ws.new_keys()
    _hold_keys(ws, new)
    by_entity: dict[str, set[str]] = {}
    for id_, keys in new.items():
        by_entity.setdefault(ws.records[id_].entity, set()).update(key for key in keys if key[0] != "~")
    for entity, every in by_entity.items():
        plan = ws.engine.plans[entity]
        stored = records.by_keys(ws.tx, entity, sorted(every))
        rules = {",".join(rule.on): rule for rule in plan.entity.match if rule.on}
        for id_, keys in new.items():
            if ws.records[id_].entity != entity:
                continue
            for key in sorted(keys & every):
                rule = rules[key.split("|", 1)[0]]
                place = ws.engine.place(plan, rule.line)
                others = {*stored.get(key, ()), *ws.local_keys.get((entity, key), ())} - {id_}
                for other in [one for one in sorted(others) if ws.has_key(plan, one, key)][:PROPOSED]:
                    found = Collision(entity, (id_, other), ", ".join(rule.on), place, key)
                    ws.collisions.append(found)


def _hold_keys(ws: Workspace, new: Mapping[str, set[Key]]) -> None:
    """Of two transactions that give two records one key, the second one sees what the first one did.

    Keys share few locks, because the database has room for few.
    """
    marks = {
        zlib.crc32(f"{ws.records[id_].entity} {key}".encode()) % LOCKS
        for id_, keys in new.items()
        for key in keys
    }
    ws.tx.serialise_all(f"keys {mark:02}" for mark in marks)


def by_vendor(ws: Workspace, system: str, loser: str, winner: str, key: str) -> None:
    """A vendor made one record of what two of ours are linked to. `key` names the merge."""
    rule = f"merged in {system}"
    ws.collisions.append(Collision(ws.records[loser].entity, (loser, winner), rule, "", key))


def _evidence(ws: Workspace, found: Iterable[Collision]) -> list[dict[str, str]]:
    """What speaks for it, without the values: a person sees them on the records."""
    secret = runs.secret_key(ws.tx)
    return [
        {"rule": one.rule, "place": one.place, "key": records.digest(secret, "key", one.key)[:16]}
        for one in dict.fromkeys(found)
    ]


def _known(ws: Workspace, firsts: list[str]) -> dict[tuple[str, str], Review]:
    """The last review about each pair, by the lesser of its ids."""
    found: dict[tuple[str, str], Review] = {}
    for review in decisions.about(ws.tx, "merge", firsts):
        first, second = sorted(str(one) for one in review.body["records"])
        found[first, second] = review
    return found


def _ask(ws: Workspace, pair: tuple[str, str], found: list[Collision], known: Review | None) -> None:
    evidence = _evidence(ws, found)
    body: dict[str, Any] = {"records": list(pair), "evidence": evidence, "rule": evidence[0]["rule"]}
    number = 0
    if known is not None:
        seen = known.body["evidence"]
        fresh = [one for one in evidence if one not in seen]
        open_ = known.closed is None and known.id not in ws.closed
        if not fresh and (open_ or known.body.get("kept")):
            return
        body["evidence"] = [*seen, *fresh][-EVIDENCE:]
        number = known.id if open_ else 0
    ws.load(pair)
    if not all(id_ in ws.records for id_ in pair):
        return
    entity = found[0].entity
    review = ws.ask("merge", entity=entity, record_id=pair[0], number=number, body=body)
    if number:
        return
    rule = body["rule"]
    why = f"it may be the same as {pair[1]}: {rule}"
    ws.add(
        pair[0],
        Outcome(
            kind="match_queued",
            why=why,
            place=evidence[0]["place"],
            cause=Cause("merge", at=ws.now),
            review=review,
        ),
    )


def keep_apart(ws: Workspace, one: str, others: Iterable[str]) -> None:
    """A person said that they are different, before anybody asked whether to merge them."""
    entity = ws.records[one].entity
    ws.rekey(one)
    _find(ws)
    wanted = set(others)
    mine = [c for c in ws.collisions if one in c.pair and set(c.pair) <= {one, *wanted}]
    ws.collisions.clear()  # found again when the transaction ends
    for other in sorted({id_ for c in mine for id_ in c.pair} - {one}):
        pair = sorted((one, other))
        body = {
            "records": pair,
            "evidence": _evidence(ws, [c for c in mine if other in c.pair]),
            "rule": mine[0].rule,
            "kept": True,
        }
        number = ws.ask("merge", entity=entity, record_id=pair[0], body=body)
        ws.close(number, ws.actor)
        ws.kept_apart.add((pair[0], pair[1]))


def apart(ws: Workspace, one: str, other: str) -> None:
    """They were merged and are two again on somebody's word: what they share now is no news."""
    ws.touch(one)
    keep_apart(ws, one, [other])


def close_pair(ws: Workspace, one: str, other: str, why: str) -> None:
    """Nobody needs to be asked about the two any more."""
    for pair, review in _known(ws, sorted((one, other))).items():
        if set(pair) == {one, other} and review.closed is None:
            ws.close(review.id, why)
