"""Stories made by chance: users, vendors, networks and processes do their worst, and then everything comes to rest.

A story is its seed: the same one is told again by the same number. In the end the broker must be told the truth by what
it believes, agree with every system or have asked a person, and have nothing left to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from syncbroker.core.fanout import in_step
from syncbroker.core.state import NOTHING, UNSEEN, LinkState, Record
from syncbroker.engine import Engine, answer, cycle, deliver
from syncbroker.engine.offers import offers
from syncbroker.engine.replay import replay
from syncbroker.errors import SyncbrokerError
from syncbroker.sdk.simulator import Edit, Fault
from syncbroker.store import decisions, deliveries, queues, records, runs, tables
from tests.engine.conftest import Worlds
from tests.support.chains import broken
from tests.support.deliveries import arrive
from tests.support.stage import Death, Killed, Stage, dying

FIELDS = """\
  email:
    type: email
    required: true
    authority: [crm, mkt]
    policy: enforce
    systems: {crm: email, mkt: email, sup: {field: email, direction: push}}
  city:
    type: text
    authority: [crm, mkt, sup]
    policy: prefer
    empty: clear
    systems: {crm: city, mkt: city, sup: city}
  name: {type: text, policy: review, systems: {crm: name, mkt: name, sup: name}}
  phone: {type: phone, policy: latest, systems: {crm: phone, mkt: phone, sup: phone}}
  tags: {type: tags, policy: union, empty: clear, systems: {crm: tags, mkt: tags, sup: tags}}
  note:
    type: text
    authority: mkt
    policy: enforce
    on_foreign_edit: propose
    systems: {crm: note, mkt: note, sup: note}
