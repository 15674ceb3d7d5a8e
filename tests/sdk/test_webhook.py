"""Signature vectors were made with the vendors' own clients where there is one (stripe, hubspot, slack_sdk,
standardwebhooks); those of Zendesk and Intercom follow their documentation."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.errors import BadDelivery, BadSetting
from syncbroker.sdk.connector import Delivery
from syncbroker.sdk.webhook import (
    check_secret,
    check_signature,
    check_time,
    form_body,
    header,
    iso_time,
    json_body,
    sign,
    unix_time,
)

HUBSPOT_BODY = (
    '[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,'
    '"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM",'
    '"changeFlag":"NEW","appId":54321}]'
)
SLACK_BODY = (
    "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    "&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    "&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    "&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
STRIPE_BODY = (
    '{"id":"evt_1","object":"event","type":"customer.updated","created":1700000000,'
    '"data":{"object":{"id":"cus_1"}}}'
)

Vector = tuple[str | bytes, tuple[str, ...], Literal["sha256", "sha1"], Literal["hex", "base64"], str]

VECTORS: dict[str, Vector] = {
    "stripe": (
        "whsec_test_secret",
        ("1700000000", ".", STRIPE_BODY),
        "sha256",
        "hex",
        "78e0c7539e44fd3503375935d23290dc34d8819f359f8c2b799a944a7c403d90",
    ),
    "hubspot v3": (
        "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy",
        ("POST", "https://broker.example.com/webhooks/hubspot?x=1", HUBSPOT_BODY, "1700000000000"),
        "sha256",
        "base64",
        "tielKXt4eBrdwujKr1mAicElYAVT9cKT2idHdVw+Je4=",
    ),
    "zendesk": (
        "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==",
        ("2026-01-02T03:04:05Z", '{"id":1}'),
        "sha256",
        "base64",
        "Iy0qXWaZkKEZyedFAcKAsUuBnrO7lDilTk41ughrT7w=",
    ),
    "slack": (
        "8f742231b10e8888abcd99yyyzzz85a5",
        ("v0:", "1531420618", ":", SLACK_BODY),
        "sha256",
        "hex",
        "a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    ),
    "standard webhooks": (
        base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("msg_p5jXN8AQM9LWM0D4loKWxJek", ".", "1614265330", ".", '{"test": 2432232314}'),
        "sha256",
        "base64",
        "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    "intercom": (
        "client_secret_1",
        ('{"type":"notification_event","topic":"contact.user.updated"}',),
        "sha1",
        "hex",
        "0c51acce62c09b0261249bf73b4b7743a0e9f98d",
    ),
}


@pytest.fixture(params=list(VECTORS.values()), ids=list(VECTORS))
def vector(request: pytest.FixtureRequest) -> Vector:
    found: Vector = request.param
    return found


def test_the_vendors_signature_is_computed(vector: Vector) -> None:
    secret, parts, algorithm, encoding, value = vector
    assert sign(secret, *parts, algorithm=algorithm, encoding=encoding) == value


def test_the_vendors_signature_is_accepted(vector: Vector) -> None:
    secret, parts, algorithm, encoding, value = vector
    check_signature(value, secret, *parts, algorithm=algorithm, encoding=encoding)


def test_one_changed_byte_of_the_body_is_rejected(vector: Vector) -> None:
    secret, parts, algorithm, encoding, value = vector
    with pytest.raises(BadDelivery) as caught:
        check_signature(value, secret, *parts, " ", algorithm=algorithm, encoding=encoding)
    assert caught.value.status == 401


def test_another_secret_is_rejected(vector: Vector) -> None:
    _, parts, algorithm, encoding, value = vector
    with pytest.raises(BadDelivery):
        check_signature(value, "another", *parts, algorithm=algorithm, encoding=encoding)


@pytest.mark.parametrize("given", ["", "é", "\ud800", "0" * 64, [], ["", "x"]])
def test_whatever_is_given_as_a_signature_is_rejected(given: str | list[str]) -> None:
    with pytest.raises(BadDelivery):
        check_signature(given, "secret", "body")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_any_of_several_signatures_may_be_the_right_one(place: int) -> None:
    given = ["0" * 64] * 2
    given.insert(place, sign("secret", "body"))
    check_signature(given, "secret", "body")


@pytest.mark.parametrize("secret", ["", b""])
def test_an_empty_secret_proves_nothing(secret: str | bytes) -> None:
    with pytest.raises(BadSetting):
        check_signature(hmac.new(b"", b"body", hashlib.sha256).hexdigest(), secret, "body")


@given(st.binary(max_size=200), st.text(min_size=1, max_size=50))
def test_text_and_its_bytes_sign_alike(body: bytes, secret: str) -> None:
    key = secret.encode("utf-8", "replace")
    assert sign(secret, body) == sign(key, body) == hmac.new(key, body, hashlib.sha256).hexdigest()


def test_a_secret_url_must_hold_the_secret() -> None:
    check_secret("s3cret", "s3cret")
    for wrong in ("", "s3cre", "s3cret ", "ß"):
        with pytest.raises(BadDelivery):
            check_secret(wrong, "s3cret")


def test_an_empty_expected_secret_opens_no_url() -> None:
    with pytest.raises(BadSetting):
        check_secret("", "")


NOW = 1_700_000_000_000_000


@pytest.mark.parametrize("shift", [0, 299, -299, 300, -300])
def test_a_delivery_of_this_time_is_taken(shift: int) -> None:
    check_time(NOW + shift * 1_000_000, NOW)


@pytest.mark.parametrize("shift", [301, -301, 10**9, -(10**9)])
def test_a_delivery_of_another_time_is_rejected_in_both_directions(shift: int) -> None:
    with pytest.raises(BadDelivery) as caught:
        check_time(NOW + shift * 1_000_000, NOW)
    assert caught.value.status == 401


def test_times_are_read_in_the_forms_that_vendors_write() -> None:
    assert unix_time("1700000000") == unix_time("1700000000000", "ms") == NOW
    assert iso_time("2023-11-14T22:13:20Z") == iso_time("2023-11-14T23:13:20+01:00") == NOW


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "١٢٣", "9" * 400, "1e9", " 1"])
def test_a_time_that_is_no_number_is_rejected(text: str) -> None:
    with pytest.raises(BadDelivery):
        unix_time(text)


@pytest.mark.parametrize("text", ["", "x", "2023-11-14T22:13:20", "2023-11-14"])
def test_a_time_that_is_no_iso_time_with_offset_is_rejected(text: str) -> None:
    with pytest.raises(BadDelivery):
        iso_time(text)


def delivery(body: bytes = b"", headers: Mapping[str, str] | None = None) -> Delivery:
    url = "https://broker.example/webhooks/crm"
    return Delivery(method="POST", url=url, headers=headers or {}, query={}, body=body, received=NOW)


def test_a_header_is_found_in_any_case_and_missed_when_empty() -> None:
    assert header(delivery(headers={"x-sig": "a"}), "X-Sig") == "a"
    for without in (delivery(), delivery(headers={"x-sig": ""})):
        with pytest.raises(BadDelivery, match="X-Sig"):
            header(without, "X-Sig")


@pytest.mark.parametrize("body", [b"", b"x", b"\xff", b"{", b"[" * 100_000, b"{}"])
def test_a_body_of_another_shape_is_bad(body: bytes) -> None:
    with pytest.raises(BadDelivery) as caught:
        json_body(delivery(body), list[int])
    assert caught.value.status == 400


def test_a_json_body_is_decoded() -> None:
    assert json_body(delivery(b"[1]"), list[int]) == [1]


def test_a_form_body_is_decoded() -> None:
    body = b"type=upemail&data%5Bnew_email%5D=a%40b.example&fired_at=2025-01-24+15%3A30%3A00&empty="
    assert form_body(delivery(body)) == {
        "type": "upemail",
        "data[new_email]": "a@b.example",
        "fired_at": "2025-01-24 15:30:00",
        "empty": "",
    }


@pytest.mark.parametrize("body", [b"", b"not a form", b"\xff=1", b"&".join([b"a=1"] * 2000)])
def test_a_body_that_is_no_form_is_bad(body: bytes) -> None:
    given: Any = delivery(body)
    with pytest.raises(BadDelivery) as caught:
        form_body(given)
    assert caught.value.status == 400
