"""Fields that somebody puts back again and again: one record waits for a person, many pause the field there."""

from __future__ import annotations

from typing import Any

import pytest

from syncbroker.engine import answer, cycle, fights
from syncbroker.engine.offers import offers
from syncbroker.store import waits
from tests.engine.conftest import Worlds
from tests.support.rig import Rig

AT_REST = (0, 0, 0)
OWNED = """  email: {type: email, systems: {crm: email, mkt: email}}
  city: {type: text, authority: crm, systems: {crm: city, mkt: city}}
"""
TAGS = """  email: {type: email, systems: {crm: email, mkt: email}}
  tags: {type: tags, policy: union, systems: {crm: tags, mkt: tags}}
"""


def people(many: int, **held: Any) -> list[dict[str, Any]]:
    return [{"email": f"p{n}@x.example"} | held for n in range(many)]


def open_world(world: Worlds, many: int = 1, fields: str = OWNED, **held: Any) -> Rig:
    held = held or {"city": "Riga"}
    here = world(fields, {"crm": people(many, **held), "mkt": people(many, **held)})
    here.sync()
    return here


def put_back(here: Rig, times: int, city: str = "Oslo", ids: list[str] | None = None) -> None:
    """Somebody in mkt insists."""
    for _ in range(times):
        for id_ in ids or here.ids("mkt")[:1]:
            here.edit("mkt", id_, city=city)
        here.sync()


# ------------------------------------------------------------------------------------------- one record


@pytest.mark.parametrize(("times", "kinds"), [(1, []), (3, []), (4, ["contested"]), (6, ["contested"])])
def test_coming_back_three_times_to_an_earlier_value_freezes_the_field(
    any_world: Worlds, times: int, kinds: list[str]
) -> None:
    here = open_world(any_world)
    put_back(here, times)
    assert [one.kind for one in here.reviews()] == kinds
    assert here.quiet() == AT_REST


def test_however_slowly(world: Worlds) -> None:
    here = open_world(world)
    for _ in range(4):
        put_back(here, 1)
        here.clock.pass_(40 * 86_400)
        here.sweep()
    assert [one.kind for one in here.reviews()] == ["contested"]


def test_another_edit_in_between_is_no_fight(world: Worlds) -> None:
    here = open_world(world)
    for city in ("Oslo", "Oslo", "Oslo", "Turku", "Oslo", "Turku", "Oslo"):
        put_back(here, 1, city)
    assert here.reviews() == []


def test_an_owner_who_changes_their_mind_again_and_again_fights_nobody(world: Worlds) -> None:
    here = open_world(world)
    for city in ("Oslo", "Riga") * 4:
        here.edit("crm", "p000001", city=city)
        here.sync()
    assert here.reviews() == []
    assert here.held("mkt", "city") == ["Riga"]


def test_a_tag_that_is_taken_away_again_and_again_is_contested(world: Worlds) -> None:
    here = open_world(world, fields=TAGS, tags=["a"])
    for _ in range(12):
        if here.reviews():
            break
        here.edit("crm", "p000001", tags=["a", "vip"])
        here.sync()
        here.edit("mkt", "p000001", tags=["a"])  # an automation that knows better
        here.sync()
    assert {one.kind for one in here.reviews()} == {"contested"}
    assert here.quiet() == AT_REST


def test_the_other_fields_of_a_contested_record_go_on(world: Worlds) -> None:
    here = open_world(world)
    put_back(here, 4)
    here.edit("crm", "p000001", email="new@x.example")
    here.sync()
    assert here.held("mkt") == ["new@x.example"]


@pytest.mark.parametrize(("choice", "city"), [("golden", "Riga"), ("mkt", "Oslo"), ("value", "Bonn")])
def test_a_person_ends_a_fight_and_counting_starts_anew(any_world: Worlds, choice: str, city: str) -> None:
    here = open_world(any_world)
    put_back(here, 4)
    (review,) = here.reviews()
    assert [offer.name for offer in offers(review)] == ["golden", "mkt"]
    answer.answer(here.engine, review.id, choice, "eve", value="Bonn")
    here.sync()
    assert [here.held("crm", "city"), here.held("mkt", "city")] == [[city], [city]]
    put_back(here, 2, "Turku")
    assert here.reviews() == []
    assert here.quiet() == AT_REST


# ----------------------------------------------------------------------------------------- many at once


def test_many_at_once_pause_the_field_for_the_system(any_world: Worlds) -> None:
    here = open_world(any_world, fights.MANY + 2)
    put_back(here, 4, ids=here.ids("mkt")[: fights.MANY])
    asked = [one for one in here.reviews() if one.record_id is None]
    assert [(one.kind, one.system, one.field, one.body["records"]) for one in asked] == [
        ("contested", "mkt", "city", fights.MANY)
    ]
    put_back(here, 1, ids=here.ids("mkt")[fights.MANY :])
    assert here.held("mkt", "city") == ["Oslo"] * (fights.MANY + 2)  # nothing is written over
    here.edit("crm", "p000012", email="still@x.example")
    here.sync()
    assert here.held("mkt")[11] == "still@x.example"  # other fields are
    assert here.quiet() == AT_REST


def test_a_pause_ends_when_a_person_says_so(world: Worlds) -> None:
    here = open_world(world, fights.MANY + 2)
    put_back(here, 4, ids=here.ids("mkt")[: fights.MANY])
    put_back(here, 1, ids=here.ids("mkt")[fights.MANY :])
    (review,) = [one for one in here.reviews() if one.record_id is None]
    assert [offer.name for offer in offers(review)] == ["resume"]
    answer.answer(here.engine, review.id, "resume", "eve")
    here.sync()
    assert here.held("mkt", "city")[fights.MANY :] == ["Riga", "Riga"]
    with here.engine.store.read() as tx:
        assert waits.pauses(tx) == []


def test_fewer_pause_nothing(world: Worlds) -> None:
    here = open_world(world, fights.MANY)
    put_back(here, 4, ids=here.ids("mkt")[: fights.MANY - 1])
    assert len(here.reviews()) == fights.MANY - 1
    with here.engine.store.read() as tx:
        assert waits.pauses(tx) == []


def test_what_is_paused_is_owed_as_soon_as_it_goes_on_even_after_a_restart(world: Worlds) -> None:
    here = open_world(world, fights.MANY + 1)
    put_back(here, 4, ids=here.ids("mkt")[: fights.MANY])
    (review,) = [one for one in here.reviews() if one.record_id is None]
    here.edit("crm", "p000011", city="Turku")
    here.sync()
    assert here.held("mkt", "city")[-1] == "Riga"
    answer.answer(here.engine, review.id, "resume", "eve")
    cycle.recover(here.engine)
    here.sync()
    assert here.held("mkt", "city")[-1] == "Turku"
