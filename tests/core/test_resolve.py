"""Who is right, policy by policy."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.core.mapping import FieldRule, ValueSpec
from syncbroker.core.resolve import POLICIES, Question, builds, outranks, owner, resolve
from syncbroker.core.state import Golden
from syncbroker.core.types import Type
from tests.support.rules import SYSTEMS, question, rule

CHOICES = ValueSpec(type=Type.CHOICE, choices=(("on",), ("half",), ("off",)))
CONSENT = rule("most_restrictive", spec=CHOICES, order=("on", "half", "off"), loosen_by=("mkt",))


# ------------------------------------------------------------------------------- one edit that builds


@pytest.mark.parametrize(
    ("given_rule", "system", "value", "kind", "after", "base_moves"),
    [
        (rule("enforce"), "crm", "new", "adopted", "new", True),
        (rule("enforce"), "mkt", "new", "edit_reverted", "old", False),
        (rule("prefer"), "sup", "new", "adopted", "new", True),
        (rule("latest"), "sup", "new", "adopted", "new", True),
        (rule("review"), "sup", "new", "adopted", "new", True),
        (rule("longest"), "sup", "x", "adopted", "x", True),
        (rule("longest", monotone=True), "sup", "x", "edit_reverted", "old", False),
        (rule("longest", monotone=True), "sup", "longer", "adopted", "longer", True),
        (rule("max", type=Type.INTEGER), "sup", 1, "adopted", 1, True),
        (rule("max", type=Type.INTEGER, monotone=True), "sup", 1, "edit_reverted", 5, False),
        (rule("max", type=Type.INTEGER, monotone=True), "sup", 9, "adopted", 9, True),
        (rule("min", type=Type.INTEGER, monotone=True), "sup", 9, "edit_reverted", 5, False),
        (rule("min", type=Type.INTEGER, monotone=True), "sup", 1, "adopted", 1, True),
        (rule("seed"), "sup", "new", "edit_ignored", "old", False),
        (CONSENT, "sup", "off", "adopted", "off", True),
        (CONSENT, "mkt", "on", "edit_reverted", "half", False),
    ],
)
def test_an_edit_that_builds_on_the_golden_value(
    given_rule: FieldRule, system: str, value: Any, kind: str, after: Any, base_moves: bool
) -> None:
    old = {Type.INTEGER: 5, Type.CHOICE: "half"}.get(given_rule.type, "old")
    verdict = resolve(given_rule, question(value, system=system, golden=old))
    assert (verdict.kind, verdict.golden.value, verdict.base_moves) == (kind, after, base_moves)


# ------------------------------------------------------------------------------------- competing edits


@pytest.mark.parametrize(
    ("given_rule", "system", "value", "kind", "after"),
    [
        (rule("enforce"), "crm", "new", "conflict_resolved", "new"),
        (rule("enforce"), "sup", "new", "edit_reverted", "old"),
        (rule("prefer"), "crm", "new", "conflict_resolved", "new"),
        (rule("prefer"), "sup", "new", "conflict_resolved", "old"),
        (rule("review"), "crm", "new", "conflict_queued", "old"),
        (rule("seed"), "crm", "new", "edit_ignored", "old"),
        (rule("longest"), "sup", "longer", "conflict_resolved", "longer"),
        (rule("longest"), "crm", "x", "conflict_resolved", "old"),
        (rule("longest"), "crm", "new", "conflict_resolved", "new"),  # as long: rank
        (rule("longest"), "sup", "new", "conflict_resolved", "old"),
        (rule("max", type=Type.INTEGER), "sup", 9, "conflict_resolved", 9),
        (rule("max", type=Type.INTEGER), "crm", 1, "conflict_resolved", 5),
        (rule("min", type=Type.INTEGER), "sup", 9, "conflict_resolved", 5),
        (rule("min", type=Type.INTEGER), "crm", 1, "conflict_resolved", 1),
        (CONSENT, "sup", "off", "conflict_resolved", "off"),
        (CONSENT, "mkt", "on", "conflict_resolved", "half"),
    ],
)
def test_an_edit_that_competes_with_the_golden_value(
    given_rule: FieldRule, system: str, value: Any, kind: str, after: Any
) -> None:
    old = {Type.INTEGER: 5, Type.CHOICE: "half"}.get(given_rule.type, "old")
    q = question(value, system=system, golden=old, base="older", standing=Golden(old, "mkt", 10, 10))
    if given_rule.policy == "enforce":
        q = msgspec.structs.replace(q, golden=Golden(old, "crm", 10, 10))
    verdict = resolve(given_rule, q)
    assert (verdict.kind, verdict.golden.value) == (kind, after)


def test_what_competes_keeps_the_base_where_it_was_unless_it_wins() -> None:
    q = question("new", system="crm", golden="old", base="older")
    assert resolve(rule("prefer"), q).base_moves
    assert not resolve(rule("prefer"), msgspec.structs.replace(q, system="sup")).base_moves


@pytest.mark.parametrize("policy", [name for name in POLICIES if name != "most_restrictive"])
def test_equal_values_agree_under_every_policy(policy: str) -> None:
    kind = Type.INTEGER if policy in ("max", "min") else Type.TEXT
    same: Any = 3 if kind is Type.INTEGER else "same"
    verdict = resolve(rule(policy, type=kind), question(same, golden=same, base=None, met=False))
    assert (verdict.kind, verdict.golden.value, verdict.base_moves) == ("agreed", same, True)


# --------------------------------------------------------------------------------------- first meeting


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_a_value_on_one_side_only_is_taken(policy: str) -> None:
    given_rule = CONSENT if policy == "most_restrictive" else rule(policy)
    verdict = resolve(given_rule, question("on", system="sup", seen_before=False))
    assert (verdict.kind, verdict.golden.value, verdict.golden.source) == ("adopted", "on", "sup")


@pytest.mark.parametrize(
    ("given_rule", "system", "after", "kind"),
    [
        (rule("prefer"), "crm", "new", "conflict_resolved"),
        (rule("prefer"), "sup", "old", "conflict_resolved"),
        (rule("review"), "crm", "new", "conflict_resolved"),
        (rule("review"), "sup", "old", "conflict_resolved"),
        (rule("review", first_meeting="review"), "crm", "old", "conflict_queued"),
        (rule("seed"), "crm", "new", "conflict_resolved"),
        (rule("seed"), "sup", "old", "edit_ignored"),
        (rule("enforce", authority=("sup",)), "sup", "new", "conflict_resolved"),
        (rule("enforce", authority=("mkt",)), "crm", "old", "conflict_resolved"),
        (rule("latest", tie="review"), "crm", "new", "conflict_resolved"),
        (rule("latest", tie="review", first_meeting="review"), "crm", "old", "conflict_queued"),
    ],
)
def test_unequal_values_at_the_first_meeting(
    given_rule: FieldRule, system: str, after: str, kind: str
) -> None:
    standing = Golden("old", "mkt", 0, 20)
    q = question("new", system=system, standing=standing, seen_before=False, met=False, since=0)
    verdict = resolve(given_rule, q)
    assert (verdict.kind, verdict.golden.value) == (kind, after)


# -------------------------------------------------------------------------------------------- enforce


def test_the_owner_is_the_highest_authority_that_is_linked() -> None:
    given_rule = rule("enforce", authority=("mkt", "crm"))
    assert owner(given_rule, ("crm", "mkt", "sup")) == "mkt"
    assert owner(given_rule, ("crm", "sup")) == "crm"
    assert owner(given_rule, ("sup",)) == ""


def test_a_foreign_edit_is_reverted_though_the_value_came_from_an_authority_that_is_gone() -> None:
    given_rule = rule("enforce", authority=("mkt", "crm"))
    standing = Golden("old", "mkt", 10, 10)
    verdict = resolve(
        given_rule, question("new", system="sup", golden="old", standing=standing, linked=("crm", "sup"))
    )
    assert (verdict.kind, verdict.golden.value) == ("edit_reverted", "old")


def test_a_foreign_edit_is_reverted_though_the_owner_only_ever_got_the_value() -> None:
    standing = Golden("old", "sup", 10, 10)
    verdict = resolve(rule("enforce"), question("new", system="sup", golden="old", standing=standing))
    assert (verdict.kind, verdict.golden.value) == ("edit_reverted", "old")


def test_at_a_first_meeting_of_two_foreign_values_rank_decides_while_the_owner_has_none() -> None:
    standing = Golden("old", "sup", 0, 10)
    q = question("new", system="mkt", standing=standing, seen_before=False, met=False, held=None, base=None)
    assert resolve(rule("enforce"), q).golden.value == "new"
    other_way = msgspec.structs.replace(q, system="sup", golden=Golden("old", "mkt", 0, 10))
    assert resolve(rule("enforce"), other_way).golden.value == "old"


def test_without_any_authority_linked_the_others_decide_among_themselves() -> None:
    q = question(
        "new", system="sup", golden="old", standing=Golden("old", "mkt", 10, 10), linked=("mkt", "sup")
    )
    assert resolve(rule("enforce"), q).golden.value == "new"
    late = msgspec.structs.replace(q, base="older")
    assert resolve(rule("enforce"), late).golden.value == "old"


@pytest.mark.parametrize(
    ("on_foreign_edit", "kind", "let_stand", "ask"),
    [
        ("revert", "edit_reverted", False, False),
        ("propose", "edit_proposed", True, True),
        ("ignore", "edit_ignored", True, False),
    ],
)
def test_what_becomes_of_a_foreign_edit(on_foreign_edit: str, kind: str, let_stand: bool, ask: bool) -> None:
    verdict = resolve(rule("enforce", on_foreign_edit=on_foreign_edit), question("new", golden="old"))
    assert (verdict.kind, verdict.let_stand, verdict.ask) == (kind, let_stand, ask)
    assert verdict.golden.value == "old"


def test_a_foreign_edit_found_by_a_sweep_is_drift() -> None:
    assert resolve(rule("enforce"), question("new", golden="old", sweep=True)).kind == "drift_corrected"


def test_a_foreign_edit_where_nothing_can_be_pushed_stands() -> None:
    verdict = resolve(rule("enforce"), question("new", golden="old", can_push=False))
    assert (verdict.kind, verdict.let_stand) == ("edit_ignored", True)


# ------------------------------------------------------------------------------------------ push-only


@pytest.mark.parametrize("policy", sorted({*POLICIES, "union"}))
def test_a_system_that_is_only_pushed_to_decides_nothing(policy: str) -> None:
    given_rule = CONSENT if policy == "most_restrictive" else rule(policy)
    verdict = resolve(given_rule, question("off", system="crm", golden="half", pull=False))
    assert (verdict.kind, verdict.golden.value) == ("edit_reverted", "half")


def test_a_system_that_is_only_pushed_to_proposes_nothing_either() -> None:
    given_rule = rule("enforce", on_foreign_edit="propose")
    assert resolve(given_rule, question("new", golden="old", pull=False)).kind == "edit_reverted"


def test_a_system_that_is_only_pushed_to_agrees_when_it_shows_the_golden_value() -> None:
    verdict = resolve(rule("enforce"), question("old", golden="old", pull=False))
    assert (verdict.kind, verdict.base_moves) == ("agreed", True)


def test_what_a_push_only_link_holds_before_there_is_a_golden_value_does_not_stand_for_ever() -> None:
    verdict = resolve(rule("prefer"), question("new", golden=None, pull=False, seen_before=False))
    assert (verdict.kind, verdict.let_stand) == ("edit_ignored", False)


def test_a_difference_at_the_first_meeting_of_a_push_only_link_is_no_edit_of_anybody() -> None:
    q = question("new", golden="old", pull=False, seen_before=False, met=False)
    assert resolve(rule("enforce"), q).kind == "conflict_resolved"


# --------------------------------------------------------------------------------------------- latest


@pytest.mark.parametrize(
    ("since", "until", "golden", "kind", "after"),
    [
        (30, 30, (10, 10), "conflict_resolved", "new"),  # two points, clearly apart
        (10, 10, (30, 30), "conflict_resolved", "old"),
        (13, 13, (10, 10), "conflict_resolved", "old"),  # closer than the tolerance: a tie, crm ranks higher
        (5, 40, (10, 10), "conflict_resolved", "old"),  # an interval that overlaps: a tie
        (11, 40, (10, 10), "conflict_resolved", "new"),  # an interval that does not
        (40, 50, (10, 40), "conflict_resolved", "old"),  # they touch
        (41, 50, (10, 40), "conflict_resolved", "new"),
    ],
)
def test_the_newest_of_competing_edits_wins(
    since: int, until: int, golden: tuple[int, int], kind: str, after: str
) -> None:
    q = question(
        "new", base="older", golden="old", standing=Golden("old", "crm", *golden), since=since, until=until
    )
    verdict = resolve(rule("latest", tolerance=5), q)
    assert (verdict.kind, verdict.golden.value) == (kind, after)


def test_a_tie_may_be_left_to_a_person() -> None:
    q = question("new", golden="old", base="older", since=5, until=40)
    verdict = resolve(rule("latest", tie="review"), q)
    assert (verdict.kind, verdict.golden.frozen) == ("conflict_queued", {"crm": "old", "mkt": "new"})


def test_an_edit_certainly_older_than_the_golden_value_competes_though_it_builds_on_it() -> None:
    q = question("new", golden="old", standing=Golden("old", "crm", 100, 100), since=20, until=20)
    assert not builds(rule("latest", tolerance=1), q)
    assert resolve(rule("latest", tolerance=1), q).golden.value == "old"
    assert builds(rule("prefer"), q)


# ------------------------------------------------------------------------------- late, unsure, unmet


@pytest.mark.parametrize(
    "why",
    [{"late": True}, {"unsure": True}, {"met": False}, {"base": "older"}],
    ids=lambda why: next(iter(why)),
)
def test_what_the_editor_may_not_have_seen_does_not_build(why: dict[str, Any]) -> None:
    assert not builds(rule("prefer"), question("new", golden="old", **why))
    assert resolve(rule("prefer"), question("new", golden="old", **why)).golden.value == "old"


@pytest.mark.parametrize(("system", "after"), [("crm", "new"), ("mkt", "old")])
def test_an_edit_that_our_write_removed_unseen_competes_and_moves_no_base(system: str, after: str) -> None:
    verdict = resolve(rule("prefer"), question("new", system=system, golden="old", late=True))
    assert (verdict.kind, verdict.golden.value, verdict.base_moves) == ("overwritten_unseen", after, False)


@pytest.mark.parametrize("policy", sorted({*POLICIES, "union"}))
@pytest.mark.parametrize("pull", [True, False])
@pytest.mark.parametrize("value", ["half", "off", None])
def test_a_late_edit_never_moves_a_base_nor_lets_what_is_held_now_stand(
    policy: str, pull: bool, value: str | None
) -> None:
    for foreign in ("revert", "propose", "ignore"):
        given_rule = (
            rule(policy, spec=CHOICES, order=("on", "half", "off"), on_foreign_edit=foreign)
            if policy == "most_restrictive"
            else rule(policy, on_foreign_edit=foreign)
        )
        verdict = resolve(given_rule, question(value, golden="half", late=True, pull=pull))
        assert not verdict.base_moves
        assert not verdict.let_stand


# ------------------------------------------------------------------------------------ agreeing edits


def test_an_agreeing_edit_lends_its_time_and_its_rank_where_they_are_higher() -> None:
    q = question("same", system="crm", standing=Golden("same", "mkt", 10, 10), golden="same")
    golden = resolve(rule("prefer"), q).golden
    assert (golden.source, golden.since, golden.until) == ("crm", 20, 20)


def test_an_agreeing_edit_of_a_lower_rank_or_an_older_time_lends_nothing() -> None:
    q = question("same", system="sup", standing=Golden("same", "mkt", 30, 30), golden="same")
    golden = resolve(rule("prefer"), q).golden
    assert (golden.source, golden.since, golden.until) == ("mkt", 30, 30)


def test_a_persons_answer_is_outranked_by_nobody() -> None:
    assert not outranks(rule("prefer"), "crm", "")
    q = question("new", system="crm", golden="old", base="older", standing=Golden("old", "", 10, 10))
    assert resolve(rule("prefer"), q).golden.value == "old"


def test_a_system_that_left_the_mapping_is_outranked_by_all() -> None:
    assert outranks(rule("prefer"), "sup", "gone")


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_a_golden_value_of_a_system_that_left_the_mapping_can_still_be_judged_against(policy: str) -> None:
    given_rule = CONSENT if policy == "most_restrictive" else rule(policy)
    q = question("on", standing=Golden("half", "gone", 10, 10), met=False, seen_before=False)
    assert resolve(given_rule, q).golden.value in ("on", "half")


# ------------------------------------------------------------------------------------- the kinds of empty


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("system", SYSTEMS)
def test_an_empty_never_overwrites_by_default(policy: str, system: str) -> None:
    given_rule = CONSENT if policy == "most_restrictive" else rule(policy)
    verdict = resolve(given_rule, question(None, system=system, golden="half"))
    assert (verdict.kind, verdict.golden.value) == ("edit_reverted", "half")


@pytest.mark.parametrize(
    ("policy", "system", "after"),
    [
        ("enforce", "crm", None),
        ("enforce", "mkt", "old"),
        ("prefer", "sup", None),
        ("latest", "sup", None),
        ("review", "sup", None),
    ],
)
def test_a_system_that_may_decide_may_clear_where_the_mapping_says_so(
    policy: str, system: str, after: str | None
) -> None:
    verdict = resolve(rule(policy, empty="clear"), question(None, system=system, golden="old"))
    assert verdict.golden.value == after


@pytest.mark.parametrize("policy", ["enforce", "prefer", "latest", "review"])
def test_a_placeholder_never_clears_a_field(policy: str) -> None:
    q = question(None, system="crm", golden="old", empty="placeholder")
    assert resolve(rule(policy, empty="clear"), q).golden.value == "old"


def test_an_empty_of_a_push_only_link_is_filled_again() -> None:
    assert resolve(rule("prefer"), question(None, golden="old", pull=False)).kind == "edit_reverted"


def test_nothing_on_both_sides_is_no_clearing() -> None:
    """A value that could not be read is emptied, and there never was a golden value: later ones are still the first."""
    q = question(None, standing=Golden(), met=False, held=None)
    verdict = resolve(rule("enforce"), q)
    assert verdict.kind == "agreed"
    assert (
        resolve(rule("enforce"), question("first", standing=verdict.golden, system="mkt")).golden.value
        == "first"
    )


# ---------------------------------------------------------------------------------------------- invalid


@pytest.mark.parametrize("policy", sorted({*POLICIES, "union"}))
def test_what_cannot_be_read_is_asked_about_and_changes_nothing(policy: str) -> None:
    given_rule = CONSENT if policy == "most_restrictive" else rule(policy)
    verdict = resolve(given_rule, question(None, golden="half", invalid="no such word"))
    assert (verdict.kind, verdict.block, verdict.ask, verdict.golden.value) == (
        "rejected",
        True,
        True,
        "half",
    )
    assert verdict.why == "no such word"


# ------------------------------------------------------------------------------------------------ frozen


FROZEN = Golden("a", "crm", 10, 10, 3, {"crm": "a", "mkt": "b"}, 5)


def test_a_new_edit_in_a_frozen_field_replaces_its_systems_candidate() -> None:
    verdict = resolve(rule("review"), question("c", system="mkt", standing=FROZEN))
    assert verdict.kind == "conflict_queued"
    assert verdict.golden == msgspec.structs.replace(FROZEN, frozen={"crm": "a", "mkt": "c"})


def test_a_third_system_joins_the_candidates() -> None:
    verdict = resolve(rule("review"), question("c", system="sup", standing=FROZEN))
    assert verdict.golden.frozen == {"crm": "a", "mkt": "b", "sup": "c"}


@pytest.mark.parametrize(("system", "value"), [("mkt", "a"), ("crm", "b")])
def test_when_all_candidates_become_equal_the_review_closes_as_agreed(system: str, value: str) -> None:
    verdict = resolve(rule("review"), question(value, system=system, standing=FROZEN))
    assert (verdict.kind, verdict.closes, verdict.base_moves) == ("agreed", True, True)
    assert (verdict.golden.value, verdict.golden.frozen, verdict.golden.review) == (value, None, 0)


def test_an_emptied_value_is_no_candidate() -> None:
    frozen = msgspec.structs.replace(FROZEN, frozen={"crm": "a", "mkt": "b", "sup": "c"})
    verdict = resolve(rule("review"), question(None, system="mkt", standing=frozen))
    assert verdict.golden.frozen == {"crm": "a", "sup": "c"}


def test_an_emptied_value_is_a_candidate_where_empties_may_win() -> None:
    verdict = resolve(rule("review", empty="clear"), question(None, system="mkt", standing=FROZEN))
    assert verdict.golden.frozen == {"crm": "a", "mkt": None}


def test_the_last_candidate_left_is_its_own_systems_value() -> None:
    verdict = resolve(rule("review"), question(None, system="crm", standing=FROZEN))
    assert (verdict.closes, verdict.golden.value, verdict.golden.source) == (True, "b", "mkt")
    assert not verdict.base_moves


def test_an_unreadable_value_leaves_the_candidates_as_they_are() -> None:
    verdict = resolve(rule("review"), question(None, standing=FROZEN, invalid="broken"))
    assert verdict.golden == FROZEN


# ------------------------------------------------------------------------------------------------- union


@pytest.mark.parametrize(
    ("golden", "held", "value", "after", "kind"),
    [
        (("a",), ("a",), ("a", "b"), ("a", "b"), "adopted"),
        (("a", "b"), ("a", "b"), ("a",), ("a",), "adopted"),
        (("a", "b"), ("a",), ("a", "c"), ("a", "b", "c"), "conflict_resolved"),
        (("a", "b"), ("a",), ("c",), ("b", "c"), "conflict_resolved"),
        (("b",), ("a",), ("a", "b"), ("b",), "conflict_resolved"),  # a's removal elsewhere stays
        (("a", "b"), ("b",), ("a", "b"), ("a", "b"), "agreed"),
    ],
)
def test_additions_and_removals_are_merged(golden: Any, held: Any, value: Any, after: Any, kind: str) -> None:
    verdict = resolve(rule("union", type=Type.TAGS), question(value, golden=golden, held=held))
    assert (verdict.golden.value, verdict.kind) == (after, kind)
    assert verdict.base_moves == (after == value)


def test_at_first_sight_every_tag_is_an_addition() -> None:
    q = question(("b",), golden=("a",), held=None, met=False, seen_before=False)
    assert resolve(rule("union", type=Type.TAGS), q).golden.value == ("a", "b")


@pytest.mark.parametrize(("empty", "after"), [("keep", ("a",)), ("clear", None)])
def test_the_last_tag_goes_only_where_a_field_may_be_cleared(empty: str, after: Any) -> None:
    verdict = resolve(rule("union", type=Type.TAGS, empty=empty), question(None, golden=("a",)))
    assert verdict.golden.value == after


def test_two_removals_that_leave_nothing_keep_the_value_where_it_may_not_be_cleared() -> None:
    q = question(("a",), golden=("b",), held=("a", "b"))
    assert resolve(rule("union", type=Type.TAGS), q).golden.value == ("b",)
    assert resolve(rule("union", type=Type.TAGS, empty="clear"), q).golden.value is None


def test_a_placeholder_removes_no_tag() -> None:
    q = question(None, golden=("a",), empty="placeholder")
    assert resolve(rule("union", type=Type.TAGS, empty="clear"), q).golden.value == ("a",)


# ------------------------------------------------------------------------------------- most restrictive


@pytest.mark.parametrize(
    ("system", "consent", "base", "kind", "after"),
    [
        ("mkt", "form-7", "off", "adopted", "on"),
        ("mkt", "", "off", "edit_reverted", "off"),
        ("crm", "form-7", "off", "edit_reverted", "off"),
        ("mkt", "form-7", "half", "conflict_resolved", "off"),  # it had not seen the opt-out
    ],
)
def test_loosening_needs_the_right_system_fresh_consent_and_the_golden_value_seen(
    system: str, consent: str, base: str, kind: str, after: str
) -> None:
    verdict = resolve(CONSENT, question("on", system=system, golden="off", base=base, consent=consent))
    assert (verdict.kind, verdict.golden.value) == (kind, after)


# ------------------------------------------------------------------------------------- standardised names


NAMES = rule("prefer", type=Type.COMPANY_NAME)


def test_two_spellings_of_one_name_end_as_the_longer_one() -> None:
    q = question("Acme Corporation", system="sup", golden="Acme", met=False, seen_before=False)
    verdict = resolve(NAMES, q)
    assert (verdict.kind, verdict.golden.value, verdict.base_moves) == (
        "standardised",
        "Acme Corporation",
        True,
    )
    other = question("Acme", system="crm", golden="Acme Corporation", met=False, seen_before=False)
    assert (resolve(NAMES, other).kind, resolve(NAMES, other).golden.value) == (
        "standardised",
        "Acme Corporation",
    )


def test_whoever_saw_the_golden_name_may_shorten_it() -> None:
    assert resolve(NAMES, question("Acme", golden="Acme Corporation")).golden.value == "Acme"


def test_an_owners_spelling_stands() -> None:
    given_rule = rule("enforce", type=Type.COMPANY_NAME)
    q = question("Acme", system="crm", golden="Acme Corporation", base="x")
    assert resolve(given_rule, q).golden.value == "Acme"


def test_a_seeded_name_is_not_respelled_later() -> None:
    q = question("Acme Corporation", system="sup", golden="Acme", met=False, base=None)
    assert resolve(rule("seed", type=Type.COMPANY_NAME), q).golden.value == "Acme"


# ------------------------------------------------------------------------------------------- properties


VALUES = st.sampled_from([None, "a", "bb", "ccc", "on", "half", "off", "A"])
TAGS = st.sampled_from([None, ("a",), ("a", "b"), ("b",), ("c",)])
NUMBERS = st.sampled_from([None, 0, 1, 7, True])
RANKED = st.sampled_from([*SYSTEMS, "", "gone"])


@st.composite
def rules(draw: st.DrawFn) -> FieldRule:
    policy = draw(st.sampled_from(sorted({*POLICIES, "union"})))
    kind = {"union": Type.TAGS, "max": Type.INTEGER, "min": Type.INTEGER}.get(policy, Type.TEXT)
    spec = CHOICES if policy == "most_restrictive" else ValueSpec(type=kind)
    return rule(
        policy,
        spec=spec,
        authority=draw(st.sampled_from([("crm",), ("mkt", "crm")])) if policy == "enforce" else (),
        order=("on", "half", "off"),
        loosen_by=draw(st.sampled_from([(), ("mkt",)])),
        on_foreign_edit=draw(st.sampled_from(["revert", "propose", "ignore"])),
        tie=draw(st.sampled_from(["rank", "review"])),
        empty=draw(st.sampled_from(["keep", "clear"])),
        first_meeting=draw(st.sampled_from(["rank", "review"])),
        tolerance=draw(st.sampled_from([0, 5])),
        monotone=draw(st.booleans()),
        required=draw(st.booleans()),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[FieldRule, Question]:
    given_rule = draw(rules())
    value = {Type.TAGS: TAGS, Type.INTEGER: NUMBERS}.get(given_rule.type, VALUES)
    times = st.integers(0, 30)
    golden_value = draw(value)
    until = draw(times)
    golden = Golden(golden_value, draw(RANKED), min(until, draw(times)), until, draw(st.integers(0, 3)))
    if draw(st.booleans()):
        some = draw(st.dictionaries(st.sampled_from(SYSTEMS), value, max_size=3))
        golden = msgspec.structs.replace(golden, frozen={"": golden_value, **some}, review=4)
    at = draw(times)
    read = draw(value)
    invalid = draw(st.sampled_from(["", "", "", "broken"]))
    return given_rule, Question(
        system=draw(st.sampled_from(SYSTEMS)),
        pull=draw(st.booleans()),
        can_push=draw(st.booleans()),
        raw=draw(st.sampled_from([None, "raw", ["x", 1], {"a": None}])),
        value=None if invalid else read,
        invalid=invalid,
        empty=draw(st.sampled_from(["cleared", "placeholder"])) if read is None else "",
        golden=golden,
        held=draw(value),
        seen_before=draw(st.booleans()),
        base=draw(value),
        met=draw(st.booleans()),
        since=min(at, draw(times)),
        until=at,
        late=draw(st.booleans()),
        unsure=draw(st.booleans()),
        sweep=draw(st.booleans()),
        linked=tuple(draw(st.lists(st.sampled_from(SYSTEMS), unique=True))),
        consent=draw(st.sampled_from(["", "form-7"])),
        seen=draw(times),
    )


@given(cases())
def test_every_question_has_a_verdict_and_its_stored_inputs_have_the_same(
    case: tuple[FieldRule, Question],
) -> None:
    given_rule, q = case
    stored = msgspec.json.decode(msgspec.json.encode(q), type=Question)
    assert stored == q
    assert resolve(given_rule, stored) == resolve(given_rule, q)


@given(cases())
def test_equal_values_never_conflict(case: tuple[FieldRule, Question]) -> None:
    given_rule, q = case
    frozen = None if q.golden.frozen is None else dict.fromkeys(q.golden.frozen, q.golden.value)
    golden = msgspec.structs.replace(q.golden, frozen=frozen)
    q = msgspec.structs.replace(q, value=golden.value, held=None, invalid="", golden=golden)
    verdict = resolve(given_rule, q)
    assert verdict.golden.value == golden.value
    if golden.value is not None:
        assert verdict.kind == "agreed" or (
            given_rule.policy == "union" and verdict.kind != "conflict_queued"
        )


@given(cases())
def test_a_foreign_edit_on_an_enforced_field_never_wins(case: tuple[FieldRule, Question]) -> None:
    given_rule, q = case
    who = owner(given_rule, q.linked)
    if given_rule.policy != "enforce" or not who or q.system == who or q.golden.frozen is not None:
        return
    if q.golden.value is None and not q.golden.until:
        return  # the first value of all is taken from whoever has it
    if not q.met and q.golden.source not in (who, ""):
        return  # a first meeting with a value that no authority stands behind
    assert resolve(given_rule, q).golden.value == q.golden.value


@given(cases())
def test_an_empty_overwrites_only_where_it_may(case: tuple[FieldRule, Question]) -> None:
    given_rule, q = case
    q = msgspec.structs.replace(q, value=None, empty=q.empty or "cleared")
    if q.golden.value is None or q.golden.frozen is not None:
        return
    if given_rule.empty == "clear" and q.empty == "cleared":
        return
    after = resolve(given_rule, q).golden.value
    if given_rule.policy == "union":  # what the system held is removed, what others hold stays
        assert after is not None
    else:
        assert after == q.golden.value


@given(cases())
def test_a_verdict_never_invents_a_value(case: tuple[FieldRule, Question]) -> None:
    given_rule, q = case
    after = resolve(given_rule, q).golden.value
    candidates = [*(q.golden.frozen or {}).values()]
    if given_rule.policy == "union" and isinstance(after, tuple):
        parts = {
            tag for one in (q.value, q.golden.value, *candidates) if isinstance(one, tuple) for tag in one
        }
        assert set(after) <= parts
    elif after is not None:
        assert after in (q.value, q.golden.value, *candidates)


@given(cases())
def test_what_is_asked_of_a_person_leaves_the_value_as_it_is(case: tuple[FieldRule, Question]) -> None:
    verdict = resolve(*case)
    if verdict.ask:
        assert verdict.golden.value == case[1].golden.value
    assert not (verdict.ask and verdict.closes)
    assert not (verdict.base_moves and verdict.let_stand)


# ------------------------------------------------------------------------------------------------------- fights


@pytest.mark.parametrize(
    ("policy", "value", "flips", "kind"),
    [
        ("enforce", "x", 2, "edit_reverted"),
        ("enforce", "x", 3, "contested"),
        ("enforce", "x", 9, "contested"),
        ("prefer", "x", 3, "contested"),
        ("latest", "x", 3, "contested"),
        ("review", "x", 3, "contested"),
        ("prefer", "g", 3, "agreed"),  # who agrees does not fight
        ("prefer", None, 3, "edit_reverted"),  # an empty is only filled again
        ("most_restrictive", "on", 9, "edit_reverted"),
    ],
)
def test_who_puts_earlier_values_back_three_times_in_a_row_fights(
    policy: str, value: Any, flips: int, kind: str
) -> None:
    given_rule = CONSENT if policy == "most_restrictive" else rule(policy, authority=("crm",))
    golden = "off" if policy == "most_restrictive" else "g"
    verdict = resolve(
        given_rule,
        question(value, system="sup", golden=golden, base=golden, flips=flips, linked=("crm", "sup")),
    )
    assert verdict.kind == kind


def test_a_contested_field_stands_still_with_both_values() -> None:
    verdict = resolve(rule("prefer"), question("x", system="sup", golden="g", base="g", flips=3))
    assert verdict.golden.frozen == {"": "g", "sup": "x"}
    assert (verdict.ask, verdict.golden.value) == (True, "g")


# ---------------------------------------------------------------------------------------------------- authority


@pytest.mark.parametrize(
    ("system", "barred", "kind"),
    [
        ("crm", (), "adopted"),
        ("crm", (("crm", "not now"),), "edit_reverted"),
        ("mkt", (), "edit_reverted"),
        ("mkt", (("crm", "not now"),), "adopted"),
        ("mkt", (("crm", "not now"), ("mkt", "lapsed")), "adopted"),  # nobody has authority: it builds
    ],
)
def test_an_authority_that_may_not_decide_now_is_passed_over(
    system: str, barred: tuple[tuple[str, str], ...], kind: str
) -> None:
    given_rule = rule("enforce", authority=("crm", "mkt"))
    verdict = resolve(
        given_rule, question("x", system=system, golden="g", base="g", linked=("crm", "mkt"), barred=barred)
    )
    assert verdict.kind == kind


def test_what_the_new_owner_holds_is_taken_whatever_stood() -> None:
    verdict = resolve(
        rule("enforce", authority=("crm",)), question("x", system="crm", golden="g", takeover=True)
    )
    assert (verdict.kind, verdict.golden.value, verdict.golden.source) == ("authority_changed", "x", "crm")
