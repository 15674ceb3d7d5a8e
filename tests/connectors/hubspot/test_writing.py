"""How HubSpot is written: partial refusals, companies as a field, records that exist, rewriting portals."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.hubspot.writes import text
from syncbroker.core.types import Receipt, Write
from syncbroker.errors import OutcomeUnknown, RateLimited
from syncbroker.sdk.conformance import Bench
from syncbroker.sdk.conformance_bench import fields_of
from tests.connectors.hubspot.conftest import Hub

WEBSITE = {"contacts": {"lead_source": {"type": "enumeration", "options": ["Website"]}}}


def update(key: str, id: str, **values: Any) -> Write:
    return Write(key=key, op="update", id=id, values=values)


def create(key: str, **values: Any) -> Write:
    return Write(key=key, op="create", values=values)


def shown(receipt: Receipt) -> dict[str, Any]:
    assert receipt.item is not None
    return fields_of(receipt.item)


def write_calls(bench: Bench) -> list[str]:
    return [entry.operation for entry in bench.control.writes()]


# ---- one bad record among good ones ----


def test_a_bad_value_is_refused_and_harms_no_neighbour(hubspot: Hub) -> None:
    bench = hubspot(properties=WEBSITE)
    one, two = bench.load(2)
    receipts = bench.write(
        update("bad", one, lead_source="web", nope="1"), update("good", two, firstname="Ute")
    )
    assert {key: receipt.status for key, receipt in receipts.items()} == {"bad": "refused", "good": "done"}
    assert write_calls(bench) == ["contacts.batch_update"]


def test_a_refusal_names_the_properties_and_quotes_no_value(hubspot: Hub) -> None:
    bench = hubspot(properties=WEBSITE)
    receipts = bench.write(create("k", email="Nobody at all", lead_source="web"))
    assert receipts["k"].message == "email: INVALID_EMAIL; lead_source: INVALID_OPTION"


def test_an_address_of_another_contact_is_refused(hubspot: Hub) -> None:
    bench = hubspot()
    one, _ = bench.load(2)
    receipt = bench.write(update("k", one, email="P1@example.com"))["k"]
    assert receipt.status == "refused"


def test_what_a_create_met_is_named_for_each_record(hubspot: Hub) -> None:
    bench = hubspot()
    one, two = bench.load(2)
    receipts = bench.write(
        create("a", email="p0@example.com"),
        create("b", email="new@example.com"),
        create("c", email="P1@example.com"),
    )
    assert {key: receipt.status for key, receipt in receipts.items()} == {
        "a": "exists",
        "b": "done",
        "c": "exists",
    }
    assert (receipts["a"].id, receipts["c"].id) == (one, two)
    assert receipts["b"].id not in {one, two, None}


def test_two_creates_of_one_batch_with_the_same_address_make_one_record(hubspot: Hub) -> None:
    bench = hubspot()
    receipts = bench.write(create("a", email="n@example.com"), create("b", email="n@example.com"))
    assert sorted(receipt.status for receipt in receipts.values()) == ["done", "exists"]
    assert receipts["a"].id == receipts["b"].id


def test_a_batch_that_is_refused_as_a_whole_is_tried_record_by_record(hubspot: Hub) -> None:
    bench = hubspot()
    one, two = bench.load(2)
    bench.control.fault("status", "contacts.batch_update", status=400, json={"message": "no"})
    receipts = bench.write(update("a", one, firstname="A"), update("b", two, firstname="B"))
    assert {receipt.status for receipt in receipts.values()} == {"done"}
    assert [entry.count for entry in bench.control.writes()] == [2, 1, 1]


def test_a_conflict_that_names_no_record_is_looked_up_by_address(hubspot: Hub) -> None:
    bench = hubspot()
    (one,) = bench.load(1)
    conflict = {"status": "error", "message": "Contact already exists", "category": "CONFLICT"}
    bench.control.fault("status", "contacts.batch_create", status=409, json=conflict)
    receipt = bench.write(create("k", email="p0@example.com"))["k"]
    assert (receipt.status, receipt.id) == ("exists", one)


def test_what_is_left_when_hubspot_stops_answering_is_unknown(hubspot: Hub) -> None:
    bench = hubspot()
    ids = bench.load(3)
    bench.control.fault("status", "contacts.batch_update", status=400, json={"message": "no"})
    bench.control.fault("status", "contacts.batch_update", status=429, json={}, skip=1)
    receipts = bench.write(*(update(f"k{n}", id, firstname="X") for n, id in enumerate(ids)))
    assert [receipts[f"k{n}"].status for n in range(3)] == ["done", "unknown", "unknown"]
    assert len(bench.control.writes()) == 3


def test_an_error_inside_an_answer_that_may_pass_is_unknown(hubspot: Hub) -> None:
    bench = hubspot()
    (one,) = bench.load(1)
    error = {"category": "INTERNAL_ERROR", "message": "x", "context": {"objectWriteTraceId": ["k"]}}
    answer = {"status": "COMPLETE", "results": [], "errors": [error], "numErrors": 1}
    bench.control.fault("status", "contacts.batch_update", status=207, json=answer)
    assert bench.write(update("k", one, firstname="A"))["k"].status == "unknown"


@pytest.mark.parametrize("op", ["create", "update"])
def test_a_write_that_the_answer_does_not_name_is_unknown(hubspot: Hub, op: str) -> None:
    bench = hubspot()
    (one,) = bench.load(1)
    bench.control.fault(
        "status", f"contacts.batch_{op}", json={"status": "COMPLETE", "results": []}, status=200
    )
    write = create("k", email="n@example.com") if op == "create" else update("k", one, firstname="A")
    assert bench.write(write)["k"].status == "unknown"


def test_new_records_are_told_apart_by_the_brokers_id_where_hubspot_leaves_the_trace_out(
    hubspot: Hub,
) -> None:
    bench = hubspot()
    at = "2026-01-02T03:04:05.678Z"
    results = [
        {"id": id, "properties": {"syncbroker_id": stamp}, "createdAt": at, "updatedAt": at}
        for id, stamp in (("2", "r2"), ("1", "r1"))
    ]
    bench.control.fault("status", "contacts.batch_create", status=201, json={"results": results})
    writes = [Write(key=f"k{n}", op="create", values={"firstname": "A"}, stamp_id=f"r{n}") for n in (1, 2)]
    assert {key: receipt.id for key, receipt in bench.write(*writes).items()} == {"k1": "1", "k2": "2"}


# ---- what receipts show ----


def test_an_update_shows_what_was_sent_as_it_is_stored(hubspot: Hub) -> None:
    bench = hubspot(rewrite={"country": {"US": "United States"}})
    (one,) = bench.load(1)
    receipt = bench.write(update("k", one, country="US", email="NEW@Example.com"))["k"]
    assert {name: shown(receipt)[name] for name in ("country", "email")} == {
        "country": "United States",
        "email": "new@example.com",
    }
    assert receipt.item is not None
    assert not receipt.item.complete


def test_a_cleared_property_is_shown_empty(hubspot: Hub) -> None:
    bench = hubspot()
    (one,) = bench.load(1)
    bench.control.edit("contacts", one, {"phone": "1"})
    assert shown(bench.write(update("k", one, phone=None))["k"])["phone"] is None


def test_a_value_that_is_held_already_moves_no_time(hubspot: Hub) -> None:
    bench = hubspot()
    (one,) = bench.load(1)
    before = bench.present(one).stamp
    bench.settle(1)
    receipt = bench.write(update("k", one, email="p0@example.com"))["k"]
    assert receipt.item is not None
    assert receipt.item.stamp == before


def test_the_brokers_id_is_left_on_a_created_record(hubspot: Hub) -> None:
    bench = hubspot()
    bench.write(Write(key="k", op="create", values={"email": "n@example.com"}, stamp_id="0192-77"))
    (record,) = bench.control.records("contacts")
    assert record["properties"]["syncbroker_id"] == "0192-77"


def test_without_a_stamp_property_no_id_is_left(hubspot: Hub) -> None:
    bench = hubspot(options={"stamp_property": ""})
    bench.write(Write(key="k", op="create", values={"email": "n@example.com"}, stamp_id="0192-77"))
    (record,) = bench.control.records("contacts")
    assert "syncbroker_id" not in record["properties"]


@pytest.mark.parametrize(
    ("value", "sent"),
    [(None, ""), (True, "true"), (False, "false"), (12, "12"), (("a", "b"), "a;b"), ("x", "x")],
)
def test_values_go_out_as_text(value: Any, sent: str) -> None:
    assert text(value) == sent


# ---- companies of contacts ----


@pytest.fixture
def world(hubspot: Hub) -> Bench:
    """Companies 101 and 102; contact 103 of 101, contact 104 without a company."""
    bench = hubspot()
    companies = [{"properties": {"name": "Acme"}}, {"properties": {"name": "Bolt"}}]
    contacts = [
        {"properties": {"email": "a@example.com", "company_id": "101"}},
        {"properties": {"email": "b@example.com"}},
    ]
    bench.control.load({"companies": companies, "contacts": contacts})
    return bench


def company_of(bench: Bench, contact: str) -> Any:
    (item,) = bench.connector.read("contacts", [contact], ["company_id"])
    return fields_of(item)["company_id"]


def test_a_contact_is_created_with_its_company_in_one_call(world: Bench) -> None:
    receipt = world.write(create("k", email="n@example.com", company_id="102"))["k"]
    assert write_calls(world) == ["contacts.batch_create"]
    assert shown(receipt)["company_id"] == company_of(world, receipt.id or "") == "102"


def test_a_company_is_set_after_the_properties(world: Bench) -> None:
    receipts = world.write(
        update("a", "103", company_id="102", firstname="A"), update("b", "104", firstname="B")
    )
    assert write_calls(world) == ["contacts.batch_update", "associations.batch_create"]
    assert (shown(receipts["a"])["company_id"], shown(receipts["a"])["firstname"]) == ("102", "A")
    assert (company_of(world, "103"), company_of(world, "104")) == ("102", None)


def test_a_former_company_stays_associated_without_the_label(world: Bench) -> None:
    world.write(update("a", "103", company_id="102"))
    record = next(each for each in world.control.records("contacts") if each["id"] == "103")
    links = {(each["id"], each["type"]) for each in record["associations"]["companies"]["results"]}
    assert links == {
        ("102", "contact_to_company"),
        ("102", "contact_to_company_unlabeled"),
        ("101", "contact_to_company_unlabeled"),
    }


def test_a_cleared_company_is_removed(world: Bench) -> None:
    receipts = world.write(update("a", "103", company_id=None), update("b", "104", company_id=None))
    assert {receipt.status for receipt in receipts.values()} == {"done"}
    assert shown(receipts["a"])["company_id"] is None
    assert company_of(world, "103") is None


def test_an_unknown_company_is_refused_while_the_properties_stand(world: Bench) -> None:
    receipts = world.write(
        update("a", "103", company_id="999", firstname="A"), update("b", "104", company_id="102")
    )
    assert (receipts["a"].status, receipts["b"].status) == ("refused", "done")
    assert receipts["a"].message.startswith("company_id: ")
    assert shown(receipts["a"])["firstname"] == "A"
    assert company_of(world, "103") == "101"


def test_a_company_that_is_gone_is_refused_and_not_taken_for_a_missing_contact(world: Bench) -> None:
    world.control.fault("status", "associations.batch_create", status=404, json={"message": "no company"})
    assert world.write(update("a", "103", company_id="102"))["a"].status == "refused"


@pytest.mark.parametrize("status", [429, 500])
def test_an_association_without_an_answer_makes_the_write_unknown(world: Bench, status: int) -> None:
    world.control.fault("status", "associations.batch_create", status=status, json={})
    receipt = world.write(update("a", "103", company_id="102", firstname="A"))["a"]
    assert receipt.status == "unknown"
    assert shown(receipt)["firstname"] == "A"


def test_a_contact_that_is_gone_gets_no_company(world: Bench) -> None:
    world.control.remove("contacts", "103")
    assert world.write(update("a", "103", company_id="102"))["a"].status == "missing"
    assert write_calls(world) == ["contacts.batch_update"]


@pytest.mark.parametrize(("status", "error"), [(429, RateLimited), (500, OutcomeUnknown)])
def test_an_error_before_anything_was_written_is_raised(
    world: Bench, status: int, error: type[Exception]
) -> None:
    world.control.fault("status", "contacts.batch_update", status=status, json={})
    with pytest.raises(error):
        world.write(update("a", "103", company_id="102"))
