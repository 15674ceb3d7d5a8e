from __future__ import annotations

from typing import Any

import msgspec
import pytest

from connectors.sendgrid.simulator import SendGridSimulator
from syncbroker.sdk.simulator import request

KEY = "SG.key"
CONTACTS = "/v3/marketing/contacts"


def made(**options: Any) -> SendGridSimulator:
    simulator = SendGridSimulator(
        credentials={"api_key": KEY},
        now=lambda: 1_767_607_200_000_000,
        options={"custom_fields": {"size": "Text", "score": "Number"}, **options},
    )
    simulator.load({"contacts": [{"email": "a@example.org"}]})
    return simulator


def ask(
    simulator: SendGridSimulator, method: str, target: str, json: Any = None, key: str = KEY
) -> tuple[int, Any, dict[str, str]]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    body = b"" if json is None else msgspec.json.encode(json)
    wire = simulator.answer(request(method, target, headers=headers, body=body))
    assert wire is not None
    is_json = "json" in wire.headers.get("Content-Type", "")
    return wire.status, msgspec.json.decode(wire.body) if is_json else wire.body, dict(wire.headers)


def contacts(**contact: Any) -> dict[str, Any]:
    return {"contacts": [contact]}


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"contacts": []}, "1 to 30000"),
        ({"contacts": [7]}, "invalid input"),
        (contacts(first_name="Eve"), "at least one identifier"),
        (contacts(email="nonsense"), "not valid"),
        (contacts(email="a@example.org", city="x" * 61), "at most 60"),
        (contacts(email="a@example.org", alternate_emails=["b@c.org"] * 6), "at most 5"),
        (
            contacts(email="a@example.org", custom_fields={"size": "L"}),
            "invalid custom field ids supplied - size",
        ),
        (contacts(email="a@example.org", custom_fields={"e1_T": None}), '"e1_T" cannot be null'),
        (contacts(email="a@example.org", custom_fields={"e2_N": "7"}), "must be a number"),
    ],
)
def test_what_the_request_itself_is_refused_for(sent: dict[str, Any], message: str) -> None:
    status, answer, _ = ask(made(), "PUT", CONTACTS, sent)
    assert status == 400
    assert message in answer["errors"][0]["message"]


@pytest.mark.parametrize(
    ("method", "target", "key", "status"),
    [
        ("GET", CONTACTS, "", 401),
        ("GET", CONTACTS, "wrong", 401),
        ("GET", f"{CONTACTS}/nobody", KEY, 404),
        ("GET", f"{CONTACTS}/imports/nothing", KEY, 404),
        ("GET", f"{CONTACTS}/exports/nothing", KEY, 404),
        ("GET", "/v3/nothing", KEY, 404),
        ("PATCH", CONTACTS, KEY, 405),
        ("DELETE", CONTACTS, KEY, 400),
        ("GET", "/files/nothing", "", 403),
        ("GET", "/files/nothing", KEY, 400),
    ],
)
def test_what_is_not_there_or_not_allowed(method: str, target: str, key: str, status: int) -> None:
    assert ask(made(), method, target, key=key)[0] == status


def test_every_answer_tells_what_is_left_of_the_minute() -> None:
    simulator = made(rate_limit=2)
    left = [ask(simulator, "GET", f"{CONTACTS}/count")[2]["X-RateLimit-Remaining"] for _ in range(2)]
    assert left == ["1", "0"]
    status, answer, headers = ask(simulator, "GET", f"{CONTACTS}/count")
    assert (status, answer) == (429, {"errors": [{"message": "too many requests", "field": None}]})
    assert headers["X-RateLimit-Reset"] == "1767607260"


def test_the_same_world_is_the_same_to_the_byte() -> None:
    assert made().records("contacts") == made().records("contacts")
