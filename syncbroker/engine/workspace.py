"""What one deciding transaction holds in its hands: records, links, outcomes, reviews.

Everything changes here first, in memory; `finish.finish` ends the transaction and `saving` writes what changed, so that
all of it is committed or none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from msgspec.structs import replace

from syncbroker.core.match import Key
from syncbroker.core.plan import Plan
from syncbroker.core.referring import repoint, targets
from syncbroker.core.state import Golden, LinkState, Record
from syncbroker.core.types import Micros
from syncbroker.engine import Engine
from syncbroker.engine.reading import record_keys, refresh
from syncbroker.engine.sharing import NotAlone
from syncbroker.store import decisions, merges, queues, records, waits
from syncbroker.store.database import Tx
from syncbroker.store.decisions import Cause, Outcome, Review, ReviewKind
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
        self.anew: set[str] = set()  # records of which every key is written
        self.before: dict[str, Record] = {}  # records as they were loaded
        self.touched: dict[str, None] = {}
        self.changed: dict[str, set[str]] = {}  # record -> fields that this transaction gave a golden value
        self.rekeyed: set[str] = set()  # records whose match keys may have changed
        self.stored: set[int] = set()  # links that the store has
        self.dirty: set[int] = set()  # links that changed
        self.ended_links: set[int] = set()  # links that this transaction ended
        self.moved: set[int] = set()  # links that went from one record to another
        self.opened: dict[int, Review] = {}
        self.renewed: dict[int, dict[str, Any]] = {}
        self.closed: dict[int, str] = {}
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
            self.before[id_] = before
            self.records[id_] = refresh(plan, record) if plan else record
            changed = [n for n, link in record.by_number.items() if link is not before.by_number[n]]
            self.dirty.update(changed)
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
        self.dirty.update(record.by_number)
        self.touch(record.id)
        for name in changed:
            self.changed.setdefault(record.id, set()).add(name)
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
        self.changed[record_id] = set(golden)

    def drop_record(self, record_id: str) -> None:
        """It was merged into another one: what it had has moved or ended. Its decisions stay."""
        self.records[record_id].golden.clear()
        self.ended.add(record_id)
        self.rekeyed.add(record_id)
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
        self.dirty.add(n)
        old = self.home.get(n)
        if old is not None and old != record_id:
            self._remove(n, old)
            self.moved.add(n)
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
            self.rekeyed.add(home)
        self.ended_links.add(n)
        self.dirty.discard(n)
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
            self.changed.setdefault(record_id, set()).add(name)
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
        if number and number not in self.opened:
            self.renewed[number] = body
            return number
        number = number or self.new_number("reviews")
        self.opened[number] = Review(
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
        new = [one for one in self.opened.values() if one.kind == "contested" and one.record_id]
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
        self.renewed[number] = body

    def close(self, number: int, why: str) -> None:
        if number:
            self.closed[number] = why

    def unmatched(self, record_ids: Sequence[str]) -> set[tuple[str, str]]:
        """(record id, system): a review asks whether something there is this very record."""
        found = decisions.unmatched(self.tx, record_ids)
        here = {n: (str(one.record_id), one.system) for n, one in self.opened.items() if one.kind == "match"}
        return {pair for n, pair in (found | here).items() if n not in self.closed}

    def touch_matched(self) -> None:
        """What had waited for the answer to a match review that closes now is derived again."""
        closing = sorted(self.closed.keys() - self.opened.keys())
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
        return record_id not in self.rekeyed or key in record_keys(plan, self.records[record_id])

    def add_keys(self, record_id: str, entity: str, found: Iterable[Key]) -> None:
        """A new link brings these keys; later observations of this transaction find the record by them."""
        for key in found:
            self.local_keys.setdefault((entity, key), set()).add(record_id)

    def new_keys(self) -> dict[str, set[Key]]:
        """Record id -> match keys that it came to have in this transaction, of those whose keys may have changed."""
        found = {}
        for id_ in sorted(self.rekeyed - self.ended):
            record = self.records[id_]
            plan, before = self.engine.plans[record.entity], self.before.get(id_)
            was = record_keys(plan, before) if before else set()
            if new := record_keys(plan, record) - was:
                found[id_] = new
        return found

    def read_anew(self, record_id: str) -> None:
        """The rules of matching may have changed: every key that the record has now is written."""
        entity = self.records[record_id].entity
        self.add_keys(record_id, entity, record_keys(self.plan(record_id), self.records[record_id]))
        self.anew.add(record_id)

    def rekey(self, record_id: str) -> None:
        """The record's keys may have changed in any way: they are worked out anew."""
        self.rekeyed.add(record_id)
        self.add_keys(
            record_id,
            self.records[record_id].entity,
            record_keys(self.plan(record_id), self.records[record_id]),
        )
