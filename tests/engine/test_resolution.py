"""Whole stories of one field, each worked by hand: who edits what when, and where it ends."""

from __future__ import annotations

from typing import Any

import pytest

from syncbroker.engine import answer, cycle, deliver, ingest
from syncbroker.errors import BadAnswer
from syncbroker.store import queues
from syncbroker.store.decisions import token
from tests.engine.conftest import Worlds
from tests.support.rig import Rig
from tests.support.writing import answered, write

ANN = {"email": "ann@x.example"}
AT_REST = (0, 0, 0)
EMAIL = "  email: {type: email, systems: {crm: email, mkt: email, sup: email}}\n"


def fields(text: str) -> str:
    return EMAIL + text


def three(**given: Any) -> dict[str, list[dict[str, Any]]]:
    """Ann in three systems; `given` maps a system to what it holds besides."""
    return {name: [ANN | given.get(name, {})] for name in ("crm", "mkt", "sup")}


def everywhere(world: Rig, path: str) -> list[Any]:
    return [world.held(name, path)[0] for name in world.systems]


def look(world: Rig, system: str) -> None:
    """What a system holds now is seen and decided; nothing is delivered."""
    source = world.engine.sources[system, "people"]
    found = ingest.read_now(world.engine, source, world.ids(system), "read")
    with world.engine.store.write() as tx:
        queues.stage(tx, queues.LIVE, source.system, source.object, found)
    cycle.decide_waiting(world.engine, cycle.Summary())


def review_of(world: Rig) -> Any:
    (review,) = world.reviews()
    return review


# ---------------------------------------------------------------------------------------- three at once


CITY = fields(
    "  city: {type: text, authority: [crm, mkt, sup], policy: prefer, systems: {crm: city, mkt: city, sup: city}}"
)


def test_three_concurrent_edits_with_pushes_in_flight_end_as_the_highest_rank_says(any_world: Worlds) -> None:
    world = any_world(CITY, three(crm={"city": "Riga"}, mkt={"city": "Riga"}, sup={"city": "Riga"}))
    world.sync()
    world.edit("sup", "p000001", city="Oslo")
    look(world, "sup")
    now = world.engine.now()
    claimed = deliver.claim(world.engine, "crm", now) + deliver.claim(world.engine, "mkt", now)
    assert [one.row.push.values for one in claimed] == [{"city": "Oslo"}, {"city": "Oslo"}]
    world.edit("mkt", "p000001", city="Turku")
    world.edit("crm", "p000001", city="Paris")
    for one in claimed:
        write(world.engine, deliver.recheck(world.engine, [one]))
    world.sync()
    assert everywhere(world, "city") == ["Paris", "Paris", "Paris"]
    assert world.quiet() == AT_REST


def test_every_system_that_edits_in_turn_is_followed(world: Worlds) -> None:
    world = world(CITY, three(crm={"city": "Riga"}))
    world.sync()
    for system, city in (("sup", "Oslo"), ("crm", "Paris"), ("mkt", "Turku")):
        world.edit(system, "p000001", city=city)
        world.sync()
        assert everywhere(world, "city") == [city] * 3
    assert world.quiet() == AT_REST


# ------------------------------------------------------------------------------- webhooks before confirm


def test_a_webhook_of_our_own_write_that_comes_before_the_answer_waits_and_is_no_edit(world: Worlds) -> None:
    here = world(CITY, three(crm={"city": "Riga"}))
    here.sync()
    here.edit("crm", "p000001", city="Oslo")
    look(here, "crm")
    (one,) = deliver.claim(here.engine, "mkt", here.engine.now())
    (sure,) = deliver.recheck(here.engine, [one])
    connector = here.engine.connectors["mkt"]
    receipts = connector.write("people", [sure.write], sure.source.paths)
    look(here, "mkt")  # the event that our write caused is here before its answer
    with here.engine.store.read() as tx:
        assert queues.inbox_size(tx, queues.LIVE) == 1
    before = here.last_decision()
    from syncbroker.engine import settle

    settle.receipts(here.engine, sure.source, [answered(here.engine, [(sure, receipts[0])])])
    here.sync()
    assert here.last_decision() == before
    with here.engine.store.read() as tx:
        assert queues.inbox_size(tx) == 0
    assert everywhere(here, "city") == ["Oslo"] * 3
    assert here.quiet() == AT_REST


# ------------------------------------------------------------------------------------------ first meeting


