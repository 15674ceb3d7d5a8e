from __future__ import annotations

from typing import Any

import pytest

from syncbroker.core.types import Receipt, Write
from syncbroker.errors import OutcomeUnknown, RateLimited
from syncbroker.sdk.conformance import Bench
from syncbroker.sdk.paths import get_path
from tests.connectors.sendgrid.conftest import create, made, record, settle, update

MOVED = {"email": "moved@example.org"}


def sent(bench: Bench, *writes: Write) -> dict[str, Receipt]:
    """The receipts of the call itself, before any job ended."""
    return {receipt.key: receipt for receipt in bench.connector.write("contacts", writes, ())}


def ended(bench: Bench, write: Write, job: str | None) -> Receipt:
    """The receipt of a job, however long it takes."""
    for _ in range(10):
        settle(bench)
        if receipts := bench.connector.job("contacts", job or "", [write], ()):
            return receipts[0]
    raise AssertionError("the job ends")


def later(bench: Bench, seconds: int) -> None:
    """Move the clock by this much only, and let what is due by then happen."""
    bench._moved += seconds * 1_000_000
    bench.simulator.advance()
    with bench.simulator._wake:  # the simulator's own thread may have been faster
        bench.simulator._wake.wait_for(lambda: not bench.simulator._running)


def operations(bench: Bench, since: int) -> list[str]:
    return [call.operation for call in bench.control.writes(since)]


def test_a_write_is_pending_until_reads_show_it() -> None:
    with made(job_seconds=5, lag_seconds=5) as bench:
        id = bench.load(1)[0]
        write = Write(key="k", op="update", id=id, values={"first_name": "Eve"})
        receipt = sent(bench, write)["k"]
        job = str(receipt.job)
        assert receipt.status == "pending"
        assert bench.connector.job("contacts", job, [write], ()) is None
        later(bench, 6)
        assert record(bench, id)["first_name"] == "Eve"
        assert bench.connector.job("contacts", job, [write], ()) is None, "done, but reads do not show it"
        later(bench, 6)
        (done,) = bench.connector.job("contacts", job, [write], ()) or []
        assert done.status == "done"
        assert done.item is not None
        assert get_path(done.item.fields, "first_name") == "Eve"


def test_a_new_address_makes_a_new_contact_and_deletes_the_old_one(bench: Bench) -> None:
    id = bench.load(1)[0]
    before = len(bench.control.log())
    receipt = update(bench, id, MOVED)
    assert receipt.status == "done"
    assert receipt.id != id
    assert [one["email"] for one in bench.control.records("contacts")] == ["moved@example.org"]
    assert operations(bench, before) == ["contacts.upsert", "contacts.delete"]


def test_a_new_address_keeps_what_nobody_mapped(bench: Bench) -> None:
    list_id = "5b9f3b1e-0c0a-4a52-9f57-3d3a57ad0c1e"
    given = {
        "email": "a@example.org",
        "address_line_1": "1 High Street",
        "alternate_emails": ["other@example.org"],
        "list_ids": [list_id],
        "custom_fields": {"lead_source": "fair", "score": 7},
    }
    bench.control.load({"contacts": [given]})
    (item,) = bench.scan()
    receipt = update(bench, item.id, {**MOVED, "first_name": "Eve"})
    after = record(bench, receipt.id)
    assert {name: after[name] for name in given} == {**given, "email": "moved@example.org"}
    assert after["first_name"] == "Eve"


def test_a_crash_between_the_new_contact_and_the_old_ones_end_is_repaired_by_asking_again(
    bench: Bench,
) -> None:
    id = bench.load(1)[0]
    write = Write(key="k", op="update", id=id, values=MOVED)
    receipt = sent(bench, write)["k"]
    settle(bench)
    assert len(bench.control.records("contacts")) == 2
    bench.connector = bench.connect()  # another process, which remembers nothing
    done = ended(bench, write, receipt.job)
    assert done.status == "done"
    assert [one["id"] for one in bench.control.records("contacts")] == [done.id]


def test_a_move_whose_answer_was_lost_ends_well_when_it_is_tried_again(bench: Bench) -> None:
    id = bench.load(1)[0]
    bench.control.fault("drop_answer", "contacts.upsert")
    with pytest.raises(OutcomeUnknown):
        update(bench, id, MOVED)
    settle(bench)
    assert len(bench.control.records("contacts")) == 2
    bench.connector = bench.connect()
    receipt = update(bench, id, MOVED)
    assert receipt.status == "done"
    assert [one["id"] for one in bench.control.records("contacts")] == [receipt.id]


