"""How names are found to be alike, and that those who are alike are found without looking at everybody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.core.mapping import MatchRule
from syncbroker.core.match import Match, index, keys, match
from syncbroker.core.plan import Plan
from syncbroker.core.similar import PROPOSED, Likeness, alike, blocks, likeness
from syncbroker.core.types import Type
from tests.support.rules import plan, rule

NAME = MatchRule(similar=(("name", 0.9),), then="review", line=8)
BOTH = MatchRule(similar=(("name", 0.9), ("firm", 0.8)), then="review", line=9)
EMAIL = MatchRule(on=("email",), line=4)


def people(*match: MatchRule) -> Plan:
    return plan(
        rule("prefer", name="email", type=Type.EMAIL),
        rule("prefer", name="name", type=Type.PERSON_NAME),
        rule("prefer", name="firm", type=Type.COMPANY_NAME),
        match=match,
    )


PEOPLE = people(EMAIL, NAME)
FIRMS = people(BOTH)


@pytest.mark.parametrize(
    ("one", "other", "score"),
    [
        ("john smith", "jon smith", 0.947),
        ("john smith", "smith john", 1.0),
        ("john smith", "smith jon", 0.947),
        ("ann lee", "ann lee", 1.0),
        ("ann lee", "bob kay", 0.143),
    ],
)
def test_likeness_is_the_share_of_letters_in_common_with_words_in_any_order(
    one: str, other: str, score: float
) -> None:
    assert round(likeness(one, other), 3) == score


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("John Smith", "Jon Smith"),
        ("John Smith", "Smith, John"),
        ("Björn Ångström", "Bjorn Angstrom"),
        ("Smith", "Smyth"),
        ("Katherine", "Catherine"),
        ("Maria del Carmen Garcia Lopez", "Maria Carmen Garcia Lopez"),
    ],
)
def test_names_that_are_alike_share_a_block(one: str, other: str) -> None:
    assert set(blocks(PEOPLE, {"name": one})) & set(blocks(PEOPLE, {"name": other}))


@given(st.text(max_size=200))
def test_a_text_has_a_bounded_number_of_blocks_and_none_is_a_key(text: str) -> None:
    found = blocks(PEOPLE, {"name": text})
    assert len(found) <= 15
    assert not set(found) & set(keys(PEOPLE, {"name": text, "email": text}))
    assert all(one.startswith("~name|") for one in found)


def test_an_entity_without_rules_of_likeness_has_no_blocks() -> None:
    assert index(people(EMAIL), {"name": "Ann Lee", "email": "a@x.example"}) == ["email|a@x.example"]


def test_every_field_of_a_rule_must_reach_its_likeness() -> None:
    others = {
        "both": [{"name": "Jon Smith", "firm": "Acme Industry"}],
        "name only": [{"name": "John Smith", "firm": "Globex"}],
        "no firm": [{"name": "John Smith"}],
    }
    found = alike(FIRMS, BOTH, {"name": "John Smith", "firm": "Acme Industries Ltd"}, others)
    assert found == [Likeness("both", {"name": 0.947, "firm": 0.857})]


def test_the_nearest_of_a_records_values_counts() -> None:
    others = {"r": [{"name": "Robert Kay"}, {"name": "Bob Kay"}]}
    assert alike(PEOPLE, NAME, {"name": "Bob Kay"}, others) == [Likeness("r", {"name": 1.0})]


def test_the_most_alike_come_first_and_only_a_few_are_proposed() -> None:
    others = {f"r{n}": [{"name": "John Smith" if n == 7 else "Jon Smith"}] for n in range(9)}
    found = alike(PEOPLE, NAME, {"name": "John Smith"}, others)
    assert (found[0].record, len(found)) == ("r7", PROPOSED)


def test_what_lacks_a_value_is_like_nobody() -> None:
    assert alike(FIRMS, BOTH, {"name": "John Smith"}, {"r": [{"name": "John Smith"}]}) == []


def test_likeness_only_proposes_and_says_how_alike() -> None:
    near = [Likeness("r1", {"name": 0.95})]
    found = match(PEOPLE, [], {}, lambda _: near)
    assert found == Match(proposed=("r1",), rule="like name", line=8, scores={"r1": {"name": 0.95}})


def test_an_exact_rule_that_is_written_first_is_asked_first() -> None:
    found = match(PEOPLE, ["email|a"], {"email|a": ["r2"]}, lambda _: [Likeness("r1", {"name": 1.0})])
    assert found.record == "r2"


def test_a_rule_of_likeness_that_is_written_first_is_asked_first() -> None:
    turned = people(NAME, EMAIL)
    found = match(turned, ["email|a"], {"email|a": ["r2"]}, lambda _: [Likeness("r1", {"name": 1.0})])
    assert found.proposed == ("r1",)
