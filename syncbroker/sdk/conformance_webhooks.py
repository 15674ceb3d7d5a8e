"""Checks on webhooks: genuine deliveries are accepted and understood, everything else is turned away."""

from __future__ import annotations

import msgspec

from syncbroker.core.types import Event
from syncbroker.errors import BadDelivery, Refused
from syncbroker.sdk.conformance_bench import Bench, expect, expect_error
from syncbroker.sdk.connector import Delivery, Identifies, Registers, Samples

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
    b'{"a":' * 40 + b"1" + b"}" * 40,
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


def a_header_of_proof_that_comes_twice_is_rejected(bench: Bench) -> None:
    _, deliveries = _edited(bench)
    for delivery in deliveries:
        twice = _altered(delivery, repeated=frozenset(delivery.headers))
        error = expect_error(BadDelivery, "a doubled header", bench.connector.authenticate, twice)
        expect(error.status == 400, f"a doubled header is answered 400, it was {error.status}")


def two_secrets_are_valid_while_one_is_rotated(bench: Bench) -> None:
    _, deliveries = _edited(bench)
    name = bench.sample.webhook_secret
    new = {**bench.credentials, name: "another-secret-entirely"}
    rotating = bench.connect({**new, f"{name}_previous": bench.credentials[name]})
    for delivery in deliveries:
        rotating.authenticate(delivery)
        expect_error(BadDelivery, "a secret that is gone", bench.connect(new).authenticate, delivery)


def an_event_has_the_same_id_when_it_comes_again(bench: Bench) -> None:
    _, deliveries = _edited(bench)
    connector = bench.connector
    if isinstance(connector, Identifies):
        ids = [connector.delivery_id(one) for one in deliveries]
        expect(all(ids) and len(set(ids)) == len(ids), f"each delivery has an id of its own: {ids}")


def a_webhook_is_registered_once_and_then_delivers(bench: Bench) -> None:
    connector, objects = bench.connector, [bench.sample.object]
    if not isinstance(connector, Registers):
        return
    url = "https://broker.example/webhooks/bench"
    try:
        made = connector.register(url, objects)
    except Refused as error:
        expect(bool(error.hint), "a vendor without such an API says what a person must do")
        return
    again = connector.register(url, objects)
    listed = [one for one in connector.hooks(url, objects) if one.ours]
    expect([one.id for one in listed] == [made.id] == [again.id], f"there is one webhook of ours: {listed}")
    expect(listed[0].enabled and not listed[0].missing, "it is enabled and covers the object")
    expect(all(one.url == url for one in listed), "its URL is shown without a secret")
    strange = connector.hooks("https://elsewhere.example/webhooks/bench", objects)
    expect(not any(one.ours for one in strange), "a webhook to another place is not ours")
    bench.settle()
    bench.deliveries.clear()
    id = bench.load(1)[0]
    bench.control.edit(bench.sample.object, id, dict(bench.sample.edit))
    bench.settle(bench.sample.wait)
    told = {event.id for event in _events(bench, list(bench.deliveries))}
    expect(id in told, "an edit fires the webhook that was registered")


def a_sample_is_proven_and_tells_of_nothing_that_is_known(bench: Bench) -> None:
    connector = bench.connector
    if not isinstance(connector, Samples):
        return
    sample = connector.sample("https://broker.example/webhooks/bench", bench.now())
    connector.authenticate(sample)
    events = connector.events(sample)
    expect(bool(events), "a sample tells of something")
    expect(not any(one.object in connector.objects for one in events), "of nothing that is known")


def a_body_that_is_no_payload_is_bad(bench: Bench) -> None:
    _, deliveries = _edited(bench)
    for body in _NONSENSE:
        garbled = _altered(deliveries[0], body=body)
        error = expect_error(BadDelivery, f"the body {body[:20]!r}", bench.connector.events, garbled)
        expect(error.status == 400, f"{body[:20]!r} is answered 400, it was {error.status}")
