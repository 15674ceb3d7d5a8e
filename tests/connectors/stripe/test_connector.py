"""What only Stripe does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest

from connectors.stripe.connector import Stripe
from connectors.stripe.simulator import StripeSimulator
from syncbroker.core.types import Actor, Receipt, Write
from syncbroker.errors import BadDelivery, BadSetting, OutcomeUnknown, RateLimited, Refused, Unavailable
from syncbroker.sdk.conformance import Bench, Sample
from syncbroker.sdk.connector import Account, Delivery
from syncbroker.sdk.http import Http

CREDENTIALS = {
    "api_key": "sk_test_bench",
    "webhook_secret": "whsec_new",
    "webhook_secret_previous": "whsec_old",
}
CUSTOMERS = Sample(object="customers", make=lambda n: {"name": f"P{n}"}, create={"name": "x"})
DAY = 86_400.0
BODY = (
    b'{"id":"evt_1","object":"event","type":"customer.updated","created":1700000000,'
    b'"data":{"object":{"id":"cus_1"}}}'
)
HEADER = "t=1700000000,v1=78e0c7539e44fd3503375935d23290dc34d8819f359f8c2b799a944a7c403d90"
"""BODY signed with `whsec_test_secret`, checked with the vendor's own library (stripe 16.1.0)."""


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench(Stripe, StripeSimulator, CUSTOMERS, credentials=CREDENTIALS) as bench:
        yield bench


def load(bench: Bench, **data: list[dict[str, Any]]) -> None:
    bench.control.load(data)


def held(bench: Bench, id: str, object: str = "customers") -> dict[str, Any]:
    return next(record for record in bench.control.records(object) if record["id"] == id)


def write(bench: Bench, key: str = "k", **given: Any) -> Receipt:
    return bench.connector.write("customers", [Write(key=key, **given)], ())[0]


def delivery(body: bytes, header: str = "", received: int = 1_700_000_000) -> Delivery:
    return Delivery(
        method="POST",
        url="https://broker.example/webhooks/billing",
        headers={"stripe-signature": header} if header else {},
        query={},
        body=body,
        received=received * 1_000_000,
    )


def offline(**credentials: str) -> Stripe:
    """A connector that calls nobody."""

    def http(base_url: str, **given: Any) -> Http:
        return Http(base_url, **{"system": "billing", "now": lambda: 0, **given})

    known = {"api_key": "sk_test_bench", **credentials}
    return Stripe(Account(system="billing", credentials=known, options={}, http=http, now=lambda: 0))


# ---- reading ----


def test_a_scan_of_subscriptions_shows_the_canceled_ones_too(bench: Bench) -> None:
    load(bench, subscriptions=[{"id": "sub_a", "status": "canceled"}, {"id": "sub_b", "status": "active"}])
    found = [item.id for page in bench.connector.scan("subscriptions", ()) for item in page.items]
    assert set(found) == {"sub_a", "sub_b"}


@pytest.mark.parametrize("version", ["2022-11-15", "2025-03-31.basil", "2026-10-28.endive"])
def test_the_period_of_a_subscription_is_found_in_every_api_version(version: str) -> None:
    options = {"api_version": version}
    with Bench(Stripe, StripeSimulator, CUSTOMERS, credentials=CREDENTIALS, options=options) as bench:
        load(bench, subscriptions=[{"id": "sub_a", "current_period_end": 1_800_000_000}])
        fields = bench.connector.read("subscriptions", ["sub_a"], ())[0].fields
    assert isinstance(fields, dict)
    assert fields["current_period_end"] == 1_800_000_000


def test_a_deleted_customer_answers_but_reads_as_deleted_and_so_does_an_unknown_one(bench: Bench) -> None:
    load(bench, customers=[{"id": "cus_a"}])
    bench.control.remove("customers", "cus_a")
    found = bench.connector.read("customers", ["cus_a", "cus_never"], ())
    assert [(item.id, item.deleted) for item in found] == [("cus_a", True), ("cus_never", True)]
    assert [entry.status for entry in bench.control.log()] == [200, 404]


