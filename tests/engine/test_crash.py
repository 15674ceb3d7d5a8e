"""A process that dies between any two transactions: whoever comes after it ends in the same state.

Only the systems are looked at in the end: what they hold, how many records they have, and how many were ever made.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from syncbroker.engine import Engine, answer, cycle
from syncbroker.store import decisions
from syncbroker.store.database import Store, Tx
from tests.engine.conftest import Worlds
from tests.support.rig import Rig, open_ready
from tests.support.toy_vendor import ToySimulator

FIELDS = """\
  email: {type: email, required: true, systems: {crm: email, mkt: email}}
  city: {type: text, authority: [crm, mkt], policy: prefer, systems: {crm: city, mkt: city}}
  phone: {type: phone, policy: review, first_meeting: review, systems: {crm: phone, mkt: phone}}
  tags: {type: tags, policy: union, systems: {crm: tags, mkt: tags}}
"""
DATA = {
    "crm": [
        {"email": "ann@x.example", "city": "Riga", "phone": "+15551234567", "tags": ["a"]},
        {"email": "bob@x.example", "city": "Oslo"},
    ],
    "mkt": [
        {"email": "ann@x.example", "city": "Bonn", "phone": "+15552223333", "tags": ["b"]},
        {"email": "cleo@x.example", "city": "Turku"},
    ],
}


class Killed(BaseException):
    """kill -9, as near as one process can come to it: nothing may catch it."""


@dataclass
class Death:
    """At which commit (of those that change anything) the process dies, and whether it is still made. 0: it lives."""

    at: int
    after: bool
    commits: int = 0
    writes: list[int] = field(default_factory=list)
    """How many requests to write the systems had got at each commit."""


@contextmanager
def dying(death: Death, world: Rig) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        real: Callable[[Store], Any] = Store.write

        @contextmanager
        def write(self: Store) -> Iterator[Tx]:
            with real(self) as tx:
                driver = tx.connection.connection.dbapi_connection
                before = driver.total_changes  # type: ignore[union-attr]  # sqlite3's own count
                yield tx
                changes = driver.total_changes > before  # type: ignore[union-attr]  # as above
                death.commits += changes
                if changes:
                    death.writes.append(world.writes())
                if changes and death.commits == death.at and not death.after:
                    raise Killed
            if changes and death.commits == death.at and death.after:
                raise Killed

        patch.setattr(Store, "write", write)
        yield


class Stage:
    """One world whose systems can be put back to how they began; each run gets a store of its own."""

    def __init__(self, world: Rig, folder: Path) -> None:
        self.world, self.folder, self.runs = world, folder, 0
        self._begin = {name: state_of(one) for name, one in world.systems.items()}

    def again(self) -> Engine:
        for name, one in self.world.systems.items():
            one.__dict__.update(copy.deepcopy(self._begin[name]))
            one.log.clear()
        self.runs += 1
        store = open_ready(f"sqlite:///{self.folder / f'{self.runs}.db'}")
        return replace(self.world.engine, store=store, shapes={})

    def end(self) -> Any:
        """What the systems hold: values without ids or versions, and how many records were made."""
        found = {}
        for name, one in self.world.systems.items():
            held = [
                {k: sorted(v) if isinstance(v, list) else v for k, v in record["fields"].items()}
                for record in one.records("people")
            ]
            found[name] = (sorted(held, key=lambda fields: str(fields["email"])), one._counts["people"])
        return found


def state_of(simulator: ToySimulator) -> dict[str, Any]:
    names = ("_live", "_shown", "_gone", "_history", "_jobs", "_counts")
    return copy.deepcopy({name: getattr(simulator, name) for name in names})


def story(stage: Stage, engine: Engine, death: Death) -> None:
    """Syncs with edits between them, an answered review, a deletion; whoever dies is followed by another."""
    world = stage.world
    steps: list[Callable[[], None]] = [
        lambda: None,
        lambda: (world.edit("crm", "p000001", city="Paris"), world.edit("mkt", "p000001", tags=["a"]))[0],
        lambda: (world.edit("crm", "p000001", city="Rome"), settle_reviews(engine))[1],
    ]
    for change in steps:
        change()
        try:
            with dying(death, world):
                cycle.sync(engine)
        except Killed:
            engine = replace(engine, shapes={})
            cycle.recover(engine)
            cycle.sync(engine)
    world.systems["mkt"].remove("people", "p000002")
    world.clock.pass_(350)
    cycle.sync(engine)
    world.clock.pass_(350)
    cycle.sweep(engine)


def settle_reviews(engine: Engine) -> None:
    with engine.store.read() as tx:
        found = [review for review in decisions.waiting(tx) if review.kind == "conflict"]
    for review in found:
        answer.answer(engine, review.id, "crm", "pat")


@pytest.mark.parametrize("careful", [True, False], ids=["a careful vendor", "a vendor that tells nothing"])
def test_a_process_that_dies_anywhere_leaves_the_same_end(
    world: Worlds, people: Any, tmp_path: Path, careful: bool
) -> None:
    """A careful vendor has conditional writes and tells who wrote; for the other one dying around writes is tried."""
    people(conditional=careful, history=careful)
    stage = Stage(world(FIELDS, DATA, create="always", delete="detach"), tmp_path)
    engine, alive = stage.again(), Death(0, after=False)
    story(stage, engine, alive)
    expected = stage.end()
    engine.store.close()
    assert expected["crm"][1] == expected["mkt"][1] == 3
    assert alive.commits > 30
    # To die before a commit is to die after the one before it, unless the systems were written to between the two.
    written = [n for n, (a, b) in enumerate(pairwise([0, *alive.writes]), 1) if a != b]
    deaths = [(n, False) for n in written]
    if careful:
        deaths += [(n, True) for n in range(1, alive.commits + 1)]
    else:
        deaths += [(n, True) for n in written]
    wrong: list[Any] = []
    for at, after in deaths:
        engine = stage.again()
        story(stage, engine, Death(at, after))
        if stage.end() != expected:
            wrong.append((at, after, stage.end()))
        before = stage.world.writes(), last(engine)
        cycle.sweep(engine)
        if (stage.world.writes(), last(engine)) != before:
            wrong.append((at, after, "it does not rest"))
        engine.store.close()
    assert wrong == []


def last(engine: Engine) -> int:
    with engine.store.read() as tx:
        return decisions.last_id(tx)
