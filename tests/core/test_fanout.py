"""What is owed to whom: a state derived anew, never an event."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.core.fanout import Owed, in_step, owed, owes, step
from syncbroker.core.mapping import FieldRule
from syncbroker.core.state import FieldState, Golden, LinkState, Record
from syncbroker.core.types import Type
from tests.support.rules import link, plan, rule

PREFER = rule("prefer")


def state(value: Any, **given: Any) -> FieldState:
    return FieldState(raw=value, value=value, **given)


def record(golden: dict[str, Golden], *links: LinkState) -> Record:
    return Record("r1", "person", golden, {one.n: one for one in links})


G = Golden("g", "crm", 10, 10)


# ------------------------------------------------------------------------------------------- one field


@pytest.mark.parametrize(
    ("given_rule", "golden", "held", "owed_"),
    [
        (PREFER, G, state("g"), False),
        (PREFER, G, state("x"), True),
        (PREFER, G, state(None), True),
        (PREFER, G, FieldState(), True),
        (PREFER, G, state("G", equivalent=("g", "G")), False),
        (PREFER, Golden("h", "crm", 10, 10), state("G", equivalent=("g", "G")), True),
        (PREFER, G, state("x", equivalent=("g", "G")), True),
        (PREFER, G, state("x", ignored=("x",)), False),
        (PREFER, G, state("y", ignored=("x",)), True),
        (PREFER, G, state(None, ignored=(None,)), False),
        (PREFER, G, FieldState("??", None, "broken", blocked=True), False),
        (PREFER, G, FieldState("??", None, "broken"), True),
        (PREFER, G, FieldState("??", None, "broken", ignored=(None,)), True),
        (PREFER, msgspec.structs.replace(G, frozen={"crm": "g", "mkt": "x"}), state("x"), False),
        (PREFER, Golden(), state("x"), False),
        (PREFER, Golden(None, "crm", 10, 10), state("x"), False),
        (rule("prefer", empty="clear"), Golden(None, "crm", 10, 10), state("x"), True),
        (rule("prefer", empty="clear"), Golden(), state("x"), False),
        (rule("prefer", empty="clear", required=True), Golden(None, "crm", 10, 10), state("x"), False),
        (rule("seed"), G, state("x"), False),
        (rule("seed"), G, state(None), True),
        (rule("seed"), G, FieldState("??", None, "broken"), False),
    ],
)
def test_a_field_is_owed_unless_it_is_in_step_or_must_stand(
    given_rule: FieldRule, golden: Golden, held: FieldState, owed_: bool
) -> None:
    assert owes(given_rule, golden, held) is owed_


# ------------------------------------------------------------------------------------------ whole records


def test_every_link_that_differs_is_owed_what_the_mapping_pushes_there() -> None:
    rules = (rule("prefer", name="f"), rule("prefer", name="g", pull_only=("mkt",)))
    here = record(
        {"f": G, "g": Golden("k", "crm", 1, 1)},
        link("crm", 1, holds={"f": "g", "g": "k"}),
        link("mkt", 2, holds={"f": "x", "g": "x"}),
        link("sup", 3, holds={"f": "x", "g": "x"}),
    )
    assert owed(plan(*rules), here).updates == {2: {"f": "g"}, 3: {"f": "g", "g": "k"}}


@pytest.mark.parametrize(
    "given", [{"primary": False}, {"status": "gone"}, {"status": "planned"}, {"status": "queued"}]
)
def test_only_primary_live_links_are_owed_updates(given: dict[str, Any]) -> None:
    here = record({"f": G}, link("crm", 1, holds={"f": "g"}), link("mkt", 2, holds={"f": "x"}, **given))
    assert owed(plan(PREFER), here).updates == {}


def test_a_system_that_left_the_mapping_is_owed_nothing() -> None:
    here = record({"f": G}, link("crm", 1, holds={"f": "g"}), link("gone", 2, holds={"f": "x"}))
    assert owed(plan(PREFER), here) == Owed({}, {})


# -------------------------------------------------------------------------------------------------- creates


def creating(golden: dict[str, Golden], *links: LinkState, **given: Any) -> Owed:
    given_rule = rule("prefer", systems=("crm", "mkt"), **given)
    return owed(plan(given_rule, create="always"), record(golden, *links))


def test_a_system_without_a_link_is_owed_a_create_with_all_that_is_pushed_there() -> None:
    assert creating({"f": G}, link("crm", 1, holds={"f": "g"})).creates == {"mkt": {"f": "g"}}


def test_no_create_is_owed_where_the_mapping_never_creates() -> None:
    assert owed(plan(PREFER), record({"f": G}, link("crm", 1, holds={"f": "g"}))).creates == {}


@pytest.mark.parametrize("status", ["live", "gone"])
def test_no_create_is_owed_to_a_system_that_has_a_link(status: Any) -> None:
    found = creating(
        {"f": G}, link("crm", 1, holds={"f": "g"}), link("mkt", 2, holds={"f": "g"}, status=status)
    )
    assert found.creates == {}


def test_a_planned_create_stays_owed() -> None:
    found = creating({"f": G}, link("crm", 1, holds={"f": "g"}), link("mkt", 2, status="planned"))
    assert found.creates == {"mkt": {"f": "g"}}


def test_a_record_that_no_system_holds_any_more_is_created_nowhere() -> None:
    assert creating({"f": G}, link("crm", 1, holds={"f": "g"}, status="gone")).creates == {}


def test_a_create_waits_for_a_required_value() -> None:
    found = creating({}, link("crm", 1), required=True)
    assert (found.creates, found.missing) == ({}, (("mkt", "f"),))


def test_a_create_without_any_value_is_not_owed() -> None:
    found = creating({}, link("crm", 1))
    assert (found.creates, found.missing) == ({}, ())


def test_a_new_link_gets_the_value_from_before_the_freeze() -> None:
    frozen = msgspec.structs.replace(G, frozen={"crm": "g", "sup": "x"})
    assert creating({"f": frozen}, link("crm", 1, holds={"f": "g"}), required=True).creates == {
        "mkt": {"f": "g"}
    }


@pytest.mark.parametrize(("value", "creates"), [("g", {"mkt": {"f": "g"}}), ("h", {})])
def test_a_create_may_depend_on_a_condition(value: str, creates: Any) -> None:
    given_rule = rule("prefer", systems=("crm", "mkt"))
    conditional = plan(given_rule, create="always", create_when="record.f == 'g'")
    here = record({"f": Golden(value, "crm", 1, 1)}, link("crm", 1, holds={"f": value}))
    assert owed(conditional, here).creates == creates


def test_a_condition_sees_each_member_of_a_group() -> None:
    members = (
        rule("prefer", name="city", group="home", systems=("crm", "mkt")),
        rule("prefer", name="zip", group="home", systems=("crm", "mkt")),
    )
    conditional = plan(*members, create="always", create_when="record.zip == '1'")
    here = record({"home": Golden(("Bonn", "1"), "crm", 1, 1)}, link("crm", 1))
    assert owed(conditional, here).creates == {"mkt": {"home": ("Bonn", "1")}}


# ----------------------------------------------------------------------------------------------------- steps


def stepped(here: Record) -> dict[int, FieldState]:
    return {one.n: one.fields["f"] for one in step(here)}


def test_the_base_moves_when_the_golden_value_becomes_what_the_link_holds() -> None:
    here = record({"f": G}, link("crm", 1), LinkState(2, "mkt", "people", "m", fields={"f": state("g")}))
    assert {n: (one.met, one.base) for n, one in stepped(here).items()} == {2: (True, "g")}


def test_the_base_moves_for_an_equivalent_too() -> None:
    held = state("G", equivalent=("g", "G"), met=True, base="older")
    here = record({"f": G}, LinkState(2, "mkt", "people", "m", fields={"f": held}))
    assert stepped(here)[2].base == "g"


@pytest.mark.parametrize(
    "held",
    [state("x", met=True, base="older"), state("g", met=True, base="g"), FieldState("??", None, "broken")],
)
def test_the_base_stays_where_the_link_holds_something_else_or_is_in_step_already(held: FieldState) -> None:
    assert step(record({"f": G}, LinkState(2, "mkt", "people", "m", fields={"f": held}))) == []


def test_the_base_waits_for_an_open_write() -> None:
    here = record({"f": G}, LinkState(2, "mkt", "people", "m", open=True, fields={"f": state("g")}))
    assert step(here) == []


def test_two_links_that_never_had_a_value_have_not_met() -> None:
    assert step(record({"f": Golden()}, LinkState(2, "mkt", "people", "m", fields={"f": state(None)}))) == []
    cleared = record(
        {"f": Golden(None, "crm", 1, 1)}, LinkState(2, "mkt", "people", "m", fields={"f": state(None)})
    )
    assert stepped(cleared)[2].met


# ------------------------------------------------------------------------------------------------ properties


VALUES = st.sampled_from([None, "a", "b"])


@st.composite
def states(draw: st.DrawFn) -> FieldState:
    invalid = draw(st.sampled_from(["", "", "broken"]))
    return FieldState(
        value=None if invalid else draw(VALUES),
        invalid=invalid,
        met=draw(st.booleans()),
        base=draw(VALUES),
        equivalent=draw(st.none() | st.tuples(VALUES, VALUES)),
        ignored=draw(st.none() | st.tuples(VALUES)),
        blocked=draw(st.booleans()),
    )


@st.composite
def worlds(draw: st.DrawFn) -> tuple[FieldRule, Record]:
    given_rule = rule(
        draw(st.sampled_from(["prefer", "seed", "enforce"])),
        empty=draw(st.sampled_from(["keep", "clear"])),
        required=draw(st.booleans()),
    )
    golden = Golden(draw(VALUES), "crm", 0, draw(st.integers(0, 1)))
    if draw(st.booleans()) and draw(st.booleans()):
        golden = msgspec.structs.replace(golden, frozen={"crm": "a", "mkt": "b"})
    links = [
        LinkState(n, system, "people", system, fields={"f": draw(states())}, open=draw(st.booleans()))
        for n, system in enumerate(["crm", "mkt"], 1)
        if draw(st.booleans())
    ]
    return given_rule, record({"f": golden}, *links)


def derived(given_rule: FieldRule, here: Record) -> Owed:
    for one in step(here):
        here.by_number[one.n] = one
    return owed(plan(given_rule, create="always"), here)


@given(worlds())
def test_deriving_twice_gives_the_same(world: tuple[FieldRule, Record]) -> None:
    first = derived(*world)
    assert step(world[1]) == []
    assert derived(*world) == first


@given(worlds())
def test_what_is_in_step_is_owed_nothing_and_stepping_owes_nothing_new(
    world: tuple[FieldRule, Record],
) -> None:
    given_rule, here = world
    before = owed(plan(given_rule), here).updates
    after = derived(given_rule, here).updates
    assert before == after
    for n, fields in after.items():
        assert not in_step(here.by_number[n].fields["f"], fields["f"])


def test_tags_in_step_are_compared_as_sets_are() -> None:
    tags = rule("union", type=Type.TAGS)
    assert not owes(tags, Golden(("a", "b"), "crm", 1, 1), state(("a", "b")))