def test_a_poll_reads_a_customer_once_however_many_events_name_it(bench: Bench) -> None:
    load(bench, customers=[{"id": "cus_a"}, {"id": "cus_b"}])
    cursor = bench.connector.start_cursor("customers", bench.now())
    for number in range(3):
        bench.control.edit("customers", "cus_a", {"name": f"N{number}"})
    items, _ = bench.poll(cursor or "")
    assert [item.id for item in items] == ["cus_a"]
    assert [entry.operation for entry in bench.control.log()] == ["events.list", "customers.get"]


def test_a_poll_over_many_pages_resumes_after_each_and_still_ends_with_a_cursor(bench: Bench) -> None:
    load(bench, customers=[{"id": f"cus_{n}"} for n in range(120)])
    cursor = bench.connector.start_cursor("customers", bench.now()) or ""
    for n in range(120):
        bench.control.edit("customers", f"cus_{n}", {"name": "N"})
    first = next(iter(bench.connector.poll("customers", (), cursor=cursor)))
    rest = list(bench.connector.poll("customers", (), cursor=cursor, resume=first.resume))
    seen = [item.id for page in (first, *rest) for item in page.items]
    assert len(set(seen)) == len(seen) == 120
    assert rest[-1].cursor is not None
    assert rest[-1].cursor >= cursor


def test_a_poll_tells_of_a_subscription_that_stripe_canceled_by_itself(bench: Bench) -> None:
    load(bench, subscriptions=[{"id": "sub_a"}])
    cursor = bench.connector.start_cursor("subscriptions", bench.now()) or ""
    bench.control.edit("subscriptions", "sub_a", {"status": "canceled"}, "automation")
    pages = list(bench.connector.poll("subscriptions", (), cursor=cursor))
    [item] = [item for page in pages for item in page.items]
    assert not item.deleted
    assert isinstance(item.fields, dict)
    assert item.fields["status"] == "canceled"


def test_a_poll_from_before_the_oldest_event_that_stripe_keeps_is_refused(bench: Bench) -> None:
    cursor = bench.connector.start_cursor("customers", bench.now()) or ""
    bench.settle(30 * DAY)
    with pytest.raises(Refused, match="30 days"):
        list(bench.connector.poll("customers", (), cursor=cursor))


def test_an_empty_page_that_says_more_follows_is_a_broken_answer(bench: Bench) -> None:
    bench.control.fault("status", status=200, json={"data": [], "has_more": True})
    with pytest.raises(Unavailable, match="empty page"):
        bench.pages()


def test_a_find_by_address_minds_its_letter_case_as_stripe_does(bench: Bench) -> None:
    load(bench, customers=[{"id": "cus_a", "email": "Ann@example.com"}])
    finding = bench.connector.find
    assert [item.id for item in finding("customers", {"email": "Ann@example.com"}, ())] == ["cus_a"]
    assert finding("customers", {"email": "ann@example.com"}, ()) == []


def test_a_find_gives_every_customer_of_an_address_that_several_have(bench: Bench) -> None:
    load(bench, customers=[{"id": f"cus_{n}", "email": "same@example.com"} for n in range(130)])
    assert len(bench.connector.find("customers", {"email": "same@example.com"}, ())) == 130


def test_our_stamp_finds_a_customer_whatever_its_text_looks_like(bench: Bench) -> None:
    stamp = "it's \\ one"
    load(bench, customers=[{"id": "cus_a", "metadata": {"syncbroker_id": stamp}}, {"id": "cus_b"}])
    found = bench.connector.find("customers", {"metadata.syncbroker_id": stamp}, ())
    assert [item.id for item in found] == ["cus_a"]


@pytest.mark.parametrize(("object", "keys"), [("customers", {"name": "Ann"}), ("subscriptions", {"id": "x"})])
def test_a_find_by_what_stripe_cannot_search_is_refused(
    bench: Bench, object: str, keys: dict[str, str]
) -> None:
    with pytest.raises(Refused, match="can be found by"):
        bench.connector.find(object, keys, ())


# ---- writing ----


def test_a_created_customer_bears_our_stamp(bench: Bench) -> None:
    receipt = write(bench, op="create", values={"name": "Ann", "phone": None}, stamp_id="01-abc")
    assert held(bench, receipt.id or "")["metadata"] == {"syncbroker_id": "01-abc"}


def test_part_of_an_address_is_written_without_losing_the_rest(bench: Bench) -> None:
    load(bench, customers=[{"id": "cus_a", "address": {"city": "Ulm", "country": "DE", "line1": "Gasse 1"}}])
    write(bench, op="update", id="cus_a", values={"address.city": "Bonn", "address.line1": None})
    address = held(bench, "cus_a")["address"]
    assert {part: value for part, value in address.items() if value} == {"city": "Bonn", "country": "DE"}


