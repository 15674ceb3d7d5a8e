"""HubSpot's deliveries: the v3 signature, what each event says, echoes of our own writes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from connectors.hubspot import webhooks
from syncbroker.core.types import Event, Write
from syncbroker.errors import BadDelivery, BadSetting
from syncbroker.sdk.conformance import Bench
from syncbroker.sdk.connector import Delivery
from tests.connectors.hubspot.conftest import Hub

# A vector on which hubspot-api-client 12.0.0 (Python) and @hubspot/api-client 13.5.0 (Node) agree.
SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
AT = 1_700_000_000_000
SIGNED = Delivery(
    method="POST",
    url="https://broker.example.com/webhooks/hubspot?x=1",
    headers={
        "x-hubspot-signature-v3": "tielKXt4eBrdwujKr1mAicElYAVT9cKT2idHdVw+Je4=",
        "x-hubspot-request-timestamp": str(AT),
    },
    query={"x": "1"},
    body=(
        b'[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,'
        b'"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM",'
        b'"changeFlag":"NEW","appId":54321}]'
    ),
    received=AT * 1000,
)


def altered(**changes: Any) -> Delivery:
    return msgspec.structs.replace(SIGNED, **changes)


def told(*notices: dict[str, Any]) -> list[Event]:
    body = [{"eventId": n, "subscriptionId": 1, "occurredAt": AT, **each} for n, each in enumerate(notices)]
    return webhooks.events(altered(body=msgspec.json.encode(body)))


def seen(*notices: dict[str, Any]) -> list[tuple[str, str, str, str | None]]:
    return [(event.object, event.id, event.kind, event.new_id) for event in told(*notices)]


# ---- signatures ----


def test_the_published_vector_is_genuine() -> None:
    webhooks.authenticate(SIGNED, SECRET)


@pytest.mark.parametrize("seconds", [-300, 300])
def test_the_window_is_three_hundred_seconds_to_both_sides(seconds: int) -> None:
    webhooks.authenticate(altered(received=(AT + 1000 * seconds) * 1000), SECRET)


@pytest.mark.parametrize("seconds", [-301, 301])
def test_outside_the_window_nothing_is_believed(seconds: int) -> None:
    with pytest.raises(BadDelivery):
        webhooks.authenticate(altered(received=(AT + 1000 * seconds) * 1000), SECRET)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "PUT"},
        {"url": "https://broker.example.com/webhooks/hubspot?x=2"},
        {"body": b"[]"},
        {"headers": {**SIGNED.headers, "x-hubspot-request-timestamp": str(AT + 1)}},
        {"headers": {"x-hubspot-request-timestamp": str(AT)}},
        {"headers": {**SIGNED.headers, "x-hubspot-request-timestamp": "soon"}},
    ],
    ids=["method", "url", "body", "time", "unsigned", "no time"],
)
def test_whatever_is_signed_cannot_be_changed(changes: dict[str, Any]) -> None:
    with pytest.raises(BadDelivery) as caught:
        webhooks.authenticate(altered(**changes), SECRET)
    assert caught.value.status == 401


def test_without_a_secret_nothing_can_be_proven() -> None:
    with pytest.raises(BadSetting):
        webhooks.authenticate(SIGNED, "")


def test_the_signed_url_has_some_characters_of_its_query_decoded() -> None:
    url = "https://b.example/w%3Ahook?at=10%3A30&to=a%40b&both=%2f%2C%20%25"
    assert webhooks.signed_url(url) == "https://b.example/w%3Ahook?at=10:30&to=a@b&both=/,%20%25"


# ---- events ----


@pytest.mark.parametrize(
    ("type_", "object", "kind"),
    [
        ("contact.creation", "contacts", "created"),
        ("contact.restore", "contacts", "created"),
        ("contact.propertyChange", "contacts", "changed"),
        ("contact.deletion", "contacts", "deleted"),
        ("contact.privacyDeletion", "contacts", "deleted"),
        ("company.creation", "companies", "created"),
        ("company.propertyChange", "companies", "changed"),
        ("company.deletion", "companies", "deleted"),
    ],
)
def test_each_subscription_has_its_kind(type_: str, object: str, kind: str) -> None:
    assert seen({"subscriptionType": type_, "objectId": 7}) == [(object, "7", kind, None)]


def test_generic_subscriptions_name_the_object_by_its_type() -> None:
    notices = [
        {"subscriptionType": "object.propertyChange", "objectTypeId": "0-1", "objectId": 7},
        {"subscriptionType": "object.deletion", "objectTypeId": "0-2", "objectId": 8},
        {"subscriptionType": "object.creation", "objectTypeId": "0-3", "objectId": 9},
    ]
    found = [("contacts", "7", "changed", None), ("companies", "8", "deleted", None)]
    assert seen(*notices) == [*found, ("object.creation", "9", "changed", None)]


@pytest.mark.parametrize("type_", ["deal.creation", "conversation.newMessage", "contact.somethingNew", "x"])
def test_what_is_not_known_is_an_event_about_its_own_subscription(type_: str) -> None:
    assert seen({"subscriptionType": type_, "objectId": 7}) == [(type_, "7", "changed", None)]


@pytest.mark.parametrize(
    "notice",
    [
        {"subscriptionType": "contact.associationChange", "associationType": "CONTACT_TO_COMPANY"},
        {"subscriptionType": "object.associationChange", "fromObjectTypeId": "0-1", "toObjectTypeId": "0-2"},
    ],
)
def test_a_changed_association_concerns_the_contact(notice: dict[str, Any]) -> None:
    assert seen({**notice, "fromObjectId": 7, "toObjectId": 8}) == [("contacts", "7", "changed", None)]


def test_an_association_told_from_the_companys_side_concerns_the_contact_too() -> None:
    notice = {"subscriptionType": "company.associationChange", "associationType": "COMPANY_TO_CONTACT"}
    assert seen({**notice, "fromObjectId": 8, "toObjectId": 7}) == [("contacts", "7", "changed", None)]


def test_a_merge_leads_every_former_id_to_the_survivor() -> None:
    notice = {"subscriptionType": "contact.merge", "primaryObjectId": 1, "mergedObjectIds": [2, 3]}
    assert seen({**notice, "newObjectId": None}) == [
        ("contacts", "2", "merged", "1"),
        ("contacts", "3", "merged", "1"),
    ]
    assert seen({**notice, "newObjectId": 9}) == [("contacts", id, "merged", "9") for id in ("2", "3", "1")]


def test_an_event_that_comes_twice_is_one() -> None:
    notice = {"subscriptionType": "contact.propertyChange", "objectId": 7, "eventId": 5}
    assert len(told({**notice, "attemptNumber": 0}, {**notice, "attemptNumber": 1})) == 1


def test_event_ids_that_hubspot_uses_twice_stay_two_events() -> None:
    notice = {"subscriptionType": "contact.propertyChange", "eventId": 5}
    events = told({**notice, "objectId": 7}, {**notice, "objectId": 8})
    assert len({event.event_id for event in events}) == 2


def test_an_event_is_a_hint_without_a_record() -> None:
    (event,) = told({"subscriptionType": "contact.propertyChange", "objectId": 7, "propertyValue": "x"})
    assert event.item is None
    assert event.at == AT * 1000


@pytest.mark.parametrize(
    ("source", "origin"),
    [
        ("CRM_UI", "person"),
        ("USER", "person"),
        ("INTEGRATION", "integration"),
        ("API", "integration"),
        ("AUTOMATION_PLATFORM", "automation"),
        ("SOMETHING_NEW", "unknown"),
    ],
)
def test_sources_tell_persons_from_machines(source: str, origin: str) -> None:
    notice = {"subscriptionType": "contact.deletion", "objectId": 7, "changeSource": source, "sourceId": "u"}
    (event,) = told(notice)
    assert event.actor is not None
    assert (event.actor.origin, event.actor.name) == (origin, "u")


# ---- from the simulator ----


def delivered(bench: Bench) -> list[Event]:
    events = []
    for delivery in bench.deliveries:
        bench.connector.authenticate(delivery)
        events += bench.connector.events(delivery)
    return events


def test_our_own_writes_come_back_as_those_of_our_app(hubspot: Hub) -> None:
    bench = hubspot(app_id=777)
    (one,) = bench.load(1)
    bench.subscribe()
    bench.write(Write(key="k", op="update", id=one, values={"firstname": "A"}))
    bench.settle(1)
    (event,) = delivered(bench)
    assert event.actor is not None
    assert (event.id, event.actor.origin, event.actor.name) == (one, "integration", "777")


def test_events_of_one_moment_come_in_one_delivery(hubspot: Hub) -> None:
    bench = hubspot(webhook_delay=0.5)
    one, two = bench.load(2)
    bench.subscribe()
    bench.control.edit("contacts", one, {"firstname": "A", "lastname": "B"})
    bench.control.edit("contacts", two, {"firstname": "C"})
    bench.settle(1)
    assert len(bench.deliveries) == 1
    assert [event.id for event in delivered(bench)] == [one, one, two]


def test_a_write_of_what_is_held_already_is_told_to_nobody(hubspot: Hub) -> None:
    bench = hubspot()
    (one,) = bench.load(1)
    bench.subscribe()
    bench.write(Write(key="k", op="update", id=one, values={"email": "p0@example.com"}))
    bench.settle(1)
    assert bench.deliveries == []


def test_a_changed_company_is_told_once_for_each_side(hubspot: Hub) -> None:
    bench = hubspot()
    bench.control.load({"companies": [{"properties": {"name": "Acme"}}]})
    contact = bench.control.insert("contacts", {"email": "a@example.com"})
    bench.subscribe()
    bench.control.edit("contacts", contact, {"company_id": "101"})
    bench.settle(1)
    assert {(event.object, event.id, event.kind) for event in delivered(bench)} == {
        ("contacts", contact, "changed")
    }
    assert len(delivered(bench)) == 2