def test_the_first_meeting_of_three_values_is_settled_by_rank(any_world: Worlds) -> None:
    world = any_world(CITY, three(crm={"city": "Riga"}, mkt={"city": "Oslo"}, sup={"city": "Turku"}))
    world.sync()
    assert everywhere(world, "city") == ["Riga"] * 3
    assert world.kinds()["conflict_resolved"] == 2
    assert world.quiet() == AT_REST


def test_at_a_first_meeting_the_lowest_rank_may_be_read_first(world: Worlds) -> None:
    data = {
        "sup": [ANN | {"city": "Turku"}],
        "mkt": [ANN | {"city": "Oslo"}],
        "crm": [ANN | {"city": "Riga"}],
    }
    here = world(CITY, data)
    here.sync()
    assert everywhere(here, "city") == ["Riga"] * 3
    assert here.quiet() == AT_REST


def test_at_a_first_meeting_a_value_on_one_side_only_is_taken_everywhere(world: Worlds) -> None:
    here = world(CITY, three(sup={"city": "Turku"}))
    here.sync()
    assert everywhere(here, "city") == ["Turku"] * 3
    assert here.kinds().get("conflict_resolved", 0) == 0


# --------------------------------------------------------------------------------------------------- empty


@pytest.mark.parametrize(("policy", "cleared"), [("keep", "Riga"), ("clear", None)])
def test_a_value_cleared_by_a_user_is_refilled_unless_the_mapping_lets_it_go(
    world: Worlds, policy: str, cleared: str | None
) -> None:
    text = CITY.replace("policy: prefer", f"policy: prefer, empty: {policy}")
    here = world(text, three(crm={"city": "Riga"}))
    here.sync()
    here.edit("mkt", "p000001", city=None)
    here.sync()
    assert everywhere(here, "city") == [cleared] * 3
    assert here.outcomes()[-1].kind == ("adopted" if cleared is None else "edit_reverted")
    assert here.quiet() == AT_REST


def test_filler_is_refilled_even_where_a_value_may_be_cleared(world: Worlds) -> None:
    here = world(CITY.replace("policy: prefer", "policy: prefer, empty: clear"), three(crm={"city": "Riga"}))
    here.sync()
    here.edit("mkt", "p000001", city="N/A")
    here.sync()
    assert everywhere(here, "city") == ["Riga"] * 3
    assert here.quiet() == AT_REST


def test_a_cleared_field_can_be_filled_again(world: Worlds) -> None:
    here = world(CITY.replace("policy: prefer", "policy: prefer, empty: clear"), three(crm={"city": "Riga"}))
    here.sync()
    here.edit("crm", "p000001", city=None)
    here.sync()
    here.edit("sup", "p000001", city="Oslo")
    here.sync()
    assert everywhere(here, "city") == ["Oslo"] * 3
    assert here.quiet() == AT_REST


# -------------------------------------------------------------------------------------------------- policies


ENFORCED = fields(
    "  city: {type: text, authority: crm, policy: enforce, on_foreign_edit: FOREIGN,"
    " systems: {crm: city, mkt: city, sup: city}}"
)


def test_a_foreign_edit_is_put_back_by_one_write_to_its_own_system(world: Worlds) -> None:
    here = world(ENFORCED.replace("FOREIGN", "revert"), three(crm={"city": "Riga"}))
    here.sync()
    before = here.writes()
    here.edit("mkt", "p000001", city="Oslo")
    here.sync()
    assert everywhere(here, "city") == ["Riga"] * 3
    assert here.writes() - before == 1
    assert here.outcomes()[-1].kind == "edit_reverted"
    assert here.quiet() == AT_REST


def test_a_foreign_edit_that_only_a_sweep_finds_is_drift(world: Worlds) -> None:
    here = world(ENFORCED.replace("FOREIGN", "revert"), three(crm={"city": "Riga"}))
    here.sync()
    here.edit("mkt", "p000001", city="Oslo")
    here.sweep()
    assert here.outcomes()[-1].kind == "drift_corrected"
    assert everywhere(here, "city") == ["Riga"] * 3


def test_a_foreign_edit_may_be_let_stand(world: Worlds) -> None:
    here = world(ENFORCED.replace("FOREIGN", "ignore"), three(crm={"city": "Riga"}))
    here.sync()
    here.edit("mkt", "p000001", city="Oslo")
    here.sync()
    assert everywhere(here, "city") == ["Riga", "Oslo", "Riga"]
    assert here.quiet() == AT_REST