def test_a_whole_address_is_written_without_reading_it_first(bench: Bench) -> None:
    load(bench, customers=[{"id": "cus_a", "address": {"city": "Ulm"}}])
    parts = ("line1", "line2", "city", "state", "postal_code", "country")
    write(bench, op="update", id="cus_a", values={f"address.{part}": "x" for part in parts})
    assert [entry.operation for entry in bench.control.log()] == ["customers.update"]


def test_part_of_the_address_of_a_deleted_customer_is_missing(bench: Bench) -> None:
    load(bench, customers=[{"id": "cus_a"}])
    bench.control.remove("customers", "cus_a")
    assert write(bench, op="update", id="cus_a", values={"address.city": "x"}).status == "missing"


def test_one_metadata_key_is_cleared_and_the_others_stay(bench: Bench) -> None:
    load(bench, customers=[{"id": "cus_a", "metadata": {"a": "1", "b": "2"}}])
    write(bench, op="update", id="cus_a", values={"metadata.a": None})
    assert held(bench, "cus_a")["metadata"] == {"b": "2"}


def test_a_refusal_is_told_in_stripes_words_with_the_parameter(bench: Bench) -> None:
    load(bench, customers=[{"id": "cus_a"}])
    receipt = write(bench, op="update", id="cus_a", values={"phone": "0" * 21})
    assert receipt.status == "refused"
    assert "at most 20 characters (phone)" in receipt.message


def test_the_same_key_with_the_same_values_is_the_same_create(bench: Bench) -> None:
    first = write(bench, op="create", values={"name": "Ann"})
    again = write(bench, op="create", values={"name": "Ann"})
    assert (first.status, again.status, again.id) == ("done", "done", first.id)
    assert len(bench.control.records("customers")) == 1


def test_a_key_that_came_before_with_other_values_leaves_the_write_in_doubt(bench: Bench) -> None:
    write(bench, op="create", values={"name": "Ann"})
    assert write(bench, op="create", values={"name": "Bob"}).status == "unknown"


def test_a_create_whose_answer_was_lost_is_repeated_and_makes_one_customer(bench: Bench) -> None:
    def http(base_url: str, **given: Any) -> Http:
        return Http(base_url, **{"system": "billing", "now": bench.now, "sleep": lambda _: None, **given})

    account = Account(
        system="billing", credentials=CREDENTIALS, options={}, http=http, now=bench.now, url=bench.control.url
    )
    bench.control.fault("drop_answer", "customers.create")
    patient = Stripe(account)
    with closing(patient._http):
        receipts = patient.write("customers", [Write(key="k", op="create", values={"name": "A"})], ())
    assert [receipt.status for receipt in receipts] == ["done"]
    assert [entry.operation for entry in bench.control.log()] == ["customers.create"] * 2
    assert len(bench.control.records("customers")) == 1


def test_two_requests_with_one_key_at_work_leave_the_outcome_open(bench: Bench) -> None:
    busy = {"error": {"type": "idempotency_error", "code": "idempotency_key_in_use", "message": "busy"}}
    bench.control.fault("status", "customers.create", status=409, json=busy)
    with pytest.raises(OutcomeUnknown):
        write(bench, op="create", values={"name": "Ann"})


def test_a_lock_that_stripe_waits_for_did_nothing_and_may_be_tried_again(bench: Bench) -> None:
    locked = {"error": {"type": "invalid_request_error", "code": "lock_timeout", "message": "locked"}}
    bench.control.fault("status", "customers.create", status=429, json=locked)
    with pytest.raises(RateLimited):
        write(bench, op="create", values={"name": "Ann"})


# ---- webhooks ----


def test_the_worked_signature_of_the_vendors_library_is_accepted() -> None:
    offline(webhook_secret="whsec_test_secret").authenticate(delivery(BODY, HEADER))


@pytest.mark.parametrize("secrets", [("whsec_test_secret", "whsec_new"), ("whsec_new", "whsec_test_secret")])
def test_either_secret_is_good_while_one_is_rotated(secrets: tuple[str, str]) -> None:
    connector = offline(webhook_secret=secrets[0], webhook_secret_previous=secrets[1])
    connector.authenticate(delivery(BODY, HEADER))


