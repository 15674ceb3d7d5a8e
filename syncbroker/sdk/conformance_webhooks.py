"""Checks on webhooks: genuine deliveries are accepted and understood, everything else is turned away."""

from __future__ import annotations

import msgspec

from syncbroker.core.types import Event
from syncbroker.errors import BadDelivery
from syncbroker.sdk.conformance_bench import Bench, expect, expect_error
from syncbroker.sdk.connector import Delivery

_HOUR = 3_600_000_000
_NONSENSE = (
    b"",
    b"not json",
    b"\xff\xfe",
    b"null",
    b"7",
    b'"x"',
    b"[7]",
    b'[{"a":',
    b"[" * 100_000,
    b"{}",
    b"a=%ff",
)


def _altered(delivery: Delivery, **changes: object) -> Delivery:
    return msgspec.structs.replace(delivery, **changes)


def _edited(bench: Bench) -> tuple[str, list[Delivery]]:
    """The id of a record that a person edited, and the deliveries that tell of it."""
    id = bench.load(2)[0]
    bench.subscribe()
    bench.control.edit(bench.sample.object, id, dict(bench.sample.edit))
    bench.settle(bench.sample.wait)
    expect(bool(bench.deliveries), "an edit fires a webhook (see `ObjectSpec.events`)")
    return id, list(bench.deliveries)


def _events(bench: Bench, deliveries: list[Delivery]) -> list[Event]:
    events = []
    for delivery in deliveries:
        bench.connector.authenticate(delivery)
        events += bench.connector.events(delivery)
    return events


def a_genuine_delivery_tells_of_the_edit(bench: Bench) -> None:
    id, deliveries = _edited(bench)
    events = _events(bench, deliveries)
    told = [
        event for event in events if event.object == bench.sample.object and id in (event.id, event.new_id)
    ]
    expect(bool(told), f"an event names {bench.sample.object} {id}: {[(e.object, e.id) for e in events]}")
    expect(not any(event.kind == "deleted" for event in told), "an edit is no deletion")
    checks = [bench.connector.answer_check(delivery) for delivery in deliveries]
    expect(checks == [None] * len(checks), "a delivery of events is no check of the URL")


def a_deletion_and_a_new_record_are_told(bench: Bench) -> None:
    id = bench.load(2)[0]
    bench.subscribe()
    bench.control.remove(bench.sample.object, id)
    made = bench.control.insert(bench.sample.object, bench.sample.make(77))
    bench.settle(bench.sample.wait)
    told = {event.id for event in _events(bench, list(bench.deliveries))}
    expect(made in told, "an event names the new record")
    expect(id in told, "an event names the deleted record")


def a_forged_delivery_is_rejected(bench: Bench) -> None:
    _, deliveries = _edited(bench)
    stranger = bench.connect(bench.wrong(bench.sample.webhook_secret))
    for delivery in deliveries:
        bare = _altered(delivery, headers={}, secret="")
        guessed = _altered(delivery, headers={}, secret="wrong" + delivery.secret)
        for forged, reader, what in (
            (delivery, stranger, "a delivery proven with another secret"),
            (bare, bench.connector, "a delivery without any proof"),
            (guessed, bench.connector, "a delivery to a guessed URL"),
        ):
            error = expect_error(BadDelivery, what, reader.authenticate, forged)
            expect(error.status == 401, f"{what} is answered 401, it was {error.status}")


def a_tampered_body_is_rejected(bench: Bench) -> None:
    _, deliveries = _edited(bench)
    for delivery in deliveries:
        for body in (delivery.body + b" ", delivery.body[:-1], b"", delivery.body.replace(b"1", b"2")):
            if body != delivery.body:
                tampered = _altered(delivery, body=body)
                expect_error(BadDelivery, "a tampered body", bench.connector.authenticate, tampered)


def a_delivery_of_another_hour_is_rejected(bench: Bench) -> None:
    _, deliveries = _edited(bench)
    for delivery in deliveries:
        for shift, what in ((_HOUR, "an hour old"), (-_HOUR, "an hour in the future")):
            moved = _altered(delivery, received=delivery.received + shift)
            expect_error(BadDelivery, f"a delivery {what}", bench.connector.authenticate, moved)


def a_body_that_is_no_payload_is_bad(bench: Bench) -> None:
    _, deliveries = _edited(bench)
    for body in _NONSENSE:
        garbled = _altered(deliveries[0], body=body)
        error = expect_error(BadDelivery, f"the body {body[:20]!r}", bench.connector.events, garbled)
        expect(error.status == 400, f"{body[:20]!r} is answered 400, it was {error.status}")
