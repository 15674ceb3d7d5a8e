"""The way back: of each field the trailing run of decisions to be undone, and never past anybody else's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.core.state import Golden
from syncbroker.core.undo import Back, Change, Known, Needs, Stays, way_back

Made = tuple[bool, str]
"""(is it to be undone?, the value it gives; the same as before: it froze or confirmed it)."""


def chain(*made: Made, first: bool = False) -> tuple[Golden, dict[int, list[Change]]]:
    """The golden value after decisions 1, 2, ... and what each said."""
    golden, known = Golden(), {}
    for n, (within, value) in enumerate(made, 1):
        seen_first = first and n == 1
        known[n] = [Change(n, "crm", 1, golden, value, within, seen_first)]
        golden = Golden(value, "crm", n, n, decision=n)
    return golden, known


def ended(golden: Golden, known: Known) -> Back | Stays:
    """Its end, with decisions made known one by one as they are asked for."""
    some: dict[int, Any] = {}
    while isinstance(way := way_back(golden, some), Needs):
        assert way.decision not in some
        some[way.decision] = known.get(way.decision, [])
    return way


@pytest.mark.parametrize(
    ("made", "value", "undone"),
    [
        ([(False, "a"), (True, "b")], "a", [2]),
        ([(False, "a"), (True, "b"), (True, "c")], "a", [3, 2]),
        ([(True, "a"), (False, "b"), (True, "c")], "b", [3]),
        ([(True, "a")], None, [1]),
        ([(False, "a"), (True, "b"), (True, "b"), (True, "c")], "a", [4, 2]),
        ([(False, "a"), (True, "b"), (False, "b"), (True, "c")], "b", [4]),
        ([(False, "a"), (True, "b"), (True, "a")], "a", [3, 2]),
    ],
)
def test_it_leads_to_before_the_oldest_of_the_trailing_run(
    made: list[Made], value: Any, undone: list[int]
) -> None:
    way = ended(*chain(*made))
    assert isinstance(way, Back)
    assert way.to.value == value
    assert [change.decision for change in way.undone] == undone


@pytest.mark.parametrize(
    ("made", "why", "newest"),
    [
        ([(True, "a"), (False, "b")], "changed since", 1),
        ([(True, "a"), (False, "b"), (False, "c")], "changed since", 1),
        ([(True, "a"), (False, "a")], "confirmed since", 1),
        ([(False, "a")], "changed since", 0),
    ],
)
def test_a_value_that_somebody_else_set_stays(made: list[Made], why: str, newest: int) -> None:
    way = ended(*chain(*made))
    assert way == Stays(why, len(made), newest)


def test_a_frozen_value_stays() -> None:
    golden, known = chain((False, "a"), (True, "b"))
    frozen = Golden("b", "crm", decision=2, frozen={"crm": "b", "mkt": "c"})
    assert ended(frozen, known) == Stays("in review", 2, 2)
    assert isinstance(ended(golden, known), Back)


def test_a_first_sight_is_never_undone() -> None:
    golden, known = chain((True, "a"), first=True)
    way = ended(golden, known)
    assert isinstance(way, Stays)
    assert way.why == "the first value that crm was seen to hold; there was none before"
    later = ended(*chain((True, "a"), (True, "b"), first=True))
    assert isinstance(later, Back)
    assert later.to.value == "a"


def test_a_value_that_is_not_the_decisions_own_stays() -> None:
    _, known = chain((False, "a"), (True, "b"))
    way = ended(Golden("something else", "crm", decision=2), known)
    assert isinstance(way, Stays)
    assert way.why == "holds another value than the decision gave"


def test_of_several_outcomes_in_one_decision_only_the_last_ones_go_back() -> None:
    """Two systems edited it between two looks: the one's edit is undone, the other's stands."""
    before = Golden("a", "crm", decision=1)
    between = Golden("b", "crm")
    known = {
        2: [Change(2, "crm", 1, before, "b", within=False), Change(2, "mkt", 2, between, "c", within=True)]
    }
    way = ended(Golden("c", "mkt", decision=2), known)
    assert isinstance(way, Back)
    assert way.to.value == "b"


def test_a_decision_that_is_not_there_any_more_ends_the_way() -> None:
    assert ended(Golden("a", "crm", decision=7), {}) == Stays("confirmed since", 7, 0)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=12))
def test_it_undoes_what_a_look_through_the_whole_log_would(made: list[Made]) -> None:
    golden, known = chain(*made)
    value, undone = golden.value, False
    befores = [None, *(after for _, after in made)][: len(made)]
    for (within, after), before in zip(reversed(made), reversed(befores), strict=True):
        if not within:
            break
        undone = undone or after != before
        value = before
    way = ended(golden, known)
    assert isinstance(way, Back) == undone
    if isinstance(way, Back):
        assert way.to.value == value
