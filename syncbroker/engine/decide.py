"""Inbox -> golden values, decisions and pushes owed, in one transaction per chunk of observations.

For every observation: find its link, or the record it belongs to, or make one (`_place`); see what it means for the
link (`core.observe`); let each edit be judged by its rule (`core.resolve`); note the outcome. What is owed follows from
the state alone (`Workspace.finish`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace
from sqlalchemy import select

from syncbroker.core import match as matching
from syncbroker.core.observe import Edit, Look, observe
from syncbroker.core.plan import ABSENT, Plan, Reader, References, Seen, flat, pick
from syncbroker.core.resolve import Question, Verdict, resolve
from syncbroker.core.state import NOTHING, UNSEEN, LinkState
from syncbroker.core.types import Empty, Type
from syncbroker.engine import Engine, Source
from syncbroker.engine.removal import deleted, merged, reappeared, renamed
from syncbroker.engine.workspace import Workspace
from syncbroker.store import queues, records, runs, tables
from syncbroker.store.database import Tx
from syncbroker.store.decisions import Cause, Outcome
from syncbroker.store.queues import FAR, Sighting, Waiting

CHUNK = 500
"""Observations per transaction: enough to share the commit, few enough to hold in memory and to let others in."""


@dataclass
class Decided:
    """`kinds`: outcomes by kind. `again`: observations that another read by id must come before."""

    taken: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    again: list[Waiting] = field(default_factory=list)


def decide(engine: Engine, run: int, progress: Callable[[int], None] = lambda _: None) -> Decided:
    """Every observation of a run that is due."""
    total = Decided()
    while True:
        part = decide_chunk(engine, run)
        total.taken += part.taken
        total.kinds.update(part.kinds)
        total.again.extend(part.again)
        progress(part.taken)
        if not part.taken:
            return total


def decide_chunk(engine: Engine, run: int, limit: int = CHUNK) -> Decided:
    with engine.store.write() as tx:
        tx.serialise("decide")
        rows = queues.take(tx, run, engine.now(), limit)
        if not rows:
            return Decided()
        ws = Workspace(engine, tx, run)
        chunk = _Chunk(engine, tx, ws, rows)
        for row in rows:
            chunk.decide(row)
        kinds = ws.finish()
        chunk.wake_references()
        records.save_aliases(tx, chunk.aliases)
        queues.finish(tx, chunk.done)
        queues.put_off(tx, chunk.later)
        return Decided(len(rows), Counter(kinds), chunk.again)


class _Chunk:
    """The observations of one transaction, with everything they need looked up in batches beforehand."""

    def __init__(self, engine: Engine, tx: Tx, ws: Workspace, rows: Sequence[Waiting]) -> None:
        self.engine, self.tx, self.ws = engine, tx, ws
        self.done: list[int] = []
        self.later: list[tuple[int, int]] = []
        self.again: list[Waiting] = []
        self.references: dict[tuple[str, str, str], str] = {}
        self.linked: list[tuple[str, str, str]] = []
        self.aliases: list[tuple[str, str, str, str]] = []
        self._links: dict[tuple[str, str, str, str], int] = {}
        self._aliases: dict[tuple[str, str, str], str] = {}
        self._stored_hits: dict[tuple[str, str], list[str]] = {}
        self._key = runs.secret_key(tx)
        self._graves = tx.run(select(tables.tombstones.c.digest).limit(1)).first() is not None
        self._look_up(rows)

    # ---------------------------------------------------------------------------------------- in batches

    def _look_up(self, rows: Sequence[Waiting]) -> None:
        by_source: dict[tuple[str, str], list[Sighting]] = {}
        for row in rows:
            by_source.setdefault((row.system, row.object), []).append(row.sighting)
        wanted: set[str] = set()
        queued: list[int] = []
        for (system, object_), sightings in by_source.items():
            ids = {id_ for s in sightings for id_ in (s.id, s.renamed_from, s.merged_into, *s.aliases) if id_}
            aliases = records.resolve_aliases(self.tx, system, object_, sorted(ids))
            self._aliases.update({(system, object_, old): now for old, now in aliases.items()})
            found = records.by_external_id(self.tx, system, object_, sorted({*ids, *aliases.values()}))
            for external_id, links in found.items():
                for n, entity, record_id in links:
                    self._links[system, object_, external_id, entity] = n
                    if record_id is None:
                        queued.append(n)
                    else:
                        wanted.add(record_id)
        self.ws.load(wanted)
        self.ws.load_queued(queued)
        for (system, object_), sightings in by_source.items():
            source = self.engine.sources.get((system, object_))
            if source is not None:
                self.references.update(look_up_references(self.tx, self.engine, source, sightings))
        for (system, object_), sightings in by_source.items():
            source = self.engine.sources.get((system, object_))
            if source is not None:
                self._look_up_matches(source, sightings)

    def _look_up_matches(self, source: Source, sightings: Sequence[Sighting]) -> None:
        for plan, reader in source.readers:
            keys: set[str] = set()
            for s in sightings:
                if not s.deleted and (source.system, source.object, s.id, plan.entity.name) not in self._links:
                    keys.update(matching.keys(plan, _values(plan, reader.read(s.fields, s.complete, self.references))))
            stored = records.by_keys(self.tx, plan.entity.name, sorted(keys))
            self.ws.load({id_ for ids in stored.values() for id_ in ids})
            for key, ids in stored.items():
                self._stored_hits[plan.entity.name, key] = ids

    # ---------------------------------------------------------------------------------------- one by one

    def decide(self, row: Waiting) -> None:
        """One observation, for every entity that reads its object."""
        source = self.engine.sources.get((row.system, row.object))
        if source is None:
            self.ws.count("unmapped", row.system, row.object)
            self.done.append(row.number)
            return
        external_id = self._current_id(row)
        waits = False
        for plan, reader in source.readers:
            if not self._decide_for(source, plan, reader, row, external_id):
                waits = True
        if waits:
            return
        self.done.append(row.number)
        self._fingerprint(source, row.sighting, external_id)

    def _current_id(self, row: Waiting) -> str:
        """The external id now: renames re-point links first, so that nothing is deleted and created for a new name."""
        s, where = row.sighting, (row.system, row.object)
        olds = [s.renamed_from] if s.renamed_from else []
        olds += [now for alias in s.aliases if (now := self._aliases.get((*where, alias))) and now != s.id]
        for old in olds:
            for entity in list(self.engine.plans):
                n = self._links.pop((*where, old, entity), None)
                if n is not None:
                    twin = self._links.get((*where, s.id, entity))
                    renamed(self.ws, n, old, s.id, twin)
                    self._links[*where, s.id, entity] = n
            self._aliases[*where, old] = s.id
        known = any((*where, s.id, entity) in self._links for entity in self.engine.plans)
        external_id = s.id if known else self._aliases.get((*where, s.id), s.id)
        fresh = [alias for alias in s.aliases if self._aliases.get((*where, alias)) != external_id]
        if fresh and not s.deleted:
            self.aliases.extend((*where, alias, external_id) for alias in fresh)
            self._aliases.update({(*where, alias): external_id for alias in fresh})
        return external_id

    def _decide_for(self, source: Source, plan: Plan, reader: Reader, row: Waiting, external_id: str) -> bool:
        """False when the observation has to wait."""
        s, ws = row.sighting, self.ws
        n = self._links.get((source.system, source.object, external_id, plan.entity.name))
        if n is not None and n not in ws.home and n not in ws.queued:
            n = None  # ended earlier in this transaction
        cause = Cause(s.via, s.event, s.ended)
        if n is not None and ws.link(n).open:
            self.later.append((row.number, FAR))
            return False
        if s.deleted or (s.merged_into and s.merged_into != external_id):
            if n is not None and s.merged_into:
                merged(ws, n, s.merged_into, self._links.get((source.system, source.object, s.merged_into, plan.entity.name)))
            elif n is not None:
                deleted(ws, plan, n, cause, self._key)
            return True
        seen = reader.read(s.fields, s.complete, self.references)
        if n is None or n in ws.queued:
            placed = self._place(source, plan, row, external_id, seen, n, cause)
            if placed is None:
                return row.number not in {number for number, _ in self.later}
            n = placed
        return self._judge(source, plan, reader, row, n, seen, cause)

    def _place(
        self, source: Source, plan: Plan, row: Waiting, external_id: str, seen: dict[str, Seen], n: int | None, cause: Cause
    ) -> int | None:
        """The link for an unlinked observation: matched, made, or queued for a person (None, as when it must wait)."""
        ws, s = self.ws, row.sighting
        where, entity = (source.system, source.object), plan.entity.name
        if n is None and self._graves and self._is_buried(*where, external_id):
            ws.count("tombstoned", *where)
            return None
        if n is None and not s.complete:
            ws.count("incomplete_unlinked", *where)
            return None
        values = _values(plan, seen)
        keys = matching.keys(plan, values)
        hits = ws.current_hits(plan, keys, {key: self._stored_hits.get((entity, key), []) for key in keys})
        found = matching.match(plan, keys, hits)
        if found.record and self._create_open(found.record, source.system):
            self.later.append((row.number, FAR))  # it may be the very record that a write of ours is creating
            return None
        old = ws.link(n) if n is not None else None
        link = old or LinkState(n=ws.new_number("links"), system=source.system, object=source.object, external_id=external_id)
        place = self.engine.place(plan, found.line) if found.line else plan.entity.file
        self._links[*where, external_id, entity] = link.n
        if found.proposed:
            body: dict[str, Any] = {"records": list(found.proposed), "rule": found.rule, "place": place}
            review = ws.ask("match", entity=entity, record_id=found.proposed[0], link=link.n, system=source.system,
                            number=link.review, body=body)  # fmt: skip
            queued = observe(replace(link, status="queued", review=review), look(s, seen), source.timing).link
            ws.put_link(queued, None, entity)
            if old is None:
                why = f"more than one record has the same {found.rule}" if len(found.proposed) > 1 else "the rule only proposes"
                ws.add(
                    found.proposed[0],
                    Outcome(kind="match_queued", system=source.system, link=link.n, place=place, why=why, cause=cause, review=review),
                )
            return None
        if old is not None:
            ws.close(old.review, "matched meanwhile")
            link = replace(old, status="live", review=0, fields={}, order=0, seen=0, since=0)
        if found.record:
            record_id = found.record
            self._attach(plan, record_id, link, f"the same {found.rule}", place, cause)
        else:
            record_id = ws.new_record(entity)
            ws.put_link(link, record_id, entity)
            ws.add(record_id, Outcome(kind="created", system=source.system, link=link.n, cause=cause, why="no record matched"))
        self.references[source.system, entity, external_id] = record_id
        self.linked.append((source.system, entity, external_id))
        return link.n

    def _attach(self, plan: Plan, record_id: str, link: LinkState, why: str, place: str, cause: Cause) -> None:
        ws = self.ws
        for one in ws.records[record_id].links:
            if one.system == link.system and one.status == "planned":
                ws.drop_link(one.n)  # the create is not needed: here is the record
        twin = any(one.system == link.system and one.object == link.object for one in ws.records[record_id].links)
        if twin:
            link = replace(link, primary=False)
            why += "; the record has a link there already, so this one is a duplicate"
            ws.count("duplicate_link", link.system, link.object)
        ws.put_link(link, record_id, plan.entity.name)
        ws.add(record_id, Outcome(kind="linked", system=link.system, link=link.n, place=place, why=why, cause=cause))

    def _judge(
        self, source: Source, plan: Plan, reader: Reader, row: Waiting, n: int, seen: dict[str, Seen], cause: Cause
    ) -> bool:
        ws, s = self.ws, row.sighting
        link, record_id, entity = ws.link(n), ws.home[n], plan.entity.name
        if link.status == "gone":
            link = reappeared(ws, link)
        seen = {name: one for name, one in seen.items() if name in plan.fields}
        result = observe(link, look(s, seen), source.timing)
        if result.again:
            self._read_again(source, row, link, s)
            return False
        if result.superseded:
            ws.count("superseded", source.system, source.object, result.superseded)
        ws.put_link(result.link, record_id, entity)
        for name in seen:
            if seen[name].pending:
                raws = [seen[name].raw] if plan.fields[name].single else seen[name].raw
                records.pend(self.tx, [(source.system, one.spec.entity, str(raw), n)
                                       for one, raw in zip(reader.fields[name], raws, strict=True) if one.spec.entity])  # fmt: skip
        judge(ws, plan, reader, n, result.edits, look(s, seen), link.consent, cause, source)
        ws.remember_keys(record_id)
        return True

    def _read_again(self, source: Source, row: Waiting, link: LinkState, s: Sighting) -> None:
        """Inside the vendor's read-after-write lag wait first; then (or at once) have it read by id."""
        until = link.seen + int(source.spec.lag * 1_000_000)
        if source.spec.lag and s.read and until > self.ws.now:
            self.later.append((row.number, until))
            return
        self.later.append((row.number, self.ws.now + 30_000_000))
        self.again.append(row)

    def _create_open(self, record_id: str, system: str) -> bool:
        links = self.ws.records[record_id].links
        return any(link.system == system and link.status == "planned" and link.open for link in links)

    def _is_buried(self, system: str, object_: str, external_id: str) -> bool:
        digest = records.digest(self._key, "external", external_id)
        return bool(records.buried(self.tx, system, object_, [digest]))

    def _fingerprint(self, source: Source, s: Sighting, external_id: str) -> None:
        """A fully taken-in item need not be looked at again until its fingerprint differs."""
        key = (source.system, source.object, external_id)
        numbers = [n for plan, _ in source.readers if (n := self._links.get((*key, plan.entity.name)))]
        if s.deleted or s.merged_into:
            self.ws.stale_fingerprints.add(key)
        elif s.fingerprint and not s.second:
            current = [n for n in numbers if n in self.ws.home or n in self.ws.queued]
            self.ws.fingerprints[key] = (bytes.fromhex(s.fingerprint), min(current, default=0))

    def wake_references(self) -> None:
        """Links that referred to what has just been linked see their reference as if for the first time."""
        by_target: dict[tuple[str, str], list[str]] = {}
        for system, entity, external_id in self.linked:
            by_target.setdefault((system, entity), []).append(external_id)
        for (system, entity), external_ids in by_target.items():
            waiting = records.take_pending(self.tx, system, entity, external_ids)
            for n, (link, _, owner) in records.link_states(self.tx, waiting).items():
                reader = self.engine.plans[owner].readers[system]
                fields: dict[str, Any] = {}
                for name, members in reader.fields.items():
                    state = link.fields.get(name)
                    if state is not None and any(one.spec.entity == entity for one in members):
                        raws = [state.raw] if len(members) == 1 else state.raw
                        fields.update({one.path: raw for one, raw in zip(members, raws, strict=True)})
                if fields and link.external_id is not None:
                    stamp = link.order if self.engine.sources[system, link.object].spec.stamp else None
                    sighting = Sighting(id=link.external_id, fields=fields, complete=False, stamp=stamp,
                                        begun=link.seen, ended=link.seen, via="reference")  # fmt: skip
                    queues.stage(self.tx, queues.LIVE, system, link.object, [sighting])


