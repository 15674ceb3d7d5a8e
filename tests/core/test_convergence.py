"""Whole small worlds: edits, events and writes in any order end where the rules say, and then everything rests."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncbroker.core.mapping import FieldRule, ValueSpec
from syncbroker.core.observe import Timing
from syncbroker.core.types import Type, Value
from tests.support.rules import SYSTEMS, rule
from tests.support.small_world import World

CONDITIONAL = Timing(stamped=True, conditional=True)
STAMPED = Timing(stamped=True)
PLAIN = Timing(stamped=False)
TIMINGS = {"conditional": CONDITIONAL, "stamped": STAMPED, "plain": PLAIN}

CHOICES = ValueSpec(type=Type.CHOICE, choices=(("on",), ("half",), ("off",)))
CONSENT = rule("most_restrictive", spec=CHOICES, order=("on", "half", "off"), loosen_by=("mkt",))
TAGS = rule("union", type=Type.TAGS)

# ------------------------------------------------------------------------------------ in whatever order


SCENES: dict[str, tuple[FieldRule, Value, dict[str, Value], Value]] = {
    "enforce, owner and others": (rule("enforce"), "g", {"crm": "a", "mkt": "b", "sup": "c"}, "a"),
    "enforce, others only": (rule("enforce"), "g", {"mkt": "b", "sup": "c"}, "g"),
    "enforce, two agree": (rule("enforce", authority=("sup",)), "g", {"crm": "a", "mkt": "a", "sup": "c"}, "c"),
    "prefer, all": (rule("prefer"), "g", {"crm": "a", "mkt": "b", "sup": "c"}, "a"),
    "prefer, lower ranks": (rule("prefer"), "g", {"mkt": "b", "sup": "c"}, "b"),
    "prefer, two agree": (rule("prefer"), "g", {"crm": "a", "mkt": "b", "sup": "b"}, "a"),
    "prefer, one cleared": (rule("prefer"), "g", {"crm": None, "mkt": "b"}, "b"),
    "union": (TAGS, ("x", "y"), {"crm": ("x",), "mkt": ("x", "y", "z"), "sup": ("w", "x", "y")}, ("w", "x", "z")),
    "union, the same removed": (TAGS, ("x", "y"), {"crm": ("x",), "mkt": ("x",)}, ("x",)),
    "consent tightened twice": (CONSENT, "on", {"crm": "half", "mkt": "off"}, "off"),
    "consent loosened without leave": (CONSENT, "half", {"crm": "on", "sup": "on"}, "half"),
    "consent loosened and tightened": (CONSENT, "half", {"crm": "off", "mkt": "on"}, "off"),
}  # fmt: skip


@pytest.mark.parametrize("timing", TIMINGS.values(), ids=TIMINGS)
@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_every_order_of_arrivals_with_pushes_between_ends_in_the_same_state(
    scene: tuple[FieldRule, Value, dict[str, Value], Value], timing: Timing
) -> None:
    given_rule, start, edits, end = scene
    for order in permutations(edits):
        for pushes in product([(), ("crm",), SYSTEMS, SYSTEMS[::-1]], repeat=len(order)):
            world = World(given_rule, start, timing)
            for name, value in edits.items():
                world.edit(name, value, consent="form-7" if name == "mkt" else "")
            for name, after in zip(order, pushes, strict=True):
                world.arrive(name)
                for other in after:
                    world.push(other)
            world.quiesce()
            assert world.golden.value == end, (order, pushes)
            assert world.wrong() == [], (order, pushes)


@pytest.mark.parametrize("timing", TIMINGS.values(), ids=TIMINGS)
def test_every_step_of_two_pushes_may_be_interleaved_with_three_arrivals(timing: Timing) -> None:
    """Crm and sup are written to, one step at a time, while all three edits arrive in every order."""
    steps = ("claim", "recheck", "write", "answer")
    for order in permutations(SYSTEMS):
        for cuts in product(range(5), repeat=2):
            world = World(rule("prefer"), "g", timing)
            world.edit("mkt", "b")
            world.arrive("mkt")
            world.edit("crm", "a")
            for act in steps[: cuts[0]]:
                getattr(world, act)("crm")
            for act in steps[: cuts[1]]:
                getattr(world, act)("sup")
            world.edit("sup", "c")
            for name in order:
                world.arrive(name)
            for act in steps:
                getattr(world, act)("crm")
                getattr(world, act)("sup")
            world.quiesce()
            assert world.wrong() == [], (order, cuts)


# ---------------------------------------------------------------------------------------- by hand, one each


@pytest.mark.parametrize("timing", TIMINGS.values(), ids=TIMINGS)
def test_an_echo_owes_no_push_and_decides_nothing(timing: Timing) -> None:
    world = World(rule("prefer"), "g", timing)
    world.edit("crm", "a")
    world.arrive("crm")
    world.push("mkt")
    world.push("sup")
    decided = list(world.kinds)
    for _ in range(2):
        for name in SYSTEMS:
            world.arrive(name)
            world.arrive(name, back=1)
            world.sweep(name)
    assert world.kinds == decided
    assert not any(world.owed(name) for name in SYSTEMS)


def test_an_edit_between_re_check_and_write_is_refused_where_writes_are_conditional() -> None:
    world = World(rule("prefer"), "g", CONDITIONAL)
    world.edit("crm", "a")
    world.arrive("crm")
    world.claim("mkt")
    world.recheck("mkt")
    world.edit("mkt", "b")
    world.write("mkt")
    assert world.systems["mkt"].value == "b"
    assert world.kinds == ["adopted", "conflict_resolved"]
    world.quiesce()
    assert set(world.values().values()) == {"a"}


def test_an_edit_between_re_check_and_write_competes_when_its_event_comes_late() -> None:
    world = World(rule("prefer"), "g", STAMPED)
    world.edit("sup", "c")
    world.arrive("sup")
    world.claim("crm")
    world.recheck("crm")
    world.edit("crm", "a")
    world.write("crm")
    world.answer("crm")
    assert world.systems["crm"].value == "c"
    world.arrive("crm", back=1)
    assert world.kinds[-1] == "overwritten_unseen"
    world.quiesce()
    assert set(world.values().values()) == {"a"}


@pytest.mark.parametrize("timing", TIMINGS.values(), ids=TIMINGS)
def test_a_rewriting_system_is_left_alone_until_it_shows_something_else(timing: Timing) -> None:
    world = World(rule("prefer"), "g", timing)
    world.systems["mkt"].rewrites = {"a": "A"}
    world.edit("crm", "a")
    world.quiesce()
    assert world.values() == {"crm": "a", "mkt": "A", "sup": "a"}
    assert world.wrong() == []
    made = world.writes
    world.quiesce()
    assert world.writes == made
    world.edit("mkt", "b")
    world.quiesce()
    assert set(world.values().values()) == {"b"}


def test_an_owner_that_rewrites_our_value_does_not_edit_it() -> None:
    world = World(rule("enforce"), "g", STAMPED)
    world.systems["mkt"].rewrites = {"a": "A"}
    world.edit("crm", "a")
    world.quiesce()
    world.sweep("mkt")
    assert world.golden.value == "a"
    assert world.kinds == ["adopted"]


# ---------------------------------------------------------------------------------- any world whatever


ACTS = (
    "edit",
    "arrive",
    "arrive",
    "claim",
    "recheck",
    "write",
    "answer",
    "push",
    "lose",
    "travel",
    "land",
    "settle",
)


def acts(values: list[Value]) -> st.SearchStrategy[Any]:
    one = st.tuples(
        st.sampled_from(ACTS), st.sampled_from(SYSTEMS[:2]), st.sampled_from(values), st.integers(0, 3)
    )
    return st.lists(one, max_size=24)


def play(world: World, script: list[Any], *, faults: bool = True) -> None:
    for act, name, value, back in script:
        if act == "edit":
            world.edit(name, value)
        elif act == "arrive":
            world.arrive(name, back)
        elif act == "travel":
            if faults and not world.timing.conditional:
                world.lose(name, travelling=True)
        elif act == "land":
            world.land()
        elif act != "lose" or faults:
            getattr(world, act)(name)


POLICY_RULES = {
    "enforce": rule("enforce", systems=SYSTEMS[:2]),
    "prefer": rule("prefer", systems=SYSTEMS[:2]),
    "latest": rule("latest", systems=SYSTEMS[:2], tolerance=0, tie="review", first_meeting="review"),
    "review": rule("review", systems=SYSTEMS[:2]),
    "longest": rule("longest", systems=SYSTEMS[:2]),
}


@pytest.mark.parametrize("timing", TIMINGS.values(), ids=TIMINGS)
@pytest.mark.parametrize("policy", sorted(POLICY_RULES))
@settings(max_examples=80)
@given(script=acts(["a", "bb", "ccc"]))
def test_any_world_comes_to_rest_in_agreement_or_in_review(
    policy: str, timing: Timing, script: list[Any]
) -> None:
    world = World(POLICY_RULES[policy], "g", timing, systems=SYSTEMS[:2])
    play(world, script)
    world.quiesce()
    assert world.wrong() == []
    made = world.writes, len(world.kinds)
    world.quiesce()
    assert (world.writes, len(world.kinds)) == made


@pytest.mark.parametrize("timing", TIMINGS.values(), ids=TIMINGS)
@settings(max_examples=80)
@given(script=acts([("x",), ("x", "y"), ("y",), ("z",)]))
def test_any_world_of_tags_comes_to_rest_in_agreement(timing: Timing, script: list[Any]) -> None:
    world = World(rule("union", type=Type.TAGS, systems=SYSTEMS[:2]), ("x",), timing, systems=SYSTEMS[:2])
    play(world, script)
    world.quiesce()
    assert world.wrong() == []


@pytest.mark.parametrize("timing", TIMINGS.values(), ids=TIMINGS)
@settings(max_examples=80)
@given(script=acts(["a", "bb", "ccc"]))
def test_under_enforce_no_foreign_value_survives(timing: Timing, script: list[Any]) -> None:
    world = World(POLICY_RULES["enforce"], "g", timing, systems=SYSTEMS[:2])
    play(world, script)
    world.quiesce()
    theirs = {value for value, _, whose in world.systems["crm"].history if whose == "user"}
    assert world.golden.value in theirs
    assert set(world.values().values()) == {world.golden.value}


@pytest.mark.parametrize("timing", [CONDITIONAL, STAMPED], ids=["conditional", "stamped"])
@pytest.mark.parametrize("policy", ["enforce", "prefer", "review", "longest"])
@settings(max_examples=80)
@given(script=acts(["a", "bb", "ccc"]))
def test_what_one_system_alone_edits_ends_as_its_last_edit(
    policy: str, timing: Timing, script: list[Any]
) -> None:
    """Nothing that it replaced itself comes back, however late and often it is seen."""
    world = World(POLICY_RULES[policy], "g", timing, systems=SYSTEMS[:2])
    mine = [(act, name, value, back) for act, name, value, back in script if act != "edit" or name == "crm"]
    play(world, mine, faults=False)
    world.quiesce()
    last = [value for value, _, whose in world.systems["crm"].history if whose == "user"][-1]
    assert world.golden.value == last
