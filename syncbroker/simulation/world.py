"""A made-up world: its clock, its systems, the webhooks under way, the faults that are armed, and its own log.

The log is what the oracle believes: every edit that anybody but the broker made, and every write that reached a system.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

import orjson

from syncbroker.core import values
from syncbroker.core.types import Micros, Type
from syncbroker.simulation.faults import FAULTS
from syncbroker.simulation.stage import Slot, Stage
from syncbroker.simulation.systems import MINUTE, By, Collection, Mark, Row

START: Micros = 1_790_000_000_000_000
CALL: Micros = 40_000
"""How long one call to a system takes."""

PATIENCE = 5
"""How often an automation puts its value back into one field of one record before it gives up."""

_SHORTENED = (Type.TEXT, Type.PERSON_NAME, Type.COMPANY_NAME)


class Killed(BaseException):
    """kill -9, as near as one process can come to it: nothing may catch it."""


@dataclass
class Clock:
    """µs; every look at it costs one, so that two steps never happen at the same time."""

    at: Micros = START

    def __call__(self) -> Micros:
        self.at += 1
        return self.at


@dataclass(frozen=True)
class Edit:
    """Somebody but the broker set a path. `uid`: the row."""

    number: int
    at: Micros
    system: str
    object: str
    uid: int
    path: str
    raw: Any
    by: By


@dataclass(frozen=True)
class Wrote:
    """A write of ours as the system met it. `before`: what stood in the written paths. `based`: when the broker
    last read
    the row by its id before. `how`: "late" when it was made after its call had ended without an answer."""

    at: Micros
    system: str
    object: str
    uid: int
    op: str
    key: str
    stamp_id: str | None
    before: Mapping[str, Any]
    marks: Mapping[str, Any]
    values: Mapping[str, Any]
    based: Micros
    made: bool
    how: Literal["", "late", "lost", "dropped", "stale", "exists", "missing"] = ""


@dataclass(frozen=True)
class Heard:
    """A webhook with a body that reached the broker, and what it showed of a row."""

    at: Micros
    system: str
    object: str
    uid: int
    stamp: Micros
    fields: Mapping[str, Any]


@dataclass
class Told:
    """A webhook on its way."""

    due: Micros
    system: str
    body: bytes


@dataclass
class Traits:
    """What one system is like in this world. `bodies`: its webhooks carry the record. `jobs`: it writes later."""

    page: int = 100
    bodies: bool = True
    jobs: bool = False
    polls: bool = True
    raw: bool = False
    field_times: bool = False
    automations: dict[tuple[str, str], Any] = field(default_factory=dict)


class World:
    """`faults`: those that may strike. Everything that happens is drawn from `seed`."""

    def __init__(self, stage: Stage, seed: int, faults: frozenset[str]) -> None:
        self.stage, self.seed, self.faults = stage, seed, faults
        self.clock = Clock()
        self.collections: dict[tuple[str, str], Collection] = {}
        self.traits: dict[str, Traits] = {}
        self.edits: list[Edit] = []
        self.wrote: list[Wrote] = []
        self.looked: dict[tuple[str, str, frozenset[tuple[str, Any]]], Micros] = {}
        self.told: list[Told] = []
        self.heard: list[Heard] = []
        self.later: list[tuple[Micros, int, Callable[[], None]]] = []
        self.armed: Counter[tuple[str, str]] = Counter()
        self.meanwhile: dict[tuple[str, str], list[tuple[str, Callable[[], None]]]] = {}
        self.down: dict[str, Micros] = {}
        self.counts: Counter[str] = Counter()
        self.broken: list[str] = []
        self.puts_back: Counter[tuple[str, str, int, str]] = Counter()
        self.owners: dict[tuple[str, Any], int] = {}
        self._uids = self._later = self._events = 0
        by = Random(f"{seed} traits")  # a seeded world
        for name in stage.mapping.systems:
            self._set_up(name, Random(by.random()))

    def _set_up(self, system: str, by: Random) -> None:
        traits = Traits(
            page=by.choice((2, 3, 100)),
            bodies=by.random() < 0.6,
            jobs=by.random() < 0.25,
            polls=by.random() < 0.8,
            raw=by.random() < 0.2,
            field_times=by.random() < 0.5,
        )
        skew = by.randint(-7, 7) * MINUTE + by.randint(0, 30_000_000)
        coarse, unique = by.random() < 0.4, by.random() < 0.5
        self.traits[system] = traits
        for (name, object_), slots in self.stage.slots.items():
            if name != system:
                continue
            spec = self.stage.sources[name, object_].spec
            made = Collection(spec)
            made.skew = skew if "clock_skew" in self.faults else 0
            made.coarse = coarse and "coarse_stamps" in self.faults
            once = (spec.id_path, spec.stamp_path, spec.keys[0] if unique and spec.keys else "")
            made.unique = tuple(dict.fromkeys(path for path in once if path))
            texts = [s for s in slots if s.rule.type in _SHORTENED and not s.keyed and s.link.push]
            shortens, automates = by.random() < 0.25, by.random() < 0.25
            if texts and shortens and spec.shows and not traits.jobs and "rewriting" in self.faults:
                made.rewrites[by.choice(texts).link.path] = 6
            free = [s for s in texts if s.link.path not in made.rewrites]
            if free and automates and "automation" in self.faults:
                traits.automations[object_, by.choice(free).link.path] = "set by a workflow"
            self.collections[name, object_] = made

    # ---- time and chance ----

    def pass_(self, micros: Micros) -> None:
        """Time goes by, and what was to happen meanwhile happens."""
        until = self.clock.at + micros
        while self.later and min(self.later)[0] <= until:
            due = min(self.later)
            self.later.remove(due)
            self.clock.at = max(self.clock.at, due[0])
            due[2]()
        self.clock.at = max(self.clock.at, until)

    def after(self, micros: Micros, act: Callable[[], None]) -> None:
        self._later += 1
        self.later.append((self.clock.at + micros, self._later, act))

    def strikes(self, fault: str, system: str) -> bool:
        """Whether an armed fault hits now; it is counted and used up."""
        if self.armed[fault, system] <= 0:
            return False
        self.armed[fault, system] -= 1
        self.count(fault)
        return True

    def count(self, fault: str) -> None:
        if fault in FAULTS:
            self.counts[fault] += 1

    def next_uid(self) -> int:
        self._uids += 1
        return self._uids

    # ---- what people and programs do ----

    def make(
        self, system: str, object_: str, who: int, fields: Mapping[str, Any], by: By = "person"
    ) -> Row | None:
        """A new record; None where the system lets a value of it occur once only."""
        here = self.collections[system, object_]
        if any(
            fields.get(path) not in (None, "") and here.holding(path, fields[path]) for path in here.unique
        ):
            return None
        uid = self.next_uid()
        row = here.make(uid, f"{object_[:2]}{uid:05d}", who, fields, self.clock(), by)
        if by != "ours":
            for path, raw in fields.items():
                row.marks[path] = self._note(row, system, object_, path, raw, by)
        self.tell(system, object_, "created", row)
        return row

    def edit(
        self,
        system: str,
        object_: str,
        row: Row,
        changes: Mapping[str, Any],
        by: By = "person",
        consent: str | None = None,
    ) -> bool:
        """Somebody sets these paths. False when the system does not let them."""
        here = self.collections[system, object_]
        real = {
            path: raw for path, raw in changes.items() if row.now.fields.get(path) != here.kept(path, raw)
        }
        if not real or row.id not in here.rows:
            return False
        if any(
            real.get(path) not in (None, "") and here.holding(path, real[path], row)
            for path in here.unique
            if path in real
        ):
            return False
        old = here.change(row, real, self.clock(), by, consent=consent)
        for path in real:
            row.marks[path] = self._note(row, system, object_, path, row.now.fields[path], by)
        self.tell(system, object_, "changed" if old is None else "rekeyed", row, old)
        return True

    def remove(self, system: str, object_: str, row: Row) -> None:
        here = self.collections[system, object_]
        if here.rows.get(row.id) is row:
            here.remove(row, self.clock())
            self.tell(system, object_, "deleted", row)

    def _note(self, row: Row, system: str, object_: str, path: str, raw: Any, by: By) -> Mark:
        number = len(self.edits) + 1
        self.edits.append(Edit(number, self.clock.at, system, object_, row.uid, path, raw, by))
        return Mark(by, row.now.at, raw, number)

    def automate(self, system: str, object_: str, row: Row, paths: Mapping[str, Any]) -> None:
        """After a write of ours: an automation may put its own value back, a few times."""
        for path in paths:
            wanted = self.traits[system].automations.get((object_, path))
            key = (system, object_, row.uid, path)
            if wanted is None or row.now.fields.get(path) == wanted or self.puts_back[key] >= PATIENCE:
                continue
            self.puts_back[key] += 1
            self.count("automation")

            def put(path: str = path, wanted: Any = wanted) -> None:
                self.edit(system, object_, row, {path: wanted}, "automation")

            self.after(5_000_000, put)

    # ---- webhooks ----

    def tell(self, system: str, object_: str, kind: str, row: Row, old: str | None = None) -> None:
        """A change is told by a webhook, unless a fault hits it."""
        here = self.collections[system, object_]
        if not here.spec.events:
            return
        self._events += 1
        told: dict[str, Any] = {
            "object": object_,
            "id": old or row.id,
            "uid": row.uid,
            "kind": kind,
            "event": f"e{self._events}",
            "new_id": row.id if old else None,
        }
        bare = self.strikes("webhook_bare", system)
        if self.traits[system].bodies and not bare and kind in ("changed", "created"):
            told |= {
                "fields": row.now.fields,
                "stamp": row.now.stamp,
                "by": row.now.by,
                "consent": row.now.consent,
            }
        body = orjson.dumps(told)
        if self.strikes("webhook_dropped", system):
            return
        due = self.clock.at + 1_000_000
        if self.strikes("webhook_delayed", system):
            due += (7 + self._events % 113) * MINUTE
        one = Told(due, system, body)
        if self.told and self.strikes("webhook_reordered", system):
            self.told.insert(len(self.told) - 1, one)
        else:
            self.told.append(one)
        if self.strikes("webhook_duplicated", system):
            self.told.append(Told(due + 90_000_000, system, body))

    def who(self, system: str, object_: str, values: Mapping[str, Any]) -> int:
        """Whom a record is about, by the values that name their person; 0 when none of them does."""
        votes = Counter(
            self.owners[slot.plan.entity.name, key]
            for slot in self.stage.slots[system, object_]
            if (key := named(slot, values.get(slot.link.path))) is not None
            and (slot.plan.entity.name, key) in self.owners
        )
        return votes.most_common(1)[0][0] if votes else 0


_NAMING = (Type.TEXT, Type.EMAIL, Type.URL, Type.DOMAIN, Type.PHONE, Type.COMPANY_NAME)


def named(slot: Slot, raw: Any) -> str | None:
    """The canonical text of a value that belongs to one person only."""
    if slot.rule.type not in _NAMING:
        return None
    value = values.canonical(slot.link.spec, raw)
    return value if isinstance(value, str) else None