def look_up_references(
    tx: Tx, engine: Engine, source: Source, sightings: Iterable[Sighting]
) -> dict[tuple[str, str, str], str]:
    """(system, referred entity, external id) -> record id, for every linked reference that the sightings show."""
    found = {}
    for _, reader in source.readers:
        for links in reader.fields.values():
            for link in links:
                if link.spec.type is not Type.REFERENCE:
                    continue
                target = engine.plans[link.spec.entity].readers[source.system].rule.object
                raws = {str(raw) for s in sightings if (raw := pick(s.fields, link.path)) not in (ABSENT, None, "")}
                linked = records.references(tx, source.system, target, link.spec.entity, sorted(raws))
                found.update({(source.system, link.spec.entity, id_): record for id_, record in linked.items()})
    return found


def look(s: Sighting, seen: dict[str, Seen]) -> Look:
    return Look(
        seen=seen, stamp=s.stamp, begun=s.begun, ended=s.ended, read=s.read, second=s.second, unsure=s.unsure,
        sweep=s.via == "sweep", consent=s.consent, actor=s.actor, field_times=s.field_times or {},
    )  # fmt: skip


def _values(plan: Plan, seen: dict[str, Seen]) -> dict[str, Any]:
    return flat(plan, {name: one.value for name, one in seen.items() if not one.invalid})


