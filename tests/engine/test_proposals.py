"""`on_foreign_edit: propose`: an edit that may not decide becomes a question; every way that question can end."""

from __future__ import annotations

from typing import Any

import pytest

from syncbroker.engine import answer
from syncbroker.errors import BadAnswer
from tests.engine.conftest import Worlds
from tests.support.rig import Rig

AT_REST = (0, 0, 0)
FIELDS = """  email: {type: email, systems: {crm: email, mkt: email, sup: email}}
  city:
    type: text
    authority: crm
    on_foreign_edit: propose
    systems: {crm: city, mkt: city, sup: {field: city, direction: push}}
"""


@pytest.fixture
def here(any_world: Worlds) -> Rig:
    held = {"email": "ann@x.example", "city": "Riga"}
    here = any_world(FIELDS, {s: [held] for s in ("crm", "mkt", "sup")}, delete="detach")
    here.sync()
    return here


def cities(here: Rig) -> list[Any]:
    return [here.held(system, "city")[0] if here.ids(system) else None for system in here.systems]


def propose(here: Rig, city: str = "Oslo") -> int:
    here.edit("mkt", "p000001", city=city)
    here.sync()
    (review,) = here.reviews()
    assert review.kind == "proposal"
    return review.id


@pytest.mark.parametrize(
    ("choice", "value", "end"),
    [("accept", None, "Oslo"), ("reject", None, "Riga"), ("value", "Bonn", "Bonn")],
)
def test_a_proposal_that_is_answered(here: Rig, choice: str, value: str | None, end: str) -> None:
    answer.answer(here.engine, propose(here), choice, "eve", value=value)
    here.sync()
    assert cities(here) == [end] * 3
    assert here.quiet() == AT_REST


def test_while_it_waits_nothing_moves_anywhere(here: Rig) -> None:
    propose(here)
    assert cities(here) == ["Riga", "Oslo", "Riga"]
    assert here.quiet() == AT_REST


@pytest.mark.parametrize(
    ("editor", "city", "end", "waiting"),
    [
        ("mkt", "Riga", ["Riga"] * 3, 0),  # taken back
        ("crm", "Oslo", ["Oslo"] * 3, 0),  # the owner makes it its own
        ("mkt", "Turku", ["Riga", "Turku", "Riga"], 1),  # another proposal in its place
        ("crm", "Bonn", ["Bonn", "Oslo", "Bonn"], 1),  # the owner goes on; the question still stands
        ("sup", "Elba", ["Riga", "Oslo", "Riga"], 1),  # a copy is put back, and proposes nothing
    ],
)
def test_an_edit_while_a_proposal_waits(
    here: Rig, editor: str, city: str, end: list[str], waiting: int
) -> None:
    propose(here)
    here.edit(editor, "p000001", city=city)
    here.sync()
    assert cities(here) == end
    assert len(here.reviews()) == waiting
    assert here.quiet() == AT_REST


def test_a_proposal_of_a_record_that_is_gone_closes(here: Rig) -> None:
    propose(here)
    here.clock.pass_(60)
    here.systems["mkt"].remove("people", "p000001")
    here.sweep()
    assert here.reviews() == []
    assert cities(here) == ["Riga", None, "Riga"]


def test_a_first_meeting_proposes_nothing(world: Worlds) -> None:
    held = {"email": "ann@x.example"}
    here = world(FIELDS, {"crm": [held | {"city": "Riga"}], "mkt": [held | {"city": "Oslo"}], "sup": [held]})
    here.sync()
    assert (cities(here), here.reviews()) == (["Riga"] * 3, [])


def test_an_answer_to_an_older_proposal_is_refused(here: Rig) -> None:
    number = propose(here)
    here.edit("mkt", "p000001", city="Turku")
    here.sync()
    with pytest.raises(BadAnswer, match="was closed"):
        answer.answer(here.engine, number, "accept", "eve")
