from __future__ import annotations

from typing import Any

import pytest

from connectors.mailchimp.members import subscriber_hash
from syncbroker.core.types import Write
from syncbroker.errors import BadSetting, OutcomeUnknown
from syncbroker.sdk.conformance import Bench
from syncbroker.sdk.paths import get_path
from tests.connectors.mailchimp.conftest import create, update

ADDRESS = {"addr1": "1 High Street", "addr2": "", "city": "Ulm", "state": "", "zip": "89073", "country": "DE"}


def record(bench: Bench, id: str) -> dict[str, Any]:
    return next(one for one in bench.control.records("members") if one["id"] == id)


def test_a_new_address_gives_the_member_a_new_id(bench: Bench) -> None:
    id = bench.load(1)[0]
    receipt = update(bench, id, {"email_address": "Moved@Example.org", "merge_fields.FNAME": "Eve"})
    assert receipt.status == "done"
    assert receipt.id == subscriber_hash("moved@example.org") != id
    assert bench.read(id)[id].deleted
    assert get_path(bench.present(receipt.id).fields, "merge_fields.FNAME") == "Eve"


def test_a_new_address_keeps_the_alias(bench: Bench) -> None:
    id = bench.load(1)[0]
    before = bench.present(id).aliases
    receipt = update(bench, id, {"email_address": "moved@example.org"})
    assert receipt.item is not None
    assert receipt.item.aliases == before != ()


def test_the_alias_reads_the_member_wherever_it_moved(bench: Bench) -> None:
    id = bench.load(1)[0]
    (alias,) = bench.present(id).aliases
    bench.control.edit("members", id, {"email_address": "moved@example.org"})
    (found,) = bench.connector.read("members", [alias], ())
    assert found.id == subscriber_hash("moved@example.org")


def test_an_address_in_other_letters_is_the_same_member(bench: Bench) -> None:
    id = bench.load(1)[0]
    receipt = update(bench, id, {"email_address": "PERSON0@example.org"})
    assert (receipt.status, receipt.id) == ("done", id)
    assert record(bench, id)["email_address"] == "PERSON0@example.org"


def test_an_address_that_another_member_has_is_refused_without_naming_it(bench: Bench) -> None:
    id, other = bench.load(2)
    taken = record(bench, other)["email_address"]
    receipt = update(bench, id, {"email_address": taken})
    assert receipt.status == "refused"
    assert "Member Exists" in receipt.message
    assert taken not in receipt.message


def test_a_moved_member_and_its_neighbour_are_two_calls(bench: Bench) -> None:
    ids = bench.load(3)
    writes = [
        Write(key="moves", op="update", id=ids[0], values={"email_address": "moved@example.org"}),
        *(Write(key=id, op="update", id=id, values={"merge_fields.FNAME": "Eve"}) for id in ids[1:]),
    ]
    before = len(bench.control.log())
    receipts = bench.write(*writes)
    assert {receipt.status for receipt in receipts.values()} == {"done"}
    assert [call.operation for call in bench.control.writes(before)] == ["members.batch", "members.update"]


def test_a_lost_answer_to_one_of_several_calls_is_a_matter_of_that_write(bench: Bench) -> None:
    ids = bench.load(2)
    bench.control.fault("drop_answer", "members.update")
    receipts = bench.write(
        Write(key="moves", op="update", id=ids[0], values={"email_address": "moved@example.org"}),
        Write(key="stays", op="update", id=ids[1], values={"merge_fields.FNAME": "Eve"}),
    )
    assert {key: receipt.status for key, receipt in receipts.items()} == {"moves": "unknown", "stays": "done"}


def test_a_lost_answer_to_the_only_call_is_unknown_for_all(bench: Bench) -> None:
    id = bench.load(1)[0]
    bench.control.fault("drop_answer", "members.update")
    with pytest.raises(OutcomeUnknown):
        update(bench, id, {"email_address": "moved@example.org"})


def test_a_move_whose_answer_was_lost_is_found_done_when_it_is_tried_again(bench: Bench) -> None:
    id = bench.load(1)[0]
    bench.control.fault("drop_answer", "members.update")
    with pytest.raises(OutcomeUnknown):
        update(bench, id, {"email_address": "moved@example.org"})
    bench.connector = bench.connect()  # another process, which remembers nothing
    receipt = update(bench, id, {"email_address": "moved@example.org"})
    assert (receipt.status, receipt.id) == ("done", subscriber_hash("moved@example.org"))