@pytest.mark.parametrize(("choice", "end"), [("accept", "Oslo"), ("reject", "Riga")])
def test_a_proposal_is_accepted_or_rejected(world: Worlds, choice: str, end: str) -> None:
    here = world(ENFORCED.replace("FOREIGN", "propose"), three(crm={"city": "Riga"}))
    here.sync()
    here.edit("mkt", "p000001", city="Oslo")
    here.sync()
    assert everywhere(here, "city") == ["Riga", "Oslo", "Riga"]
    review = review_of(here)
    assert (review.kind, review.system, review.body["value"]) == ("proposal", "mkt", "Oslo")
    answer.answer(here.engine, review.id, choice, "pat")
    here.sync()
    assert everywhere(here, "city") == [end] * 3
    assert here.reviews() == []
    assert here.quiet() == AT_REST


def test_a_proposal_that_its_author_takes_back_closes(world: Worlds) -> None:
    here = world(ENFORCED.replace("FOREIGN", "propose"), three(crm={"city": "Riga"}))
    here.sync()
    here.edit("mkt", "p000001", city="Oslo")
    here.sync()
    here.edit("mkt", "p000001", city="Riga")
    here.sync()
    assert here.reviews() == []
    assert here.quiet() == AT_REST


def test_a_proposal_that_the_owner_makes_its_own_closes(world: Worlds) -> None:
    here = world(ENFORCED.replace("FOREIGN", "propose"), three(crm={"city": "Riga"}))
    here.sync()
    here.edit("mkt", "p000001", city="Oslo")
    here.sync()
    here.edit("crm", "p000001", city="Oslo")
    here.sync()
    assert everywhere(here, "city") == ["Oslo"] * 3
    assert here.reviews() == []
    assert here.quiet() == AT_REST


def test_a_person_may_answer_a_proposal_with_a_third_value(world: Worlds) -> None:
    here = world(ENFORCED.replace("FOREIGN", "propose"), three(crm={"city": "Riga"}))
    here.sync()
    here.edit("mkt", "p000001", city="Oslo")
    here.sync()
    answer.answer(here.engine, review_of(here).id, "value", "pat", value="Turku")
    here.sync()
    assert everywhere(here, "city") == ["Turku"] * 3


SEED = fields("  city: {type: text, policy: seed, systems: {crm: city, mkt: city, sup: city}}")


def test_a_seed_fills_empties_once_and_then_lets_everybody_differ(world: Worlds) -> None:
    here = world(SEED, three(crm={"city": "Riga"}, sup={"city": "Oslo"}))
    here.sync()
    assert everywhere(here, "city") == ["Riga", "Riga", "Oslo"]
    here.edit("crm", "p000001", city="Paris")
    here.edit("mkt", "p000001", city="Turku")
    here.sync()
    assert everywhere(here, "city") == ["Paris", "Turku", "Oslo"]
    assert here.golden("city") == ["Riga"]
    assert here.quiet() == AT_REST


TAGS = fields("  tags: {type: tags, policy: union, systems: {crm: tags, mkt: tags, sup: tags}}")


def test_a_removed_tag_stays_removed_while_others_add_theirs(any_world: Worlds) -> None:
    world = any_world(TAGS, three(crm={"tags": ["vip", "old"]}, mkt={"tags": ["news"]}))
    world.sync()
    assert everywhere(world, "tags") == [["news", "old", "vip"]] * 3 or {
        tuple(sorted(tags)) for tags in everywhere(world, "tags")
    } == {("news", "old", "vip")}
    world.edit("crm", "p000001", tags=["vip", "news"])
    world.edit("mkt", "p000001", tags=["news", "old", "vip", "new"])
    world.edit("sup", "p000001", tags=["news", "old", "vip", "sup"])
    world.sync()
    assert {tuple(sorted(tags)) for tags in everywhere(world, "tags")} == {("new", "news", "sup", "vip")}
    assert world.quiet() == AT_REST


@pytest.mark.parametrize(("empty", "left"), [("keep", ["vip"]), ("clear", None)])
def test_the_last_tag_is_treated_as_any_other_clearing(world: Worlds, empty: str, left: Any) -> None:
    here = world(TAGS.replace("union", f"union, empty: {empty}"), three(crm={"tags": ["vip"]}))
    here.sync()
    here.edit("mkt", "p000001", tags=[])
    here.sync()
    assert [tags or None for tags in everywhere(here, "tags")] == [left] * 3
    assert here.quiet() == AT_REST