def test_of_two_contacts_that_want_one_address_the_second_is_refused(bench: Bench) -> None:
    ids = bench.load(2)
    receipts = bench.write(*(Write(key=id, op="update", id=id, values=MOVED) for id in ids))
    assert [receipts[id].status for id in ids] == ["done", "refused"]
    assert len(bench.control.records("contacts")) == 2


def test_a_deletion_that_never_happens_leaves_the_write_unknown_in_the_end(bench: Bench) -> None:
    id = bench.load(1)[0]
    write = Write(key="k", op="update", id=id, values=MOVED)
    receipt = sent(bench, write)["k"]
    bench.control.fault("status", "contacts.delete", status=202, json={"job_id": "lost"}, times=0)
    assert ended(bench, write, receipt.job).status == "unknown"


def test_an_address_that_another_contact_has_is_refused(bench: Bench) -> None:
    id, other = bench.load(2)
    taken = record(bench, other)
    receipt = update(bench, id, {"email": taken["email"].upper(), "first_name": "Eve"})
    assert receipt.status == "refused"
    assert record(bench, other) == taken


def test_an_address_in_other_letters_is_the_same_contact(bench: Bench) -> None:
    id = bench.load(1)[0]
    receipt = update(bench, id, {"email": "PERSON0@example.org"})
    assert (receipt.status, receipt.id) == ("done", id)


def test_all_that_stay_are_one_call_whoever_moves(bench: Bench) -> None:
    ids = bench.load(3)
    before = len(bench.control.log())
    receipts = sent(
        bench,
        Write(key="moves", op="update", id=ids[0], values=MOVED),
        *(Write(key=id, op="update", id=id, values={"city": "Bonn"}) for id in ids[1:]),
    )
    assert {receipt.status for receipt in receipts.values()} == {"pending"}
    assert [(call.operation, call.count) for call in bench.control.writes(before)] == [
        ("contacts.upsert", 2),
        ("contacts.upsert", 1),
    ]


def test_a_lost_answer_after_an_accepted_call_is_a_matter_of_that_write(bench: Bench) -> None:
    ids = bench.load(2)
    bench.control.fault("drop_answer", "contacts.upsert", skip=1)
    receipts = sent(
        bench,
        Write(key="moves", op="update", id=ids[0], values=MOVED),
        Write(key="stays", op="update", id=ids[1], values={"city": "Bonn"}),
    )
    assert {key: receipt.status for key, receipt in receipts.items()} == {
        "moves": "unknown",
        "stays": "pending",
    }


def test_a_lost_answer_to_a_create_is_found_by_its_address(bench: Bench) -> None:
    bench.control.fault("drop_answer", "contacts.upsert")
    with pytest.raises(OutcomeUnknown):
        create(bench, {"email": "new@example.org"})
    settle(bench)
    (found,) = bench.connector.find("contacts", {"email": "New@Example.org"}, ())
    again = create(bench, {"email": "new@example.org"})
    assert (again.status, again.id) == ("exists", found.id)


def test_a_create_never_overwrites_a_contact_that_is_there(bench: Bench) -> None:
    id = bench.load(1)[0]
    before = record(bench, id)
    receipt = create(bench, {"email": before["email"], "first_name": "Eve"})
    assert (receipt.status, receipt.id) == ("exists", id)
    assert record(bench, id) == before


def test_of_two_creates_with_one_address_the_second_is_unknown(bench: Bench) -> None:
    receipts = bench.write(
        Write(key="one", op="create", values={"email": "New@example.org"}),
        Write(key="two", op="create", values={"email": "new@example.org"}),
    )
    assert (receipts["one"].status, receipts["two"].status) == ("done", "unknown")
    assert len(bench.control.records("contacts")) == 1


def test_an_update_repeats_every_identifier_the_contact_has(bench: Bench) -> None:
    bench.control.load(
        {"contacts": [{"email": "a@example.org", "external_id": "x-1", "anonymous_id": "anon"}]}
    )
    (item,) = bench.scan()
    assert update(bench, item.id, {"city": "Bonn"}).status == "done"
    assert record(bench, item.id)["external_id"] == "x-1"


def test_what_the_job_could_not_do_is_refused_with_its_counts(bench: Bench) -> None:
    id = bench.load(1)[0]
    change = {"object": "contacts", "id": id, "changes": {"external_id": "x-1"}}
    bench.control.fault("edit_before", "contacts.upsert", edit=change)
    receipt = update(bench, id, {"city": "Bonn"})
    assert receipt.status == "refused"
    assert "1 of 1 contacts failed" in receipt.message