"""
DATA: dict[str, list[dict[str, Any]]] = {
    "crm": [{"email": "a@x.example", "city": "Riga", "name": "Ann"}, {"email": "b@x.example", "tags": ["t"]}],
    "mkt": [{"email": "a@x.example", "city": "Bonn", "phone": "+15551234567"}],
    "sup": [{"email": "b@x.example", "name": "Bob"}],
}
VALUES: dict[str, list[Any]] = {
    "city": ["Riga", "Oslo", "Bonn", None, "N/A"],
    "name": ["Ann", "Bob", "Cleo"],
    "phone": ["+15551234567", "+15552223333", "12", None],
    "tags": [["t"], ["t", "u"], ["v"], []],
    "note": ["x", "y", None],
}
OFTEN = {"edit": 6, "sync": 2, "hook": 2, "die": 2, "fault": 2}
"""How many times as likely as the others."""

VENDORS: dict[str, dict[str, Any]] = {
    "careful": {},
    "re-checked": {"conditional": False},
    "without versions": {"conditional": False, "history": False, "stamp": None},
}


class Story:
    """One run of a stage. Every method `do_...` is something that may happen next."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.by = Random(seed)
        self.stage, self.seed, self.steps = stage, seed, 0
        self.engine: Engine = stage.again()
        self.world = stage.world
        self.told: list[tuple[str, bytes]] = []
        self.log: list[str] = []
        for name, simulator in self.world.systems.items():
            simulator.faults.clear()
            simulator.options.pop("upper", None)
            simulator.deliver = self._listener(name)
            simulator.webhook = "http://broker.example/hooks"
        if self.by.random() < 0.3:
            self.world.systems[self.by.choice(list(DATA))].options["upper"] = ["city"]
        self.acts = [
            act
            for name in sorted(dir(self))
            if name.startswith("do_")
            for act in [getattr(self, name)] * OFTEN.get(name.removeprefix("do_"), 1)
        ]

    def _listener(self, system: str) -> Callable[..., int]:
        def listen(_method: str, _url: str, _headers: Any, body: bytes) -> int:
            self.told.append((system, body))
            return 200

        return listen

    def tell(self) -> None:
        cycle.sync(self.engine)
        for _ in range(self.by.randint(4, 18)):
            self.steps += 1
            act = self.by.choice(self.acts)
            self.log.append(act.__name__)
            try:
                act()
            except SyncbrokerError as error:
                self.log.append(type(error).__name__)

    def rest(self) -> None:
        """Nobody edits any more and nothing fails; days go by."""
        for simulator in self.world.systems.values():
            simulator.faults.clear()
        cycle.recover(self.engine)
        for _ in range(4):
            self.world.clock.pass_(400)
            cycle.sync(self.engine)
            cycle.sweep(self.engine)

    # ---- what users and vendors do ----

    def _somebody(self) -> tuple[str, str]:
        name = self.by.choice(list(DATA))
        ids = [record["id"] for record in self.world.systems[name].records("people")]
        return name, self.by.choice(ids) if ids else ""

    def _change(self) -> dict[str, Any]:
        field = self.by.choice(list(VALUES))
        return {field: self.by.choice(VALUES[field])}

    def do_edit(self) -> None:
        name, id_ = self._somebody()
        if id_:
            self.world.clock.pass_(1)
            self.world.systems[name].edit("people", id_, self._change())
            self.world.clock.pass_(1)

    def do_edit_address(self) -> None:
        name, id_ = self._somebody()
        if id_:
            self.world.systems[name].edit("people", id_, {"email": f"n{self.steps}@x.example"})

    def do_insert(self) -> None:
        name, _ = self._somebody()
        person = {"email": f"{self.by.choice('cd')}@x.example", "city": self.by.choice(["Riga", "Oslo"])}
        simulator = self.world.systems[name]
        if all(one["fields"].get("email") != person["email"] for one in simulator.records("people")):
            simulator.insert("people", person)

    def do_remove(self) -> None:
        name, id_ = self._somebody()
        if id_ and self.by.random() < 0.5:
            self.world.systems[name].remove("people", id_)

    def do_merge(self) -> None:
        name, loser = self._somebody()
        others = [
            id_ for id_ in (one["id"] for one in self.world.systems[name].records("people")) if id_ != loser
        ]
        if others and self.by.random() < 0.5:
            self.world.systems[name].merge(loser, self.by.choice(others))

    # ---- what networks and processes do ----

    def do_fault(self) -> None:
        kind: Any = self.by.choice(["drop_answer", "drop_request"])
        operation = self.by.choice(
            ["people.write", "people.write", "people.read", "people.find", "people.list"]
        )
        self.world.systems[self.by.choice(list(DATA))].faults.append(Fault(kind=kind, operation=operation))

    def do_edit_in_between(self) -> None:
        name, id_ = self._somebody()
        if not id_:
            return
        made = Edit(object="people", id=id_, changes=self._change())
        operation = self.by.choice(["people.write", "people.read"])
        self.world.systems[name].faults.append(Fault(kind="edit_before", operation=operation, edit=made))

    def do_wait(self) -> None:
        self.world.clock.pass_(self.by.choice([1, 20, 70, 130, 400]))

    def do_hook(self) -> None:
        """Some webhooks arrive, in any order; some arrive twice."""
        for simulator in self.world.systems.values():
            simulator.advance()
        self.by.shuffle(self.told)
        many = self.by.randint(0, len(self.told))
        arriving, self.told = self.told[:many], self.told[many:]
        if self.by.random() < 0.3:
            self.told += arriving
        request = deliveries.Request(method="POST", url="http://broker.example/hooks")
        for n, (system, body) in enumerate(arriving):
            with self.engine.store.write() as tx:
                arrive(tx, system, f"{self.steps}-{n}", self.world.clock(), request, body)
        cycle.receive_all(self.engine)
        if self.by.random() < 0.5:
            cycle.decide_waiting(self.engine, cycle.Summary())

    def do_die(self) -> None:
        death = Death(self.by.randint(1, 25), self.by.random() < 0.5)
        try:
            with dying(death, self.world):
                (cycle.sweep if self.by.random() < 0.3 else cycle.sync)(self.engine)
        except Killed:
            self.engine = replace(self.engine, shapes={})
            cycle.recover(self.engine)

    # ---- what the broker and its people do ----

    def do_sync(self) -> None:
        cycle.sync(self.engine)

    def do_sweep(self) -> None:
        cycle.sweep(self.engine)

    def do_pull(self) -> None:
        cycle.pull_source(self.engine, self.engine.sources[self.by.choice(list(DATA)), "people"])

    def do_deliver(self) -> None:
        deliver.deliver_some(self.engine, self.by.choice(list(DATA)), self.engine.now())

    def do_answer(self) -> None:
        with self.engine.store.read() as tx:
            waiting = decisions.waiting(tx)
        if waiting:
            review = self.by.choice(waiting)
            answer.answer(self.engine, review.id, self.by.choice(offers(review)).name, "pat")

    # ---- the end ----

    def wrong(self) -> list[Any]:
        found: list[Any] = []
        before = self._progress()
        cycle.sync(self.engine)
        cycle.sweep(self.engine)
        if self._progress() != before:
            found.append(("it does not rest", before, self._progress()))
        with self.engine.store.read() as tx:
            found += [("not judged", one.system, one.sighting.id) for one in queues.take(tx, 0, 2**62, 10)]
            found += [key for key in queues.outbox_counts(tx) if key[1] not in ("refused", "waiting")]
            ids = [row[0] for row in tx.run(tables.records.select())]
            known = records.load(tx, ids).values()
            asked = {review.link for review in decisions.waiting(tx) if review.kind == "refused"}
            key = runs.secret_key(tx)
        for record in known:
            for link in record.links:
                if link.external_id is not None and link.status != "gone":
                    found += self._untrue(record, link, asked)
        linked = {(link.system, link.external_id) for record in known for link in record.links}
        for system, simulator in self.world.systems.items():
            for one in simulator.records("people"):
                if (system, one["id"]) not in linked and not self._explained(system, one["id"], key):
                    found.append(("belongs to nobody", system, one["id"]))
        return found

    def _progress(self) -> tuple[int, int, int]:
        with self.engine.store.read() as tx:
            return self.world.writes(), decisions.last_id(tx), len(decisions.waiting(tx))

    def _untrue(self, record: Record, link: LinkState, asked: set[int | None]) -> list[Any]:
        found: list[Any] = []
        held = self.world.systems[link.system]._live["people"].get(str(link.external_id))
        if held is None:
            return [("a link to nothing", link.system, link.external_id)]
        reader = self.engine.plans["person"].readers[link.system]
        for name, seen in reader.read(held["fields"], True, {}).items():
            state, golden = link.fields.get(name, UNSEEN), record.golden.get(name, NOTHING)
            where = (link.system, link.external_id, name, state.value, golden.value, seen.value)
            if (seen.value, seen.invalid) != (state.value, state.invalid):
                found.append(("it believes otherwise", *where))
            stands = (
                golden.frozen is not None or state.blocked or state.ignored is not None or link.n in asked
            )
            if stands or not link.primary or (golden.value is None and not golden.until):
                continue
            if not in_step(state, golden.value):
                found.append(("it differs for ever", *where))
            elif state.met and state.base != golden.value:
                found.append(("a stale base", *where))
        return found

    def _explained(self, system: str, id_: str, key: bytes) -> bool:
        """It waits for a person to say whose it is, or was detached on purpose."""
        with self.engine.store.read() as tx:
            queued = records.by_external_id(tx, system, "people", [id_])
            buried = records.buried(tx, system, "people", [records.digest(key, "external", id_)])
        return bool(queued or buried)