CONSENT = fields(
    "  status:\n    type: choice\n    choices: {on: [], pending: [], off: []}\n    policy: most_restrictive\n"
    '    order: ["on", pending, "off"]\n    loosen_by: mkt\n    systems: {crm: status, mkt: status, sup: status}\n'
)


def test_an_unsubscribe_stays_until_consent_is_shown_where_it_counts(world: Worlds, people: Any) -> None:
    people(consent_path="status")
    here = world(CONSENT, three(crm={"status": "on"}, mkt={"status": "on"}))
    here.sync()
    here.edit("sup", "p000001", status="off")
    here.sync()
    assert everywhere(here, "status") == ["off"] * 3
    here.edit("crm", "p000001", status="on")
    here.edit("mkt", "p000001", status="on")  # without evidence
    here.sync()
    assert everywhere(here, "status") == ["off"] * 3
    assert [o.kind for o in here.outcomes()[-2:]] == ["edit_reverted"] * 2
    here.edit("mkt", "p000001", status="on", consent="form-7")
    here.sync()
    assert everywhere(here, "status") == ["on"] * 3
    assert here.quiet() == AT_REST
    here.edit("crm", "p000001", status="off")
    here.sync()
    here.edit("mkt", "p000001", status="on")  # the same evidence again is no fresh consent
    here.sync()
    assert everywhere(here, "status") == ["off"] * 3
    assert here.quiet() == AT_REST


# ----------------------------------------------------------------------------------------------- frozen fields


REVIEWED = fields(
    "  city: {type: text, policy: review, systems: {crm: city, mkt: city, sup: city}}\n"
    "  phone: {type: phone, policy: prefer, systems: {crm: phone, mkt: phone, sup: phone}}"
)


def conflicted(world: Worlds) -> Rig:
    """Crm says Oslo, mkt says Turku, both had seen Riga."""
    here = world(REVIEWED, three(crm={"city": "Riga"}))
    here.sync()
    here.edit("crm", "p000001", city="Oslo")
    here.edit("mkt", "p000001", city="Turku")
    here.sync()
    return here


def test_a_field_in_review_stands_still_and_the_others_go_on(any_world: Worlds) -> None:
    here = conflicted(any_world)
    assert review_of(here).body["candidates"] == {"crm": "Oslo", "mkt": "Turku"}
    assert everywhere(here, "city") == ["Oslo", "Turku", "Riga"]
    here.edit("sup", "p000001", phone="+15551234567")
    here.sync()
    assert everywhere(here, "phone") == ["+15551234567"] * 3
    assert everywhere(here, "city") == ["Oslo", "Turku", "Riga"]
    assert here.quiet() == AT_REST


@pytest.mark.parametrize(("choice", "end"), [("crm", "Oslo"), ("mkt", "Turku")])
def test_a_person_chooses_between_the_candidates(world: Worlds, choice: str, end: str) -> None:
    here = conflicted(world)
    answer.answer(here.engine, review_of(here).id, choice, "pat")
    here.sync()
    assert everywhere(here, "city") == [end] * 3
    assert here.outcomes("resolved_by_person")[-1].after == end
    assert here.quiet() == AT_REST


def test_more_edits_of_a_frozen_field_replace_candidates(world: Worlds) -> None:
    here = conflicted(world)
    here.edit("mkt", "p000001", city="Paris")
    here.edit("sup", "p000001", city="Bonn")
    here.sync()
    assert review_of(here).body["candidates"] == {"crm": "Oslo", "mkt": "Paris", "sup": "Bonn"}
    assert everywhere(here, "city") == ["Oslo", "Paris", "Bonn"]


def test_when_all_agree_the_review_closes_by_itself(world: Worlds) -> None:
    here = conflicted(world)
    here.edit("mkt", "p000001", city="Oslo")
    here.sync()
    assert here.reviews() == []
    assert everywhere(here, "city") == ["Oslo"] * 3
    assert here.quiet() == AT_REST


def test_an_emptied_candidate_is_none_and_is_refilled_by_the_answer(world: Worlds) -> None:
    here = conflicted(world)
    here.edit("sup", "p000001", city="Bonn")
    here.sync()
    here.edit("mkt", "p000001", city=None)
    here.sync()
    assert review_of(here).body["candidates"] == {"crm": "Oslo", "sup": "Bonn"}
    answer.answer(here.engine, review_of(here).id, "sup", "pat")
    here.sync()
    assert everywhere(here, "city") == ["Bonn"] * 3