def test_when_the_contact_made_the_same_move_the_rest_of_the_write_follows(bench: Bench) -> None:
    id = bench.load(1)[0]
    bench.control.edit("members", id, {"email_address": "moved@example.org"})
    receipt = update(bench, id, {"email_address": "moved@example.org", "merge_fields.FNAME": "Eve"})
    assert receipt.item is not None
    assert get_path(receipt.item.fields, "merge_fields.FNAME") == "Eve"


def test_an_update_never_sends_a_status_that_is_not_to_be_written(bench: Bench) -> None:
    id = bench.load(1)[0]
    bench.present(id)
    bench.control.edit("members", id, {"status": "unsubscribed"})
    assert update(bench, id, {"merge_fields.FNAME": "Eve"}).status == "done"
    assert record(bench, id)["status"] == "unsubscribed"


@pytest.mark.parametrize("status", ["unsubscribed", "cleaned"])
def test_who_left_is_not_subscribed_again(bench: Bench, status: str) -> None:
    id = bench.load(1)[0]
    bench.control.edit("members", id, {"status": status})
    receipt = update(bench, id, {"status": "subscribed"})
    assert receipt.status == "refused"
    assert "compliance state" in receipt.message
    assert "@" not in receipt.message
    assert record(bench, id)["status"] == status


def test_who_left_and_came_back_by_themselves_shows_the_evidence(bench: Bench) -> None:
    id = bench.load(1)[0]
    bench.control.edit("members", id, {"status": "unsubscribed"})
    assert bench.present(id).consent is None
    bench.control.edit("members", id, {"status": "subscribed"})
    consent = bench.present(id).consent
    assert consent is not None
    assert consent.startswith("opted in 20")
    assert consent.endswith("from 198.51.100.7")


def test_who_was_unsubscribed_by_the_api_may_be_subscribed_by_it(bench: Bench) -> None:
    id = bench.load(1)[0]
    assert update(bench, id, {"status": "unsubscribed"}).status == "done"
    assert update(bench, id, {"status": "subscribed"}).status == "done"


def test_a_member_without_a_given_status_is_not_subscribed(bench: Bench) -> None:
    receipt = create(bench, {"email_address": "new@example.org"})
    assert receipt.item is not None
    assert get_path(receipt.item.fields, "status") == "transactional"


def test_a_create_without_an_address_is_refused_and_harms_no_neighbour(bench: Bench) -> None:
    receipts = bench.write(
        Write(key="bare", op="create", values={"merge_fields.FNAME": "Eve"}),
        Write(key="whole", op="create", values={"email_address": "new@example.org"}),
    )
    assert (receipts["bare"].status, receipts["whole"].status) == ("refused", "done")


def test_two_creates_of_one_address_make_one_member(bench: Bench) -> None:
    receipts = bench.write(
        Write(key="one", op="create", values={"email_address": "New@example.org"}),
        Write(key="two", op="create", values={"email_address": "new@example.org"}),
    )
    assert (receipts["one"].status, receipts["two"].status) == ("done", "exists")
    assert receipts["one"].id == receipts["two"].id


def test_an_impossible_address_is_refused_and_harms_no_neighbour(bench: Bench) -> None:
    receipts = bench.write(
        Write(key="bad", op="create", values={"email_address": "no address"}),
        Write(key="good", op="create", values={"email_address": "new@example.org"}),
    )
    assert (receipts["bad"].status, receipts["good"].status) == ("refused", "done")


def test_a_refused_call_is_halved_until_the_culprit_stands_alone(bench: Bench) -> None:
    ids = bench.load(4)
    # the whole, the half that holds it, and it alone
    bench.control.fault("status", "members.batch", status=400, json={"title": "Invalid Resource"}, times=3)
    receipts = bench.write(*(Write(key=id, op="update", id=id, values={"language": "de"}) for id in ids))
    statuses = sorted(receipt.status for receipt in receipts.values())
    assert statuses == ["done", "done", "done", "refused"]


