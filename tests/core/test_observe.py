"""What an observation means for a link: nothing, a confirmation, an edit, late, or a reason to read again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from syncbroker.core.observe import (
    Look,
    Observed,
    Timing,
    arrived,
    as_expected,
    confirm,
    doubt,
    observe,
    sending,
)
from syncbroker.core.plan import PENDING, Seen
from syncbroker.core.state import FieldState, LinkState
from tests.support.rules import link, seen

STAMPED = Timing(stamped=True)
CONDITIONAL = Timing(stamped=True, conditional=True)
PLAIN = Timing(stamped=False)
LAGGING = Timing(stamped=False, lag=100)


def look(stamp: int | None = None, begun: int = 0, ended: int = 0, **given: Any) -> Look:
    """A read of `f` (or what `values` says) from `begun` to `ended`."""
    values = given.pop("values", None) or {"f": given.pop("f", None)}
    shown = {name: one if isinstance(one, Seen) else seen(one) for name, one in values.items()}
    return Look(
        seen=shown, stamp=stamp, begun=begun, ended=ended or begun, read=given.pop("read", True), **given
    )


def told(stamp: int, f: Any, **given: Any) -> Look:
    """A webhook's body with a version of its own."""
    return look(stamp, ended=stamp + 5, read=False, f=f, **given)


def values(result: Observed) -> list[Any]:
    return [edit.seen.value for edit in result.edits]


HELD = link(holds={"f": "a"}, order=50, seen=60)
WRITTEN = confirm(
    sending(HELD, {"f": "w"}),
    {"f": "w"},
    {"f": seen("w")},
    order=80,
    ended=90,
    based_on=70,
    timing=STAMPED,
    taught=True,
)
"""A link whose last state, of order 80, is our own write, based on a read of order 70."""


# ------------------------------------------------------------------------------------------ rule 1: edits


def test_what_a_link_holds_already_is_nothing() -> None:
    result = observe(HELD, look(55, begun=70, f="a"), STAMPED)
    assert (result.edits, result.again, result.link.order, result.link.seen) == ((), False, 55, 70)


def test_another_format_of_the_same_value_is_no_edit_but_is_remembered() -> None:
    result = observe(HELD, look(55, begun=70, f=Seen("A", "a")), STAMPED)
    assert not result.edits
    assert result.link.fields["f"].raw == "A"


def test_another_value_is_an_edit_and_is_held_from_then_on() -> None:
    result = observe(HELD, look(55, begun=70, f="b"), STAMPED)
    assert values(result) == ["b"]
    state = result.link.fields["f"]
    assert (state.value, state.met, state.base, state.known) == ("b", True, "a", ("b",))


def test_the_first_sight_of_a_value_is_an_edit_and_of_an_empty_is_none() -> None:
    result = observe(link(), look(5, begun=6, values={"f": "a", "g": None}), STAMPED)
    assert [(edit.field, edit.first) for edit in result.edits] == [("f", True)]
    assert (result.link.fields["g"].value, result.link.fields["g"].met) == (None, False)


def test_a_value_that_was_sent_is_a_confirmation() -> None:
    doubted = doubt(sending(HELD, {"f": "w"}), {"f": "w"}, until=500)
    result = observe(doubted, look(55, begun=70, f="w"), STAMPED)
    state = result.link.fields["f"]
    assert (result.edits, result.confirmed) == ((), ("f",))
    assert (state.value, state.base, state.sent, result.link.ours) == ("w", "w", (), ("f",))


def test_a_value_in_doubt_outlives_an_edit_and_is_still_no_edit_when_it_lands_late() -> None:
    doubted = doubt(sending(HELD, {"f": "w"}), {"f": "w"}, until=500)
    edited = observe(doubted, look(55, begun=70, f="b"), STAMPED)
    assert values(edited) == ["b"]
    assert not observe(edited.link, look(60, begun=80, f="w"), STAMPED).edits


def test_a_conditional_write_cannot_land_on_a_newer_state() -> None:
    doubted = doubt(sending(HELD, {"f": "w"}), {"f": "w"}, until=500)
    edited = observe(doubted, look(55, begun=70, f="b"), CONDITIONAL)
    assert values(observe(edited.link, look(60, begun=80, f="w"), CONDITIONAL)) == ["w"]


