"""Whatever is delivered, to whichever connector: it is taken, or it is BadDelivery, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncbroker.errors import BadDelivery
from syncbroker.sdk.connector import Account, Delivery, Identifies
from syncbroker.sdk.registry import Registry
from syncbroker.sdk.webhook import check_json

NOW = 1_790_000_000_000_000
ACCOUNTS: Mapping[str, Mapping[str, Any]] = {
    "hubspot": {"credentials": {"access_token": "t"}},
    "mailchimp": {"credentials": {"api_key": "k-us1"}, "options": {"list_id": "l"}},
    "sendgrid": {"credentials": {"api_key": "k"}},
    "stripe": {"credentials": {"api_key": "k"}},
    "zendesk": {"credentials": {"email": "a@x.example", "api_token": "k"}, "options": {"subdomain": "x"}},
}
HEADERS = (
    "x-hubspot-signature-v3",
    "x-hubspot-request-timestamp",
    "stripe-signature",
    "x-mailchimp-signature",
    "x-zendesk-webhook-signature",
    "x-zendesk-webhook-signature-timestamp",
)
VALUES = st.one_of(
    st.text(max_size=40),
    st.just(str(NOW // 1000)),
    st.just(f"t={NOW // 1_000_000},v1=00"),
    st.just("2026-09-21T14:13:20Z"),
    st.text("0123456789-+:TZ,=tv", max_size=40),
)
WORDS = st.sampled_from(
    [
        "id",
        "type",
        "subject",
        "time",
        "event",
        "data",
        "object",
        "created",
        "subscriptionType",
        "objectId",
        "eventId",
        "occurredAt",
        "customer.updated",
        "zen:event-type:user.created",
        "contact.creation",
        "zen:user:1",
        "user",
    ]
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), WORDS, st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=6)),
    max_leaves=20,
)


def encoded(value: Any) -> bytes:
    import json

    return json.dumps(value).encode()


BODIES = st.one_of(
    st.binary(max_size=100),
    JSON.map(encoded),
    st.lists(st.tuples(WORDS, st.text(max_size=10)), max_size=5).map(
        lambda pairs: "&".join(f"{name}={value}" for name, value in pairs).encode("utf-8", "replace")
    ),
)


def connector(kind: str) -> Any:
    given_ = ACCOUNTS[kind]
    secret = {"webhook_secret": "s" * 20} if kind != "sendgrid" else {}
    account = Account(
        system="any",
        credentials={**given_["credentials"], **secret},
        options=given_.get("options", {}),
        http=lambda *_given, **_named: None,  # type: ignore[arg-type]  # nobody is called
        now=lambda: NOW,
    )
    return Registry().load(kind)(account)


@pytest.mark.parametrize("kind", sorted(ACCOUNTS))
@settings(max_examples=150, deadline=None)
@given(
    body=BODIES,
    headers=st.dictionaries(st.sampled_from(HEADERS), VALUES),
    method=st.sampled_from(["POST", "GET", "HEAD"]),
    secret=st.sampled_from(["", "x", "s" * 20]),
    repeated=st.frozensets(st.sampled_from(HEADERS), max_size=1),
)
def test_it_is_taken_or_it_is_a_bad_delivery(
    kind: str, body: bytes, headers: dict[str, str], method: str, secret: str, repeated: frozenset[str]
) -> None:
    taken = connector(kind)
    delivery = Delivery(
        method=method,
        url="https://broker.example/webhooks/any?a=%40",
        headers=headers,
        query={},
        body=body,
        received=NOW,
        secret=secret,
        repeated=repeated,
    )
    asked: list[Callable[[Delivery], Any]] = [taken.answer_check, taken.authenticate, taken.events]
    if isinstance(taken, Identifies):
        asked.append(taken.delivery_id)
    said = [_refusal(ask, delivery) for ask in asked]
    assert {one.status for one in said if one is not None} <= {400, 401}


def _refusal(ask: Callable[[Delivery], Any], delivery: Delivery) -> BadDelivery | None:
    try:
        ask(delivery)
    except BadDelivery as error:
        return error
    return None


@pytest.mark.parametrize(
    "body", [b'"' + b"\\" * 1_000_000, b'"[' * 500_000, b"[]" * 500_000, b"{" * 1_000_000]
)
def test_the_depth_of_a_megabyte_is_measured_without_an_end_of_its_own(body: bytes) -> None:
    with contextlib.suppress(BadDelivery):
        check_json(body)
