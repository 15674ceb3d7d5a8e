"""A write whose answer showed nothing leaves the order of the state before it: what was read meanwhile is no news."""

from __future__ import annotations

import pytest

from syncbroker.core.observe import Look, Timing, confirm, observe, sending
from syncbroker.core.plan import Seen
from tests.support.rules import link

STAMPED = Timing(stamped=True)
HELD = link(holds={"f": "a"}, order=50, seen=60)
BLIND = confirm(
    sending(HELD, {"f": "w"}), {"f": "w"}, {},
    order=50, ended=90, based_on=55, timing=STAMPED, taught=True,
)  # fmt: skip
"""Our write of `w` came after a state of order 55 and has no known order of its own."""


def read(stamp: int, begun: int, value: str, *, second: bool = False) -> Look:
    return Look(
        seen={"f": Seen(value, value)}, stamp=stamp, begun=begun, ended=begun + 2, read=True, second=second
    )


@pytest.mark.parametrize("value", ["a", "c"])
def test_a_read_that_began_before_the_write_ended_is_made_again_when_it_contradicts_the_write(
    value: str,
) -> None:
    result = observe(BLIND, read(60, 80, value), STAMPED)
    assert (result.again, result.edits) == (True, ())


def test_what_it_showed_competes_once_the_other_read_proved_that_the_write_removed_it() -> None:
    newer = observe(BLIND, read(70, 95, "w"), STAMPED).link
    result = observe(newer, read(60, 80, "c", second=True), STAMPED)
    assert [(edit.seen.value, edit.late) for edit in result.edits] == [("c", True)]
    assert result.link.fields["f"].value == "w"


def test_a_read_that_began_after_the_write_is_believed() -> None:
    result = observe(BLIND, read(60, 95, "c"), STAMPED)
    assert [edit.seen.value for edit in result.edits] == ["c"]


def told(stamp: int, value: str, *, second: bool = False) -> Look:
    """A webhook's body with a version of its own."""
    return Look(seen={"f": Seen(value, value)}, stamp=stamp, begun=0, ended=95, read=False, second=second)


SILENT = Timing(stamped=True, shows=False)


@pytest.mark.parametrize("value", ["a", "c"])
def test_what_is_told_after_a_blind_write_is_asked_about_when_it_contradicts_the_write(value: str) -> None:
    """It may be from before the write, whose place in the vendor's order nobody knows."""
    result = observe(BLIND, told(60, value), SILENT)
    assert (result.again, result.edits) == (True, ())


def test_what_is_told_where_answers_show_their_version_is_believed_by_it() -> None:
    assert [edit.seen.value for edit in observe(BLIND, told(60, "c"), STAMPED).edits] == ["c"]


def test_what_was_told_is_late_once_a_read_proved_that_the_write_came_after_it() -> None:
    newer = observe(BLIND, read(70, 95, "w"), SILENT).link
    result = observe(newer, told(60, "a", second=True), SILENT)
    assert (result.edits, result.link.fields["f"].value) == ((), "w")
