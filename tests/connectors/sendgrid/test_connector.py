from __future__ import annotations

import pytest

from syncbroker.errors import BadDelivery, Refused
from syncbroker.sdk.conformance import Bench
from syncbroker.sdk.connector import Delivery

DELIVERY = Delivery(
    method="POST",
    url="https://broker.example/webhooks/mail",
    headers={"x-twilio-email-event-webhook-signature": "x"},
    query={},
    body=b"[]",
    received=0,
)


def test_no_delivery_is_ever_believed(bench: Bench) -> None:
    for refuse in (bench.connector.authenticate, bench.connector.events):
        with pytest.raises(BadDelivery):
            refuse(DELIVERY)
    assert bench.connector.answer_check(DELIVERY) is None
    assert not bench.spec.events


def test_there_is_nothing_to_poll(bench: Bench) -> None:
    assert bench.connector.start_cursor("contacts", 0) is None
    with pytest.raises(Refused, match="sweep"):
        bench.connector.poll("contacts", (), cursor="0")


def test_there_is_no_history(bench: Bench) -> None:
    assert bench.connector.history("contacts", "x", "email") == []


def test_a_contact_left_out_of_a_batch_is_gone_only_after_a_404_of_its_own(bench: Bench) -> None:
    ids = bench.load(2)
    bench.control.fault("status", "contacts.read", status=200, json={"result": []})
    found = bench.read(*ids)
    assert not any(item.deleted for item in found.values())


def test_an_alternate_address_is_not_the_contacts_own(bench: Bench) -> None:
    bench.control.load({"contacts": [{"email": "a@example.org", "alternate_emails": ["b@example.org"]}]})
    assert bench.connector.find("contacts", {"email": "b@example.org"}, ()) == []
    assert bench.connector.find("contacts", {"email": None}, ()) == []