def judge(
    ws: Workspace,
    plan: Plan,
    reader: Reader,
    n: int,
    edits: Iterable[Edit],
    look: Look,
    consent_before: str | None,
    cause: Cause,
    source: Source,
) -> None:
    """Put each edit before its rule and carry out the verdict on the golden value, the link and the review queue."""
    record_id, entity = ws.home[n], plan.entity.name
    for edit in edits:
        ws.close(edit.before.review, "another value came")
        question = _question(ws, plan, reader, n, edit, look, consent_before, source)
        rule = plan.fields[edit.field].rule
        verdict = resolve(rule, question)
        review = _carry_out(ws, entity, record_id, n, edit, question, verdict)
        ws.add(
            record_id,
            Outcome(
                kind=verdict.kind, field=edit.field, system=question.system, link=n, policy=rule.policy,
                place=ws.engine.place(plan, rule.line), why=verdict.why, winner=verdict.winner,
                before=question.golden.value, after=verdict.golden.value, golden=verdict.golden, question=question,
                cause=cause, review=review,
            ),
        )  # fmt: skip


def _question(
    ws: Workspace, plan: Plan, reader: Reader, n: int, edit: Edit, look: Look, consent_before: str | None, source: Source
) -> Question:
    record, link, rule = ws.records[ws.home[n]], ws.link(n), plan.fields[edit.field].rule
    seen, before = edit.seen, edit.before
    empty = ""
    if seen.value is None and not seen.invalid:
        empty = Empty.PLACEHOLDER if seen.placeholder else Empty.CLEARED
    linked = {
        one.system for one in record.links
        if one.primary and one.status == "live" and plan.readers[one.system].pulls(edit.field)
    }  # fmt: skip
    fresh_consent = look.consent is not None and look.consent != consent_before
    guarded = any(one.path == source.spec.consent_path for one in reader.fields[edit.field])
    return Question(
        system=link.system,
        pull=reader.pulls(edit.field) and link.primary,
        can_push=reader.pushes(edit.field) and link.primary,
        raw=seen.raw if seen.raw != seen.value else None,
        value=seen.value,
        invalid=seen.invalid,
        empty=empty,
        golden=record.golden.get(edit.field, NOTHING),
        held=before.value,
        seen_before=not edit.first,
        base=before.base,
        met=before.met,
        since=edit.since,
        until=edit.until,
        late=edit.late,
        unsure=look.unsure,
        sweep=look.sweep,
        linked=tuple(system for system in rule.rank if system in linked),
        consent=fresh_consent and guarded,
        actor=look.actor,
        seen=look.ended,
    )


