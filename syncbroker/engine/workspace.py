"""What one deciding transaction holds in its hands: records, links, outcomes, reviews; written back all at once.

Everything changes here first, in memory; `finish.finish` ends the transaction, so that all of it is committed or none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

from msgspec.structs import replace

from syncbroker.core import fanout
from syncbroker.core.match import Key
from syncbroker.core.plan import Plan
from syncbroker.core.referring import repoint, targets
from syncbroker.core.state import NOTHING, Golden, LinkState, Record
from syncbroker.core.types import Micros
from syncbroker.engine import Engine
from syncbroker.engine.reading import record_keys, refresh
from syncbroker.engine.sharing import NotAlone
from syncbroker.store import decisions, merges, queues, receipts, records, shards, waits
from syncbroker.store.database import Tx
from syncbroker.store.decisions import Cause, Decision, Outcome, Review, ReviewKind
from syncbroker.store.drift import Finding
from syncbroker.store.receipts import Kept

SNOOZE: Micros = 60_000_000
"""What could not be done when its time came is tried again after so long."""


class Collision(NamedTuple):
    """Two linked records that share a match key, or that a vendor made one. `place`: file:line of the rule."""

    entity: str
    pair: tuple[str, str]
    rule: str
    place: str
    key: str


class Workspace:
    """Records by id, each with its links; a link's number leads to its record.

    `stages`: the run is guarded as a whole when it ends, so what it owes is staged until then.
    `shared`: others decide at the same time, so nothing is loaded beyond the records that were at first.
    """

    def __init__(
        self,
        engine: Engine,
        tx: Tx,
        run: int,
        actor: str = "rules",
        *,
        stages: bool = False,
        shared: bool = False,
    ) -> None:
        self.shared = shared
        self.engine, self.tx, self.run, self.actor, self.stages = engine, tx, run, actor, stages
        self.now: Micros = engine.now()
        self.event = ""  # what a person's answer is part of
        self.records: dict[str, Record] = {}
        self.queued: dict[int, tuple[LinkState, str]] = {}  # links without a record: (state, entity)
        self.home: dict[int, str] = {}
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.outcomes: dict[str, list[Outcome]] = {}
        self.fingerprints: dict[tuple[str, str, str], tuple[bytes, int]] = {}
        self.stale_fingerprints: set[tuple[str, str, str]] = set()
        self.local_keys: dict[tuple[str, Key], set[str]] = {}
        self.outbox: dict[int, queues.Row | None] = {}
        self.findings: list[Finding] = []  # what only a sweep found
        self.alarms: dict[str, Micros] = {}  # when records must be looked at again by themselves
        self.receipts: list[Kept] = []
        self.linked: list[tuple[str, str, str]] = []  # (system, entity, external id) new in this transaction
        self.pending: set[tuple[str, str, str, int]] = (
            set()
        )  # (system, entity, external id, the link that waits for it)
        self.woken: dict[tuple[str, str], dict[str, None]] = {}  # (system, object) -> external ids
        self.made: set[int] = set()  # links to which a write came to be owed in this transaction
        self.stage_as: dict[int, int] = {}  # link -> the run that stages what is owed to it
        self.held: set[int] = set()  # runs held with pushes that this transaction added
        self.edited: set[int] = set()  # links on which somebody edited what they had held
        self.decided: dict[str, int] = {}  # record -> its decision of this transaction, once written
        self.traces: dict[str, str] = {}  # record -> what follows the delivery that changed it
        self.collisions: list[Collision] = []
        self.kept_apart: set[tuple[str, str]] = set()  # pairs that a person just said are different
        self.merged: list[tuple[str, str, merges.Before]] = []  # survivor, absorbed, what was before
        self._leads: dict[str, str] | None = None
        self.ended: set[str] = set()  # records that were merged into others
        self._anew: set[str] = set()
        self._before: dict[str, Record] = {}
        self.touched: dict[str, None] = {}
        self._golden: dict[str, set[str]] = {}
        self._rekeyed: set[str] = set()
        self.stored: set[int] = set()
        self._dirty: set[int] = set()
        self._dropped: set[int] = set()
        self._moved: set[int] = set()  # links that went from one record to another
        self._opened: dict[int, Review] = {}
        self._renewed: dict[int, dict[str, Any]] = {}
        self._closed: dict[int, str] = {}
        self._numbers: dict[str, list[int]] = {}

    # -------------------------------------------------------------------------------------------- in

    def load(self, ids: Iterable[str]) -> list[str]:
        """Load records that are not here yet. Returns those of `ids` that exist."""
        ids = list(ids)
        wanted = [id_ for id_ in ids if id_ not in self.records]
        if wanted:
            self._load(wanted)
        return [id_ for id_ in ids if id_ in self.records]

    def reach(self) -> None:
        """Something beyond the records at hand is to be touched: nobody else may decide meanwhile."""
        if self.shared:
            raise NotAlone

    def _load(self, wanted: Sequence[str]) -> None:
        if self.records:
            self.reach()
        records.lock(self.tx, wanted)
        for id_, record in records.load(self.tx, wanted).items():
            plan = self.engine.plans.get(record.entity)
            before = Record(id_, record.entity, dict(record.golden), dict(record.by_number), record.seal)
            self._before[id_] = before
            self.records[id_] = refresh(plan, record) if plan else record
            changed = [n for n, link in record.by_number.items() if link is not before.by_number[n]]
            self._dirty.update(changed)
            if changed:
                self._close_unmapped(before, record)
            self.home.update(dict.fromkeys(record.by_number, id_))
            self.stored.update(record.by_number)
            if plan and plan.referring:
                self._repoint(plan, record)

    def _repoint(self, plan: Plan, record: Record) -> None:
        """What still refers to a record that was merged into another one refers to that one."""
        if self._leads is None:
            self._leads = merges.leads(merges.repointing(self.tx))
        if not self._leads or self._leads.keys().isdisjoint(targets(plan, record)):
            return
        before = dict(record.golden)
        changed = repoint(plan, record, self._leads)
        self._dirty.update(record.by_number)
        self.touch(record.id)
        for name in changed:
            self._golden.setdefault(record.id, set()).add(name)
            self.add(
                record.id,
                Outcome(
                    kind="merged",
                    field=name,
                    why="the record that it refers to was merged into another one",
                    question=None,
                    after=record.golden[name].value,
                    winner=before[name].source,
                    cause=Cause("merge", at=self.now),
                ),
            )

    def _close_unmapped(self, before: Record, record: Record) -> None:
        """Nobody can answer a question about a field that the mapping no longer has."""
        why = "the mapping changed"
        for name in before.golden.keys() - record.golden.keys():
            self.close(before.golden[name].review, why)
        for n, link in record.by_number.items():
            was = before.by_number[n].fields
            for name in was.keys() - link.fields.keys():
                self.close(was[name].review, why)

    def load_queued(self, numbers: Sequence[int]) -> None:
        for n, (state, record_id, entity) in records.link_states(self.tx, numbers).items():
            if record_id is None:
                self.queued[n] = (state, entity)
                self.stored.add(n)

    def plan(self, record_id: str) -> Plan:
        return self.engine.plans[self.records[record_id].entity]

    @property
    def ended_links(self) -> set[int]:
        """Links that this transaction ended."""
        return self._dropped

    def link(self, n: int) -> LinkState:
        home = self.home.get(n)
        return self.queued[n][0] if home is None else self.records[home].by_number[n]

    # ------------------------------------------------------------------------------------------- changes

    def new_record(self, entity: str) -> str:
        id_ = self.engine.new_id()
        self.records[id_] = Record(id_, entity, {}, {})
        self.touched[id_] = None
        return id_

    def bring_back(self, record_id: str, entity: str, golden: dict[str, Golden]) -> None:
        """A record that had been merged into another one is there again."""
        self.records[record_id] = Record(record_id, entity, golden, {}, seal=None)
        self.touched[record_id] = None
        self._golden[record_id] = set(golden)

    def drop_record(self, record_id: str) -> None:
        """It was merged into another one: what it had has moved or ended. Its decisions stay."""
        self.records[record_id].golden.clear()
        self.ended.add(record_id)
        self._rekeyed.add(record_id)
        self.touch(record_id)

    def touch(self, record_id: str) -> None:
        self.touched[record_id] = None

    def new_number(self, name: str) -> int:
        """The next number of a sequence, of those set aside by `reserve` first."""
        set_aside = self._numbers.setdefault(name, [])
        if not set_aside:
            self.reserve(name, 1)
        return set_aside.pop()

    def reserve(self, name: str, count: int) -> None:
        """Set numbers aside in one go, for a transaction that will need about so many."""
        if count:
            self._numbers.setdefault(name, []).extend(reversed(self.tx.numbers(name, count)))

    def put_link(self, link: LinkState, record_id: str | None, entity: str) -> None:
        """Save a link's new state on its record, moving it there from wherever it was."""
        version = self.engine.mapping.version
        if link.rules != version:
            link = replace(link, rules=version)
        n = link.n
        self._dirty.add(n)
        old = self.home.get(n)
        if old is not None and old != record_id:
            self._remove(n, old)
            self._moved.add(n)
        if record_id is None:
            self.queued[n] = (link, entity)
            return
        self.queued.pop(n, None)
        self.home[n] = record_id
        self.records[record_id].by_number[n] = link
        self.touched[record_id] = None

    def drop_link(self, n: int) -> LinkState:
        """End a link: its row, its pending writes and its fingerprint go."""
        link = self.link(n)
        if n in self.stored and (row := queues.outbox_rows(self.tx, [n]).get(n)):
            self.close(row.push.review, "the link ended")
        self.close(link.review, "the link ended")
        for state in link.fields.values():
            self.close(state.review, "the link ended")
        if n in self.queued:
            del self.queued[n]
        else:
            home = self.home.pop(n)
            self._remove(n, home)
            self._rekeyed.add(home)
        self._dropped.add(n)
        self._dirty.discard(n)
        self.outbox[n] = None
        if link.external_id is not None:
            self.stale_fingerprints.add((link.system, link.object, link.external_id))
        return link

    def _remove(self, n: int, record_id: str) -> None:
        del self.records[record_id].by_number[n]
        self.touch(record_id)

    def put_golden(self, record_id: str, name: str, golden: Golden) -> None:
        known = self.records[record_id].golden.get(name)
        if known is not None and known.owner and not golden.owner:
            golden = replace(golden, owner=known.owner)
        self.records[record_id].golden[name] = golden
        anew = known is None or golden.decision != known.decision  # also when a person confirms the value
        if anew or known is None or golden.value != known.value or golden.frozen != known.frozen:
            self._golden.setdefault(record_id, set()).add(name)
        self.touch(record_id)

    def add(self, record_id: str, outcome: Outcome) -> None:
        self.outcomes.setdefault(record_id, []).append(outcome)
        if outcome.cause is not None and outcome.cause.trace:
            self.traces[record_id] = outcome.cause.trace
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

    @cached_property
    def paused(self) -> set[tuple[str, str, str]]:
        """(system, entity, field) of what nothing is pushed into."""
        return {(one.system, one.entity, one.field) for one in waits.pauses(self.tx)}

    def contested(self, entity: str, field: str, system: str) -> int:
        """How many records wait for a person since the system fights over the field."""
        new = [one for one in self._opened.values() if one.kind == "contested" and one.record_id]
        alike = [one for one in new if (one.entity, one.field, one.system) == (entity, field, system)]
        return decisions.count_alike(self.tx, "contested", entity, field, system) + len(alike)

    def wake(self, system: str, object_: str, external_ids: Iterable[str]) -> None:
        """What was observed of these waits no longer, once this transaction has ended."""
        self.woken.setdefault((system, object_), {}).update(dict.fromkeys(external_ids))

    def alarm(self, record_id: str, due: Micros) -> None:
        """Look at the record again then, or earlier where something else asks for it."""
        due = max(due, self.now + SNOOZE)
        self.alarms[record_id] = min(due, self.alarms.get(record_id, due))

    def change(self, number: int, body: dict[str, Any]) -> None:
        """What a review that closes leaves behind."""
        self._renewed[number] = body

    def close(self, number: int, why: str) -> None:
        if number:
            self._closed[number] = why

    def unmatched(self, record_ids: Sequence[str]) -> set[tuple[str, str]]:
        """(record id, system): a review asks whether something there is this very record."""
        found = decisions.unmatched(self.tx, record_ids)
        here = {n: (str(one.record_id), one.system) for n, one in self._opened.items() if one.kind == "match"}
        return {pair for n, pair in (found | here).items() if n not in self._closed}

    def touch_matched(self) -> None:
        """What had waited for the answer to a match review that closes now is derived again."""
        closing = sorted(self._closed.keys() - self._opened.keys())
        for id_ in self.load(decisions.matched(self.tx, closing)):
            self.touch(id_)

    # ------------------------------------------------------------------------------------------- keys

    def current_hits(
        self, plan: Plan, found: Sequence[Key], stored: dict[Key, list[str]]
    ) -> dict[Key, list[str]]:
        """Record ids per match key, as they are now in this transaction."""
        entity = plan.entity.name
        out: dict[Key, list[str]] = {}
        for key in found:
            ids = {*stored.get(key, ()), *self.local_keys.get((entity, key), ())}
            live = [id_ for id_ in sorted(ids) if self._still_has(plan, id_, key)]
            if live:
                out[key] = live
        return out

    def _still_has(self, plan: Plan, record_id: str, key: Key) -> bool:
        return record_id in self.records and self.has_key(plan, record_id, key)

    def has_key(self, plan: Plan, record_id: str, key: Key) -> bool:
        """Whether a record that is known by the key still is, in this transaction."""
        if record_id in self.ended:
            return False
        return record_id not in self._rekeyed or key in record_keys(plan, self.records[record_id])

    def is_closing(self, number: int) -> bool:
        return number in self._closed

    def add_keys(self, record_id: str, entity: str, found: Iterable[Key]) -> None:
        """A new link brings these keys; later observations of this transaction find the record by them."""
        for key in found:
            self.local_keys.setdefault((entity, key), set()).add(record_id)

    def read_anew(self, record_id: str) -> None:
        """The rules of matching may have changed: every key that the record has now is written."""
        entity = self.records[record_id].entity
        self.add_keys(record_id, entity, record_keys(self.plan(record_id), self.records[record_id]))
        self._anew.add(record_id)

    def rekey(self, record_id: str) -> None:
        """The record's keys may have changed in any way: they are worked out anew."""
        self._rekeyed.add(record_id)
        self.add_keys(
            record_id,
            self.records[record_id].entity,
            record_keys(self.plan(record_id), self.records[record_id]),
        )

    # ------------------------------------------------------------------------------------------- out

    def step(self) -> None:
        """Let the bases of links that are in step move with the golden values."""
        for id_ in self.touched:
            record = self.records[id_]
            for link in fanout.step(record):
                record.by_number[link.n] = self._agreed(link, record)
                self._dirty.add(link.n)

    def _agreed(self, link: LinkState, record: Record) -> LinkState:
        """Questions about fields that came to be in step meanwhile are closed."""
        asked = {
            name: replace(state, review=0)
            for name, state in link.fields.items()
            if state.review and fanout.in_step(state, record.golden.get(name, NOTHING).value)
        }
        for name in asked:
            self.close(link.fields[name].review, "agreed")
        return replace(link, fields={**link.fields, **asked}) if asked else link

    def write(self) -> dict[str, int]:
        """Write everything that changed but the counters. Returns outcomes by kind."""
        kinds = self._write_decisions()
        touched = [self.records[id_] for id_ in self.touched if id_ not in self.ended]
        records.drop(self.tx, sorted(self.ended))
        records.save(
            self.tx,
            [record for record in touched if record.id not in self._before],
            [r for r in touched if r.id in self._before and self._differs(r)],
        )
        self._write_links()
        self._write_keys()
        self._write_referrals()
        rows = [(*key, fingerprint, n) for key, (fingerprint, n) in self.fingerprints.items()]
        records.fingerprints(self.tx, rows, sorted(self.stale_fingerprints - self.fingerprints.keys()))
        decisions.open_reviews(self.tx, list(self._opened.values()))
        decisions.renew_reviews(self.tx, self._renewed)
        decisions.close_reviews(self.tx, [(n, self.now, why) for n, why in self._closed.items()])
        queues.save_outbox(self.tx, [row for row in self.outbox.values() if row is not None])
        queues.drop_outbox(self.tx, [n for n, row in self.outbox.items() if row is None])
        waits.set_alarms(self.tx, self.alarms)
        receipts.append(self.tx, self.receipts)
        self._write_merges()
        self.tx.after.append(partial(self._tell, kinds))
        return kinds

    def _differs(self, record: Record) -> bool:
        before = self._before[record.id]
        return record.seal != before.seal or record.golden != before.golden

    def _tell(self, kinds: dict[str, int]) -> None:
        """What was decided and found, once it is committed: a line for each delivery, one for all the rest."""
        of = {trace: Counter[str]() for trace in self.traces.values()}
        rest = Counter(kinds)
        for record_id, trace in self.traces.items():
            told = Counter(outcome.kind for outcome in self.outcomes[record_id])
            of[trace].update(told)
            rest.subtract(told)
        of[queues.run_trace(self.run)] = +rest
        for trace, counted in of.items():
            if counted:
                self.engine.tell("decided", trace=trace, run=self.run, kinds=dict(counted))
        for (system, cause), count in Counter((one.system, one.cause) for one in self.findings).items():
            self.engine.tell("drift", system=system, cause=cause, count=count, run=self.run)

    def _write_merges(self) -> None:
        for survivor, absorbed, before in self.merged:
            number = self.decided[survivor]
            merge = merges.Merge(id=number, survivor=survivor, absorbed=absorbed, at=self.now, before=before)
            merges.save(self.tx, merge)
            work = merges.Repointing(merge=number, survivor=survivor, absorbed=absorbed)
            merges.repoint(self.tx, work)

    def _write_decisions(self) -> dict[str, int]:
        if not self.outcomes:
            return {}
        numbers = self.tx.numbers("decisions", len(self.outcomes))
        made, kinds = [], Counter[str]()
        for number, (record_id, outcomes) in zip(numbers, self.outcomes.items(), strict=True):
            record = self.records[record_id]
            self.decided[record_id] = number
            for name in self._golden.get(record_id, set()) & record.golden.keys():
                record.golden[name] = replace(record.golden[name], decision=number)
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
        known = {id_: seal for id_ in self.outcomes if (seal := self.records[id_].seal) is not None}
        for record_id, seal in decisions.append(self.tx, made, self.engine.shapes, known).items():
            self.records[record_id].seal = seal
        return dict(kinds)

    def _write_links(self) -> None:
        new: list[tuple[LinkState, str, str | None]] = []
        changed: list[tuple[LinkState, str, str | None]] = []
        states: list[LinkState] = []
        for n in sorted(self._dirty - self._dropped):
            if n in self.queued:
                state, entity = self.queued[n]
                row: tuple[LinkState, str, str | None] = (state, entity, None)
            else:
                row = (self.link(n), self.records[self.home[n]].entity, self.home[n])
            if n not in self.stored:
                new.append(row)
            elif self._stays(row[0]):
                states.append(row[0])
            else:
                changed.append(row)
        records.drop_links(self.tx, sorted(self._dropped & self.stored))
        records.save_links(self.tx, new, changed)
        records.save_states(self.tx, states)
        moved = [self.link(n) for n in sorted(self._moved - self._dropped)]
        ids = [(one.system, one.object, one.external_id) for one in moved if one.external_id is not None]
        shards.put_apart_by_id(self.tx, ids)

    def _stays(self, link: LinkState) -> bool:
        """Whether it is of the record, of the status and under the external id that it was."""
        before = self._before.get(self.home.get(link.n, ""))
        was = before.by_number.get(link.n) if before is not None else None
        return was is not None and (was.status, was.external_id) == (link.status, link.external_id)

    def _write_keys(self) -> None:
        added = {(entity, key, id_) for (entity, key), ids in self.local_keys.items() for id_ in ids}
        removed: set[tuple[str, Key, str]] = set()
        for id_ in self._rekeyed:
            record = self.records[id_]
            plan = self.engine.plans[record.entity]
            now = {(record.entity, key, id_) for key in record_keys(plan, record)}
            before = self._before.get(id_)
            was = {(record.entity, key, id_) for key in record_keys(plan, before)} if before else set()
            added = {row for row in added if row[2] != id_} | (now - was)
            removed |= was - now
        records.save_keys(self.tx, added, removed)

    def new_keys(self) -> dict[str, set[Key]]:
        """Record id -> match keys that it came to have in this transaction, of those whose keys may have changed."""
        found = {}
        for id_ in sorted(self._rekeyed - self.ended):
            record = self.records[id_]
            plan, before = self.engine.plans[record.entity], self._before.get(id_)
            was = record_keys(plan, before) if before else set()
            if new := record_keys(plan, record) - was:
                found[id_] = new
        return found

    def _write_referrals(self) -> None:
        """Who refers to whom, kept for when a record is merged."""
        added, removed = set[tuple[str, str]](), set[tuple[str, str]]()
        for id_ in self.touched:
            record = self.records[id_]
            plan = self.engine.plans.get(record.entity)
            if plan is None or not plan.referring:
                continue
            before = self._before.get(id_)
            now = set() if id_ in self.ended else targets(plan, record)
            was = targets(plan, before) if before else set()
            added.update((target, id_) for target in (now if id_ in self._anew else now - was))
            removed.update((target, id_) for target in was - now)
        if added or removed:
            merges.save_referrals(self.tx, added, removed)
