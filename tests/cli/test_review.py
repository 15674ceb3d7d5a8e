from __future__ import annotations

import getpass

import pytest

from tests.cli.conftest import World, lines


def test_the_list_shows_question_and_offers(synced: World) -> None:
    ran = synced.run("review", "list")
    assert ran.code == 0
    assert lines(
        ran.out, "conflict", "person ann@x.example", "phone", "which value is right?", "crm=+15551234567"
    )


def test_the_list_can_be_of_one_kind(synced: World) -> None:
    assert synced.run("review", "list", "--kind", "match").out == "no review is waiting\n"
    assert len(synced.run("review", "list", "--kind", "conflict", "--json").json) == 1
    ran = synced.run("review", "list", "--kind", "proposl")
    assert ran.code == 2
    assert "did you mean proposal?" in ran.err


def test_a_review_is_shown_with_its_offers_and_how_to_answer(synced: World) -> None:
    ran = synced.run("review", "show", "1")
    assert lines(ran.out, "--choose marketing", "+15559999999")
    assert lines(ran.out, "--value VALUE")
    assert lines(ran.out, "syncbroker review resolve 1 --seen")


def test_choosing_an_offer_is_a_decision_that_the_next_sync_writes(synced: World) -> None:
    ran = synced.run("review", "resolve", "1", "--choose", "marketing", "--person", "Kim", "--json")
    assert ran.code == 0
    assert ran.json["person"] == "Kim"
    synced.run("sync")
    assert synced.held("crm", "phone")[0] == "+15559999999"
    assert synced.run("review", "list").out == "no review is waiting\n"
    ran = synced.run("explain", "person:ann@x.example", "phone")
    assert lines(ran.out, "who   Kim, answering review 1")
    assert lines(ran.out, "lost  +15551234567 from crm")


def test_another_value_is_read_as_a_person_writes_it(synced: World) -> None:
    synced.run("review", "resolve", "1", "--value", "(555) 777-1234")
    synced.run("sync")
    assert synced.held("crm", "phone")[0] == "+15557771234"


def test_the_person_is_the_user_of_this_machine_unless_named(synced: World) -> None:
    ran = synced.run("review", "resolve", "1", "--choose", "crm")
    assert f"answered by {getpass.getuser()}" in ran.out


def test_a_user_without_a_name_must_give_one(synced: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise OSError

    monkeypatch.setattr(getpass, "getuser", nobody)
    ran = synced.run("review", "resolve", "1", "--choose", "crm")
    assert ran.code == 2
    assert "--person" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["1", "--choose", "zendesk"], 1, "'zendesk' is no answer to review 1"),
        (["1", "--value", "12"], 1, "this cannot be a value of phone"),
        (["1", "--choose", "crm", "--seen", "0000"], 1, "review 1 has changed since you looked"),
        (["99", "--choose", "crm"], 2, "there is no review 99"),
        (["1"], 2, "give either --choose OFFER or --value VALUE"),
        (["1", "--choose", "crm", "--value", "x"], 2, "give either"),
    ],
)
def test_an_answer_that_cannot_be_taken_is_refused(
    synced: World, arguments: list[str], code: int, message: str
) -> None:
    ran = synced.run("review", "resolve", *arguments, "--person", "Kim")
    assert ran.code == code
    assert message in ran.err
    assert len(synced.run("review", "list", "--json").json) == 1


def test_a_closed_review_shows_who_closed_it_and_takes_no_answer(synced: World) -> None:
    synced.run("review", "resolve", "1", "--choose", "crm", "--person", "Kim")
    assert lines(synced.run("review", "show", "1").out, "closed", "Kim")
    ran = synced.run("review", "resolve", "1", "--choose", "marketing", "--person", "Lou")
    assert ran.code == 1
    assert "was closed: Kim" in ran.err


def test_a_proposed_edit_can_be_accepted(synced: World) -> None:
    synced.systems["marketing"].edit("people", "p000001", {"vip": True})
    synced.run("sync")
    (proposal,) = synced.run("review", "list", "--kind", "proposal", "--json").json
    number = str(proposal["number"])
    assert lines(synced.run("review", "show", number).out, "holds   true")
    synced.run("review", "resolve", number, "--choose", "accept")
    synced.run("sync")
    assert synced.held("crm", "vip")[0] is True


def test_a_value_that_cannot_be_used_is_shown_raw_with_the_reason(synced: World) -> None:
    synced.systems["crm"].edit("people", "p000002", {"phone": "555-12"})
    synced.run("sync")
    (invalid,) = synced.run("review", "list", "--kind", "invalid", "--json").json
    ran = synced.run("review", "show", str(invalid["number"]))
    assert lines(ran.out, "holds   555-12")
    assert lines(ran.out, "why ")