def _carry_out(
    ws: Workspace, entity: str, record_id: str, n: int, edit: Edit, q: Question, verdict: Verdict
) -> int:
    """The review that the verdict opened or renewed, or 0."""
    golden, review = verdict.golden, 0
    if verdict.ask and verdict.kind == "conflict_queued":
        review = ws.ask(
            "conflict", entity=entity, record_id=record_id, field=edit.field, number=golden.review,
            body={"candidates": golden.frozen or {}, "why": verdict.why},
        )  # fmt: skip
        golden = replace(golden, review=review)
    elif verdict.closes:
        ws.close(q.golden.review, "agreed")
    if golden != q.golden:
        ws.put_golden(record_id, edit.field, golden)
    link = ws.link(n)
    state = link.fields.get(edit.field, UNSEEN)
    if verdict.base_moves:
        state = replace(state, met=True, base=golden.value)
    if verdict.let_stand:
        state = replace(state, ignored=(state.value,))
    if verdict.block:
        state = replace(state, blocked=True)
    if verdict.kind in ("rejected", "edit_proposed"):
        kind = "invalid" if verdict.kind == "rejected" else "proposal"
        review = ws.ask(
            kind, entity=entity, record_id=record_id, link=n, field=edit.field, system=link.system,
            body={"raw": edit.seen.raw, "value": edit.seen.value, "golden": q.golden.value, "why": verdict.why},
        )  # fmt: skip
        state = replace(state, review=review)
    if state != link.fields.get(edit.field, UNSEEN):
        ws.put_link(replace(link, fields={**link.fields, edit.field: state}), record_id, entity)
    return review


# ------------------------------------------------------------------------------------------ deriving anew


def rederive(engine: Engine, entity: str, progress: Callable[[int], None] = lambda _: None) -> None:
    """What is owed for every record of an entity, from what each system holds now.

    Needed when something outside the records changed: a first read was completed (creates may go there from now on),
    or the mapping changed.
    """
    after = ""
    while True:
        with engine.store.write() as tx:
            tx.serialise("decide")
            r = tables.records.c
            query = select(r.id).where(r.entity == entity, r.id > after).order_by(r.id).limit(CHUNK)
            ids = [row[0] for row in tx.run(query)]
            if not ids:
                return
            after = ids[-1]
            ws = Workspace(engine, tx, queues.LIVE)
            ws.load(ids)
            for id_ in ids:
                ws.touch(id_)
                for link in ws.records[id_].links:
                    if link.rules != ws.plan(id_).version:
                        ws.put_link(link, id_, entity)
            ws.finish()
            progress(len(ids))