def test_after_the_longest_life_of_a_request_the_same_value_is_an_edit() -> None:
    doubted = doubt(sending(HELD, {"f": "w"}), {"f": "w"}, until=500)
    assert values(observe(doubted, look(700, begun=700, f="w"), STAMPED)) == ["w"]


def test_an_edit_ends_an_equivalence_and_an_ignored_divergence() -> None:
    state = replace(HELD.fields["f"], equivalent=("g", "a"), ignored=("a",), blocked=True, review=9)
    result = observe(replace(HELD, fields={"f": state}), look(55, begun=70, f="b"), STAMPED)
    after = result.link.fields["f"]
    assert (after.equivalent, after.ignored, after.blocked, after.review) == (None, None, False, 0)
    assert result.edits[0].before.review == 9


def test_fields_that_are_not_shown_stay_as_they_are() -> None:
    both = link(holds={"f": "a", "g": "x"}, order=50, seen=60)
    result = observe(both, look(55, begun=70, f="b"), STAMPED)
    assert result.link.fields["g"] == both.fields["g"]


def test_consent_once_seen_is_remembered() -> None:
    first = observe(HELD, look(55, begun=70, f="a", consent="yes-1"), STAMPED)
    assert observe(first.link, look(56, begun=80, f="a"), STAMPED).link.consent == "yes-1"


# ---------------------------------------------------------------------------------------- edits in time


def test_an_edit_lies_between_the_last_sight_of_the_old_value_and_the_record_time() -> None:
    edit = observe(HELD, look(55, begun=70, f="b"), STAMPED).edits[0]
    assert (edit.since, edit.until) == (50, 55)


def test_a_field_time_is_a_point() -> None:
    edit = observe(HELD, look(55, begun=70, f="b", field_times={"f": 52}), STAMPED).edits[0]
    assert (edit.since, edit.until) == (52, 52)


def test_without_versions_an_edit_lies_between_two_reads() -> None:
    edit = observe(HELD, look(begun=70, ended=75, f="b"), PLAIN).edits[0]
    assert (edit.since, edit.until) == (60, 75)


def test_a_state_without_versions_is_as_new_as_the_end_of_its_read() -> None:
    result = observe(HELD, look(begun=70, ended=75, f="b"), PLAIN)
    assert (result.link.order, result.link.seen) == (75, 75)


def test_the_brokers_clock_never_stands_in_for_a_missing_version() -> None:
    """One answer without a stamp must not make later stamps of a slower clock look old."""
    result = observe(HELD, look(None, begun=1000, f="b"), STAMPED)
    assert values(result) == ["b"]
    assert values(observe(result.link, look(60, begun=1100, f="c"), STAMPED)) == ["c"]


# ----------------------------------------------------------------------------------------- rule 2: late


def test_an_older_observation_moves_nothing() -> None:
    edited = observe(HELD, look(55, begun=70, f="b"), STAMPED).link
    result = observe(edited, told(52, "c"), STAMPED)
    assert (result.edits, result.superseded, result.link.fields) == ((), 1, edited.fields)
    assert (result.link.order, result.link.seen) == (edited.order, edited.seen)


def test_an_edit_that_our_write_removed_unseen_competes_once() -> None:
    first = observe(WRITTEN, told(75, "c"), STAMPED)
    assert [(edit.seen.value, edit.late) for edit in first.edits] == [("c", True)]
    assert first.link.fields["f"].value == "w"
    again = observe(first.link, told(75, "c"), STAMPED)
    assert (again.edits, again.superseded) == ((), 0)
    older = observe(first.link, told(72, "d"), STAMPED)
    assert (older.edits, older.superseded) == ((), 1)


@pytest.mark.parametrize("stamp", [70, 60])
def test_what_the_re_check_had_already_seen_replaced_is_only_counted(stamp: int) -> None:
    result = observe(WRITTEN, told(stamp, "c"), STAMPED)
    assert (result.edits, result.superseded) == ((), 1)


@pytest.mark.parametrize("value", ["a", "w"])
def test_a_late_echo_of_what_was_held_or_sent_is_no_news(value: str) -> None:
    result = observe(WRITTEN, told(75, value), STAMPED)
    assert (result.edits, result.superseded, result.again) == ((), 0, False)


