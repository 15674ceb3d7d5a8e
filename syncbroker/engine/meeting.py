"""First meetings, many at a time: what is seen for the first time, where it only has to be written down.

On a first load nearly every observation is the first of its record, or the first that another system shows of it. What
becomes of each field then follows from its rule and from what stands, so nothing needs the whole of a record. An
observation is met here when it touches nothing that anything else of its chunk touches and leaves every golden value
that stands, and every other link, as it is; the rest goes through `decide` one by one, with the same outcome
(`tests/engine/test_meeting.py` compares the two row by row).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

from msgspec.structs import replace
from sqlalchemy import select

from syncbroker.core import fanout
from syncbroker.core import match as matching
from syncbroker.core.plan import Plan, Reader, Seen
from syncbroker.core.resolve import Kind, Question, Verdict, outranks, resolve
from syncbroker.core.state import NOTHING, FieldState, Golden, LinkState, Record
from syncbroker.core.types import Micros
from syncbroker.engine import Source, ledger, owing, staging
from syncbroker.engine.workspace import Workspace
from syncbroker.store import decisions, drift, packing, queues, records, runs, tables
from syncbroker.store.database import Tx
from syncbroker.store.decisions import Cause, Entry, Outcome
from syncbroker.store.packing import Look
from syncbroker.store.queues import Row, Sighting, Waiting
from syncbroker.store.records import Head


@dataclass
class Met:
    """What was met: inbox rows that are done, outcomes by kind. `rest`: what is to be decided one by one."""

    rest: list[Waiting]
    done: list[int] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)


def meet(ws: Workspace, rows: Sequence[Waiting]) -> Met:
    """Decide and write what can be met of a chunk. `ws` is that of the transaction, with nothing in it yet."""
    met = Met(list(rows))
    source = _source(ws, rows)
    if source is None:
        return met
    party = _Party(ws, source, *source.readers[0])
    guests = party.invite(met.rest)
    if guests:
        party.write(guests, met)
    return met


def _source(ws: Workspace, rows: Sequence[Waiting]) -> Source | None:
    """The object whose first meetings these may be; None when they are anything else."""
    if ws.shared or ws.run == queues.LIVE or not all(map(_is_plain, (row.sighting for row in rows))):
        return None
    source = ws.engine.sources.get((rows[0].system, rows[0].object))
    if source is None or len(source.readers) != 1:
        return None
    plan, reader = source.readers[0]
    if reader.refers or plan.referring or plan.terms or plan.likened:
        return None
    if plan.entity.guard.guards_output and not ws.stages:
        return None
    if drift.any_open(ws.tx) or ws.tx.run(select(tables.tombstones.c.digest).limit(1)).first() is not None:
        return None
    return source


def _is_plain(s: Sighting) -> bool:
    """A complete record that the broker read, and nothing else to tell about it."""
    if s.deleted or s.merged_into or s.aliases or s.renamed_from or s.second or s.unsure:
        return False
    if s.consent is not None or s.field_times or s.via == ledger.SWEEP:
        return False
    return s.complete and s.read and s.begun >= 0 and s.ended > 0 and (s.stamp is None or s.stamp > 0)


@dataclass
class _Guest:
    """An observation on its way. `record_id`: whom it joins, "" for nobody; `keys`: those that lead to it anew."""

    row: Waiting
    seen: dict[str, Seen]
    keys: list[str]
    found: matching.Match
    golden: dict[str, Golden] = field(default_factory=dict)
    others: list[Head] = field(default_factory=list)
    seal: str = ""

    @property
    def sighting(self) -> Sighting:
        return self.row.sighting


class _Field:
    """One field of a reader with what is the same in all meetings."""

    def __init__(self, plan: Plan, reader: Reader, name: str) -> None:
        self.name, self.rule, self.place = name, plan.fields[name].rule, plan.places[name]
        self.push, self.pull = reader.pushes(name), reader.pulls(name)
        self.simple = self.pull and self.rule.policy != "union"
        file, self.line = packing.placed(self.place)
        self._flags, self._file, self._system = (
            packing.ASKED | self.pull | self.push << 1,
            file,
            reader.system,
        )
        why = "the golden record had no value"
        self.taken: packing.Head = ("adopted", self.rule.policy, why, self._system, self._flags, file)
        self.is_taken, self.is_agreed = ("adopted", name), ("agreed", name)
        self._agreed: dict[str, packing.Head] = {}

    def agreed(self, source: str) -> packing.Head:
        """The head of an outcome that agrees with a golden value of this source; its winner is the new source."""
        known = self._agreed.get(source)
        if known is not None:
            return known
        winner = self._system if source and outranks(self.rule, self._system, source) else source
        flags = self._flags | packing.SAME
        head: packing.Head = ("agreed", self.rule.policy, "the same value", winner, flags, self._file)
        self._agreed[source] = head
        return head

    def renewed(self, golden: Golden, until: Micros) -> Golden:
        """A plain golden value with which an edit agrees."""
        since, until = max((0, until), (golden.since, golden.until))
        return Golden(golden.value, self.agreed(golden.source)[3], since, until, golden.decision)


@dataclass
class _Talk:
    """What one meeting comes to, field by field. `linked`: of fields for which that is not as the look says."""

    look: Look
    number: int
    until: Micros
    linked: dict[str, tuple[str, ...]]
    states: dict[str, FieldState] = field(default_factory=dict)
    golden: dict[str, Golden] = field(default_factory=dict)
    loose: list[str] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)


class _Party:
    """The first meetings of one chunk with one entity."""

    def __init__(self, ws: Workspace, source: Source, plan: Plan, reader: Reader) -> None:
        self.ws, self.source, self.plan, self.reader = ws, source, plan, reader
        names = [*(name for name, _, _ in reader.plain), *reader.others]  # as they are read
        self._fields = [_Field(plan, reader, name) for name in names]
        self._by_name = {one.name: one for one in self._fields}
        opened = runs.first_reads(ws.tx)
        self._creating = {
            system
            for system, one in plan.readers.items()
            if system != source.system and one.rule.create == "always" and (system, one.rule.object) in opened
        }
        self._entity = plan.entity.name
        self._linked_by: dict[frozenset[str], tuple[tuple[str, ...], dict[str, tuple[str, ...]]]] = {}
        self._met: Counter[tuple[tuple[str, str], ...]] = Counter()
        self._shapes: dict[tuple[tuple[str, str], ...], str] = {}

    # ------------------------------------------------------------------------------------------ who may come

    def invite(self, rows: Sequence[Waiting]) -> list[_Guest]:
        """Those of the observations that nothing else of the chunk has to do with."""
        source, tx, ids = self.source, self.ws.tx, [row.sighting.id for row in rows]
        if len(set(ids)) < len(ids) or records.by_external_id(tx, source.system, source.object, ids):
            return []
        if records.resolve_aliases(tx, source.system, source.object, ids):
            return []
        read = [(row, self.reader.read(row.sighting.fields, True, {})) for row in rows]
        keys = [self._keys(seen) for _, seen in read]
        often = Counter(chain.from_iterable(keys))
        hits = records.by_keys(tx, self._entity, sorted(often))
        meant = [{id_ for key in one for id_ in hits.get(key, ())} for one in keys]
        asked = Counter(chain.from_iterable(meant))
        wanted = sorted(asked)
        records.lock(tx, wanted)
        there = records.heads(tx, wanted)
        found = []
        for (row, seen), own, known in zip(read, keys, meant, strict=True):
            if any(often[key] > 1 for key in own) or any(asked[id_] > 1 for id_ in known):
                continue
            guest = self._guest(row, seen, own, known, hits, there)
            if guest is not None:
                found.append(guest)
        return self._unowed(found)

    def _keys(self, seen: dict[str, Seen]) -> list[str]:
        values = matching.key_values(self.plan, lambda name: seen[name].value if name in seen else None)
        return list(dict.fromkeys(matching.keys(self.plan, values)))

    def _guest(
        self,
        row: Waiting,
        seen: dict[str, Seen],
        keys: list[str],
        known: set[str],
        hits: dict[str, list[str]],
        there: dict[str, tuple[str, dict[str, Golden], list[Head], str]],
    ) -> _Guest | None:
        """None for one that joins nobody or somebody in any other way than linking to one record in order."""
        if len(known) > 1 or any(one.invalid for one in seen.values()):
            return None
        if not known:
            return None if self._creating else _Guest(row, seen, keys, matching.Match())
        found = matching.match(self.plan, keys, hits)
        _, golden, others, seal = there.get(found.record, ("", {}, [], ""))
        systems = {head.system for head in others}
        if found.proposed or not others or self.source.system in systems or not self._creating <= systems:
            return None
        if not all(self._in_order(head) for head in others):
            return None
        return _Guest(row, seen, [key for key in keys if key not in hits], found, golden, others, seal)

    def _in_order(self, head: Head) -> bool:
        return head.status == "live" and not head.open and head.rules in (self.plan.version, "")

    def _unowed(self, guests: list[_Guest]) -> list[_Guest]:
        """Without those that join records to which writes are owed: these become part of the run."""
        owed = queues.outbox_rows(self.ws.tx, [head.n for guest in guests for head in guest.others])
        return [guest for guest in guests if owed.keys().isdisjoint(head.n for head in guest.others)]

    # ----------------------------------------------------------------------------------------- what they say

    def _talk(self, guest: _Guest, n: int, number: int) -> tuple[_Talk, LinkState] | None:
        """None when a value that stands, or another link, would not stay as it is."""
        s, timing = guest.sighting, self.source.timing
        cause = Cause(s.via, s.event, s.ended)
        stamped = timing.stamped and s.stamp is not None
        until = s.stamp if stamped and s.stamp is not None else s.ended
        order = until if stamped or not timing.stamped else 0
        usual, unusual = self._linked(guest)
        look = Look(self.source.system, n, cause, 0, until, s.ended, usual, s.actor, None, [])
        talk = _Talk(look, number, until, unusual)
        self._attach(guest, talk)
        if not self._listen(guest, talk):
            return None
        link = LinkState(
            n=n,
            system=self.source.system,
            object=self.source.object,
            external_id=s.id,
            order=order,
            seen=s.ended,
            since=order,
            rules=self.plan.version,
            fields=talk.states,
        )
        self._step(guest, talk)
        return talk, link

    def _attach(self, guest: _Guest, talk: _Talk) -> None:
        found = guest.found
        kind: Kind = "linked" if found.record else "created"
        why = f"the same {found.rule}" if found.record else "no record matched"
        place = self.ws.engine.place(self.plan, found.line) if found.record else ""
        file, line = packing.placed(place)
        packing.put(talk.look, (kind, "", why, "", 0, file), ("", line, None))
        talk.pairs.append((kind, ""))

    def _listen(self, guest: _Guest, talk: _Talk) -> bool:
        """Judge every field. The first value of a field, and the one that stands, cost least: they are most of all."""
        look, states, after, pairs, linked = talk.look, talk.states, talk.golden, talk.pairs, talk.linked
        golden, alone, put = guest.golden, not guest.others, packing.put
        system, until, number = self.source.system, talk.until, talk.number
        for one, seen in zip(self._fields, guest.seen.values(), strict=True):
            name, raw, value = one.name, seen.raw, seen.value
            if value is None:
                states[name] = FieldState(raw, None, "", False, None, (), (None,))
                talk.loose.append(name)
                continue
            known = golden.get(name)
            if not one.simple or raw != value or name in linked:
                if not self._judge(guest, talk, one, seen):
                    return False
                continue
            if known is None and (alone or self._unheld(guest, name)):
                put(look, one.taken, (name, one.line, value))
                pairs.append(one.is_taken)
                after[name] = Golden(value, system, 0, until, number)
            elif known is not None and packing.stands(look, known, value):
                put(look, one.agreed(known.source), (name, one.line, value))
                pairs.append(one.is_agreed)
                after[name] = one.renewed(known, until)
            elif not self._judge(guest, talk, one, seen):
                return False
            else:
                continue
            states[name] = FieldState(raw, value, "", True, value, (), (value,))
        return True

    def _unheld(self, guest: _Guest, name: str) -> bool:
        """Whether no other link has anything to do with a value that the field gets."""
        others = [self.plan.readers[head.system] for head in guest.others if head.system in self.plan.readers]
        return all(name not in one.fields or (one.pulls(name) and not one.pushes(name)) for one in others)

    def _linked(self, guest: _Guest) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
        """As `core.authority.linked` says it, of a record that this link has just joined, where a rule asks for it.

        That of the first field, and that of those that differ.
        """
        systems = frozenset({head.system for head in guest.others if head.primary} | {self.source.system})
        known = self._linked_by.get(systems)
        if known is None:
            readers = self.plan.readers
            each = {
                one.name: tuple(s for s in one.rule.rank if s in systems and readers[s].pulls(one.name))
                if one.rule.policy == "enforce"
                else ()
                for one in self._fields
            }
            first = next(iter(each.values()), ())
            known = (first, {name: linked for name, linked in each.items() if linked != first})
            self._linked_by[systems] = known
        return known

    def _judge(self, guest: _Guest, talk: _Talk, one: _Field, seen: Seen) -> bool:
        """One field by its rule, as `judge` does it. False when more would come of it than can be met here."""
        s, name = guest.sighting, one.name
        golden = guest.golden.get(name, NOTHING)
        if golden.frozen is not None:
            return False
        question = Question(
            system=self.source.system,
            pull=one.pull,
            can_push=one.push,
            raw=seen.raw if seen.raw != seen.value else None,
            value=seen.value,
            golden=golden,
            until=talk.until,
            linked=talk.linked.get(name, talk.look.linked),
            actor=s.actor,
            seen=s.ended,
        )
        verdict = resolve(one.rule, question)
        if verdict.ask or verdict.block or verdict.closes:
            return False
        moves = not packing.alike(verdict.golden.value, golden.value)
        if moves and guest.others and not self._unheld(guest, name):
            return False
        if verdict.golden != golden:
            talk.golden[name] = _numbered(guest.golden.get(name), verdict.golden, talk.number)
        talk.states[name] = _state(seen, verdict)
        if not verdict.base_moves:
            talk.loose.append(name)
        outcome = Outcome(
            kind=verdict.kind,
            field=name,
            policy=one.rule.policy,
            place=one.place,
            why=verdict.why,
            winner=verdict.winner,
            after=verdict.golden.value,
            question=question,
        )
        packing.put(talk.look, *packing.packed(talk.look, outcome))
        talk.pairs.append((verdict.kind, name))
        return True

    def _step(self, guest: _Guest, talk: _Talk) -> None:
        """As `core.fanout.step`, for what did not come to be in step while it was judged."""
        for name in talk.loose:
            golden, state = self._stands(guest, talk, name), talk.states[name]
            if (state.met and state.base == golden.value) or (golden.value is None and not golden.until):
                continue
            if fanout.in_step(state, golden.value):
                talk.states[name] = replace(state, met=True, base=golden.value)

    def _stands(self, guest: _Guest, talk: _Talk, name: str) -> Golden:
        return talk.golden.get(name) or guest.golden.get(name, NOTHING)

    def _owed(self, guest: _Guest, talk: _Talk, n: int) -> Row | None:
        """The write that the new link is owed, if any."""
        ws, source = self.ws, self.source
        owed = talk.loose and [
            name
            for name in talk.loose
            if self._by_name[name].push
            and fanout.owes(self._by_name[name].rule, self._stands(guest, talk, name), talk.states[name])
            and (source.system, self._entity, name) not in ws.paused
        ]
        if not owed:
            return None
        row = owing.row(ws, n, source.system, source.object, "update")
        return staging.staged(row, ws.run) if self.plan.entity.guard.guards_output else row

    # --------------------------------------------------------------------------------------------------- out

    def write(self, guests: Sequence[_Guest], met: Met) -> None:
        """Everything that these meetings come to; those that come to more stay in `met.rest`."""
        ws, tx, where = self.ws, self.ws.tx, (self.source.system, self.source.object)
        out = _Out()
        numbers = zip(tx.numbers("links", len(guests)), tx.numbers("decisions", len(guests)), strict=True)
        for guest, (n, number) in zip(guests, numbers, strict=True):
            told = self._talk(guest, n, number)
            if told is None:
                continue
            talk, link = told
            s, record_id = guest.sighting, guest.found.record or ws.engine.new_id()
            self._note(out, guest, talk, record_id)
            out.links.append((link, self._entity, record_id))
            out.keys.extend((self._entity, key, record_id) for key in guest.keys)
            if s.fingerprint:
                out.fingerprints.append((*where, s.id, bytes.fromhex(s.fingerprint), n))
            if row := self._owed(guest, talk, n):
                out.outbox.append(row)
            ws.linked.append((self.source.system, self._entity, s.id))
            met.done.append(guest.row.number)
        out.write(tx, ws.engine.shapes)
        for pairs, many in self._met.items():
            met.kinds.update(
                {kind: many * times for kind, times in Counter(kind for kind, _ in pairs).items()}
            )
        done = set(met.done)
        met.rest = [row for row in met.rest if row.number not in done]

    def _note(self, out: _Out, guest: _Guest, talk: _Talk, record_id: str) -> None:
        """Its decision and its golden values."""
        ws, pairs = self.ws, tuple(talk.pairs)
        self._met[pairs] += 1
        shape = self._shapes.get(pairs)
        if shape is None:
            shape = self._shapes[pairs] = decisions.shape(pairs)
        body, outline = packing.encode([talk.look]), packing.outlined([talk.look])
        whole = (talk.number, record_id, self._entity, shape, ws.run, ws.now, ws.actor)
        out.entries.append(Entry(*whole, ws.engine.mapping.version, body, outline))
        out.seals[record_id] = guest.seal
        golden = {**guest.golden, **talk.golden}
        if not guest.others:
            out.new.append(Record(record_id, self._entity, golden))
        elif golden != guest.golden:
            out.changed.append(Record(record_id, self._entity, golden))


@dataclass
class _Out:
    """Rows to be written. `seals`: of each record the one that its decision follows on."""

    entries: list[Entry] = field(default_factory=list)
    seals: dict[str, str] = field(default_factory=dict)
    new: list[Record] = field(default_factory=list)
    changed: list[Record] = field(default_factory=list)
    links: list[tuple[LinkState, str, str | None]] = field(default_factory=list)
    keys: list[tuple[str, str, str]] = field(default_factory=list)
    fingerprints: list[tuple[str, str, str, bytes, int]] = field(default_factory=list)
    outbox: list[Row] = field(default_factory=list)

    def write(self, tx: Tx, shapes: dict[str, int]) -> None:
        seals = decisions.append_packed(tx, self.entries, shapes, self.seals)
        for record in (*self.new, *self.changed):
            record.seal = seals.pop(record.id)
        records.save(tx, self.new, self.changed)
        records.save_seals(tx, seals)
        records.save_links(tx, self.links, [])
        records.save_keys(tx, self.keys, [])
        records.fingerprints(tx, self.fingerprints, [])
        queues.save_outbox(tx, self.outbox)


def _state(seen: Seen, verdict: Verdict) -> FieldState:
    return FieldState(
        seen.raw,
        seen.value,
        met=verdict.base_moves,
        base=verdict.golden.value if verdict.base_moves else None,
        known=(seen.value,),
        ignored=(seen.value,) if verdict.let_stand else None,
    )


def _numbered(known: Golden | None, golden: Golden, number: int) -> Golden:
    """A golden value as `Workspace.put_golden` keeps it: with the decision that set it, and the owner it had."""
    if known is None:
        return replace(golden, decision=number)
    anew = (golden.decision, golden.value, golden.frozen) != (known.decision, known.value, known.frozen)
    return replace(golden, decision=number if anew else golden.decision, owner=golden.owner or known.owner)
