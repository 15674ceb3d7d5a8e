"""A process that dies between any two transactions: whoever comes after it ends in the same state.

Only the systems are looked at in the end: what they hold, how many records they have, and how many were ever made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from syncbroker.engine import Engine, answer, cycle
from syncbroker.store import decisions
from tests.engine.conftest import Worlds
from tests.support.stage import THIRDS, Death, Killed, Stage, dying

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


def story(stage: Stage, engine: Engine, death: Death) -> None:
    """Syncs with edits between them, an answered review, a deletion; whoever dies is followed by another."""
    world = stage.world
    steps: list[Callable[[], None]] = [
        lambda: None,
        lambda: (world.edit("crm", "p000001", city="Paris"), world.edit("mkt", "p000001", tags=["a"]))[0],
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
    world.edit("crm", "p000001", city="Rome")
    settle_reviews(engine)
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


@pytest.mark.parametrize("third", THIRDS)
@pytest.mark.parametrize("careful", [True, False], ids=["a careful vendor", "a vendor that tells nothing"])
def test_a_process_that_dies_anywhere_leaves_the_same_end(
    world: Worlds, people: Any, tmp_path: Path, careful: bool, third: int
) -> None:
    """A careful vendor has conditional writes and tells who wrote; for the other one dying around writes is tried."""
    people(conditional=careful, history=careful)
    stage = Stage(world(FIELDS, DATA, create="always", delete="detach"), tmp_path)
    engine, alive = stage.again(), Death(0, after=False)
    story(stage, engine, alive)
    expected = stage.end()
    engine.store.close()
    assert expected["crm"][1] == expected["mkt"][1] == 3
    assert alive.commits > 20
    # To die before a commit is to die after the one before it, unless the systems were written to between the two.
    written = [n for n, (a, b) in enumerate(pairwise([0, *alive.writes]), 1) if a != b]
    deaths = [(n, False) for n in written]
    if careful:
        deaths += [(n, True) for n in range(1, alive.commits + 1)]
    else:
        deaths += [(n, True) for n in written]
    wrong: list[Any] = []
    for at, after in deaths[third::3]:
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