def test_any_of_several_signatures_may_be_the_right_one() -> None:
    header = HEADER.replace(",v1=", f",v1={'0' * 64},v0=x,v1=")
    offline(webhook_secret="whsec_test_secret").authenticate(delivery(BODY, header))


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_signature_is_good_for_five_minutes_in_both_directions(seconds: int) -> None:
    connector = offline(webhook_secret="whsec_test_secret")
    late = delivery(BODY, HEADER, received=1_700_000_000 + seconds)
    with pytest.raises(BadDelivery):
        connector.authenticate(late)


@pytest.mark.parametrize(
    "header", ["t=1700000000", "v1=abc", "t=,v1=", "t=x,v1=y", "nonsense", "t=1,v0=abc", ","]
)
def test_a_header_without_a_right_signature_is_turned_away(header: str) -> None:
    with pytest.raises(BadDelivery) as caught:
        offline(webhook_secret="whsec_test_secret").authenticate(delivery(BODY, header))
    assert caught.value.status == 401


def test_a_delivery_to_a_system_without_a_webhook_secret_says_what_is_missing() -> None:
    with pytest.raises(BadSetting, match="webhook secret"):
        offline().authenticate(delivery(BODY, HEADER))


@pytest.mark.parametrize(
    ("type", "object", "kind"),
    [
        ("customer.created", "customers", "created"),
        ("customer.updated", "customers", "changed"),
        ("customer.deleted", "customers", "deleted"),
        ("customer.subscription.created", "subscriptions", "created"),
        ("customer.subscription.updated", "subscriptions", "changed"),
        ("customer.subscription.deleted", "subscriptions", "changed"),
        ("customer.subscription.paused", "subscriptions", "changed"),
    ],
)
def test_an_event_names_what_to_read(type: str, object: str, kind: str) -> None:
    [event] = offline().events(delivery(event_body(type=type)))
    assert (event.object, event.id, event.kind) == (object, "x_1", kind)
    assert (event.event_id, event.at) == ("evt_1", 1_700_000_000_000_000)


@pytest.mark.parametrize(
    ("type", "shown"),
    [
        ("customer.updated", {"id": "x_1"}),
        ("customer.deleted", None),
        ("customer.subscription.updated", None),
    ],
)
def test_the_snapshot_of_a_customer_comes_as_a_hint_without_a_version(
    type: str, shown: dict[str, Any] | None
) -> None:
    [event] = offline().events(delivery(event_body(type=type)))
    assert (event.item and (event.item.fields, event.item.stamp)) == (shown and (shown, None))


@pytest.mark.parametrize("type", ["customer.source.created", "invoice.paid", "customer.discount.deleted"])
def test_events_of_other_kinds_are_about_their_own_type(type: str) -> None:
    assert [one.object for one in offline().events(delivery(event_body(type=type)))] == [type]


@pytest.mark.parametrize(
    ("request_", "actor"),
    [
        (None, Actor(origin="automation")),
        ({"id": None, "idempotency_key": None}, Actor(origin="automation")),
        ({"id": "req_1", "idempotency_key": "syncbroker-k"}, Actor(origin="integration", name="syncbroker")),
        ({"id": "req_1", "idempotency_key": "theirs"}, Actor(origin="integration", name="req_1")),
        ({"id": "req_1", "idempotency_key": None}, Actor(origin="unknown", name="req_1")),
    ],
)
def test_an_event_tells_who_acted(request_: dict[str, Any] | None, actor: Actor) -> None:
    [event] = offline().events(delivery(event_body(request=request_)))
    assert event.actor == actor


def test_the_echo_of_our_own_write_is_recognised_by_its_key(bench: Bench) -> None:
    load(bench, customers=[{"id": "cus_a"}])
    bench.subscribe()
    write(bench, op="update", id="cus_a", values={"name": "Ann"})
    bench.settle()
    [told] = bench.deliveries
    [event] = bench.connector.events(told)
    assert event.actor == Actor(origin="integration", name="syncbroker")


def event_body(**changes: Any) -> bytes:
    event = {
        "id": "evt_1",
        "object": "event",
        "type": "customer.updated",
        "created": 1_700_000_000,
        "data": {"object": {"id": "x_1"}},
    }
    return msgspec.json.encode({**event, **changes})
