"""`status`, `explain` and `decisions`, as a person and as a program reads them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
import typer

from syncbroker.cli.decisions import moment
from syncbroker.cli.words import value_text
from syncbroker.store import runs
from syncbroker.store.database import open_store
from tests.cli.conftest import World, lines

# ---- status ----


def test_status_fits_on_a_screen_and_shows_no_personal_data(synced: World) -> None:
    ran = synced.run("status")
    assert ran.code == 0
    assert len(ran.out.splitlines()) <= 24
    assert lines(ran.out, "crm", "people", "2 live")
    for person in ("ann", "Lee", "@", "5551234567"):
        assert person not in ran.out.replace(str(synced.folder), "")


def test_status_shows_what_was_left_out_and_why(synced: World) -> None:
    store = open_store(synced.url)
    with store.write() as tx:
        runs.count(tx, {("withdrawn", "crm", "people"): 7})
        runs.begin(tx, "pull", "crm", "people", 1)
        runs.set_breaker(
            tx, "billing", runs.Breaker(failures=5, open_until=2**61, message="401 Unauthorised")
        )
    store.close()
    ran = synced.run("status")
    assert lines(ran.out, "withdrawn", "crm", "7", "no longer owed")
    assert lines(ran.out, "pull", "reading")
    assert lines(ran.out, "billing", "failed 5 times in a row, left alone until", "401 Unauthorised")


def test_status_in_json_is_one_document_with_times_in_utc(synced: World) -> None:
    found = synced.run("status", "--json").json
    assert found["records"] == {"person": 2}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", found["at"])


def test_differences_are_counted_when_they_are_asked_for(synced: World) -> None:
    assert "not in step" not in synced.run("status").out
    ran = synced.run("status", "--differences")
    assert lines(ran.out, "marketing", "phone", "in review")
    assert synced.run("status", "--differences", "--json").json["differences"]


# ---- explain ----


def test_explain_tells_who_when_from_what_to_what_and_by_which_rule(synced: World) -> None:
    synced.systems["marketing"].edit("people", "p000001", {"email": "new@x.example"})
    synced.run("sync")
    ran = synced.run("explain", "person:new@x.example", "email")
    assert ran.code == 0
    assert "email = new@x.example" in ran.out
    assert lines(ran.out, "who   a person in marketing", "between 20")
    assert "what  ann@x.example -> new@x.example" in ran.out
    assert lines(ran.out, "seen  found by poll at 20")
    assert lines(ran.out, "rule  enforce, authority marketing > crm, mappings/person.yaml:9")
    assert lines(ran.out, "why   adopted: marketing has authority")
    assert lines(ran.out, "billing p000002", "in step")


def test_explain_names_the_losers(synced: World) -> None:
    synced.systems["crm"].edit("people", "p000001", {"email": "foreign@x.example"})
    synced.run("sync")
    ran = synced.run("explain", "person:ann@x.example", "email")
    assert lines(ran.out, "lost  foreign@x.example from crm: marketing has authority")


def test_explain_without_a_field_shows_every_field_on_a_line_and_how_the_record_came_to_be(
    synced: World,
) -> None:
    ran = synced.run("explain", "person:crm:p000001")
    assert lines(ran.out, "name", "Ann Lee", "crm", "prefer", "mappings/person.yaml:15")
    assert lines(ran.out, "phone", "review (review 1)", "crm (in review)")
    assert lines(ran.out, "linked", "marketing", "the same email")


def test_explain_in_json_holds_everything(synced: World) -> None:
    found = synced.run("explain", "person:ann@x.example", "phone", "--json").json
    (phone,) = found["fields"]
    assert phone["candidates"] == {"crm": "+15551234567", "marketing": "+15559999999"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ann@x.example"], "names no record"),
        (["persn:ann@x.example"], "there is no entity 'persn'\n    hint: did you mean person?"),
        (["person:nobody@x.example"], "no person is known by that name"),
        (["person:ann@x.example", "emial"], "person has no field 'emial'\n    hint: did you mean email?"),
    ],
)
def test_what_does_not_exist_is_a_wrong_command_line(
    synced: World, arguments: list[str], message: str
) -> None:
    ran = synced.run("explain", *arguments)
    assert ran.code == 2
    assert message in ran.err


def test_a_vendors_control_characters_do_not_reach_the_terminal(synced: World) -> None:
    synced.systems["crm"].edit("people", "p000001", {"name": "Ann\x1b[31m Lee [bold]x"})
    synced.run("sync")
    ran = synced.run("explain", "person:ann@x.example", "name")
    assert "\x1b" not in ran.out
    assert "[bold]x" in ran.out


def test_explain_shows_the_push_and_its_receipt_in_one_order_with_the_decisions(synced: World) -> None:
    synced.systems["marketing"].edit("people", "p000001", {"email": "new@x.example"})
    synced.run("sync")
    ran = synced.run("explain", "person:new@x.example", "email")
    assert lines(ran.out, "written to crm p000001: new@x.example, confirmed by the answer")
    assert lines(ran.out, "receipt ", "update, owed by decision ", " of run ", "key ")
    history = ran.out.partition("history")[2]
    assert history.index("written to crm") < history.index("adopted: ann@x.example -> new@x.example")


def test_explain_as_of_a_time_shows_what_was_then_and_what_cannot_be_known(synced: World) -> None:
    before = datetime.now(UTC).isoformat()
    synced.systems["marketing"].edit("people", "p000001", {"email": "new@x.example"})
    synced.run("sync")
    ran = synced.run("explain", "person:new@x.example", "email", "--as-of", before)
    assert ran.code == 0
    assert "email = ann@x.example" in ran.out
    assert lines(ran.out, "as of 20")
    assert "new@x.example" not in ran.out.partition("note:")[0].partition("email =")[2]
    assert lines(ran.out, "note:", "a read without news left no trace")
    assert synced.run("explain", "person:new@x.example", "--as-of", before, "--json").json["as_of"]


def test_explain_as_of_a_time_before_the_record_is_a_wrong_command_line(synced: World) -> None:
    ran = synced.run("explain", "person:ann@x.example", "--as-of", "2001-01-01")
    assert ran.code == 2
    assert "nothing was decided" in ran.err


# ---- decisions ----


def test_decisions_are_shown_newest_first_with_reason(synced: World) -> None:
    ran = synced.run("decisions")
    assert ran.code == 0
    assert lines(ran.out, "adopted", "email, crm: (empty) -> bob@x.example; the golden record had no value")
    numbers = [int(line.split()[0]) for line in ran.out.splitlines() if not line.startswith("        ")]
    assert numbers == sorted(numbers, reverse=True)


def test_decisions_are_chosen_by_kind_field_record_run_time_and_number(synced: World) -> None:
    def count(*arguments: str) -> int:
        ran = synced.run("decisions", "--json", *arguments)
        return len(ran.json)

    every = count()
    assert count("--kind", "conflict_queued") == 1
    assert count("--field", "email") == 4
    assert count("--kind", "adopted", "--field", "email") == 2
    assert 0 < count("--record", "person:ann@x.example") < every
    assert count("--record", "person:ann@x.example", "--kind", "linked") == 1
    assert 0 < count("--run", "1") < every
    assert count("--since", "1h") == every
    assert count("--limit", "1") < every


def test_no_decision_is_nothing_to_do(synced: World) -> None:
    ran = synced.run("decisions", "--since", "2999-01-01")
    assert ran.code == 2
    assert ran.err == "there is no such decision\n"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--kind", "adoptd"], "did you mean adopted?"),
        (["--field", "emial"], "did you mean email?"),
        (["--since", "yesterday"], "write 30m, 2h, 3d"),
    ],
)
def test_wrong_choices_are_a_wrong_command_line(synced: World, arguments: list[str], hint: str) -> None:
    ran = synced.run("decisions", *arguments)
    assert ran.code == 2
    assert hint in ran.err


def test_a_moment_is_relative_or_iso() -> None:
    now = datetime.now(UTC).timestamp()
    assert abs(moment("2h") / 1_000_000 - (now - 7200)) < 5
    assert moment("2026-03-01T12:00:00+01:00") == int(
        datetime(2026, 3, 1, 11, tzinfo=UTC).timestamp() * 1_000_000
    )
    with pytest.raises(typer.BadParameter):
        moment("99999999999999w")


@pytest.mark.parametrize(
    ("value", "members", "text"),
    [
        (None, [("x", "text")], "(empty)"),
        ("US", [("x", "country")], "United States (US)"),
        ([1999, "USD"], [("x", "money")], "19.99 USD"),
        ([1999, "JPY"], [("x", "money")], "1999 JPY"),
        (["a", "b"], [("x", "tags")], "a, b"),
        (["Lund", None, "SE"], [("city", "text"), ("zip", "text"), ("country", "country")],
         "city: Lund, country: Sweden (SE)"),
        ("r1", [("x", "reference")], "Acme (r1)"),
        ("r2", [("x", "reference")], "r2"),
        (True, [("x", "boolean")], "true"),
        (5, [], "5"),
        ("a\x1bb", [], "a b"),
    ],
)  # fmt: skip
def test_values_are_shown_as_people_write_them(
    value: object, members: list[tuple[str, str]], text: str
) -> None:
    assert value_text(value, members, {"r1": "Acme"}) == text


# ---- drift ----


def test_drift_is_shown_by_cause_and_without_values(synced: World) -> None:
    synced.systems["marketing"].edit("people", "p000001", {"name": "Ann Mary Lee", "email": "spy@x.example"})
    synced.run("sweep")
    ran = synced.run("drift")
    assert (ran.code, ran.err) == (0, "")
    assert lines(ran.out, "missed_event", "marketing", "name")
    assert "Mary" not in ran.out


def test_drift_can_be_narrowed(synced: World) -> None:
    synced.systems["marketing"].edit("people", "p000001", {"name": "Ann Mary Lee", "vip": True})
    synced.run("sweep")
    found = synced.run("drift", "--cause", "foreign_edit", "--json").json
    assert {one["cause"] for one in [*found["counts"], *found["findings"]]} == {"foreign_edit"}
    assert synced.run("drift", "--since", "2099-01-01", "--json").json["counts"] == []


def test_without_drift_it_says_so(synced: World) -> None:
    assert "no sweep found anything" in synced.run("drift").out


def test_an_unknown_cause_is_a_wrong_call(synced: World) -> None:
    ran = synced.run("drift", "--cause", "missed_events")
    assert (ran.code, "missed_event" in ran.err) == (2, True)
