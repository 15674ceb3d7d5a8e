"""What one deciding transaction holds in its hands: records, links, outcomes, reviews; written back all at once.

Everything changes here first, in memory; `finish.finish` ends the transaction, so that all of it is committed or none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace
from uuid_utils.compat import uuid7

from syncbroker.core import fanout, values
from syncbroker.core.match import Key, key_values, keys
from syncbroker.core.plan import Field, Plan
from syncbroker.core.state import NOTHING, Golden, LinkState, Record
from syncbroker.core.types import Micros
from syncbroker.engine import Engine
from syncbroker.store import decisions, queues, records, runs
from syncbroker.store.database import Tx
from syncbroker.store.decisions import Decision, Outcome, Review, ReviewKind


class Workspace:
    """Records by id, each with its links; a link's number leads to its record.

    `stages`: the run is guarded as a whole when it ends, so what it owes is staged until then.
    """

    def __init__(
        self, engine: Engine, tx: Tx, run: int, actor: str = "rules", *, stages: bool = False
    ) -> None:
        self.engine, self.tx, self.run, self.actor, self.stages = engine, tx, run, actor, stages
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
        self.linked: list[tuple[str, str, str]] = []  # (system, entity, external id) new in this transaction
        self.made: set[int] = set()  # links to which a write came to be owed in this transaction
        self.stage_as: dict[int, int] = {}  # link -> the run that stages what is owed to it
        self.held: set[int] = set()  # runs held with pushes that this transaction added
        self.edited: set[int] = set()  # links on which somebody edited what they had held
        self._before: dict[str, Record] = {}
        self.touched: dict[str, None] = {}
        self._golden: dict[str, set[str]] = {}
        self._rekeyed: set[str] = set()
        self.stored: set[int] = set()
        self._dirty: set[int] = set()
        self._dropped: set[int] = set()
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

    def _load(self, wanted: Sequence[str]) -> None:
        records.lock(self.tx, wanted)
        for id_, record in records.load(self.tx, wanted).items():
            plan = self.engine.plans.get(record.entity)
            before = Record(id_, record.entity, dict(record.golden), dict(record.by_number))
            self._before[id_] = before
            self.records[id_] = refresh(plan, record) if plan else record
            changed = [n for n, link in record.by_number.items() if link is not before.by_number[n]]
            self._dirty.update(changed)
            if changed:
                self._close_unmapped(before, record)
            self.home.update(dict.fromkeys(record.by_number, id_))
            self.stored.update(record.by_number)

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
        id_ = str(uuid7())
        self.records[id_] = Record(id_, entity, {}, {})
        self.touched[id_] = None
        return id_

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
        self.records[record_id].golden[name] = golden
        if known is None or golden.value != known.value or golden.frozen != known.frozen:
            self._golden.setdefault(record_id, set()).add(name)
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
        if record_id not in self.records:
            return False
        return record_id not in self._rekeyed or key in record_keys(plan, self.records[record_id])

    def add_keys(self, record_id: str, entity: str, found: Iterable[Key]) -> None:
        """A new link brings these keys; later observations of this transaction find the record by them."""
        for key in found:
            self.local_keys.setdefault((entity, key), set()).add(record_id)

    def read_anew(self, record_id: str) -> None:
        """The rules of matching may have changed: every key that the record has now is written."""
        entity = self.records[record_id].entity
        self.add_keys(record_id, entity, record_keys(self.plan(record_id), self.records[record_id]))

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
        """Write everything that changed. Returns outcomes by kind."""
        kinds = self._write_decisions()
        touched = [self.records[id_] for id_ in self.touched]
        records.save(
            self.tx,
            [record for record in touched if record.id not in self._before],
            [r for r in touched if r.id in self._before and r.golden != self._before[r.id].golden],
        )
        self._write_links()
        self._write_keys()
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
            for name in self._golden.get(record_id, ()):
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


def record_keys(plan: Plan, record: Record) -> set[Key]:
    """The match keys under which a record is found: of its golden values, and of what each link holds."""
    golden = record.golden
    tried = [key_values(plan, lambda name: golden[name].value if name in golden else None)]
    for link in record.by_number.values():
        fields = link.fields
        part = key_values(plan, lambda name, fields=fields: fields[name].value if name in fields else None)  # type: ignore[misc]  # a bound default
        if part not in tried:
            tried.append(part)
    return {key for part in tried for key in keys(plan, part)}


def refresh(plan: Plan, record: Record) -> Record:
    """Canonical values under today's rules: a mapping change or a new release may read the same raw differently.

    References keep the record they lead to; they do not depend on the text of the rules. What can be read only under
    one of the two sets of rules stays as it is, for the next read to judge; a golden value of another form goes, and
    the field meets for the first time again.
    """
    if all(link.rules in (plan.version, "") for link in record.links):
        return record
    for name in list(record.golden):
        if name not in plan.fields or not _fits(plan.fields[name], record.golden[name]):
            del record.golden[name]
    for link in record.links:
        reader = plan.readers.get(link.system)
        if reader is None or link.rules in (plan.version, ""):
            continue
        states = {}
        for name, state in link.fields.items():
            if name not in reader.fields or (state.met and name not in record.golden):
                continue
            if any(one.spec.entity for one in reader.fields[name]):
                states[name] = state
                continue
            raws = [state.raw] if len(reader.fields[name]) == 1 else state.raw
            if not isinstance(raws, list) or len(raws) != len(reader.fields[name]):
                continue  # the group has other members now; the next read sees it for the first time
            seen = reader.see(name, raws, {})
            if not (state.invalid or seen.invalid) and seen.value != state.value:
                ignored = (seen.value,) if state.ignored == (state.value,) else state.ignored
                state = replace(state, value=seen.value, equivalent=None, ignored=ignored)  # noqa: PLW2901
            states[name] = state
        record.by_number[link.n] = replace(link, fields=states, rules=plan.version)
    return record


def _fits(field: Field, golden: Golden) -> bool:
    """Whether a golden value of former rules still is one."""
    for value in (golden.value, *(golden.frozen or {}).values()):
        members = (value,) if field.single else value or (None,) * len(field.members)
        if not isinstance(members, tuple) or len(members) != len(field.members):
            return False
        for rule, member in zip(field.members, members, strict=True):
            if member is None or rule.spec.entity:
                continue
            try:
                if values.canonical(rule.spec, values.render(rule.spec, member)) != member:
                    return False
            except (ValueError, ArithmeticError):  # a value of another type
                return False
    return True