def test_a_field_that_the_write_did_not_touch_was_replaced_by_its_own_system() -> None:
    both = replace(WRITTEN, fields={**WRITTEN.fields, "g": FieldState(raw="x", value="x")})
    result = observe(both, look(75, read=False, ended=80, values={"g": "y"}), STAMPED)
    assert (result.edits, result.superseded) == ((), 1)


def test_two_writes_in_a_row_hide_an_edit_before_the_first_no_better() -> None:
    """Its event arrives after the second write: it lay between the first write and the read it was based on."""
    second = confirm(
        sending(WRITTEN, {"f": "x"}), {"f": "x"}, {"f": seen("x")},
        order=100, ended=110, based_on=90, timing=STAMPED, taught=True,
    )  # fmt: skip
    assert values(observe(second, told(75, "c"), STAMPED)) == ["c"]


def test_a_write_of_another_field_makes_nothing_older_news() -> None:
    both = replace(WRITTEN, fields={**WRITTEN.fields, "g": FieldState(raw="x", value="x", known=("x",))})
    edited = observe(both, look(85, begun=95, values={"g": "y"}), STAMPED).link
    second = confirm(
        sending(edited, {"g": "z"}), {"g": "z"}, {"g": seen("z")},
        order=120, ended=130, based_on=110, timing=STAMPED, taught=True,
    )  # fmt: skip
    result = observe(second, look(82, read=False, ended=140, values={"g": "x"}), STAMPED)
    assert (result.edits, result.superseded) == ((), 1)


def test_an_event_of_the_same_version_with_another_value_causes_a_read() -> None:
    assert observe(HELD, told(50, "b"), STAMPED).again
    assert not observe(HELD, told(50, "a"), STAMPED).again


def test_a_read_begun_after_the_last_state_wins_over_an_equal_version() -> None:
    assert values(observe(HELD, look(50, begun=60, f="b"), STAMPED)) == ["b"]


def test_an_event_of_the_same_version_is_put_off_only_once() -> None:
    """The read it caused showed something else again: the event was superseded by its own system."""
    newer = observe(HELD, look(50, begun=60, f="c"), STAMPED).link
    result = observe(newer, told(50, "b", second=True), STAMPED)
    assert (result.again, result.edits, result.superseded) == (False, (), 1)


def test_without_versions_an_overlapping_read_with_news_causes_another() -> None:
    assert observe(HELD, look(begun=55, ended=70, f="b"), PLAIN).again
    assert not observe(HELD, look(begun=55, ended=70, f="a"), PLAIN).again


def test_without_versions_what_we_are_told_only_causes_a_read() -> None:
    assert observe(HELD, look(begun=0, ended=70, f="a", read=False), PLAIN).again


def test_an_overlapping_read_is_judged_as_late_once_the_other_read_was_made() -> None:
    newer = observe(HELD, look(begun=70, ended=75, f="c"), PLAIN).link
    result = observe(newer, look(begun=55, ended=70, f="b", second=True), PLAIN)
    assert (result.again, result.edits, result.superseded) == (False, (), 1)


def test_an_overlapping_read_competes_when_our_write_came_between() -> None:
    ours = confirm(
        sending(HELD, {"f": "w"}), {"f": "w"}, {"f": seen("w")},
        order=90, ended=90, based_on=70, timing=PLAIN, taught=True,
    )  # fmt: skip
    newer = observe(ours, look(begun=95, ended=96, f="w"), PLAIN).link
    result = observe(newer, look(begun=75, ended=80, f="c", second=True), PLAIN)
    assert [(edit.seen.value, edit.late) for edit in result.edits] == [("c", True)]


# ----------------------------------------------------------------------------------- read-after-write lag


OURS = confirm(
    sending(HELD, {"f": "w"}), {"f": "w"}, {"f": seen("w")},
    order=90, ended=90, based_on=70, timing=LAGGING, taught=True,
)  # fmt: skip


def test_inside_the_lag_an_old_value_is_read_again_and_not_believed() -> None:
    assert observe(OURS, look(begun=120, ended=125, f="a"), LAGGING).again


def test_inside_the_lag_a_value_never_held_is_an_edit() -> None:
    assert values(observe(OURS, look(begun=120, ended=125, f="z"), LAGGING)) == ["z"]