def test_a_job_that_failed_for_some_refuses_only_those(bench: Bench) -> None:
    bad, good = bench.load(2)
    change = {"object": "contacts", "id": bad, "changes": {"external_id": "x-1"}}
    bench.control.fault("edit_before", "contacts.upsert", edit=change)
    receipts = bench.write(
        Write(key="bad", op="update", id=bad, values={"city": "Bonn"}),
        Write(key="good", op="update", id=good, values={"city": "Bonn"}),
    )
    assert (receipts["bad"].status, receipts["good"].status) == ("refused", "done")


def test_a_contact_that_goes_while_its_job_runs_is_missing(bench: Bench) -> None:
    id = bench.load(1)[0]
    write = Write(key="k", op="update", id=id, values={"city": "Bonn"})
    receipt = sent(bench, write)["k"]
    settle(bench)
    bench.control.remove("contacts", id)
    assert ended(bench, write, receipt.job).status == "missing"


def test_another_value_than_was_written_is_believed_only_after_the_lag(bench: Bench) -> None:
    id = bench.load(1)[0]
    write = Write(key="k", op="update", id=id, values={"city": "Bonn"})
    job = str(sent(bench, write)["k"].job)
    bench.control.idle()
    bench.control.edit("contacts", id, {"city": "Kiel"})
    assert bench.connector.job("contacts", job, [write], ()) is None
    settle(bench)
    (receipt,) = bench.connector.job("contacts", job, [write], ()) or []
    assert receipt.status == "done"
    assert receipt.item is not None
    assert get_path(receipt.item.fields, "city") == "Kiel"


def test_a_job_that_sendgrid_has_forgotten_is_judged_by_what_reads_show(bench: Bench) -> None:
    id = bench.load(1)[0]
    write = Write(key="k", op="update", id=id, values={"city": "Ulm"})
    (receipt,) = bench.connector.job("contacts", "forgotten", [write], ()) or []
    assert receipt.status == "done"


def test_a_contact_that_a_finished_job_does_not_show_is_unknown(bench: Bench) -> None:
    write = Write(key="k", op="create", values={"email": "nobody@example.org"})
    assert ended(bench, write, "forgotten").status == "unknown"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"custom_fields.shoe_size": 43}, "no custom field 'shoe_size'"),
        ({"custom_fields.score": None}, "cannot clear the Number field"),
        ({"first_name": "x" * 51}, "at most 50"),
    ],
)
def test_what_sendgrid_cannot_take_is_refused_and_harms_no_neighbour(
    bench: Bench, values: dict[str, Any], why: str
) -> None:
    bad, good = bench.load(2)
    receipts = bench.write(
        Write(key="bad", op="update", id=bad, values=values),
        Write(key="good", op="update", id=good, values={"city": "Bonn"}),
    )
    assert receipts["bad"].status == "refused"
    assert why in receipts["bad"].message
    assert receipts["good"].status == "done"


def test_a_custom_text_is_cleared_with_empty_text_never_with_null(bench: Bench) -> None:
    id = bench.load(1)[0]
    assert update(bench, id, {"custom_fields.lead_source": None}).status == "done"
    assert record(bench, id)["custom_fields"] == {}


def test_a_custom_field_made_later_is_found(bench: Bench) -> None:
    id = bench.load(1)[0]
    assert update(bench, id, {"custom_fields.size": "L"}).status == "refused"
    bench.simulator.store.define("size", "Text")  # type: ignore[attr-defined]
    assert update(bench, id, {"custom_fields.size": "L"}).status == "done"


def test_a_create_without_an_address_is_refused(bench: Bench) -> None:
    assert create(bench, {"first_name": "Eve"}).status == "refused"


def test_a_hundred_and_more_contacts_are_read_back_in_batches(bench: Bench) -> None:
    ids = bench.load(150)
    before = len(bench.control.log())
    receipts = bench.write(*(Write(key=id, op="update", id=id, values={"city": "Bonn"}) for id in ids))
    assert {receipt.status for receipt in receipts.values()} == {"done"}
    assert [(call.operation, call.count) for call in bench.control.writes(before)] == [
        ("contacts.upsert", 150)
    ]


def test_deletions_are_one_call(bench: Bench) -> None:
    ids = bench.load(3)
    before = len(bench.control.log())
    receipts = bench.write(*(Write(key=id, op="delete", id=id) for id in ids))
    assert {receipt.status for receipt in receipts.values()} == {"done"}
    assert [(call.operation, call.count) for call in bench.control.writes(before)] == [("contacts.delete", 3)]


def test_beyond_the_limit_of_a_minute_sendgrid_says_too_many_requests() -> None:
    def ask() -> None:
        for _ in range(3):  # two of them fall into one minute
            bench.connector.find("contacts", {"email": "a@example.org"}, ())

    with made(rate_limit=1) as bench, pytest.raises(RateLimited, match="too many requests"):
        ask()
