from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from syncbroker.engine import answer
from syncbroker.engine.explain import STANDINGS, Explanation, FieldView, explain
from syncbroker.engine.history import moment
from syncbroker.errors import Missing
from syncbroker.sdk.simulator import Fault
from syncbroker.store import decisions
from syncbroker.store.records import FAR
from tests.support.rig import Rig
from tests.support.three import three


@pytest.fixture
def world(tmp_path: Path, sqlite_url: str) -> Iterator[Rig]:
    with three(tmp_path, sqlite_url) as made:
        yield made


def ann(world: Rig) -> Explanation:
    """Ann is the one whom marketing knew from the start."""
    (record,) = [
        one
        for one in world.records()
        if (one.links[0].external_id, one.links[0].system) == ("p000001", "crm")
    ]
    return explain(world.engine, record.id)


def field(world: Rig, name: str) -> FieldView:
    return next(one for one in ann(world).fields if one.name == name)


def test_an_adopted_edit_is_explained_with_who_when_from_what_to_what_and_by_which_rule(world: Rig) -> None:
    world.edit("marketing", "p000001", email="new@x.example")
    world.sync()
    email = field(world, "email")
    assert (email.value, email.source) == ("new@x.example", "marketing")
    decided = email.decided
    assert decided is not None
    assert (decided.kind, decided.before, decided.after) == ("adopted", "ann@x.example", "new@x.example")
    assert (decided.origin, decided.name, decided.via) == ("person", "person", "poll")
    assert decided.place == "mappings/person.yaml:9"
    assert decided.edited_since is not None
    assert decided.edited_until is not None
    assert decided.edited_since < decided.edited_until < decided.at
    assert email.losers == []  # it built on the former value, which has not lost


def test_a_reverted_edit_is_a_loser_with_the_reason_and_every_system_is_in_step_again(world: Rig) -> None:
    world.edit("crm", "p000001", email="foreign@x.example")
    world.sync()
    email = field(world, "email")
    (lost,) = email.losers
    assert (lost.system, lost.value, lost.why) == ("crm", "foreign@x.example", "marketing has authority")
    assert [side.standing for side in email.sides] == ["in step"] * 3
    assert email.history[0].kind == "edit_reverted"


def test_each_side_tells_raw_and_canonical_value_flow_and_path(world: Rig) -> None:
    crm, marketing, billing = field(world, "email").sides
    assert (crm.flow, billing.flow) == ("both", "push")
    assert (marketing.raw, marketing.value) == ("Ann@x.example", "ann@x.example")
    assert (billing.paths, billing.external_id, billing.base) == (["email"], "p000002", "ann@x.example")


def test_a_frozen_field_names_its_candidates_and_its_review(world: Rig) -> None:
    phone = field(world, "phone")
    assert phone.candidates == {"crm": "+15551234567", "marketing": "+15559999999"}
    assert phone.review == world.reviews()[0].id
    assert [side.standing for side in phone.sides] == ["in review", "in review"]
    assert phone.losers == []


def test_a_persons_answer_is_explained_by_name_and_the_other_candidate_lost_to_it(world: Rig) -> None:
    (review,) = world.reviews()
    answer.answer(world.engine, review.id, "marketing", "Kim")
    world.sync()
    phone = field(world, "phone")
    assert (phone.value, phone.source) == ("+15559999999", "")
    assert phone.decided is not None
    assert (phone.decided.actor, phone.decided.kind, phone.decided.review) == (
        "Kim",
        "resolved_by_person",
        review.id,
    )
    assert [(lost.system, lost.value) for lost in phone.losers] == [("crm", "+15551234567")]


def test_a_group_is_one_field_with_its_members(world: Rig) -> None:
    world.edit("crm", "p000001", address__city="Lund", address__country="Sweden")
    world.sync()
    address = field(world, "address")
    assert address.members == [("city", "text"), ("country", "country")]
    assert address.value == ["Lund", "SE"]
    assert address.sides[0].paths == ["address.city", "address.country"]


def test_a_divergence_that_was_let_stand_says_so(world: Rig) -> None:
    crm, marketing = field(world, "source").sides
    assert (crm.standing, marketing.standing) == ("in step", "let stand")


def test_a_write_that_is_owed_is_shown_with_its_state(world: Rig) -> None:
    world.systems["billing"].faults.append(
        Fault(operation="people.write", kind="status", status=401, times=0)
    )
    world.edit("marketing", "p000001", email="new@x.example")
    world.sync()
    billing = field(world, "email").sides[2]
    assert billing.standing == "push owed"
    assert billing.push is not None
    assert billing.push.op == "update"


def test_identity_tells_how_the_record_came_to_be_and_was_linked(world: Rig) -> None:
    found = ann(world)
    assert [one.kind for one in reversed(found.identity)][:2] == ["created", "linked"]
    assert [link.system for link in found.links] == ["crm", "marketing", "billing"]
    assert found.label == "ann@x.example"


def test_only_the_fields_asked_for_are_explained(world: Rig) -> None:
    record = world.records()[0].id
    assert [one.name for one in explain(world.engine, record, ["name"]).fields] == ["name"]


def test_an_explanation_is_json(world: Rig) -> None:
    found = msgspec.json.decode(msgspec.json.encode(ann(world)))
    assert found["fields"][0]["decided"]["at"].endswith("Z")