def test_after_the_lag_an_old_value_is_an_edit() -> None:
    assert values(observe(OURS, look(begun=190, ended=195, f="a"), LAGGING)) == ["a"]


def test_inside_the_lag_an_old_value_under_the_old_version_is_not_believed_either() -> None:
    """The answer to our write showed no version, so the last one known is that of the state before it."""
    timing = Timing(stamped=True, lag=100)
    blind = replace(OURS, order=50)
    assert observe(blind, look(50, begun=120, f="a"), timing).again
    assert values(observe(blind, look(50, begun=120, f="z"), timing)) == ["z"]
    assert values(observe(blind, look(51, begun=120, f="a"), timing)) == ["a"]


def test_a_field_that_the_mapping_dropped_is_not_missed_inside_the_lag() -> None:
    dropped = replace(OURS, fields={}, ours=("f",))
    assert values(observe(dropped, look(begun=120, ended=125, f="a"), LAGGING)) == ["a"]


# --------------------------------------------------------------------------- unreadable and pending values


BROKEN = Seen("??", None, "no such word")


def test_what_cannot_be_read_is_held_as_such_and_asked_about_once() -> None:
    first = observe(HELD, look(55, begun=70, f=BROKEN), STAMPED)
    assert [edit.seen.invalid for edit in first.edits] == ["no such word"]
    assert (first.link.fields["f"].blocked, first.link.fields["f"].base) == (True, "a")
    assert not observe(first.link, look(56, begun=80, f=BROKEN), STAMPED).edits


def test_a_readable_value_after_an_unreadable_one_is_an_edit_even_if_it_was_held_before() -> None:
    broken = observe(HELD, look(55, begun=70, f=BROKEN), STAMPED).link
    result = observe(broken, look(56, begun=80, f="a"), STAMPED)
    assert values(result) == ["a"]
    assert not result.link.fields["f"].blocked


def test_a_late_value_that_cannot_be_read_says_nothing() -> None:
    result = observe(WRITTEN, told(75, BROKEN), STAMPED)
    assert (result.edits, result.superseded) == ((), 0)


WAITS = Seen("f9", None, PENDING)


def test_a_reference_that_is_not_linked_yet_is_no_edit_and_no_empty() -> None:
    result = observe(HELD, look(55, begun=70, f=WAITS), STAMPED)
    assert not result.edits
    assert (result.link.fields["f"].blocked, result.link.fields["f"].base) == (True, "a")


def test_a_reference_is_seen_as_if_for_the_first_time_once_it_is_linked() -> None:
    waiting = observe(link(), look(5, begun=6, f=WAITS), STAMPED).link
    result = observe(waiting, look(5, begun=6, f="record-9"), STAMPED)
    assert [(edit.seen.value, edit.first) for edit in result.edits] == [("record-9", True)]


def test_a_reference_that_replaced_another_builds_on_what_the_link_had_met() -> None:
    waiting = observe(HELD, look(55, begun=70, f=WAITS), STAMPED).link
    result = observe(waiting, look(55, begun=70, f="record-9"), STAMPED)
    assert (result.edits[0].before.met, result.edits[0].before.base) == (True, "a")


def test_clearing_a_reference_while_it_waits_is_an_edit_where_one_stood_before() -> None:
    waiting = observe(HELD, look(55, begun=70, f=WAITS), STAMPED).link
    assert values(observe(waiting, look(56, begun=80, f=None), STAMPED)) == [None]
    never = observe(link(), look(5, begun=6, f=WAITS), STAMPED).link
    assert not observe(never, look(6, begun=7, f=None), STAMPED).edits


# ------------------------------------------------------------------------------------ our own writes settle


def test_confirming_sets_what_is_held_and_moves_the_base() -> None:
    state = WRITTEN.fields["f"]
    assert (state.value, state.base, state.met, state.equivalent) == ("w", "w", True, None)
    assert (WRITTEN.ours, WRITTEN.order, WRITTEN.seen, WRITTEN.since, WRITTEN.open) == (
        ("f",),
        80,
        90,
        70,
        False,
    )


