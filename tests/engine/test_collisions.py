"""Linked records that come to share a key, or that a vendor merged: a person is asked whether they are one."""

from __future__ import annotations

from typing import Any

import pytest

from syncbroker.engine import answer
from syncbroker.errors import BadAnswer
from tests.engine.conftest import Worlds
from tests.engine.test_identity import links, seen, stage
from tests.engine.test_merge import joined
from tests.support.rig import Rig, entity_text

FIELDS = """\
  email: {type: email, authority: [crm, mkt], policy: prefer, systems: {crm: email, mkt: email}}
  name: {type: person_name, authority: [crm, mkt], policy: prefer, systems: {crm: name, mkt: name}}
  phone: {type: phone, authority: [crm, mkt], policy: prefer, systems: {crm: phone, mkt: phone}}
"""
ANN = {"email": "ann@x.example", "name": "Ann Lee", "phone": "+15551234567"}
LEE = {"email": "lee@x.example", "name": "A. Lee"}
AT_REST = (0, 0, 0)


def asked(worlds: Worlds, **given: Any) -> Rig:
    """Two in crm; then the second one gets the address of the first."""
    here = worlds(FIELDS, {"crm": [ANN, LEE], "mkt": []}, **given)
    here.sync()
    here.edit("crm", "p000002", email="ann@x.example")
    here.sync()
    return here


def test_a_linked_record_that_comes_to_share_a_key_is_proposed_for_a_merge(any_world: Worlds) -> None:
    here = asked(any_world)
    (review,) = here.reviews()
    assert review.kind == "merge"
    assert review.body["records"] == sorted(record.id for record in here.records())
    assert [(one["rule"], one["place"].split(":")[0]) for one in review.body["evidence"]] == [
        ("email", "mappings/person.yaml")
    ]
    assert here.quiet() == AT_REST


def test_the_answer_names_the_survivor(world: Worlds) -> None:
    here = asked(world)
    (review,) = here.reviews()
    survivor = here.records()[1].id
    answer.answer(here.engine, review.id, survivor, "pat")
    here.sync()
    assert [record.id for record in here.records()] == [survivor]
    assert here.reviews() == []
    assert here.quiet() == AT_REST


def test_the_answer_that_they_are_different_lets_both_be(world: Worlds) -> None:
    here = asked(world)
    answer.answer(here.engine, here.reviews()[0].id, "keep", "pat")
    here.edit("crm", "p000002", email="lee@x.example")
    here.sync()
    here.edit("crm", "p000002", email="ann@x.example")
    here.sync()
    assert (len(here.records()), here.reviews()) == (2, [])
    assert here.quiet() == AT_REST


def test_new_evidence_asks_once_more(world: Worlds) -> None:
    here = asked(world, match="email], then: link}\n  - {on: [phone")
    answer.answer(here.engine, here.reviews()[0].id, "keep", "pat")
    here.edit("crm", "p000002", phone=ANN["phone"])
    here.sync()
    (review,) = here.reviews()
    assert [one["rule"] for one in review.body["evidence"]] == ["email", "phone"]


def test_an_open_question_gathers_evidence(world: Worlds) -> None:
    here = asked(world, match="email], then: link}\n  - {on: [phone")
    here.edit("crm", "p000002", phone=ANN["phone"])
    here.sync()
    (review,) = here.reviews()
    assert [one["rule"] for one in review.body["evidence"]] == ["email", "phone"]


def test_an_observation_that_is_one_by_its_first_key_and_another_by_a_later_one_proposes_a_merge(
    world: Worlds,
) -> None:
    entity = entity_text(FIELDS, ["crm", "mkt"], match="email], then: link}\n  - {on: [phone")
    here = world(FIELDS, {"crm": [ANN, LEE], "mkt": []}, entity=entity)
    here.sync()
    here.systems["mkt"].insert("people", LEE | {"phone": ANN["phone"]})
    here.sync()
    assert [one.kind for one in here.reviews()] == ["merge"]


def test_an_answer_to_records_that_were_merged_meanwhile_is_refused(world: Worlds) -> None:
    here = asked(world)
    (review,) = here.reviews()
    one, other = (record.id for record in here.records())
    joined(here, one, other)
    assert here.reviews() == []
    with pytest.raises(BadAnswer, match="was closed"):
        answer.answer(here.engine, review.id, one, "pat")


def test_a_match_review_that_proposed_an_absorbed_record_leads_to_the_survivor(world: Worlds) -> None:
    entity = entity_text(FIELDS, ["crm", "mkt"]).replace("{on: [email]}", "{on: [email], then: review}")
    here = world(FIELDS, {"crm": [ANN, LEE], "mkt": []}, entity=entity)
    here.sync()
    here.systems["mkt"].insert("people", ANN)
    here.sync()
    (review,) = here.reviews()
    one, other = (record.id for record in here.records())
    joined(here, other, one)
    answer.answer(here.engine, review.id, one, "pat")
    here.sync()
    assert [len(found) for found in links(here)] == [3]
    assert here.quiet() == AT_REST


# --------------------------------------------------------------------------------------------- at the vendor


def merged_there(worlds: Worlds) -> Rig:
    people = [ANN, LEE]
    here = worlds(FIELDS, {"crm": people, "mkt": people}, create="always")
    here.sync()
    here.systems["crm"].merge("p000001", "p000002")
    here.sweep()
    here.sync()
    return here


def test_what_a_vendor_merged_is_noted_on_both_records_and_proposed(any_world: Worlds) -> None:
    here = merged_there(any_world)
    assert [(o.kind, o.system) for o in here.outcomes("merged")] == [("merged", "crm"), ("merged", "crm")]
    (review,) = here.reviews()
    assert (review.kind, review.body["rule"]) == ("merge", "merged in crm")
    assert here.ids("crm") == ["p000002"]
    assert here.quiet() == AT_REST


def test_a_merge_that_follows_the_vendors_brings_all_together(world: Worlds) -> None:
    here = merged_there(world)
    (review,) = here.reviews()
    survivor = next(record.id for record in here.records() if len(record.links) == 2)
    answer.answer(here.engine, review.id, survivor, "pat")
    here.sync()
    (record,) = here.records()
    assert sorted((one.system, one.primary) for one in record.links) == [
        ("crm", True),
        ("mkt", False),
        ("mkt", True),
    ]
    assert here.quiet() == AT_REST


def test_a_vendors_merge_into_what_waits_for_a_person_answers_the_question(world: Worlds) -> None:
    entity = entity_text(FIELDS, ["crm", "mkt"]).replace("{on: [email]}", "{on: [email], then: review}")
    here = world(FIELDS, {"crm": [ANN, LEE | {"email": "ann@x.example"}], "mkt": []}, entity=entity)
    here.sync()
    assert [one.kind for one in here.reviews()] == ["match"]
    here.systems["crm"].merge("p000001", "p000002")
    here.sweep()
    here.sync()
    assert here.reviews() == []
    assert links(here) == [[("crm", "p000002", True)]]
    assert here.quiet() == AT_REST


def test_two_at_once_that_are_both_new_are_one_record(any_world: Worlds) -> None:
    here = any_world(FIELDS, {"crm": [ANN], "mkt": [ANN | {"name": "A. Lee"}]})
    stage(here, "crm", seen(here, "p000001", ANN))
    stage(here, "mkt", seen(here, "p000001", ANN))
    assert [len(found) for found in links(here)] == [2]
