from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from connectors.mailchimp.simulator import MailchimpSimulator
from syncbroker.sdk.simulator import request

KEY = "0123456789abcdef-us21"
LIST = "/3.0/lists/a6b5da1054"


def made(**options: Any) -> MailchimpSimulator:
    simulator = MailchimpSimulator(
        credentials={"api_key": KEY}, now=lambda: 1_767_607_200_000_000, options=options
    )
    simulator.load({"members": [{"email_address": "a@example.org"}, {"email_address": "b@example.org"}]})
    return simulator


def ask(
    simulator: MailchimpSimulator,
    method: str,
    target: str,
    json: Any = None,
    *,
    key: str = KEY,
    body: bytes = b"",
) -> tuple[int, Any]:
    headers = {"Authorization": "Basic " + base64.b64encode(f"any:{key}".encode()).decode()}
    sent = body if json is None else msgspec.json.encode(json)
    wire = simulator.answer(request(method, target, headers=headers, body=sent))
    assert wire is not None
    return wire.status, msgspec.json.decode(wire.body) if wire.body else None


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "title"),
    [
        ("GET", "/3.0/lists/other/members", b"", 404, "Resource Not Found"),
        ("GET", f"{LIST}/members/nobody", b"", 404, "Resource Not Found"),
        ("GET", "/3.0/nothing", b"", 404, "Resource Not Found"),
        ("PUT", f"{LIST}/members", b"{}", 405, "Method Not Allowed"),
        ("POST", LIST, b"not json", 400, "JSON Parse Error"),
        ("POST", LIST, b"{}", 400, "Invalid Resource"),
        ("POST", LIST, msgspec.json.encode({"members": [{}] * 501}), 400, "Invalid Resource"),
        ("GET", f"{LIST}/members?count=1001", b"", 400, "Invalid Resource"),
        ("GET", f"{LIST}/members?since_last_changed=garbage", b"", 400, "Invalid Resource"),
        ("GET", f"{LIST}/members?sort_field=email", b"", 400, "Invalid Resource"),
        ("POST", f"{LIST}/members", b'{"email_address": "a@example.org"}', 400, "Member Exists"),
        ("POST", f"{LIST}/members", b'{"email_address": "c@example.org"}', 400, "Invalid Resource"),
        ("POST", f"{LIST}/members/a@example.org/tags", b'{"tags": [{"name": "x"}]}', 400, "Invalid Resource"),
    ],
)
def test_what_mailchimp_refuses_is_a_problem_document(
    method: str, target: str, body: bytes, status: int, title: str
) -> None:
    given, problem = ask(made(), method, target, body=body)
    assert (given, problem["status"], problem["title"]) == (status, status, title)


def test_a_wrong_key_is_refused() -> None:
    assert ask(made(), "GET", "/3.0/ping", key="wrong")[0] == 401


def test_a_batch_answers_for_each_member_by_itself() -> None:
    members = [
        {"email_address": "A@example.org", "language": "de"},
        {"email_address": "c@example.org", "status": "subscribed"},
        {"email_address": "d@example.org"},
        {"email_address": "nonsense"},
    ]
    _, answer = ask(made(), "POST", LIST, {"members": members, "update_existing": True})
    assert [one["email_address"] for one in answer["updated_members"]] == ["A@example.org"]
    assert [one["email_address"] for one in answer["new_members"]] == ["c@example.org"]
    assert [one["email_address"] for one in answer["errors"]] == ["d@example.org", "nonsense"]


def test_a_webhook_is_registered_only_for_a_url_that_answers() -> None:
    simulator = made()
    simulator.deliver = lambda *_: 404
    hook = {"url": "https://broker.example/x", "sources": {"user": True, "api": False}}
    assert ask(simulator, "POST", f"{LIST}/webhooks", hook)[0] == 400
    simulator.deliver = lambda *_: 200
    assert ask(simulator, "POST", f"{LIST}/webhooks", hook)[1]["sources"] == {
        "user": True,
        "admin": False,
        "api": False,
    }
    assert ask(simulator, "GET", f"{LIST}/webhooks")[1]["total_items"] == 1


def test_the_same_world_is_the_same_to_the_byte() -> None:
    assert made().records("members") == made().records("members")
