"""What staged observations would do to what links hold, and what staged pushes would do to systems, against the limits.

Measuring only looks. What it finds becomes the body of a review (`Measured.body`): numbers, the limits that are passed
with the file and line that set them, and a few samples with their values before and after.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from syncbroker.core import fanout, guards
from syncbroker.core.guards import SAMPLES, Change, Limit, Tally
from syncbroker.core.mapping import Guard
from syncbroker.core.plan import Plan, Reader
from syncbroker.core.state import NOTHING, UNSEEN, LinkState, Record
from syncbroker.engine import Engine, Source
from syncbroker.engine.judge import look_up_references
from syncbroker.engine.reading import refresh
from syncbroker.store import guards as stored
from syncbroker.store import records
from syncbroker.store.database import Tx
from syncbroker.store.guards import Key
from syncbroker.store.queues import Op, Row, Sighting

CHUNK = 500
"""Observations or pushes that are held in memory at a time."""


@dataclass
class Measured:
    """Tallies by (system, object, entity), samples by what would happen to them, and the limits that are passed."""

    tallies: dict[Key, Tally] = field(default_factory=dict)
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    limits: list[Limit] = field(default_factory=list)
    pushes: list[stored.Pushes] = field(default_factory=list)

    def tally(self, key: Key) -> Tally:
        return self.tallies.setdefault(key, Tally())

    def keep(self, what: str, made: dict[str, Any]) -> None:
        kept = self.samples.setdefault(what, [])
        if len(kept) < SAMPLES:
            kept.append({"what": what, **made})

    def shown(self) -> list[dict[str, Any]]:
        """The samples for a person: of what passes a limit first, then of the rest."""
        wanted = dict.fromkeys("changed" if one.what == "collapse" else one.what for one in self.limits)
        chosen = [one for what in wanted for one in self.samples.get(what, ())]
        chosen += [one for what, kept in self.samples.items() if what not in wanted for one in kept]
        seen = {one["name"]: one for one in reversed(chosen)}
        return [one for one in chosen if seen.get(one["name"]) is one][:SAMPLES]

    def body(self) -> dict[str, Any]:
        """For the review, as it is stored."""
        counts = [
            {"system": key[0], "object": key[1], "entity": key[2], **tally.counts}
            for key, tally in self.tallies.items()
        ]
        limits = [{**msgspec.structs.asdict(one), "text": one.text} for one in self.limits]
        return {"counts": counts, "limits": limits, "samples": self.shown()}


def named(engine: Engine, limits: Iterable[Limit], key: Key) -> list[Limit]:
    """Limits with where they are written and what they are about."""
    plan = engine.plans[key[2]]
    lines = plan.entity.guard.lines
    return [
        replace(
            one, system=key[0], object=key[1], entity=key[2], place=engine.place(plan, lines.get(one.what, 0))
        )
        for one in limits
    ]


def links(engine: Engine, tx: Tx, key: Key) -> int:
    """How many links shares are counted against."""
    source = engine.sources.get(key[:2])
    return stored.links(tx, key, shared=source is not None and len(source.readers) > 1)


def tripped(engine: Engine, tx: Tx, guard: Guard, key: Key, tally: Tally) -> list[Limit]:
    """The limits that a tally passes. Links are counted only where that could matter."""
    if not guards.tripped(guard, tally, 0):
        return []
    shares = guard.changed is not None or guard.emptied is not None
    return named(engine, guards.tripped(guard, tally, links(engine, tx, key) if shares else 0), key)


# -------------------------------------------------------------------------------------------- observations


def guarded(source: Source) -> list[tuple[Plan, Reader]]:
    """The readers of an object whose entity limits what may be read."""
    return [(plan, reader) for plan, reader in source.readers if plan.entity.guard.guards_input]


def staged(engine: Engine, tx: Tx, source: Source, run: int) -> Measured:
    """All observations that a run has staged."""
    scale = Scale(engine, source)
    for rows in stored.observations(tx, run, CHUNK):
        scale.weigh(tx, [row.sighting for row in rows])
    found = scale.found
    for plan, _ in guarded(source):
        key = (source.system, source.object, plan.entity.name)
        found.limits += tripped(engine, tx, plan.entity.guard, key, found.tally(key))
    return found


class Scale:
    """Weighs observations of one object against what its links hold. Each record counts once."""

    def __init__(self, engine: Engine, source: Source) -> None:
        self.engine, self.source = engine, source
        self.found = Measured()
        self._seen: set[int] = set()

    def weigh(self, tx: Tx, sightings: Sequence[Sighting]) -> set[str]:
        """Returns the external ids of those that would change something, new records among them."""
        fresh, moving = [s for s in sightings if self._is_new(s)], set[str]()
        if not fresh:
            return moving
        source, where = self.source, (self.source.system, self.source.object)
        known = self._links(tx, fresh)
        references = look_up_references(tx, self.engine, source, fresh)
        for plan, reader in guarded(source):
            entity = plan.entity.name
            tally = self.found.tally((*where, entity))
            for s in fresh:
                n, state, record_id = known.get((s.id, entity), (0, None, None))
                ends = s.deleted or s.merged_into is not None
                seen = {} if ends or state is None else reader.read(s.fields, s.complete, references)
                order = s.stamp if source.spec.stamp is not None else None
                change = guards.weigh(state if n else None, seen, deleted=ends, order=order)
                kinds = tally.add(change)
                if kinds or change.new:
                    moving.add(s.id)
                for what in kinds:
                    self._keep(what, s, change, record_id)
        return moving

    def _is_new(self, s: Sighting) -> bool:
        mark = hash(s.id)
        if mark in self._seen:
            return False
        self._seen.add(mark)
        return True

    def _links(
        self, tx: Tx, sightings: Sequence[Sighting]
    ) -> dict[tuple[str, str], tuple[int, LinkState, str | None]]:
        """(external id as observed, entity) -> (link number, its state, its record)."""
        where = (self.source.system, self.source.object)
        former = {s.id: s.renamed_from for s in sightings if s.renamed_from}
        asked = sorted({*(s.id for s in sightings), *former.values()})
        found = records.by_external_id(tx, *where, asked)
        lost = [id_ for id_ in asked if id_ not in found]
        now = records.resolve_aliases(tx, *where, lost) if lost else {}
        if now:
            under = records.by_external_id(tx, *where, sorted(set(now.values())))
            found.update({old: under[new] for old, new in now.items() if new in under})
        for id_, old in former.items():
            if id_ not in found and old in found:
                found[id_] = found[old]
        numbers = [n for links_ in found.values() for n, _, record_id in links_ if record_id is not None]
        states = records.link_states(tx, numbers)
        return {
            (id_, entity): (n, states[n][0], record_id)
            for id_, links_ in found.items()
            for n, entity, record_id in links_
            if n in states
        }

    def _keep(self, what: str, s: Sighting, change: Change, record_id: str | None) -> None:
        name = f"{self.source.system}:{self.source.object}:{s.id}"
        self.found.keep(what, {"name": name, "record": record_id, "fields": guards.sample(change)})


# -------------------------------------------------------------------------------------------------- pushes


def owed(engine: Engine, tx: Tx, run: int) -> Measured:
    """All pushes that a run has staged."""
    found = Measured(pushes=stored.pushes(tx, run))
    for one in found.pushes:
        tally = found.tally((one.system, one.object, one.entity))
        tally.seen += one.many
        if one.op == "create":
            tally.created += one.many
        elif one.op == "update":
            tally.changed += one.many
        else:
            tally.deleted += one.many
    keys = [key for key in found.tallies if key[2] in engine.plans]
    guard = {key: engine.plans[key[2]].entity.guard for key in keys}
    for key in keys:
        share = guard[key].emptied
        if share is not None and found.tallies[key].changed > share * guards.LEAST:
            _count_emptied(engine, tx, run, found)
            break
    for key in keys:
        found.limits += tripped(engine, tx, guard[key], key, found.tallies[key])
    if found.limits:
        _take_samples(engine, tx, run, found)
    return found


def _count_emptied(engine: Engine, tx: Tx, run: int, found: Measured) -> None:
    for rows in stored.staged_pushes(tx, run, CHUNK):
        for row, record in _with_records(tx, [row for row in rows if row.op == "update"]):
            if record.entity not in engine.plans:
                continue
            shown = push_sample(engine.plans[record.entity], record, row.link, row.op)
            if any(after is None for _, after in shown["fields"].values()):
                found.tally((row.system, row.object, record.entity)).emptied += 1
                found.keep("emptied", shown)


def _take_samples(engine: Engine, tx: Tx, run: int, found: Measured) -> None:
    """Of each operation, from as many pushes as it takes."""
    words: dict[Op, str] = {"create": "created", "update": "changed", "delete": "deleted"}
    wanted = {words[one.op] for one in found.pushes if one.op in words}
    for rows in stored.staged_pushes(tx, run, CHUNK):
        short = {what for what in wanted if len(found.samples.get(what, ())) < SAMPLES}
        if not short:
            return
        chosen = [row for op, what in words.items() if what in short for row in _first(rows, op)]
        for row, record in _with_records(tx, chosen):
            if record.entity in engine.plans:
                plan = engine.plans[record.entity]
                found.keep(words[row.op], push_sample(plan, record, row.link, row.op))


def _first(rows: Sequence[Row], op: Op) -> list[Row]:
    return [row for row in rows if row.op == op][:SAMPLES]


def _with_records(tx: Tx, rows: Sequence[Row]) -> list[tuple[Row, Record]]:
    homes = records.link_states(tx, [row.link for row in rows])
    ids = {row.link: homes[row.link][1] for row in rows if row.link in homes}
    loaded = records.load(tx, [id_ for id_ in ids.values() if id_])
    return [(row, loaded[id_]) for row in rows if (id_ := ids.get(row.link)) and id_ in loaded]


def push_sample(plan: Plan, record: Record, n: int, op: Op) -> dict[str, Any]:
    """What a push would do: its name for `--only`, and per field what the system holds and would hold."""
    record = refresh(plan, record)
    link = record.by_number[n]
    fields: dict[str, list[Any]] = {}
    if op == "update":
        wanted = fanout.owed(plan, record).updates.get(n, {})
        fields = {name: [link.fields.get(name, UNSEEN).value, value] for name, value in wanted.items()}
    elif op == "create":
        pushed = plan.readers[link.system].pushed if link.system in plan.readers else ()
        golden = {name: record.golden.get(name, NOTHING).value for name in pushed}
        fields = {name: [None, value] for name, value in golden.items() if value is not None}
    name = f"{link.system}:{link.object}:{link.external_id or record.id}"
    return {"name": name, "record": record.id, "fields": fields}