def test_a_record_that_does_not_exist_is_missing(world: Rig) -> None:
    with pytest.raises(Missing, match="no record"):
        explain(world.engine, "00000000-0000-7000-8000-000000000000")


def test_every_standing_that_occurs_has_a_meaning(world: Rig) -> None:
    found = {side.standing for one in ann(world).fields for side in one.sides}
    assert found <= STANDINGS.keys()


@pytest.mark.parametrize("at", [None, 0, FAR, FAR + 1])
def test_no_time_and_a_time_that_never_comes_are_none(at: int | None) -> None:
    assert moment(at) is None


# ---- what was written, and a moment in the past ----


def then(world: Rig, at: int, name: str) -> FieldView:
    record = world.records()[0].id
    return next(one for one in explain(world.engine, record, at=at).fields if one.name == name)


def test_a_push_is_explained_with_its_receipt(world: Rig) -> None:
    world.edit("marketing", "p000001", email="new@x.example")
    world.sync()
    email = field(world, "email")
    assert email.decided is not None
    crm = email.sides[0].written
    assert crm is not None
    assert (crm.value, crm.shown, crm.status, crm.op) == ("new@x.example", "new@x.example", "done", "update")
    assert (crm.decision, crm.run) == (email.decided.decision, email.decided.run)
    assert email.decided.at < crm.at
    assert [one.system for one in email.writes] == ["billing", "crm", "billing"]
    assert email.sides[1].written is None


def test_an_explanation_names_the_active_mapping_and_that_of_each_decision(world: Rig) -> None:
    before = world.engine.mapping.version
    world.remap((world.folder / "person.yaml").read_text().replace("policy: prefer", "policy: latest"))
    found = ann(world)
    assert found.mapping == world.engine.mapping.version != before
    assert {one.mapping for one in found.identity} == {before}


def test_a_past_moment_shows_the_value_and_the_history_of_then(world: Rig) -> None:
    early = world.clock()
    world.edit("marketing", "p000001", email="new@x.example")
    world.sync()
    late = world.clock()
    world.edit("marketing", "p000001", email="newest@x.example")
    world.sync()
    assert then(world, early, "email").value == "ann@x.example"
    email = then(world, late, "email")
    assert (email.value, email.source) == ("new@x.example", "marketing")
    assert email.decided is not None
    assert email.decided.value == "new@x.example"
    assert {one.value for one in email.writes} == {"ann@x.example", "new@x.example"}
    assert next(one.value for one in email.history) == "new@x.example"


def test_what_each_system_held_then_comes_with_its_evidence(world: Rig) -> None:
    world.edit("marketing", "p000001", email="new@x.example")
    world.sync()
    late = world.clock()
    world.edit("marketing", "p000001", email="newest@x.example")
    world.sync()
    crm, marketing, billing = then(world, late, "email").sides
    assert [one.value for one in (crm, marketing, billing)] == ["new@x.example"] * 3
    assert [one.standing for one in (crm, marketing, billing)] == ["in step"] * 3
    assert marketing.evidence is not None
    assert (marketing.evidence.decision > 0, marketing.evidence.receipt) == (True, 0)
    assert crm.evidence is not None
    assert (crm.evidence.decision, crm.evidence.receipt > 0) == (0, True)
    assert (crm.base, crm.met) == ("new@x.example", True)


def test_a_past_moment_says_what_cannot_be_known(world: Rig) -> None:
    record = world.records()[0].id
    assert explain(world.engine, record).unknown == []
    assert len(explain(world.engine, record, at=world.clock()).unknown) == 4


def test_a_record_of_which_nothing_was_decided_by_then_is_missing(world: Rig) -> None:
    with pytest.raises(Missing, match="nothing was decided"):
        explain(world.engine, world.records()[0].id, at=1)


def test_a_frozen_field_has_its_candidates_then_too(world: Rig) -> None:
    early = world.clock()
    (review,) = world.reviews()
    answer.answer(world.engine, review.id, "marketing", "Kim")
    world.sync()
    phone = then(world, early, "phone")
    assert phone.candidates == {"crm": "+15551234567", "marketing": "+15559999999"}
    assert phone.review == review.id
    after = then(world, world.clock(), "phone")
    assert (after.candidates, after.value, after.source) == (None, "+15559999999", "")


def test_now_and_as_of_now_agree_about_every_value_and_every_side(world: Rig) -> None:
    """What stored evidence tells of this moment is what the broker believes, in a world at rest."""
    world.edit("crm", "p000001", name="Ann Newer", address__city="Lund", address__country="Sweden")
    world.sync()
    world.edit("marketing", "p000001", source="Other")
    world.sync()
    record = world.records()[0].id
    now, past = explain(world.engine, record), explain(world.engine, record, at=world.clock())
    for one, was in zip(now.fields, past.fields, strict=True):
        assert (one.name, one.value, one.source) == (was.name, was.value, was.source)
        known = [(side.system, side.external_id, side.value, side.standing) for side in one.sides]
        assert [(side.system, side.external_id, side.value, side.standing) for side in was.sides] == known


def test_a_link_that_was_not_there_yet_is_not_linked_then(world: Rig) -> None:
    with world.engine.store.read() as tx:
        first = decisions.by_number(tx, 1)
    assert first is not None
    crm, marketing, billing = then(world, first.at, "email").sides
    assert crm.standing == "in step"
    assert [marketing.standing, billing.standing] == ["not linked", "not linked"]
