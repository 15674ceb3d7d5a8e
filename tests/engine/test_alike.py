"""Records that are only alike are proposed to a person, never linked."""

from __future__ import annotations

import pytest

from syncbroker.core.similar import CROWD
from syncbroker.engine import answer
from syncbroker.store import runs
from tests.engine.conftest import Worlds
from tests.support.rig import Rig, entity_text

FIELDS = """\
  email: {type: email, authority: [crm, mkt], policy: prefer, systems: {crm: email, mkt: email}}
  name: {type: person_name, authority: [crm, mkt], policy: prefer, systems: {crm: name, mkt: name}}
"""
JOHN = {"email": "john@x.example", "name": "John Smith"}
JON = {"email": "jon@y.example", "name": "Jon Smith"}
AT_REST = (0, 0, 0)


def text(**given: str) -> str:
    made = entity_text(FIELDS, ["crm", "mkt"], **given)
    return made.replace("fields:\n", "  - {similar: {name: 0.9}, then: review}\nfields:\n", 1)


def asked(worlds: Worlds, **given: str) -> Rig:
    here = worlds(FIELDS, {"crm": [JOHN], "mkt": [JON]}, entity=text(**given))
    here.sync()
    return here


def test_something_alike_waits_for_a_person_with_the_evidence(any_world: Worlds) -> None:
    here = asked(any_world)
    (review,) = here.reviews()
    (record,) = here.records()
    assert review.kind == "match"
    assert review.body["records"] == [record.id]
    assert review.body["scores"] == {record.id: {"name": 0.947}}
    assert [o.kind for o in here.outcomes("match_queued")] == ["match_queued"]
    assert here.quiet() == AT_REST


def test_the_record_is_not_created_where_something_alike_waits(world: Worlds) -> None:
    here = asked(world, create="always")
    assert here.held("mkt") == ["jon@y.example"]
    assert here.quiet() == AT_REST


def test_the_answer_that_it_is_the_record_links_it(world: Worlds) -> None:
    here = asked(world, create="always")
    answer.answer(here.engine, here.reviews()[0].id, here.records()[0].id, "pat")
    here.sync()
    assert here.held("mkt", "name") == here.held("crm", "name") == ["John Smith"]
    assert here.quiet() == AT_REST


def test_the_answer_that_it_is_another_makes_a_record_and_lets_the_first_be_created(world: Worlds) -> None:
    here = asked(world, create="always")
    answer.answer(here.engine, here.reviews()[0].id, "new", "pat")
    here.sync()
    assert sorted(here.held("mkt")) == sorted(here.held("crm")) == ["john@x.example", "jon@y.example"]
    assert here.quiet() == AT_REST


def test_a_record_deleted_before_the_answer_lets_the_first_be_created(world: Worlds) -> None:
    here = asked(world, create="always")
    here.systems["mkt"].remove("people", "p000001")
    here.sweep()
    here.sync()
    assert here.reviews() == []
    assert here.held("mkt") == ["john@x.example"]


def test_two_alike_in_one_reading_are_proposed_to_each_other(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [JOHN, JON], "mkt": []}, entity=text())
    here.sync()
    assert (len(here.records()), len(here.reviews())) == (1, 1)


def test_an_equal_key_links_without_a_question(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [JOHN], "mkt": [JON | {"email": JOHN["email"]}]}, entity=text())
    here.sync()
    assert here.reviews() == []
    assert [len(record.links) for record in here.records()] == [2]


def test_a_record_is_found_under_the_name_it_came_to_have(any_world: Worlds) -> None:
    here = any_world(FIELDS, {"crm": [JOHN], "mkt": []}, entity=text())
    here.sync()
    here.edit("crm", "p000001", name="Mary Weatherby")
    here.sync()
    here.systems["mkt"].insert("people", {"email": "m@z.example", "name": "Mary Wetherby"})
    here.systems["mkt"].insert("people", {"email": "j@z.example", "name": "John Smith"})
    here.sync()
    assert [one.body["scores"] for one in here.reviews()] == [{here.records()[0].id: {"name": 0.963}}]


def test_a_rule_that_is_added_later_finds_records_that_were_there(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [JOHN], "mkt": []})
    here.sync()
    here.remap(text())
    here.systems["mkt"].insert("people", JON)
    here.sync()
    assert [one.kind for one in here.reviews()] == ["match"]


def test_a_name_that_too_many_share_is_passed_over_and_counted(world: Worlds) -> None:
    many = [{"email": f"a{n}@x.example", "name": "Lee"} for n in range(CROWD + 1)]
    here = world(FIELDS, {"crm": [], "mkt": []}, entity=text())
    here.remap(entity_text(FIELDS, ["crm", "mkt"]))
    for one in many:
        here.systems["crm"].insert("people", one)
    here.sync()
    here.remap(text())
    here.systems["mkt"].insert("people", {"email": "lee@y.example", "name": "Lee"})
    here.sync()
    with here.engine.store.read() as tx:
        assert runs.counters(tx)["likeness_crowded", "mkt", "people"] == 1
    assert here.reviews() == []


@pytest.mark.parametrize("name", [None, "", "?"])
def test_what_has_no_name_is_like_nobody(world: Worlds, name: str | None) -> None:
    here = world(
        FIELDS,
        {"crm": [{"email": "a@x.example", "name": name}], "mkt": [{"email": "b@x.example", "name": name}]},
        entity=text(),
    )
    here.sync()
    assert here.reviews() == []