def told(world: Worlds, folder: Path, delete: str, seeds: range) -> None:
    stage = Stage(world(FIELDS, DATA, create="always", delete=delete), folder)
    for seed in seeds:
        story = Story(stage, seed)
        story.tell()
        story.rest()
        assert story.wrong() == [], (seed, story.log)
        again = replay(story.engine)
        assert (again.difference, again.verified > 0) == (None, True), (seed, story.log)
        assert broken(story.engine.store) == [], (seed, story.log)
        story.engine.store.close()


@pytest.mark.parametrize("delete", ["detach", "propagate", "recreate", "review"])
def test_every_story_ends_in_agreement_or_with_a_question(
    world: Worlds, people: Any, tmp_path: Path, delete: str
) -> None:
    people(**VENDORS["careful" if delete in ("detach", "review") else "re-checked"])
    told(world, tmp_path, delete, range(4))


@pytest.mark.slow
@pytest.mark.parametrize("vendor", VENDORS.values(), ids=VENDORS)
@pytest.mark.parametrize("delete", ["detach", "propagate", "recreate", "review"])
def test_more_stories(
    world: Worlds, people: Any, tmp_path: Path, delete: str, vendor: dict[str, Any]
) -> None:
    people(**vendor)
    told(world, tmp_path, delete, range(100, 110))
