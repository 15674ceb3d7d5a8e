from __future__ import annotations

from typing import Any, cast
from urllib.parse import parse_qsl, urlencode

import msgspec
import pytest

from connectors.mailchimp.members import subscriber_hash
from connectors.mailchimp.simulator import MailchimpSimulator
from syncbroker.core.types import Event
from syncbroker.errors import BadDelivery, BadSetting
from syncbroker.sdk.conformance import Bench
from syncbroker.sdk.connector import Delivery
from tests.connectors.mailchimp.conftest import LIST_ID, SECRET, update

OLD, NEW = "person0@example.org", "moved@example.org"


def told(bench: Bench) -> list[Event]:
    bench.settle()
    return [event for delivery in bench.deliveries for event in bench.connector.events(delivery)]


def forms(bench: Bench) -> list[dict[str, str]]:
    return [dict(parse_qsl(delivery.body.decode())) for delivery in bench.deliveries]


def delivery(**pairs: str) -> Delivery:
    form = {name.replace("__", "[") + ("]" if "__" in name else ""): value for name, value in pairs.items()}
    return Delivery(
        method="POST",
        url=f"https://broker.example/webhooks/marketing/{SECRET}",
        headers={},
        query={},
        body=urlencode(form).encode(),
        received=0,
        secret=SECRET,
    )


def test_a_change_of_address_re_points_the_member(bench: Bench) -> None:
    id = bench.load(1)[0]
    bench.subscribe()
    bench.control.edit("members", id, {"email_address": NEW})
    events = told(bench)
    assert (events[0].kind, events[0].id, events[0].new_id) == ("rekeyed", id, subscriber_hash(NEW))


def test_a_change_of_address_is_told_as_upemail_and_as_profile(bench: Bench) -> None:
    id = bench.load(1)[0]
    bench.subscribe()
    bench.control.edit("members", id, {"email_address": NEW})
    bench.settle()
    assert [form["type"] for form in forms(bench)] == ["upemail", "profile"]
    assert forms(bench)[0]["data[new_id]"] != subscriber_hash(NEW), (
        "the vendor's unique_email_id is not the hash"
    )


def test_an_address_in_other_letters_is_no_new_member(bench: Bench) -> None:
    given = delivery(
        type="upemail",
        data__list_id=LIST_ID,
        data__old_email=OLD,
        data__new_email=OLD.upper(),
        data__new_id="51da8c",
    )
    (event,) = bench.connector.events(given)
    assert event.kind == "changed"


@pytest.mark.parametrize(
    ("changes", "types"),
    [
        ({"merge_fields.FNAME": "Eve"}, ["profile"]),
        ({"status": "unsubscribed"}, ["unsubscribe"]),
        ({"status": "cleaned"}, ["cleaned"]),
        ({"merge_fields.FNAME": "First0"}, []),
        ({"tags": ["vip"]}, []),
    ],
)
def test_each_change_is_told_with_the_vendors_type(
    bench: Bench, changes: dict[str, Any], types: list[str]
) -> None:
    id = bench.load(1)[0]
    bench.subscribe()
    bench.control.edit("members", id, changes)
    bench.settle()
    assert [form["type"] for form in forms(bench)] == types
    assert [event.id for event in told(bench)] == [id] * len(types)


def test_our_own_writes_come_back_as_echoes(bench: Bench) -> None:
    id = bench.load(1)[0]
    bench.subscribe()
    update(bench, id, {"merge_fields.FNAME": "Eve"})
    bench.settle()
    assert [form["type"] for form in forms(bench)] == ["profile"]


def test_a_source_that_is_switched_off_is_silent(bench: Bench) -> None:
    id = bench.load(1)[0]
    bench.subscribe()
    cast("MailchimpSimulator", bench.simulator).sources.discard("api")
    update(bench, id, {"merge_fields.FNAME": "Eve"})
    bench.settle()
    assert bench.deliveries == []


def test_times_without_a_zone_are_not_believed(bench: Bench) -> None:
    given = delivery(type="profile", fired_at="2026-11-23 10:00:00", data__list_id=LIST_ID, data__email=OLD)
    (event,) = bench.connector.events(given)
    assert event.at is None


def test_a_repeated_delivery_is_the_same_event_and_a_different_one_of_that_second_is_not(
    bench: Bench,
) -> None:
    def key(**more: str) -> str | None:
        given = delivery(
            type="profile", fired_at="2026-11-23 10:00:00", data__list_id=LIST_ID, data__email=OLD, **more
        )
        return bench.connector.events(given)[0].event_id

    assert key() == key() != key(data__merges="x")


def test_no_event_key_holds_an_address(bench: Bench) -> None:
    given = delivery(type="profile", data__list_id=LIST_ID, data__email=OLD)
    assert "@" not in (bench.connector.events(given)[0].event_id or "@")


@pytest.mark.parametrize("type_", ["campaign", "surprise"])
def test_another_type_is_an_event_that_the_broker_only_counts(bench: Bench, type_: str) -> None:
    (event,) = bench.connector.events(delivery(type=type_, data__id="4fjk2ma9xd", data__status="sent"))
    assert event.object == type_


@pytest.mark.parametrize(
    "form",
    [
        {"type": "profile", "data__list_id": "other", "data__email": OLD},
        {"type": "profile", "data__list_id": LIST_ID},
        {"type": "upemail", "data__list_id": LIST_ID, "data__old_email": OLD},
        {"data__list_id": LIST_ID, "data__email": OLD},
    ],
)
def test_what_mailchimp_does_not_send_is_bad(bench: Bench, form: dict[str, str]) -> None:
    with pytest.raises(BadDelivery) as caught:
        bench.connector.events(delivery(**form))
    assert caught.value.status == 400


def test_the_check_of_the_url_is_answered_only_at_the_secret_one(bench: Bench) -> None:
    check = msgspec.structs.replace(delivery(), method="GET", body=b"")
    assert bench.connector.answer_check(check) == "ok"
    assert bench.connector.answer_check(msgspec.structs.replace(check, secret="guess")) is None


def test_a_get_is_never_a_delivery(bench: Bench) -> None:
    with pytest.raises(BadDelivery):
        bench.connector.authenticate(msgspec.structs.replace(delivery(), method="GET"))


def test_without_a_secret_nothing_is_believed(bench: Bench) -> None:
    connector = bench.connect({"api_key": bench.credentials["api_key"]})
    with pytest.raises(BadSetting):
        connector.authenticate(msgspec.structs.replace(delivery(type="profile"), secret=""))
    assert connector.answer_check(msgspec.structs.replace(delivery(), method="GET", secret="")) is None


def test_mailchimp_takes_no_url_that_does_not_answer(bench: Bench) -> None:
    bench.simulator.deliver = lambda *_: 404
    with pytest.raises(Exception, match="did not answer a GET"):
        bench.control.webhook("https://broker.example/webhooks/x")
