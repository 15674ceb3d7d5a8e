"""The cause of a difference, from evidence alone."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from syncbroker.core.drift import FOREIGN, Cause, cause_of, reformatted
from syncbroker.core.observe import Edit, Timing
from syncbroker.core.plan import Seen
from syncbroker.core.resolve import Kind
from syncbroker.core.state import FieldState, LinkState
from syncbroker.core.types import Actor
from syncbroker.store.drift import CAUSES

STAMPED, BLIND = Timing(stamped=True), Timing(stamped=False)
AUTOMATION, PERSON = Actor(origin="automation"), Actor(origin="person")


def link(*, ours: bool = True, known: tuple[Any, ...] = ("old", "new"), read: bool = True) -> LinkState:
    """It held "old", we wrote "new", and the vendor's version was 50 then."""
    fields = {"f": FieldState(raw="new", value="new", known=known)} if read else {"g": FieldState()}
    return LinkState(
        n=1,
        system="crm",
        object="people",
        external_id="p1",
        order=50,
        ours=("f",) if ours else (),
        fields=fields,
    )


def edit(before: LinkState, value: str, *, first: bool = False) -> Edit:
    return Edit("f", Seen(value, value), before.fields.get("f", FieldState()), first, False, 0, 0)


@pytest.mark.parametrize(
    ("before", "value", "kind", "stamp", "actor", "timing", "cause"),
    [
        (link(), "old", "adopted", 50, None, STAMPED, "lost_write"),
        (link(), "old", "adopted", 51, None, STAMPED, "missed_event"),  # somebody changed it since
        (link(), "old", "adopted", None, None, BLIND, "missed_event"),  # nothing tells
        (link(), "NEW!", "adopted", 50, None, STAMPED, "rewritten_by_system"),
        (link(), "NEW!", "adopted", 51, AUTOMATION, STAMPED, "rewritten_by_system"),
        (link(), "NEW!", "adopted", None, AUTOMATION, BLIND, "rewritten_by_system"),
        (link(), "NEW!", "adopted", 51, PERSON, STAMPED, "missed_event"),
        (link(ours=False), "other", "adopted", 51, AUTOMATION, STAMPED, "missed_event"),
        (link(ours=False), "other", "drift_corrected", 51, None, STAMPED, "foreign_edit"),
        (link(ours=False), "other", "edit_ignored", 51, None, STAMPED, "foreign_edit"),
        (link(ours=False), "other", "edit_proposed", 51, None, STAMPED, "foreign_edit"),
        (link(), "old", "drift_corrected", 50, None, STAMPED, "lost_write"),  # ours, whoever may decide
    ],
)
def test_the_cause_follows_from_what_is_known(
    before: LinkState,
    value: str,
    kind: Kind,
    stamp: int | None,
    actor: Actor | None,
    timing: Timing,
    cause: str,
) -> None:
    assert cause_of(edit(before, value), kind, before, stamp, actor, timing).name == cause


def test_a_field_that_was_not_read_before_differs_since_the_mapping_changed() -> None:
    before = link(read=False)
    found = cause_of(edit(before, "x", first=True), "adopted", before, 60, None, STAMPED)
    assert found == Cause("mapping_changed", "the field was not read before")


def test_the_reason_names_who_the_vendor_says_it_was() -> None:
    before = link(ours=False)
    found = cause_of(edit(before, "x"), "adopted", before, 60, PERSON, STAMPED)
    assert found.why.endswith("the vendor names person")


@pytest.mark.parametrize(
    ("raw", "value", "fields"), [("NEW", "new", ["f"]), ("new", "new", []), ("x", "x", [])]
)
def test_only_the_way_of_writing_differs(raw: str, value: str, fields: list[str]) -> None:
    assert list(reformatted(link(), {"f": Seen(raw, value)})) == fields


@pytest.mark.parametrize("seen", [Seen("NEW", "new", "no number"), Seen("?", None)])
def test_what_cannot_be_read_or_was_not_there_is_not_written_differently(seen: Seen) -> None:
    assert list(reformatted(link(), {"f": seen, "other": Seen("a", "a")})) == []


def test_the_words_are_those_of_the_ledger_and_of_the_rules() -> None:
    assert set(get_args(Kind)) >= FOREIGN
    assert len(CAUSES) == 8
