from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syncbroker.engine.find import field_of, find, find_one, label, plan_of
from syncbroker.errors import Missing
from tests.support.rig import Rig, entity_text, rig
from tests.support.three import three


@pytest.fixture
def world(tmp_path: Path, sqlite_url: str) -> Iterator[Rig]:
    with three(tmp_path, sqlite_url) as made:
        yield made


def ann(world: Rig) -> str:
    return next(one.id for one in world.records() if one.golden["email"].value == "ann@x.example")


def test_a_record_is_found_by_its_id_by_the_beginning_of_it_and_by_a_systems_id(
    tmp_path: Path, ready_url: str
) -> None:
    with three(tmp_path, ready_url) as world:
        id_ = ann(world)
        assert find(world.engine, "person", id_) == [id_]
        assert find(world.engine, "person", id_[:-1].upper()) == [id_]
        assert find(world.engine, "person", "crm:p000001") == [id_]
        assert find(world.engine, "person", "billing:p000002") == [id_]


def test_a_record_is_found_by_a_match_key_however_it_is_written(world: Rig) -> None:
    assert find(world.engine, "person", " ANN@x.example ") == [ann(world)]


def test_a_short_beginning_may_mean_several_records_and_the_message_lists_them(world: Rig) -> None:
    start = ann(world)[:8]
    assert len(find(world.engine, "person", start)) == 2
    with pytest.raises(Missing, match="means 2 records of person"):
        find_one(world.engine, "person", start)


@pytest.mark.parametrize(
    "name", ["nobody@x.example", "crm:p999999", "zendesk:1", "deadbeef-dead", "a", "", "%", "ann"]
)
def test_what_nobody_is_called_finds_nothing(world: Rig, name: str) -> None:
    assert find(world.engine, "person", name) == []


def test_a_message_about_a_name_that_means_nobody_does_not_repeat_it(world: Rig) -> None:
    with pytest.raises(Missing) as caught:
        find_one(world.engine, "person", "secret@x.example")
    assert "secret" not in str(caught.value)


def test_unknown_entities_and_fields_are_answered_with_near_ones(world: Rig) -> None:
    with pytest.raises(Missing) as caught:
        plan_of(world.engine, "persn")
    assert caught.value.hint == "did you mean person?"
    with pytest.raises(Missing) as caught:
        field_of(world.engine.plans["person"], "emial")
    assert caught.value.hint == "did you mean email?"
    with pytest.raises(Missing) as caught:
        field_of(world.engine.plans["person"], "zzz")
    assert caught.value.hint.startswith("there are: email, name")


def test_a_group_is_named_by_itself_or_by_a_member(world: Rig) -> None:
    plan = world.engine.plans["person"]
    assert field_of(plan, "address") == field_of(plan, "city") == "address"


def test_a_record_is_called_by_its_first_required_value(world: Rig) -> None:
    assert {label(world.engine, record) for record in world.records()} == {"ann@x.example", "bob@x.example"}


KEYED = """  phone: {type: phone, policy: prefer, systems: {crm: phone}}
  name: {type: person_name, policy: prefer, systems: {crm: name}}"""


def test_a_key_of_several_fields_is_found_by_all_of_them_or_by_the_first(
    tmp_path: Path, ready_url: str
) -> None:
    people = {
        "crm": [{"phone": "+15551234567", "name": "Ann Lee"}, {"phone": "+15551234567", "name": "Bob Ray"}]
    }
    entity = entity_text(KEYED, people, match="phone, name")
    with rig(tmp_path / "mappings", ready_url, entity, people) as world:
        world.sync()
        assert len(find(world.engine, "person", "(555) 123-4567")) == 2
        found = find(world.engine, "person", "(555) 123-4567, ann lee")
        assert [label(world.engine, one) for one in world.records() if one.id in found] == ["+15551234567"]
        assert find(world.engine, "person", "(555) 123-4568") == []
        assert find(world.engine, "person", "(555) 123-4567, ann lee, more") == []