def test_an_archived_member_comes_back_when_it_is_created_again(bench: Bench) -> None:
    id = bench.load(1)[0]
    assert bench.write(Write(key="k", op="delete", id=id))["k"].status == "done"
    assert bench.read(id)[id].deleted
    assert bench.connector.find("members", {"email_address": "person0@example.org"}, ()) == []
    receipt = create(bench, {"email_address": "person0@example.org", "status": "subscribed"})
    assert (receipt.status, receipt.id) == ("done", id)


def test_an_address_that_was_deleted_for_good_is_refused(bench: Bench) -> None:
    id = bench.load(1)[0]
    bench.control.remove("members", id)
    receipt = create(bench, {"email_address": "person0@example.org", "status": "subscribed"})
    assert receipt.status == "refused"
    assert "permanently deleted" in receipt.message


def test_a_member_that_may_not_be_archived_is_refused(bench: Bench) -> None:
    id = bench.load(1)[0]
    bench.control.edit("members", id, {"status": "pending"})
    assert bench.write(Write(key="k", op="delete", id=id))["k"].status == "refused"


def test_tags_become_exactly_the_wanted_ones(bench: Bench) -> None:
    id = bench.load(1)[0]
    receipt = update(bench, id, {"tags": ["speaker", "vip"]})
    assert receipt.item is not None
    assert get_path(receipt.item.fields, "tags") == ["speaker", "vip"]


def test_cleared_tags_are_all_removed(bench: Bench) -> None:
    id = bench.load(1)[0]
    assert update(bench, id, {"tags": None}).status == "done"
    assert record(bench, id)["tags"] == []


def test_a_tag_that_a_person_added_after_the_read_stays(bench: Bench) -> None:
    id = bench.load(1)[0]
    bench.present(id)
    bench.control.edit("members", id, {"tags": ["customer", "by hand"]})
    receipt = update(bench, id, {"tags": ["vip"]})
    assert receipt.item is not None
    assert get_path(receipt.item.fields, "tags") == ["by hand", "vip"]


def test_a_part_of_an_address_is_sent_with_the_rest_of_it(bench: Bench) -> None:
    bench.control.load(
        {"members": [{"email_address": "a@example.org", "merge_fields": {"ADDRESS": ADDRESS}}]}
    )
    id = subscriber_hash("a@example.org")
    assert update(bench, id, {"merge_fields.ADDRESS.city": "Bonn"}).status == "done"
    assert record(bench, id)["merge_fields"]["ADDRESS"] == {**ADDRESS, "city": "Bonn"}


def test_an_address_whose_last_part_is_cleared_is_empty(bench: Bench) -> None:
    bench.control.load(
        {"members": [{"email_address": "a@example.org", "merge_fields": {"ADDRESS": ADDRESS}}]}
    )
    id = subscriber_hash("a@example.org")
    parts = {f"merge_fields.ADDRESS.{part}": None for part in ADDRESS}
    assert update(bench, id, parts).status == "done"
    assert record(bench, id)["merge_fields"]["ADDRESS"] == ""


def test_an_incomplete_address_is_refused_in_the_vendors_words(bench: Bench) -> None:
    id = bench.load(1)[0]
    receipt = update(bench, id, {"merge_fields.ADDRESS.city": "Bonn"})
    assert receipt.status == "refused"
    assert "Please enter a complete address" in receipt.message


def test_an_update_that_changes_nothing_moves_no_stamp(bench: Bench) -> None:
    id = bench.load(1)[0]
    before = bench.present(id)
    bench.settle(5)
    assert update(bench, id, {"merge_fields.FNAME": "First0"}).status == "done"
    assert bench.present(id).stamp == before.stamp


def test_a_404_is_no_deletion_while_the_audience_itself_is_wrong(bench: Bench) -> None:
    id = bench.load(1)[0]
    bench.options["list_id"] = "another"
    with pytest.raises(BadSetting, match="no audience 'another'"):
        bench.connect().read("members", [id], ())
    with pytest.raises(BadSetting, match="no audience 'another'"):
        list(bench.connect().scan("members", ()))
    with pytest.raises(BadSetting, match="no audience 'another'"):
        bench.connect().write(
            "members", [Write(key="k", op="create", values={"email_address": "a@b.org"})], ()
        )