def test_an_answer_to_older_candidates_is_refused(world: Worlds) -> None:
    here = conflicted(world)
    looked = review_of(here)
    here.edit("mkt", "p000001", city="Paris")
    here.sync()
    with pytest.raises(BadAnswer, match="changed since you looked"):
        answer.answer(here.engine, looked.id, "mkt", "pat", seen=token(looked))
    answer.answer(here.engine, looked.id, "mkt", "pat", seen=token(review_of(here)))
    here.sync()
    assert everywhere(here, "city") == ["Paris"] * 3


def test_after_an_answer_an_edit_that_saw_it_is_followed(world: Worlds) -> None:
    here = conflicted(world)
    answer.answer(here.engine, review_of(here).id, "crm", "pat")
    here.sync()
    here.edit("sup", "p000001", city="Bonn")
    here.sync()
    assert everywhere(here, "city") == ["Bonn"] * 3


def test_a_system_that_joins_a_frozen_field_gets_the_value_from_before(world: Worlds) -> None:
    text = "  email: {type: email, systems: {crm: email, mkt: email, sup: email}}\n"
    text += "  city: {type: text, policy: review, systems: {crm: city, mkt: city, sup: city}}"
    here = world(text, {"crm": [ANN | {"city": "Riga"}], "mkt": [ANN], "sup": []}, create="never")
    here.sync()
    here.edit("crm", "p000001", city="Oslo")
    here.edit("mkt", "p000001", city="Turku")
    here.sync()
    assert here.golden("city") == ["Oslo"]
    here.remap((here.folder / "person.yaml").read_text().replace("create: never", "create: always"))
    here.sync()
    assert everywhere(here, "city") == ["Oslo", "Turku", "Oslo"]
    answer.answer(here.engine, review_of(here).id, "mkt", "pat")
    here.sync()
    assert everywhere(here, "city") == ["Turku"] * 3


# ---------------------------------------------------------------------------------------- unreadable values


PHONE = fields("  phone: {type: phone, policy: prefer, systems: {crm: phone, mkt: phone, sup: phone}}")


def test_a_value_that_cannot_be_read_waits_for_a_person_and_a_valid_one_closes_it(any_world: Worlds) -> None:
    here = any_world(PHONE, three(crm={"phone": "+15551234567"}))
    here.sync()
    here.edit("mkt", "p000001", phone="555-1234")
    here.sync()
    assert review_of(here).kind == "invalid"
    assert everywhere(here, "phone") == ["+15551234567", "555-1234", "+15551234567"]
    assert here.quiet() == AT_REST
    here.edit("mkt", "p000001", phone="(555) 222-3333")
    here.sync()
    assert here.reviews() == []
    assert here.golden("phone") == ["+15552223333"]
    assert here.quiet() == AT_REST


@pytest.mark.parametrize(("choice", "end"), [("keep", "+15551234567"), ("ignore", "555-1234")])
def test_an_unreadable_value_is_written_over_or_left_as_a_person_says(
    world: Worlds, choice: str, end: str
) -> None:
    here = world(PHONE, three(crm={"phone": "+15551234567"}))
    here.sync()
    here.edit("mkt", "p000001", phone="555-1234")
    here.sync()
    answer.answer(here.engine, review_of(here).id, choice, "pat")
    here.sync()
    assert everywhere(here, "phone") == ["+15551234567", end, "+15551234567"]
    assert here.reviews() == []
    assert here.quiet() == AT_REST


def test_a_person_may_say_what_an_unreadable_value_means(world: Worlds) -> None:
    here = world(PHONE, three(mkt={"phone": "555-1234"}))
    here.sync()
    with pytest.raises(BadAnswer, match="cannot be a value"):
        answer.answer(here.engine, review_of(here).id, "value", "pat", value="555")
    answer.answer(here.engine, review_of(here).id, "value", "pat", value="(555) 222-3333")
    here.sync()
    assert everywhere(here, "phone") == ["+15552223333"] * 3
    assert here.quiet() == AT_REST


def test_an_unreadable_value_that_is_emptied_leaves_the_field_open_for_a_first_value(world: Worlds) -> None:
    here = world(
        PHONE.replace("policy: prefer", "authority: crm, policy: enforce"), three(crm={"phone": "555-1234"})
    )
    here.sync()
    here.edit("crm", "p000001", phone=None)
    here.sync()
    here.edit("mkt", "p000001", phone="+15552223333")
    here.sync()
    assert everywhere(here, "phone") == ["+15552223333"] * 3
    assert here.reviews() == []
    assert here.quiet() == AT_REST
