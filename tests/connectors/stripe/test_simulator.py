"""The simulated Stripe, asked directly, under a clock that stands still until it is moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from connectors.stripe.simulator import StripeSimulator
from syncbroker.sdk.simulator import request

START = 1_700_000_000
DAY = 86_400


class Desk:
    """A simulator with its clock (Unix seconds) and what its webhook was sent."""

    def __init__(self, **options: Any) -> None:
        self.seconds = float(START)
        self.sent: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.stripe = StripeSimulator(
            now=lambda: int(self.seconds * 1_000_000),
            credentials={
                "api_key": "sk_1",
                "webhook_secret": "whsec_a",
                "webhook_secret_previous": "whsec_b",
            },
            webhook="http://127.0.0.1:1/hook",
            options=options,
        )
        self.stripe.deliver = self._deliver

    def ask(
        self, method: str, target: str, form: Mapping[str, str] | None = None, **headers: str
    ) -> tuple[int, Any]:
        given = {"Authorization": "Bearer sk_1", **{name.replace("_", "-"): v for name, v in headers.items()}}
        asked = request(method, target, headers=given, body=urlencode(form or {}).encode())
        wire = self.stripe.answer(asked)
        assert wire
        self.answered = wire.headers
        return wire.status, msgspec.json.decode(wire.body)

    def told(self) -> list[dict[str, Any]]:
        self.stripe.advance()
        return self.sent

    def _deliver(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> int:
        self.sent.append(msgspec.json.decode(body))
        self.headers.append(headers)
        return 200


@pytest.fixture
def desk() -> Desk:
    return Desk()


def load(desk: Desk, count: int) -> None:
    desk.stripe.load({"customers": [{"id": f"cus_{n}", "created": START - 100 + n} for n in range(count)]})


def ids(answer: Any) -> list[str]:
    return [one["id"] for one in answer["data"]]


# ---- access ----


@pytest.mark.parametrize("authorization", ["", "Bearer sk_2", "Basic !!", "Bearer"])
def test_a_wrong_key_is_answered_401(desk: Desk, authorization: str) -> None:
    status, answer = desk.ask("GET", "/v1/customers", Authorization=authorization)
    assert (status, answer["error"]["type"]) == (401, "invalid_request_error")


def test_the_key_may_come_as_the_user_of_basic_authentication(desk: Desk) -> None:
    assert desk.ask("GET", "/v1/customers", Authorization="Basic c2tfMTo=")[0] == 200


def test_a_version_that_is_none_is_refused(desk: Desk) -> None:
    assert desk.ask("GET", "/v1/customers", Stripe_Version="newest")[0] == 400


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/nothing"), ("PUT", "/v1/customers"), ("GET", "/v2")]
)
def test_an_unknown_path_is_answered_404(desk: Desk, method: str, path: str) -> None:
    status, answer = desk.ask(method, path)
    assert (status, answer["error"]["message"]) == (404, f"Unrecognized request URL ({method}: {path}).")


def test_more_calls_a_second_than_the_limit_are_answered_429_until_the_second_is_over() -> None:
    desk = Desk(rate_limit=2)
    assert [desk.ask("GET", "/v1/customers")[0] for _ in range(3)] == [200, 200, 429]
    assert desk.answered["Stripe-Should-Retry"] == "true"
    desk.seconds += 1.1
    assert desk.ask("GET", "/v1/customers")[0] == 200


# ---- lists ----


def test_a_list_is_newest_first_and_pages_in_both_directions(desk: Desk) -> None:
    load(desk, 5)
    _, first = desk.ask("GET", "/v1/customers?limit=2")
    _, second = desk.ask("GET", "/v1/customers?limit=2&starting_after=cus_3")
    _, last = desk.ask("GET", "/v1/customers?limit=2&starting_after=cus_1")
    _, back = desk.ask("GET", "/v1/customers?limit=2&ending_before=cus_1")
    assert [ids(page) for page in (first, second, last, back)] == [
        ["cus_4", "cus_3"],
        ["cus_2", "cus_1"],
        ["cus_0"],
        ["cus_3", "cus_2"],
    ]
    assert [page["has_more"] for page in (first, second, last, back)] == [True, True, False, True]


def test_a_page_goes_on_after_a_customer_that_was_deleted_meanwhile(desk: Desk) -> None:
    load(desk, 4)
    desk.ask("DELETE", "/v1/customers/cus_2")
    assert ids(desk.ask("GET", "/v1/customers?starting_after=cus_2")[1]) == ["cus_1", "cus_0"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "starting_after=cus_9", "created[gte]=x", "created[ge]=1"]
)
def test_a_list_that_makes_no_sense_is_answered_400(desk: Desk, query: str) -> None:
    assert desk.ask("GET", f"/v1/customers?{query}")[0] == 400


def test_subscriptions_that_are_canceled_are_listed_only_on_request(desk: Desk) -> None:
    desk.stripe.load({"subscriptions": [{"id": "sub_a"}, {"id": "sub_b", "status": "canceled"}]})
    listed = [
        desk.ask("GET", f"/v1/subscriptions{query}")[1] for query in ("", "?status=all", "?status=canceled")
    ]
    assert [set(ids(page)) for page in listed] == [{"sub_a"}, {"sub_a", "sub_b"}, {"sub_b"}]


def test_events_are_filtered_by_type_and_forgotten_after_30_days(desk: Desk) -> None:
    desk.stripe.insert("customers", {"id": "cus_a"})
    desk.stripe.edit("customers", "cus_a", {"name": "N"})
    for query, count in (
        ("types[0]=customer.updated", 1),
        ("types[]=customer.created&types[]=customer.updated", 2),
        ("type=customer.*", 2),
        ("type=invoice.*", 0),
        (f"created[gt]={START}", 0),
    ):
        assert len(desk.ask("GET", f"/v1/events?{query}")[1]["data"]) == count, query
    desk.seconds += 30 * DAY + 1
    assert desk.ask("GET", "/v1/events")[1]["data"] == []


def test_search_knows_equality_and_and(desk: Desk) -> None:
    desk.stripe.load(
        {
            "customers": [
                {"id": "cus_a", "email": "Ann@x.org", "metadata": {"k": "o'v"}},
                {"id": "cus_b", "email": "ann@x.org"},
            ]
        }
    )
    for query, found in (
        ("email:'ann@X.org'", {"cus_a", "cus_b"}),
        ('email:"ann@x.org" AND metadata["k"]:"o\'v"', {"cus_a"}),
        ("metadata['k']:'o\\'v'", {"cus_a"}),
        ("name:'x'", set()),
    ):
        answer = desk.ask("GET", "/v1/customers/search?" + urlencode({"query": query}))[1]
        assert set(ids(answer)) == found, query


def test_search_lags_behind_writes_and_deletions() -> None:
    desk = Desk(search_lag=60)

    def found() -> list[str]:
        return ids(desk.ask("GET", "/v1/customers/search?query=name:'Ann'")[1])

    desk.stripe.insert("customers", {"id": "cus_a", "name": "Ann"})
    seen = [found()]
    desk.seconds += 61
    seen.append(found())
    desk.stripe.remove("customers", "cus_a")
    seen.append(found())
    desk.seconds += 61
    seen.append(found())
    assert seen == [[], ["cus_a"], ["cus_a"], []]


# ---- writes ----


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"nickname": "x"}, "nickname"),
        ({"address[planet]": "x"}, "address[planet]"),
        ({"address": "x"}, "address"),
        ({"name": "x" * 257}, "name"),
        ({"email": "nobody"}, "email"),
        ({"tax_exempt": "maybe"}, "tax_exempt"),
        ({"balance": "much"}, "balance"),
        ({"preferred_locales": "de"}, "preferred_locales"),
        ({"metadata": "x"}, "metadata"),
        ({f"metadata[{'k' * 41}]": "x"}, f"metadata[{'k' * 41}]"),
        ({f"metadata[k{n}]": "x" for n in range(51)}, "metadata"),
        ({"name": "x", "name[first]": "y"}, "name[first]"),
    ],
)
def test_a_parameter_that_stripe_does_not_take_is_named_and_nothing_is_made(
    desk: Desk, form: dict[str, str], param: str
) -> None:
    status, answer = desk.ask("POST", "/v1/customers", form)
    assert (status, answer["error"]["param"]) == (400, param)
    assert desk.stripe.records("customers") == []


def test_an_address_is_replaced_whole(desk: Desk) -> None:
    desk.stripe.load({"customers": [{"id": "cus_a", "address": {"city": "Ulm", "country": "DE"}}]})
    desk.ask("POST", "/v1/customers/cus_a", {"address[city]": "Bonn"})
    address = desk.stripe.records("customers")[0]["address"]
    assert {part: value for part, value in address.items() if value} == {"city": "Bonn"}


def test_an_idempotent_answer_is_replayed_for_a_day_and_no_longer(desk: Desk) -> None:
    first = desk.ask("POST", "/v1/customers", {"name": "Ann"}, Idempotency_Key="k")[1]
    again = desk.ask("POST", "/v1/customers", {"name": "Ann"}, Idempotency_Key="k")[1]
    assert again == first
    assert desk.answered["Idempotent-Replayed"] == "true"
    desk.seconds += DAY
    assert desk.ask("POST", "/v1/customers", {"name": "Ann"}, Idempotency_Key="k")[1]["id"] != first["id"]


def test_a_key_with_other_parameters_is_an_idempotency_error(desk: Desk) -> None:
    desk.ask("POST", "/v1/customers", {"name": "Ann"}, Idempotency_Key="k")
    status, answer = desk.ask("POST", "/v1/customers", {"name": "Bob"}, Idempotency_Key="k")
    assert (status, answer["error"]["type"]) == (400, "idempotency_error")


def test_a_request_that_failed_validation_uses_up_no_key(desk: Desk) -> None:
    desk.ask("POST", "/v1/customers", {"email": "nobody"}, Idempotency_Key="k")
    assert desk.ask("POST", "/v1/customers", {"email": "a@example.com"}, Idempotency_Key="k")[0] == 200


def test_a_deleted_customer_can_be_read_but_neither_written_nor_deleted_again(desk: Desk) -> None:
    load(desk, 1)
    gone = {"id": "cus_0", "object": "customer", "deleted": True}
    assert desk.ask("DELETE", "/v1/customers/cus_0") == (200, gone)
    assert desk.ask("GET", "/v1/customers/cus_0") == (200, gone)
    assert desk.ask("POST", "/v1/customers/cus_0", {"name": "x"})[0] == 404
    assert desk.ask("DELETE", "/v1/customers/cus_0")[0] == 404


# ---- events and webhooks ----


def test_deleting_a_customer_cancels_its_subscriptions_and_tells_both(desk: Desk) -> None:
    load(desk, 2)
    desk.stripe.load(
        {"subscriptions": [{"id": "sub_a", "customer": "cus_0"}, {"id": "sub_b", "customer": "cus_1"}]}
    )
    desk.ask("DELETE", "/v1/customers/cus_0")
    assert [event["type"] for event in desk.told()] == ["customer.subscription.deleted", "customer.deleted"]
    assert [one["status"] for one in desk.stripe.records("subscriptions")] == ["canceled", "active"]


def test_an_api_write_is_told_as_a_persons_edit_is_and_both_say_who(desk: Desk) -> None:
    load(desk, 1)
    desk.ask("POST", "/v1/customers/cus_0", {"name": "A"}, Idempotency_Key="k")
    desk.stripe.edit("customers", "cus_0", {"name": "B"})
    desk.stripe.edit("customers", "cus_0", {"name": "C"}, "automation")
    by_api, by_person, by_itself = (event["request"] for event in desk.told())
    assert (by_api["idempotency_key"], bool(by_api["id"])) == ("k", True)
    assert (by_person["idempotency_key"], bool(by_person["id"])) == (None, True)
    assert by_itself == {"id": None, "idempotency_key": None}


def test_a_write_that_changes_nothing_is_told_to_nobody(desk: Desk) -> None:
    desk.stripe.load({"customers": [{"id": "cus_a", "name": "Ann"}]})
    desk.ask("POST", "/v1/customers/cus_a", {"name": "Ann"})
    assert desk.told() == []


def test_an_update_tells_the_old_values_of_what_changed_and_of_nothing_else(desk: Desk) -> None:
    fields = {
        "id": "cus_a",
        "name": "Ann",
        "address": {"city": "Ulm", "country": "DE"},
        "metadata": {"a": "1"},
    }
    desk.stripe.load({"customers": [fields]})
    changes = {"name": "Eva", "address.city": "Bonn", "metadata.a": None, "metadata.b": "2"}
    desk.stripe.edit("customers", "cus_a", changes)
    [event] = desk.told()
    expected = {"address": {"city": "Ulm"}, "metadata": {"a": "1", "b": None}, "name": "Ann"}
    assert event["data"]["previous_attributes"] == expected


def test_a_webhook_is_rendered_in_the_accounts_version_whatever_the_request_asked_for() -> None:
    desk = Desk(api_version="2025-03-31")
    desk.stripe.insert("subscriptions", {"id": "sub_a", "current_period_end": 5})
    [event] = desk.told()
    assert event["api_version"] == "2025-03-31"
    assert "current_period_end" not in event["data"]["object"]
    assert event["data"]["object"]["items"]["data"][0]["current_period_end"] == 5
    old = desk.ask("GET", "/v1/subscriptions/sub_a", Stripe_Version="2022-11-15")[1]
    assert old["current_period_end"] == 5


@pytest.mark.parametrize("version", ["2022-11-15", "2025-03-31"])
def test_a_period_that_is_loaded_on_an_item_is_shown_in_every_version(desk: Desk, version: str) -> None:
    lines = [{"price": {"unit_amount": 5}, "current_period_start": 3, "current_period_end": 9}]
    desk.stripe.load({"subscriptions": [{"id": "sub_a", "items": {"data": lines}}]})
    shown = desk.ask("GET", "/v1/subscriptions/sub_a", Stripe_Version=version)[1]
    place = shown if version < "2025" else shown["items"]["data"][0]
    assert (place["current_period_start"], place["current_period_end"]) == (3, 9)


def test_each_secret_signs_while_one_is_rotated(desk: Desk) -> None:
    desk.stripe.insert("customers", {"id": "cus_a"})
    desk.told()
    parts = desk.headers[0]["Stripe-Signature"].split(",")
    assert [part.partition("=")[0] for part in parts] == ["t", "v1", "v1"]


@pytest.mark.parametrize(
    ("method", "target", "operation"),
    [
        ("GET", "/v1/customers", ("customers.list", False, 0)),
        ("GET", "/v1/customers/search", ("customers.search", False, 0)),
        ("GET", "/v1/subscriptions/sub_1", ("subscriptions.get", False, 0)),
        ("GET", "/v1/events", ("events.list", False, 0)),
        ("POST", "/v1/customers", ("customers.create", True, 1)),
        ("POST", "/v1/customers/cus_1", ("customers.update", True, 1)),
        ("DELETE", "/v1/customers/cus_1", ("customers.delete", True, 1)),
        ("POST", "/v1/subscriptions", ("unknown", False, 0)),
        ("GET", "/v1/charges", ("unknown", False, 0)),
        ("GET", "/", ("unknown", False, 0)),
    ],
)
def test_each_request_has_a_name_for_the_log(
    desk: Desk, method: str, target: str, operation: tuple[str, bool, int]
) -> None:
    assert desk.stripe.operation(request(method, target)) == operation
