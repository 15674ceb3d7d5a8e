"""Every stored decision resolved once more: the stored question must lead to the stored outcome.

A decision goes before the rule of its own mapping version: today's for the active one, the kept rules for others. What
no rule decided (identity, deletion, a person's answer) has nothing to be resolved again, and is counted apart.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from syncbroker.core.mapping import EntityRules, FieldRule
from syncbroker.core.resolve import resolve
from syncbroker.core.types import Micros
from syncbroker.engine import Engine
from syncbroker.engine.history import BY_HAND, listed, moment
from syncbroker.store import decisions, runs, tables
from syncbroker.store.decisions import Decision, Outcome
from syncbroker.store.since import first_since

CHUNK = 1000
"""Decisions in memory at a time."""

IDENTITY = {
    "created": "identity: records made",
    "linked": "identity: records recognised",
    "match_queued": "identity: records that a person must recognise",
    "deleted": "deletions",
    "delete_queued": "deletions that wait for a person",
    "rejected": "writes that a system refused",
}

Rules = Mapping[tuple[str, str], FieldRule]
"""(entity, field or group) -> its rule."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What an outcome says, as far as resolving its question says it."""

    kind: str
    why: str
    winner: str
    after: object


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The first outcome that is another one today. `place`: file:line of its rule then."""

    decision: int
    at: datetime | None
    record: str
    entity: str
    field: str
    system: str
    mapping: str
    policy: str
    place: str
    stored: Told
    got: Told


class VersionReplayed(msgspec.Struct, kw_only=True):
    """A mapping version: outcomes that were resolved again, and those that could not be, by reason."""

    version: str
    active: bool
    verified: int = 0
    not_verifiable: dict[str, int] = {}


class Replayed(msgspec.Struct, kw_only=True):
    """What was looked at. `first`, `last`: decision numbers, 0 for none. `without_rule`: reason -> outcomes.
    `erased`: outcomes whose inputs were purged."""

    decisions: int = 0
    first: int = 0
    last: int = 0
    verified: int = 0
    versions: list[VersionReplayed] = []
    erased: int = 0
    without_rule: dict[str, int] = {}
    seconds: float = 0.0
    difference: Difference | None = None


@dataclass
class _Books:
    """Counts while decisions go by."""

    engine: Engine
    kept: Mapping[str, runs.Version]
    rules: dict[str, Rules | None] = field(default_factory=dict)
    verified: Counter[str] = field(default_factory=Counter)
    refused: dict[str, Counter[str]] = field(default_factory=dict)
    without: Counter[str] = field(default_factory=Counter)

    def rules_of(self, version: str) -> Rules | None:
        if version not in self.rules:
            entities = self.engine.mapping.entities if version == self.engine.mapping.version else None
            if entities is None and version in self.kept:
                entities = self.kept[version].rules
            self.rules[version] = rules_by_field(entities) if entities is not None else None
        return self.rules[version]

    def check(self, decision: Decision, outcome: Outcome) -> Difference | None:
        reason = without_rule(outcome)
        if reason or outcome.question is None:
            self.without[reason] += 1
            return None
        rules = self.rules_of(decision.mapping)
        rule = rules.get((decision.entity, outcome.field)) if rules is not None else None
        if rule is None:
            why = "its rules were not kept" if rules is None else "its kept rules do not have the field"
            self.refused.setdefault(decision.mapping, Counter())[why] += 1
            return None
        verdict = resolve(rule, outcome.question)
        stored = Told(kind=outcome.kind, why=outcome.why, winner=outcome.winner, after=listed(outcome.after))
        got = Told(
            kind=verdict.kind, why=verdict.why, winner=verdict.winner, after=listed(verdict.golden.value)
        )
        if stored == got:
            self.verified[decision.mapping] += 1
            return None
        return Difference(
            decision=decision.id,
            at=moment(decision.at),
            record=decision.record_id,
            entity=decision.entity,
            field=outcome.field,
            system=outcome.system,
            mapping=decision.mapping,
            policy=outcome.policy,
            place=outcome.place,
            stored=stored,
            got=got,
        )

    def versions(self) -> list[VersionReplayed]:
        active = self.engine.mapping.version
        names = {**dict.fromkeys(self.kept), **dict.fromkeys([*self.verified, *self.refused])}
        return [
            VersionReplayed(
                version=name,
                active=name == active,
                verified=self.verified[name],
                not_verifiable=dict(self.refused.get(name, {})),
            )
            for name in names
            if self.verified[name] or name in self.refused
        ]


def rules_by_field(entities: Mapping[str, EntityRules]) -> Rules:
    """The rule of each field; a group has that of its first member."""
    found: dict[tuple[str, str], FieldRule] = {}
    for entity in entities.values():
        for rule in entity.fields.values():
            found.setdefault((entity.name, rule.group or rule.name), rule)
    return found


def without_rule(outcome: Outcome) -> str:
    """Why there is no rule to put an outcome before, "" when there is one."""
    if not outcome.field:
        return IDENTITY.get(outcome.kind, BY_HAND.get(outcome.kind, outcome.kind))
    if outcome.kind in BY_HAND:
        return BY_HAND[outcome.kind]
    return "" if outcome.question is not None else f"{outcome.kind}, without a question"


def replay(
    engine: Engine,
    since: Micros = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> Replayed:
    """Resolve the decisions of `since` and later again, oldest first, up to the first that differs."""
    begun = time.perf_counter()
    with engine.store.read() as tx:
        books = _Books(engine, runs.versions(tx))
        after = first_since(tx, tables.decisions, since) - 1 if since else 0
        last = decisions.last_id(tx)
    done = Replayed()
    while done.difference is None and after < last:
        with engine.store.read() as tx:
            chunk = [one for one in decisions.following(tx, after=after, limit=CHUNK) if one.id <= last]
        if not chunk:
            break
        after = chunk[-1].id
        _replay_chunk(books, done, [one for one in chunk if one.at >= since])
        progress(len(chunk))
    done.verified = sum(books.verified.values())
    done.versions = books.versions()
    done.without_rule = dict(sorted(books.without.items()))
    done.seconds = time.perf_counter() - begun
    return done


def _replay_chunk(books: _Books, done: Replayed, chunk: list[Decision]) -> None:
    for decision in chunk:
        done.decisions += 1
        done.first = done.first or decision.id
        done.last = decision.id
        if decision.erased:
            done.erased += len(decision.outcomes)
            continue
        for outcome in decision.outcomes:
            done.difference = books.check(decision, outcome)
            if done.difference is not None:
                return
