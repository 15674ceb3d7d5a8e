"""What one deciding transaction holds in its hands: records, links, outcomes, reviews; written back all at once.

Everything changes here first, in memory. `finish` moves bases, derives what is owed, and writes records, links,
decisions, reviews and the outbox in one go, so that all of it is committed or none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace
from uuid_utils.compat import uuid7

from syncbroker.core import fanout
from syncbroker.core.match import Key, keys
from syncbroker.core.plan import Plan, flat
from syncbroker.core.state import LinkState, Record
from syncbroker.core.types import Micros, Value
from syncbroker.engine import Engine, owing
from syncbroker.store import decisions, queues, records, runs
from syncbroker.store.database import Tx
from syncbroker.store.decisions import Decision, Outcome, Review, ReviewKind


class Workspace:
    """Records by id, each with its links; a link's number leads to its record."""

    def __init__(self, engine: Engine, tx: Tx, run: int, actor: str = "rules") -> None:
        self.engine, self.tx, self.run, self.actor = engine, tx, run, actor
        self.now: Micros = engine.now()
        self.records: dict[str, Record] = {}
        self.queued: dict[int, tuple[LinkState, str]] = {}  # links without a record: (state, entity)
        self.home: dict[int, str] = {}
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.outcomes: dict[str, list[Outcome]] = {}
        self.fingerprints: dict[tuple[str, str, str], tuple[bytes, int]] = {}
        self.stale_fingerprints: set[tuple[str, str, str]] = set()
        self.local_keys: dict[tuple[str, Key], set[str]] = {}
        self.outbox: dict[int, queues.Row | None] = {}
        self._before: dict[str, Record] = {}
        self._touched: dict[str, None] = {}
        self._golden: set[tuple[str, str]] = set()
        self.stored: set[int] = set()
        self._dirty: set[int] = set()
        self._dropped: set[int] = set()
        self._opened: dict[int, Review] = {}
        self._renewed: dict[int, dict[str, Any]] = {}
        self._closed: dict[int, str] = {}

    # -------------------------------------------------------------------------------------------- in

    def load(self, ids: Iterable[str]) -> None:
        wanted = [id_ for id_ in ids if id_ not in self.records]
        if not wanted:
            return
        records.lock(self.tx, wanted)
        for id_, record in records.load(self.tx, wanted).items():
            plan = self.engine.plans.get(record.entity)
            self._before[id_] = record
            self.records[id_] = refresh(plan, record) if plan else record
            for link in record.links:
                self.home[link.n] = id_
                self.stored.add(link.n)

    def load_queued(self, numbers: Sequence[int]) -> None:
        for n, (state, record_id, entity) in records.link_states(self.tx, numbers).items():
            if record_id is None:
                self.queued[n] = (state, entity)
                self.stored.add(n)

    def plan(self, record_id: str) -> Plan:
        return self.engine.plans[self.records[record_id].entity]

    def link(self, n: int) -> LinkState:
        if n in self.queued:
            return self.queued[n][0]
        return next(link for link in self.records[self.home[n]].links if link.n == n)

    # ------------------------------------------------------------------------------------------- changes

    def new_record(self, entity: str) -> str:
        id_ = str(uuid7())
        self.records[id_] = Record(id_, entity)
        self._touched[id_] = None
        return id_

    def touch(self, record_id: str) -> None:
        self._touched[record_id] = None

    def new_number(self, name: str) -> int:
        return self.tx.numbers(name, 1)[0]

    def put_link(self, link: LinkState, record_id: str | None, entity: str) -> None:
        """Save a link's new state on its record, moving it there from wherever it was."""
        link = replace(link, rules=self.engine.plans[entity].version)
        self._dirty.add(link.n)
        old = self.home.get(link.n)
        if old is not None and old != record_id:
            self._remove(link.n, old)
        if record_id is None:
            self.queued[link.n] = (link, entity)
            return
        self.queued.pop(link.n, None)
        record = self.records[record_id]
        if self.home.get(link.n) == record_id:
            links = tuple(link if one.n == link.n else one for one in record.links)
        else:
            links = (*record.links, link)
        self.home[link.n] = record_id
        self.records[record_id] = replace(record, links=links)
        self.touch(record_id)

    def drop_link(self, n: int) -> LinkState:
        """End a link: its row, its pending writes and its fingerprint go."""
        link = self.link(n)
        if n in self.queued:
            del self.queued[n]
        else:
            self._remove(n, self.home.pop(n))
        self._dropped.add(n)
        self._dirty.discard(n)
        self.outbox[n] = None
        if link.external_id is not None:
            self.stale_fingerprints.add((link.system, link.object, link.external_id))
        return link

    def _remove(self, n: int, record_id: str) -> None:
        record = self.records[record_id]
        self.records[record_id] = replace(record, links=tuple(link for link in record.links if link.n != n))
        self.touch(record_id)

    def put_golden(self, record_id: str, name: str, golden: Any) -> None:
        record = self.records[record_id]
        self.records[record_id] = replace(record, golden={**record.golden, name: golden})
        self._golden.add((record_id, name))
        self.touch(record_id)

    def add(self, record_id: str, outcome: Outcome) -> None:
        self.outcomes.setdefault(record_id, []).append(outcome)
        self.touch(record_id)

    def count(self, what: str, system: str, object_: str, by: int = 1) -> None:
        self.counts[what, system, object_] += by

    def ask(
        self,
        kind: ReviewKind,
        *,
        entity: str,
        record_id: str | None,
        body: dict[str, Any],
        number: int = 0,
        link: int | None = None,
        field: str = "",
        system: str = "",
    ) -> int:
        """Open a review, or with `number` renew what an open one asks."""
        if number and number not in self._opened:
            self._renewed[number] = body
            return number
        number = number or self.new_number("reviews")
        self._opened[number] = Review(
            id=number,
            kind=kind,
            entity=entity,
            record_id=record_id,
            link=link,
            field=field,
            system=system,
            opened=self.now,
            body=body,
        )
        return number

    def close(self, number: int, why: str) -> None:
        if number:
            self._closed[number] = why

    # ------------------------------------------------------------------------------------------- keys

    def hits(self, plan: Plan, found: Sequence[Key]) -> dict[Key, list[str]]:
        """Record ids per match key, as they are now in this transaction. Loads those records."""
        entity = plan.entity.name
        stored = records.by_keys(self.tx, entity, found)
        self.load({id_ for ids in stored.values() for id_ in ids})
        return self.current_hits(plan, found, stored)

    def current_hits(
        self, plan: Plan, found: Sequence[Key], stored: dict[Key, list[str]]
    ) -> dict[Key, list[str]]:
        entity = plan.entity.name
        out: dict[Key, list[str]] = {}
        for key in found:
            ids = {*stored.get(key, ()), *self.local_keys.get((entity, key), ())}
            live = [
                id_
                for id_ in sorted(ids)
                if id_ in self.records and key in record_keys(plan, self.records[id_])
            ]
            if live:
                out[key] = live
        return out

    def remember_keys(self, record_id: str) -> None:
        """Let later observations of this transaction find the record by its keys."""
        plan = self.plan(record_id)
        for key in record_keys(plan, self.records[record_id]):
            self.local_keys.setdefault((plan.entity.name, key), set()).add(record_id)

    # ------------------------------------------------------------------------------------------- out

    def finish(self) -> dict[str, int]:
        """Derive, then write everything. Returns outcomes by kind."""
        stepped: set[int] = set()
        for id_ in self._touched:
            record = fanout.step(self.records[id_])
            if record is not self.records[id_]:
                before = {link.n: link for link in self.records[id_].links}
                stepped.update(link.n for link in record.links if before[link.n] is not link)
                self.records[id_] = record
        self._dirty |= stepped
        owing.derive(self, self._touched)
        kinds = self._write_decisions()
        touched = [self.records[id_] for id_ in self._touched]
        records.save(
            self.tx,
            [record for record in touched if record.id not in self._before],
            [r for r in touched if r.id in self._before and r.golden != self._before[r.id].golden],
        )
        self._write_links()
        self._write_keys(touched)
        rows = [(*key, fingerprint, n) for key, (fingerprint, n) in self.fingerprints.items()]
        records.fingerprints(self.tx, rows, sorted(self.stale_fingerprints - self.fingerprints.keys()))
        decisions.open_reviews(self.tx, list(self._opened.values()))
        decisions.renew_reviews(self.tx, self._renewed)
        decisions.close_reviews(self.tx, [(n, self.now, why) for n, why in self._closed.items()])
        queues.save_outbox(self.tx, [row for row in self.outbox.values() if row is not None])
        queues.drop_outbox(self.tx, [n for n, row in self.outbox.items() if row is None])
        runs.count(self.tx, self.counts)
        return kinds

    def _write_decisions(self) -> dict[str, int]:
        if not self.outcomes:
            return {}
        numbers = self.tx.numbers("decisions", len(self.outcomes))
        made, kinds = [], Counter[str]()
        for number, (record_id, outcomes) in zip(numbers, self.outcomes.items(), strict=True):
            record = self.records[record_id]
            fresh = {
                name: replace(golden, decision=number)
                for name, golden in record.golden.items()
                if (record_id, name) in self._golden
            }
            if fresh:
                self.records[record_id] = replace(record, golden={**record.golden, **fresh})
            kinds.update(outcome.kind for outcome in outcomes)
            made.append(
                Decision(
                    id=number,
                    record_id=record_id,
                    entity=record.entity,
                    run=self.run,
                    at=self.now,
                    actor=self.actor,
                    mapping=self.engine.mapping.version,
                    outcomes=outcomes,
                )
            )
        decisions.append(self.tx, made, self.engine.shapes)
        return dict(kinds)

    def _write_links(self) -> None:
        new: list[tuple[LinkState, str, str | None]] = []
        changed: list[tuple[LinkState, str, str | None]] = []
        for n in sorted(self._dirty - self._dropped):
            if n in self.queued:
                state, entity = self.queued[n]
                row: tuple[LinkState, str, str | None] = (state, entity, None)
            else:
                row = (self.link(n), self.records[self.home[n]].entity, self.home[n])
            (changed if n in self.stored else new).append(row)
        records.drop_links(self.tx, sorted(self._dropped & self.stored))
        records.save_links(self.tx, new, changed)

    def _write_keys(self, touched: Sequence[Record]) -> None:
        added: list[tuple[str, Key, str]] = []
        removed: list[tuple[str, Key, str]] = []
        for record in touched:
            plan = self.engine.plans[record.entity]
            now = record_keys(plan, record)
            before = self._before.get(record.id)
            was = record_keys(plan, before) if before is not None else set()
            added.extend((record.entity, key, record.id) for key in now - was)
            removed.extend((record.entity, key, record.id) for key in was - now)
        records.save_keys(self.tx, added, removed)


