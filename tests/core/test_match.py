"""Which record an unlinked observation belongs to."""

from __future__ import annotations

from syncbroker.core.mapping import MatchRule
from syncbroker.core.match import Match, key_values, keys, match
from syncbroker.core.plan import Plan
from syncbroker.core.types import Type
from tests.support.rules import plan, rule

EMAIL = MatchRule(on=("email",), line=4)
PHONE_NAME = MatchRule(on=("phone", "name"), line=5)
NAME = MatchRule(on=("name",), then="review", line=6)


def people(*match: MatchRule) -> Plan:
    return plan(
        rule("prefer", name="email", type=Type.EMAIL),
        rule("prefer", name="phone", type=Type.PHONE),
        rule("prefer", name="name", type=Type.PERSON_NAME),
        rule("prefer", name="code"),
        rule("prefer", name="note"),
        match=match,
    )


PEOPLE = people(EMAIL, PHONE_NAME, NAME)


def test_one_key_per_rule_whose_fields_all_have_values_in_the_order_written() -> None:
    found = keys(PEOPLE, {"email": "a@x.example", "phone": None, "name": "Ann Lee"})
    assert [key.split("|")[0] for key in found] == ["email", "name"]


def test_two_spellings_of_a_name_make_one_key() -> None:
    assert keys(PEOPLE, {"name": "Ann Lee"}) == keys(PEOPLE, {"name": "ann lee"})


def test_keys_of_several_fields_never_run_into_each_other() -> None:
    both = people(MatchRule(on=("code", "note")))
    one = keys(both, {"code": "x|y", "note": "z"})
    other = keys(both, {"code": "x", "note": "y|z"})
    slashes = keys(both, {"code": "x\\", "note": "y|z"})
    assert len({*one, *other, *slashes}) == 3


def test_nothing_that_hits_means_a_new_record() -> None:
    assert match(PEOPLE, ["email|a"], {}) == Match()


def test_one_record_is_linked_by_the_first_rule_that_hits() -> None:
    found = match(PEOPLE, ["email|a", "phone,name|p|n"], {"phone,name|p|n": ["r2"], "email|a": ["r1"]})
    assert found == Match("r1", rule="email", line=4)


def test_a_later_rule_is_tried_when_an_earlier_one_hits_nothing() -> None:
    assert (
        match(PEOPLE, ["email|a", "phone,name|p|n"], {"email|a": [], "phone,name|p|n": ["r2"]}).record == "r2"
    )


def test_a_key_that_hits_two_records_is_never_guessed() -> None:
    found = match(
        PEOPLE, ["email|a", "phone,name|p|n"], {"email|a": ["r2", "r1", "r2"], "phone,name|p|n": ["r1"]}
    )
    assert (found.record, found.proposed) == ("", ("r1", "r2"))


def test_a_rule_that_only_proposes_links_nothing() -> None:
    found = match(PEOPLE, ["name|n"], {"name|n": ["r1"]})
    assert (found.record, found.proposed, found.line) == ("", ("r1",), 6)


def test_a_member_of_a_group_is_found_in_the_groups_tuple() -> None:
    grouped = plan(
        rule("prefer", name="street", group="home"),
        rule("prefer", name="zip", group="home"),
        match=(MatchRule(on=("zip",)),),
    )
    values = {"home": ("Main 1", "12345")}
    assert keys(grouped, key_values(grouped, values.get)) == ["zip|12345"]
    assert keys(grouped, key_values(grouped, lambda _: None)) == []
