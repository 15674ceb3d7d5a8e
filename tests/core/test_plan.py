"""Mapping rules compiled: raw items to observations, golden values to raw writes."""

from __future__ import annotations

from typing import Any

import pytest

from syncbroker.core.mapping import EntityRules, FieldLink, FieldRule, LinkRule, MatchRule, ValueSpec
from syncbroker.core.match import key_values, keys
from syncbroker.core.plan import ABSENT, PENDING, Plan, compile_plan, flat, pick
from syncbroker.core.types import Type
from tests.support.rules import plan, rule


def test_a_dotted_path_leads_into_nested_members_and_a_whole_key_wins() -> None:
    assert pick({"a": {"b": 1}}, "a.b") == 1
    assert pick({"a.b": 2, "a": {"b": 1}}, "a.b") == 2
    assert pick({"a": {"b": None}}, "a.b") is None


@pytest.mark.parametrize("item", [{}, {"a": None}, {"a": 3}, {"a": []}, {"a": {"c": 1}}])
def test_a_path_that_leads_nowhere_is_absent(item: dict[str, Any]) -> None:
    assert pick(item, "a.b") is ABSENT


READER = plan(rule("prefer", type=Type.PHONE), rule("prefer", name="g")).readers["crm"]


def test_a_complete_item_shows_every_field_and_what_is_absent_is_empty() -> None:
    found = READER.read({"f": "(555) 123-4567"}, True, {})
    assert (found["f"].raw, found["f"].value) == ("(555) 123-4567", "+15551234567")
    assert (found["g"].value, found["g"].placeholder) == (None, False)


def test_an_incomplete_item_shows_only_what_is_in_it() -> None:
    assert set(READER.read({"g": None}, False, {})) == {"g"}


def test_a_value_without_a_canonical_form_says_why() -> None:
    found = READER.read({"f": "no phone"}, False, {})["f"]
    assert (found.raw, found.value) == ("no phone", None)
    assert found.invalid


def test_filler_is_a_placeholder_and_a_bare_empty_is_none() -> None:
    assert READER.read({"g": "N/A"}, False, {})["g"].placeholder
    for empty in (None, "", [], {}):
        assert not READER.read({"g": empty}, False, {})["g"].placeholder


GROUP = plan(rule("prefer", name="city", group="home"), rule("prefer", name="zip", group="home"))


def test_a_group_is_one_field_and_its_value_a_tuple_with_its_empties() -> None:
    reader = GROUP.readers["crm"]
    assert set(GROUP.fields) == {"home"}
    found = reader.read({"city": "Bonn"}, True, {})["home"]
    assert (found.raw, found.value) == (["Bonn", None], ("Bonn", None))
    assert reader.read({}, True, {})["home"].value is None


def test_a_group_with_an_absent_member_is_not_shown_by_an_incomplete_item() -> None:
    assert GROUP.readers["crm"].read({"city": "Bonn"}, False, {}) == {}


def test_a_group_with_an_unreadable_member_is_unreadable() -> None:
    mixed = plan(
        rule("prefer", name="city", group="home"), rule("prefer", name="tel", group="home", type=Type.PHONE)
    )
    found = mixed.readers["crm"].read({"city": "Bonn", "tel": "no phone"}, True, {})["home"]
    assert (found.value, found.raw) == (None, ["Bonn", "no phone"])
    assert found.invalid


def test_a_group_is_written_member_by_member_and_cleared_as_a_whole() -> None:
    reader = GROUP.readers["crm"]
    assert reader.render("home", ("Bonn", None), {}) == {"city": "Bonn", "zip": None}
    assert reader.render("home", None, {}) == {"city": None, "zip": None}


def test_a_group_that_a_system_holds_only_in_part_is_not_read_there() -> None:
    partly = plan(
        rule("prefer", name="city", group="home", systems=("crm", "mkt")),
        rule("prefer", name="zip", group="home", systems=("crm",)),
    )
    assert set(partly.readers["mkt"].fields) == set()


def test_golden_groups_are_spread_over_their_members() -> None:
    assert flat(GROUP, {"home": ("Bonn", "1")}) == {"city": "Bonn", "zip": "1"}
    assert flat(GROUP, {}) == {"city": None, "zip": None}


def test_a_group_of_one_is_a_field_of_its_own_value() -> None:
    alone = plan(rule("prefer", name="city", group="home"), match=(MatchRule(on=("city",)),))
    assert alone.readers["crm"].read({"city": "Bonn"}, True, {})["home"].value == "Bonn"
    assert flat(alone, {"home": "Bonn"}) == {"city": "Bonn"}
    assert keys(alone, key_values(alone, {"home": "Bonn"}.get)) == ["city|bonn"]


REFERS = plan(rule("prefer", type=Type.REFERENCE, entity="company"))


def test_a_reference_is_the_record_it_leads_to() -> None:
    found = REFERS.readers["crm"].read({"f": "c-7"}, True, {("crm", "company", "c-7"): "record-7"})["f"]
    assert (found.raw, found.value) == ("c-7", "record-7")


def test_a_reference_to_what_is_not_linked_is_pending_and_not_empty() -> None:
    found = REFERS.readers["crm"].read({"f": "c-7"}, True, {("mkt", "company", "c-7"): "record-7"})["f"]
    assert (found.value, found.invalid, found.pending) == (None, PENDING, True)


def test_a_reference_is_written_as_the_other_systems_id_once_it_has_one() -> None:
    reader = REFERS.readers["crm"]
    assert reader.render("f", "record-7", {"record-7": "c-7"}) == {"f": "c-7"}
    assert reader.render("f", "record-7", {}) is None
    assert reader.render("f", None, {}) == {"f": None}


@pytest.mark.parametrize("raw", [5, 5.0, "5"])
def test_a_numeric_reference_is_the_same_in_every_spelling(raw: Any) -> None:
    found = REFERS.readers["crm"].read({"f": raw}, True, {("crm", "company", "5"): "record-5"})["f"]
    assert found.value == "record-5"


def test_directions_say_what_is_pulled_and_what_is_pushed() -> None:
    one = rule("prefer", push_only=("mkt",), pull_only=("sup",))
    readers = plan(one).readers
    flows = {name: (reader.pulls("f"), reader.pushes("f")) for name, reader in readers.items()}
    assert flows == {"crm": (True, True), "mkt": (False, True), "sup": (True, False)}
    assert not readers["crm"].pulls("unknown")


def two_names() -> Plan:
    spec = ValueSpec(type=Type.TEXT)
    links = {
        "crm": FieldLink(system="crm", path="properties.name", pull=True, push=True, spec=spec),
        "mkt": FieldLink(system="mkt", path="n", pull=True, push=True, spec=spec),
    }
    named = FieldRule(
        name="f", type=Type.TEXT, spec=spec, policy="prefer", authority=(), rank=("crm", "mkt"), links=links,
        file="person.yaml", line=3,
    )  # fmt: skip
    entity = EntityRules(
        name="person",
        file="person.yaml",
        fields={"f": named},
        links={name: LinkRule(system=name, object="people") for name in links},
    )
    return compile_plan(entity, "v9")


def test_each_system_is_read_and_written_at_its_own_path() -> None:
    made = two_names()
    assert made.readers["crm"].paths == ("properties.name",)
    assert made.readers["mkt"].render("f", "Ann", {}) == {"n": "Ann"}
    assert (made.version, made.places) == ("v9", {"f": "person.yaml:3"})