def record_keys(plan: Plan, record: Record) -> set[Key]:
    """The match keys under which a record is found: of its golden values, and of what each link holds."""
    names = {name for rule in plan.entity.match for name in rule.on}
    if not names:
        return set()
    found = set(keys(plan, flat(plan, {name: golden.value for name, golden in record.golden.items()})))
    tried: list[dict[str, Value]] = []
    for link in record.links:
        held = flat(plan, {name: state.value for name, state in link.fields.items()})
        part = {name: held.get(name) for name in names}
        if part not in tried:
            tried.append(part)
            found.update(keys(plan, part))
    return found


def refresh(plan: Plan, record: Record) -> Record:
    """Canonical values under today's rules: a mapping change or a new release may read the same raw differently.

    References keep the record they lead to; they do not depend on the text of the rules.
    """
    if all(link.rules in (plan.version, "") for link in record.links):
        return record
    links = []
    for link in record.links:
        reader = plan.readers.get(link.system)
        if reader is None or link.rules in (plan.version, ""):
            links.append(link)
            continue
        states = {}
        for name, state in link.fields.items():
            if name not in reader.fields:
                continue
            if any(one.spec.entity for one in reader.fields[name]):
                states[name] = state
                continue
            raws = [state.raw] if len(reader.fields[name]) == 1 else state.raw
            if not isinstance(raws, list) or len(raws) != len(reader.fields[name]):
                continue  # the group has other members now; the next read sees it for the first time
            seen = reader.see(name, raws, {})
            states[name] = replace(state, value=seen.value, invalid=seen.invalid, equivalent=None)
        links.append(replace(link, fields=states, rules=plan.version))
    golden = {name: value for name, value in record.golden.items() if name in plan.fields}
    return replace(record, links=tuple(links), golden=golden)