def test_a_deletion_asks_what_follows(synced: World) -> None:
    synced.systems["crm"].remove("people", "p000002")
    synced.run("sweep")
    (deletion,) = synced.run("review", "list", "--kind", "delete", "--json").json
    assert {offer["name"] for offer in deletion["offers"]} == {"detach", "propagate", "recreate"}
    ran = synced.run("review", "show", str(deletion["number"]))
    assert lines(ran.out, "the whole record, crm p000002")


def test_one_answer_serves_all_alike(synced: World) -> None:
    for who, phone in (("p000001", "+15550001111"), ("p000002", "+15550002222")):
        synced.systems["crm"].edit("people", who, {"phone": phone})
    synced.systems["marketing"].edit("people", "p000001", {"phone": "+15550003333"})
    synced.systems["marketing"].edit("people", "p000002", {"phone": "+15550004444"})
    synced.run("sync")
    waiting = [one for one in synced.run("review", "list", "--json").json if one["field"] == "phone"]
    assert len(waiting) == 2
    ran = synced.run(
        "review", "resolve", str(waiting[0]["number"]), "--choose", "crm", "--alike", "--person", "eve"
    )
    assert ran.code == 0, ran.err
    assert ran.out.startswith("2 reviews answered by eve")
    synced.run("sync")
    assert synced.held("marketing", "phone") == synced.held("crm", "phone")


def test_a_review_that_cannot_take_the_answer_of_all_alike_is_left_and_named(synced: World) -> None:
    synced.systems["crm"].edit("people", "p000002", {"phone": "no number"})
    synced.systems["crm"].edit("people", "p000001", {"phone": "none at all"})
    synced.run("sync")
    waiting = [one for one in synced.run("review", "list", "--json").json if one["kind"] == "invalid"]
    ran = synced.run("review", "resolve", str(waiting[0]["number"]), "--choose", "keep", "--alike", "--json")
    assert (len(ran.json["answered"]) + len(ran.json["left"]), ran.code) == (2, 0)


def test_all_alike_and_a_token_do_not_go_together(synced: World) -> None:
    ran = synced.run("review", "resolve", "1", "--choose", "crm", "--alike", "--seen", "abcd1234")
    assert (ran.code, "one review" in ran.err) == (2, True)


# --------------------------------------------------------------------------------------- what a guard holds


@pytest.fixture
def held(world: World) -> World:
    """The first load would create two people in billing; nobody may be created there."""
    world.systems["marketing"].insert("people", {"email": "bob@x.example"})
    world.systems["billing"].remove("people", "p000001")
    file = world.mappings / "person.yaml"
    file.write_text(file.read_text().replace("match:\n", "guard: {created: 0}\nmatch:\n"))
    assert world.run("sync").code == 0
    return world


def guard_review(world: World) -> str:
    (found,) = world.run("review", "list", "--kind", "guard", "--json").json
    return str(found["number"])


def test_held_writes_are_shown_with_numbers_limits_and_samples(held: World) -> None:
    out = held.run("review", "show", guard_review(held)).out
    assert lines(out, "limit", "2 records of billing people would be created; the limit is 0", "person.yaml:")
    assert lines(out, "2 writes held")
    assert lines(out, "billing:people:", "created", "email", "(empty)", "bob@x.example")
    assert lines(out, "--choose approve", "send the writes")


def test_status_and_the_decision_log_show_what_is_held(held: World) -> None:
    status = held.run("status").out
    assert lines(status, "push", "person", "2 writes", guard_review(held))
    assert lines(status, "billing", "2 staged")
    (run,) = held.run("status", "--json").json["held"]
    assert (run["waits"], run["count"]) == ("pushes", 2)
    decisions = held.run("decisions", "--kind", "run_held").out
    assert lines(decisions, "person  by rules", f"run {run['id']}")
    assert lines(decisions, "run_held", "the limit is 0")


def test_a_held_first_load_is_told_by_the_summary_and_written_once_it_is_approved(held: World) -> None:
    assert lines(held.run("sync").out, "held by a guard", "2 writes to billing")
    assert held.run("review", "resolve", guard_review(held), "--choose", "approve").code == 0
    held.run("sync")
    assert [len(held.held(name)) for name in ("crm", "marketing", "billing")] == [2, 2, 2]


def test_a_part_of_what_is_held_is_named_as_the_samples_are(held: World) -> None:
    number = guard_review(held)
    name = held.run("review", "show", number, "--json").json["body"]["samples"][0]["name"]
    assert held.run("review", "resolve", number, "--choose", "approve", "--only", name).code == 0
    held.run("sync")
    assert len(held.held("billing")) == 1
    ran = held.run("review", "resolve", guard_review(held), "--choose", "approve", "--only", "crm:people:no")
    assert ran.code == 1
    assert "nothing of crm:people:no is held by this run" in ran.err


def test_only_a_guard_review_is_answered_in_part(synced: World) -> None:
    ran = synced.run("review", "resolve", "1", "--choose", "crm", "--only", "crm:people:p000001")
    assert ran.code == 1
    assert "only what a guard holds" in ran.err
