"""Inbox -> golden values, decisions and pushes owed, in one transaction per chunk of observations.

For every observation: find its link, or the record it belongs to, or make one (`place`); see what it means for the
link (`core.observe`); let each edit be judged by its rule (`core.resolve`); note the outcome. What is owed follows from
the state alone (`Workspace.finish`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from msgspec.structs import replace

from syncbroker.core import drift
from syncbroker.core import match as matching
from syncbroker.core.observe import observe
from syncbroker.core.plan import Plan, Reader, Seen
from syncbroker.core.state import LinkState
from syncbroker.core.types import Micros, Value
from syncbroker.engine import Engine, Source, held, isolating, ledger, meeting, place, sharing
from syncbroker.engine.alike import alike
from syncbroker.engine.finish import finish
from syncbroker.engine.judge import Case, judge, look_up_references, pend
from syncbroker.engine.removal import deleted, merged, reappeared, renamed
from syncbroker.engine.sharing import NotAlone
from syncbroker.engine.workspace import Workspace
from syncbroker.errors import SyncbrokerError
from syncbroker.store import queues, records, runs, shards
from syncbroker.store.database import Tx, unhindered
from syncbroker.store.queues import Sighting, Waiting

CHUNK = 1000
"""Observations per transaction: enough to share the commit, few enough to hold in memory and to let others in."""

WAIT: Micros = 60_000_000
"""How long an observation of a link with an open write waits at most, unless it is woken sooner."""


@dataclass
class Decided:
    """`kinds`: outcomes by kind. `again`: observations that another read by id must come before."""

    taken: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    again: list[Waiting] = field(default_factory=list)

    def add(self, other: Decided) -> None:
        self.taken += other.taken
        self.kinds.update(other.kinds)
        self.again.extend(other.again)


def decide(
    engine: Engine, run: int, progress: Callable[[int], None] = lambda _: None, *, stages: bool = False
) -> Decided:
    """Every observation of a run that is due. `stages`: the run is still to be finished, with its output guards."""
    total = Decided()
    while True:
        engine.holder.check()
        part = decide_chunk(engine, run, stages=stages)
        total.add(part)
        progress(part.taken)
        if not part.taken:
            return total


def decide_chunk(engine: Engine, run: int, limit: int = CHUNK, *, stages: bool = False) -> Decided:
    """At most `limit` of what is due; nothing of it only when nothing is."""
    while True:
        part, more = _decide_next(engine, run, limit, stages=stages)
        if part.taken or not more:
            return part


@unhindered
def _decide_next(engine: Engine, run: int, limit: int, *, stages: bool) -> tuple[Decided, bool]:
    """What comes next, and whether anything was due at all."""
    numbers: list[int] = []
    try:
        with engine.store.write() as tx:
            turn = sharing.take(tx, run, engine.now(), limit)
            numbers += [row.number for row in turn.rows]
            part = _decide_rows(engine, tx, run, turn.rows, stages=stages, shared=turn.shared)
            return part, turn.more
    except NotAlone:
        return _decide_alone(engine, run, numbers, stages=stages), True
    except SyncbrokerError:
        raise
    except Exception:  # a fault of one observation; `isolating` finds which, and tells it
        if not numbers:
            raise
        return _decide_alone(engine, run, numbers, stages=stages), True


def _decide_alone(engine: Engine, run: int, numbers: Sequence[int], *, stages: bool) -> Decided:
    """These, while nobody else decides. The one that a fault comes of is left out."""
    total = Decided()

    @unhindered
    def decide(some: Sequence[int]) -> None:
        with engine.store.write() as tx:
            tx.serialise(sharing.DECIDE)
            rows = queues.take_these(tx, run, some, engine.now())
            part = _decide_rows(engine, tx, run, rows, stages=stages)
        total.add(part)

    struck = isolating.isolate(numbers, decide, partial(isolating.strike, engine))
    total.taken += struck
    return total


def _decide_rows(
    engine: Engine, tx: Tx, run: int, rows: list[Waiting], *, stages: bool, shared: bool = False
) -> Decided:
    if not rows:
        return Decided()
    taken = len(rows)
    if run == queues.LIVE and engine.guarded:
        rows = held.divert(tx, rows, shared=shared)
    ws = Workspace(engine, tx, run, stages=stages, shared=shared)
    met = meeting.meet(ws, rows)
    chunk = _Chunk(engine, tx, ws, met.rest)
    for row in chunk.rows:
        chunk.decide(row)
    shards.put_apart(tx, chunk.apart)
    records.save_aliases(tx, chunk.aliases)
    queues.finish(tx, met.done + chunk.done)
    queues.put_off(tx, chunk.later)
    kinds = Counter(finish(ws)) + met.kinds
    return Decided(taken - len(chunk.apart), kinds, chunk.again)


class _Chunk:
    """The observations of one transaction, with everything they need looked up in batches beforehand."""

    def __init__(self, engine: Engine, tx: Tx, ws: Workspace, rows: Sequence[Waiting]) -> None:
        self.engine, self.tx, self.ws = engine, tx, ws
        self.done: list[int] = []
        self.later: list[tuple[int, int]] = []
        self.again: list[Waiting] = []
        self.references: dict[tuple[str, str, str], str] = {}
        self.aliases: list[tuple[str, str, str, str]] = []
        self.unmarked: set[tuple[str, str, str]] = set()
        self._links: dict[tuple[str, str, str, str], int] = {}
        self._aliases: dict[tuple[str, str, str], str] = {}
        self._stored_hits: dict[tuple[str, str], list[str]] = {}
        self._seen: dict[tuple[int, str], dict[str, Seen]] = {}
        self._passed: set[int] = set()  # older states: their fingerprints are not the record's
        self._keyed = {
            name: {field for field, _ in plan.keyed.values()} for name, plan in engine.plans.items()
        }
        self._key = runs.secret_key(tx)
        self._graves = bool(tx.rows("SELECT 1 FROM tombstones LIMIT 1"))
        self.apart: list[int] = []  # to be decided alone
        self.rows = self._look_up(rows)

    # ---------------------------------------------------------------------------------------- in batches

    def _look_up(self, rows: Sequence[Waiting]) -> Sequence[Waiting]:
        """Returns those that are decided here."""
        by_source = _by_source(rows)
        homes: dict[int, str] = {}
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
                        homes[n] = record_id
        if self.ws.shared:
            rows, homes = self._settled(rows, homes)
            by_source = _by_source(rows)
        self.ws.load(set(homes.values()))
        self.ws.load_queued(queued)
        for (system, object_), sightings in by_source.items():
            source = self.engine.sources.get((system, object_))
            if source is not None:
                self.references.update(look_up_references(self.tx, self.engine, source, sightings))
        for (system, object_), sightings in by_source.items():
            source = self.engine.sources.get((system, object_))
            if source is not None:
                self._look_up_matches(source, sightings)
        return rows

    def _settled(
        self, rows: Sequence[Waiting], homes: Mapping[int, str]
    ) -> tuple[list[Waiting], dict[int, str]]:
        """Those that concern linked records of their shards alone, with their links' records; the others are put apart,
        as is what comes behind one of those of the same external id."""
        behind: set[tuple[str, str, str]] = set()
        for (system, object_), sightings in _by_source(rows).items():
            ids = sorted({s.id for s in sightings})
            found = shards.behind(self.tx, self.ws.run, system, object_, ids, self.ws.now)
            behind.update((system, object_, id_) for id_ in found)
        settled: list[Waiting] = []
        kept: dict[int, str] = {}
        for row in rows:
            key = (row.system, row.object, row.sighting.id)
            links = self._own_links(row) if key not in behind else None
            if links is None or any(n not in homes for n in links):
                behind.add(key)
                self.apart.append(row.number)
                continue
            settled.append(row)
            kept.update((n, homes[n]) for n in links)
        return settled, kept

    def _own_links(self, row: Waiting) -> list[int] | None:
        """The links that the observation is about, None when it may be about more than them."""
        s, where = row.sighting, (row.system, row.object)
        if s.deleted or s.merged_into or s.renamed_from:
            return None
        if any(self._aliases.get((*where, alias)) != s.id for alias in s.aliases):
            return None
        source = self.engine.sources.get(where)
        readers = source.readers if source is not None else ()
        found = [self._links.get((*where, s.id, plan.entity.name), 0) for plan, _ in readers]
        return found if all(found) else None

    def _look_up_matches(self, source: Source, sightings: Sequence[Sighting]) -> None:
        for plan, reader in source.readers:
            where, entity = (source.system, source.object), plan.entity.name
            keys: set[str] = set()
            unlinked = 0
            for s in sightings:
                n = self._links.get((*where, s.id, entity))
                if s.deleted or not (n is None or n in self.ws.queued):
                    continue
                unlinked += n is None
                seen = reader.read(s.fields, s.complete, self.references)
                if not reader.refers:  # what a reference leads to may still change in this transaction
                    self._seen[id(s), entity] = seen
                keys.update(matching.keys(plan, _values(plan, seen)))
            self.ws.reserve("links", unlinked)
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
        marked = (row.system, row.object, row.sighting.id) not in self.unmarked
        if marked and row.number not in self._passed:
            self._fingerprint(source, row.sighting, external_id)

    def _current_id(self, row: Waiting) -> str:
        """The external id now: renames re-point links first, so that nothing is deleted and created for a new name."""
        s, where = row.sighting, (row.system, row.object)
        olds = [s.renamed_from] if s.renamed_from else []
        olds += [now for alias in s.aliases if (now := self._aliases.get((*where, alias))) and now != s.id]
        for old in olds:
            for entity in list(self.engine.plans):
                n = self._links.pop((*where, old, entity), None)
                if n is not None and (
                    n in self.ws.home or n in self.ws.queued
                ):  # it may have ended just before
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
        if n is not None and ws.link(n).open:
            self.later.append((row.number, ws.now + WAIT))
            return False
        seen = self._seen.get((id(s), plan.entity.name))
        if seen is None:
            seen = {} if s.deleted or s.merged_into else reader.read(s.fields, s.complete, self.references)
        case = Case(source, plan, reader, s, seen)
        if s.deleted or s.merged_into:
            if n is not None and external_id != s.id:  # a former id: its record is known by another one
                ws.count("former_id_gone", source.system, source.object)
            elif n is not None and s.merged_into:
                survivor = self._links.get((source.system, source.object, s.merged_into, plan.entity.name))
                merged(ws, n, s.merged_into, survivor, self._key, case.cause)
            elif n is not None:
                if s.via == ledger.SWEEP and ws.link(n).status == "live":
                    why = "gone, and no event or poll said so"
                    ledger.note_record(ws, case, ws.link(n), drift.Cause("deleted", why))
                deleted(ws, plan, n, case.cause, self._key)
            return True
        if n is None or n in ws.queued:
            waits, n = self._place(case, external_id, n)
            if waits:  # for a write that may make this very record; nothing wakes what has no link yet
                self.later.append((row.number, ws.now + 2_000_000))
                return False
            if n is None:
                return True
        return self._judge(case, row, n)

    # ---------------------------------------------------------------------------------- whose is it?

    def _place(self, case: Case, external_id: str, n: int | None) -> tuple[bool, int | None]:
        """(must it wait?, its link): matched, made, or None when it was queued for a person or is not wanted."""
        ws, source, plan = self.ws, case.source, case.plan
        ws.reach()
        where, entity = (source.system, source.object), plan.entity.name
        if n is None and self._graves and self._is_buried(*where, external_id):
            ws.count("tombstoned", *where)
            self._forget_purged(case, external_id)
            return False, None
        if not case.sighting.complete:
            ws.count("incomplete_unlinked", *where)
            return False, None
        values = _values(plan, case.seen)
        keys = matching.keys(plan, values)
        stored = {key: self._stored_hits.get((entity, key), []) for key in keys}
        hits = ws.current_hits(plan, keys, stored)
        found = matching.match(plan, keys, hits, partial(alike, ws, source, plan, values))
        if found.record and n is None:
            n = place.linked_meanwhile(ws.records[found.record], source, external_id)
            if n is not None:
                self._links[*where, external_id, entity] = n
                return False, n
        if found.record and self._write_open(found.record, source.system):
            return (
                True,
                None,
            )  # it may be the very record that a write of ours is creating, or moving to another id
        if found.record:
            place.note_collisions(ws, plan, found.record, keys, hits)
        old = ws.link(n) if n is not None else None
        link = old or LinkState(
            n=ws.new_number("links"), system=source.system, object=source.object, external_id=external_id
        )
        self._links[*where, external_id, entity] = link.n
        if found.proposed:
            place.queue(ws, case, link, found, known=old is not None)
            return False, None
        if old is not None:
            ws.close(old.review, "matched meanwhile")
            link = replace(old, status="live", review=0, fields={}, order=0, seen=0, since=0)
        record_id = found.record or ws.new_record(entity)
        place.attach(ws, case, record_id, link, found)
        ws.add_keys(record_id, entity, matching.index(plan, values))
        self.references[source.system, entity, external_id] = record_id
        ws.linked.append((source.system, entity, external_id))
        return False, link.n

    # ------------------------------------------------------------------------------- what does it say?

    def _judge(self, case: Case, row: Waiting, n: int) -> bool:
        ws, source = self.ws, case.source
        link, record_id = ws.link(n), ws.home[n]
        if link.status == "gone":
            if not case.sighting.read or case.sighting.begun < link.seen:
                ws.count("superseded", source.system, source.object)  # from before it was found to be gone
                return True
            link = reappeared(ws, link)
        result = observe(link, case.look(), source.timing)
        if result.again:
            self._read_again(source, row, link)
            return False
        if result.superseded:
            ws.count("superseded", source.system, source.object, result.superseded)
        if not result.taken:
            self._passed.add(row.number)
        ws.put_link(result.link, record_id, case.plan.entity.name)
        pend(ws, case, n)
        kinds = judge(ws, case, n, result.edits, link.consent) if result.edits else {}
        if case.sighting.via == ledger.SWEEP and result.taken:
            if link.seen:
                ledger.note_fields(ws, case, link, result.edits, kinds)
            else:
                why = "there, and no event or poll said so"
                ledger.note_record(ws, case, link, drift.Cause("created", why))
        changed = {*result.confirmed, *(edit.field for edit in result.edits)}
        if link.fields and not changed.isdisjoint(self._keyed[case.plan.entity.name]):
            ws.rekey(record_id)
        return True

    def _read_again(self, source: Source, row: Waiting, link: LinkState) -> None:
        """Inside the vendor's read-after-write lag wait first; then (or at once) have it read by id."""
        until = link.seen + int(source.spec.lag * 1_000_000)
        if source.spec.lag and row.sighting.read and until > self.ws.now:
            self.later.append((row.number, until))
            return
        self.later.append((row.number, self.ws.now + 30_000_000))
        self.again.append(row)

    def _write_open(self, record_id: str, system: str) -> bool:
        return any(link.system == system and link.open for link in self.ws.records[record_id].links)

    def _is_buried(self, system: str, object_: str, external_id: str) -> bool:
        digest = records.digest(self._key, "external", external_id)
        return bool(records.buried(self.tx, system, object_, [digest]))

    def _forget_purged(self, case: Case, external_id: str) -> None:
        """Of a record that was erased nothing is kept, not even that it looked so: each read brings it anew."""
        where = (case.source.system, case.source.object)
        digest = records.digest(self._key, "external", external_id)
        if records.PURGED in records.reasons(self.tx, *where, [digest]):
            self.unmarked.add((*where, case.sighting.id))
            self.aliases = [row for row in self.aliases if (*row[:2], row[3]) != (*where, external_id)]

    def _fingerprint(self, source: Source, s: Sighting, external_id: str) -> None:
        """A fully taken-in item need not be looked at again until its fingerprint differs."""
        key = (source.system, source.object, external_id)
        numbers = [n for plan, _ in source.readers if (n := self._links.get((*key, plan.entity.name)))]
        if s.deleted or s.merged_into:
            self.ws.stale_fingerprints.add(key)
        elif s.fingerprint and not s.second:
            current = [n for n in numbers if n in self.ws.home or n in self.ws.queued]
            self.ws.fingerprints[key] = (bytes.fromhex(s.fingerprint), min(current, default=0))


def _by_source(rows: Iterable[Waiting]) -> dict[tuple[str, str], list[Sighting]]:
    found: dict[tuple[str, str], list[Sighting]] = {}
    for row in rows:
        found.setdefault((row.system, row.object), []).append(row.sighting)
    return found


def _values(plan: Plan, seen: dict[str, Seen]) -> dict[str, Value]:
    return matching.key_values(plan, lambda name: seen[name].value if name in seen else None)