@pytest.mark.parametrize(("taught", "equivalent"), [(True, ("w", "W")), (False, None)])
def test_a_rewriting_is_learned_from_an_answer_only(taught: bool, equivalent: Any) -> None:
    after = confirm(
        HELD, {"f": "w"}, {"f": seen("W")},
        order=80, ended=90, based_on=70, timing=STAMPED, taught=taught,
    )  # fmt: skip
    state = after.fields["f"]
    assert (state.value, state.base, state.equivalent) == ("W", "w", equivalent)


def test_an_answer_that_shows_nothing_is_taken_at_its_word() -> None:
    after = confirm(HELD, {"f": "w"}, {}, order=50, ended=90, based_on=70, timing=STAMPED, taught=True)
    assert (after.fields["f"].value, after.fields["f"].raw) == ("w", None)


def test_the_echo_of_a_confirmed_write_is_nothing_however_it_comes() -> None:
    for echo in (told(80, "w"), look(80, begun=85, f="w"), look(80, begun=95, f="w"), told(79, "w")):
        result = observe(WRITTEN, echo, STAMPED)
        assert (result.edits, result.again, result.superseded) == ((), False, 0)


def test_sending_makes_observations_wait_and_remembers_both_values() -> None:
    out = sending(HELD, {"f": "w", "g": "y"})
    assert out.open
    assert (set(out.fields["f"].known), set(out.fields["g"].known)) == ({"a", "w"}, {None, "y"})


def test_doubt_keeps_what_was_sent_and_lets_observations_go_on() -> None:
    out = doubt(doubt(sending(HELD, {"f": "w"}), {"f": "w"}, 100), {"f": "w"}, 200)
    assert (out.open, out.fields["f"].sent) == (False, (("w", 200),))


def test_a_write_in_doubt_arrived_where_a_read_shows_it_and_it_was_not_there_before() -> None:
    out = sending(HELD, {"f": "w", "g": "y", "h": "z"})
    shown = {"f": seen("w"), "g": seen("other"), "h": BROKEN}
    assert arrived(out, {"f": "w", "g": "y", "h": "z"}, shown) == {"f": "w"}
    assert arrived(out, {"f": "a"}, {"f": seen("a")}) == {}


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({"f": seen("a")}, True),
        ({"f": Seen(" A ", "a")}, True),
        ({"f": seen("b")}, False),
        ({"f": BROKEN}, False),
        ({}, True),
    ],
)
def test_the_re_check_compares_values_not_formats(shown: dict[str, Seen], expected: bool) -> None:
    assert as_expected(HELD, ["f"], shown) is expected


def test_the_re_check_of_an_unreadable_value_compares_what_is_written_there() -> None:
    broken = observe(HELD, look(55, begun=70, f=BROKEN), STAMPED).link
    assert as_expected(broken, ["f"], {"f": BROKEN})
    assert not as_expected(broken, ["f"], {"f": Seen("!!", None, "no such word")})


# ----------------------------------------------------------------------------------------------- properties


LETTERS = st.sampled_from(["a", "b", "c", None])


@given(st.lists(st.tuples(st.integers(1, 30), LETTERS), min_size=1, max_size=8, unique_by=lambda one: one[0]))
def test_the_newest_state_stands_in_whatever_order_versions_arrive(
    states: list[tuple[int, str | None]],
) -> None:
    here: LinkState = link()
    for stamp, value in states:
        result = observe(here, told(stamp, value), STAMPED)
        assert not result.again
        here = result.link
    newest = max(states)
    assert (here.order, here.fields["f"].value) == newest


@given(st.lists(st.tuples(st.integers(1, 30), LETTERS), min_size=1, max_size=8))
def test_looking_twice_at_the_same_thing_is_looking_once(states: list[tuple[int, str | None]]) -> None:
    here = link()
    for stamp, value in states:
        here = observe(here, told(stamp, value), STAMPED).link
        twice = observe(here, told(stamp, value), STAMPED)
        assert not twice.edits
        assert twice.link.fields == here.fields


@given(st.integers(1, 100), st.sampled_from(["a", "w", "x"]), st.booleans())
def test_a_late_observation_never_replaces_a_newer_state(stamp: int, value: str, second: bool) -> None:
    if stamp >= WRITTEN.order:
        return
    result = observe(WRITTEN, told(stamp, value, second=second), STAMPED)
    assert result.link.fields["f"].value == "w"
    assert result.link.fields["f"].base == "w"
    assert result.link.order == WRITTEN.order
