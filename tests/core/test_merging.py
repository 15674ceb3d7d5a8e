"""What becomes of each field when two golden records become one, and of an edit when they are two again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.core.merging import Meeting, again, meet
from syncbroker.core.resolve import ABSORBED, Question, resolve
from syncbroker.core.state import NOTHING, Golden
from syncbroker.core.types import Type, Value
from tests.support.rules import rule

OLD, NEW = 1_000_000_000, 2_000_000_000


def golden(value: Any, source: str = "crm", at: int = OLD, **given: Any) -> Golden:
    return Golden(value, source, at, at, **given)


CASES: list[tuple[str, dict[str, Any], Golden, Golden, str, Any]] = [
    ("prefer", {}, golden("s", "crm"), golden("a", "mkt"), "conflict_resolved", "s"),
    ("prefer", {}, golden("s", "mkt"), golden("a", "crm"), "conflict_resolved", "a"),
    ("prefer", {}, golden("s", "crm"), golden("a", "crm"), "conflict_resolved", "s"),
    ("prefer", {}, golden("s", "crm"), golden("a", ""), "conflict_resolved", "a"),
    ("prefer", {}, golden("s", ""), golden("a", ""), "conflict_resolved", "s"),
    ("prefer", {}, golden("s", "gone"), golden("a", "mkt"), "conflict_resolved", "a"),
    ("prefer", {}, NOTHING, golden("a", "mkt"), "adopted", "a"),
    ("prefer", {}, golden("s"), golden("s", "mkt"), "agreed", "s"),
    ("enforce", {}, golden("s", "mkt"), golden("a", "crm"), "conflict_resolved", "a"),
    ("enforce", {}, golden("s", "crm"), golden("a", "mkt"), "conflict_resolved", "s"),
    ("enforce", {"on_foreign_edit": "ignore"}, golden("s"), golden("a", "mkt"), "edit_ignored", "s"),
    ("enforce", {"on_foreign_edit": "propose"}, golden("s"), golden("a", "mkt"), "conflict_resolved", "s"),
    ("latest", {}, golden("s", "crm"), golden("a", "mkt", NEW), "conflict_resolved", "a"),
    ("latest", {}, golden("s", "mkt", NEW), golden("a", "crm"), "conflict_resolved", "s"),
    ("review", {}, golden("s", "crm"), golden("a", "mkt"), "conflict_resolved", "s"),
    ("review", {"first_meeting": "review"}, golden("s"), golden("a", "mkt"), "conflict_queued", "s"),
    ("seed", {}, golden("s", "mkt"), golden("a", "sup"), "edit_ignored", "s"),
    ("union", {"type": Type.TAGS}, golden(("s",)), golden(("a",), "mkt"), "conflict_resolved", ("a", "s")),
    ("longest", {}, golden("s"), golden("longer", "mkt"), "conflict_resolved", "longer"),
    ("max", {"type": Type.INTEGER}, golden(3), golden(2, "mkt"), "conflict_resolved", 3),
]


@pytest.mark.parametrize(("policy", "given_", "survivor", "absorbed", "kind", "value"), CASES)
def test_the_absorbed_value_meets_the_survivors_under_the_rule_of_the_field(
    policy: str, given_: dict[str, Any], survivor: Golden, absorbed: Golden, kind: str, value: Any
) -> None:
    met = meet(rule(policy, **given_), survivor, absorbed, ("crm", "mkt", "sup"))
    assert met is not None
    assert met.verdict is not None
    assert (met.verdict.kind, met.golden.value) == (kind, value)


@given(
    st.sampled_from(["prefer", "enforce", "latest", "review", "seed", "longest"]),
    st.sampled_from(["crm", "mkt", "", "gone"]),
    st.sampled_from(["crm", "mkt", "", "gone"]),
    st.integers(OLD, NEW),
    st.integers(OLD, NEW),
)
def test_every_meeting_has_a_verdict_and_its_question_has_the_same(
    policy: str, one: str, other: str, at: int, later: int
) -> None:
    field = rule(policy)
    met = meet(field, golden("s", one, at), golden("a", other, later), ("crm", "mkt"))
    assert met is not None
    assert met.question is not None
    assert resolve(field, met.question) == met.verdict


def test_an_empty_never_speaks() -> None:
    field = rule("prefer", empty="clear")
    assert meet(field, golden("s"), NOTHING, ()) is None
    assert meet(field, golden("s"), golden(None, "mkt", NEW), ()) is None


def test_a_question_of_the_absorbed_record_goes_on_beside_the_survivors_value() -> None:
    waiting = golden("a", "mkt", frozen={"crm": "b", "mkt": "c"}, review=7)
    met = meet(rule("review"), golden("s", "crm"), waiting, ())
    assert met is not None
    assert met.golden.frozen == {"crm": "s", f"{ABSORBED}-crm": "b", "mkt": "c"}


def test_a_question_of_the_absorbed_record_stays_its_own_where_the_survivor_has_nothing() -> None:
    waiting = golden("a", "mkt", frozen={"": "a", "mkt": "c"}, review=7)
    met = meet(rule("review"), NOTHING, waiting, ())
    assert met == Meeting(
        golden("a", "mkt", frozen={ABSORBED: "a", "mkt": "c"}),
        why="a question about the absorbed record is still open",
    )


def test_a_question_whose_candidates_are_all_what_the_survivor_has_is_answered() -> None:
    met = meet(rule("review"), golden("s"), golden("a", frozen={"mkt": "s"}), ())
    assert met is not None
    assert (met.golden.value, met.golden.frozen) == ("s", None)


def test_a_value_joins_the_candidates_of_the_survivor_and_replaces_none() -> None:
    waiting = golden("s", "crm", frozen={"": "s", "crm": "t"}, review=3)
    met = meet(rule("review"), waiting, golden("a", "crm"), ())
    assert met is not None
    assert met.golden.frozen == {"": "s", "crm": "t", ABSORBED: "a"}


# ------------------------------------------------------------------------------------------- and back again


HAD: dict[Value, Value] = {"older": "before", "former": "own", "merged": "own"}


def edit(base: Any, standing: Any) -> Question:
    return Question(
        system="mkt", value="new", golden=golden(standing), held=base, base=base, met=True, until=NEW
    )


@pytest.mark.parametrize(
    ("base", "standing", "side", "kind"),
    [
        ("merged", "merged", "own", "adopted"),  # it had seen the merged value
        ("own", "merged", "own", "adopted"),  # it had seen only its own side's value
        (
            "former",
            "merged",
            "own",
            "adopted",
        ),  # it had seen a merged value of when its side had what it has now
        ("older", "merged", "own", "conflict_resolved"),  # its side has changed since what it had seen
        ("other", "merged", "own", "conflict_resolved"),  # it had seen neither
    ],
)
def test_what_an_edit_had_seen_it_has_seen_on_its_own_side_too(
    base: str, standing: str, side: str, kind: str
) -> None:
    asked, verdict = again(
        rule("prefer"), golden(side), edit(base, standing), had=HAD, linked=(), pull=True, can_push=True
    )
    assert verdict.kind == kind
    assert resolve(rule("prefer"), asked) == verdict


@pytest.mark.parametrize("met", [True, False])
def test_an_edit_of_what_its_own_side_has_by_now_builds_on_it(met: bool) -> None:
    """While the merged field waited for a person, the edits of one system came one after the other."""
    waiting = golden("merged", frozen={"crm": "merged", "mkt": "second"}, review=1)
    third = Question(
        system="mkt",
        value="first",
        golden=waiting,
        held="second",
        seen_before=True,
        base="first",
        met=met,
        until=NEW,
    )
    field = rule("review", first_meeting="review")
    asked, verdict = again(field, golden("second", "mkt"), third, had={}, linked=(), pull=True, can_push=True)
    assert (verdict.kind, verdict.golden.value, verdict.golden.frozen) == ("adopted", "first", None)
    assert resolve(field, asked) == verdict


def test_a_first_sight_builds_on_nothing_on_its_own_side() -> None:
    """What was never seen there is no empty that was held."""
    first = Question(system="mkt", value="new", golden=golden("merged"), until=NEW)
    field = rule("review", first_meeting="review")
    cleared = golden(None, "crm")
    _, verdict = again(field, cleared, first, had={}, linked=(), pull=True, can_push=True)
    assert verdict.kind == "conflict_queued"


def test_an_edit_of_what_was_a_duplicate_counts_once_it_is_none() -> None:
    ignored = Question(
        system="mkt", value="new", pull=False, can_push=False, golden=golden("merged"), base="own", met=True
    )
    assert resolve(rule("prefer"), ignored).kind == "edit_ignored"
    _, verdict = again(rule("prefer"), golden("own"), ignored, had={}, linked=(), pull=True, can_push=True)
    assert (verdict.kind, verdict.golden.value) == ("adopted", "new")
