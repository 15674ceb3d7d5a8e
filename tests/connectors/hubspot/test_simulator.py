"""The simulated HubSpot answers as HubSpot's documentation and recorded answers say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from connectors.hubspot.simulator import HubSpotSimulator
from syncbroker.sdk.simulator import Wire, request
from tests.connectors.hubspot.conftest import CREDENTIALS

BEARER = {"Authorization": f"Bearer {CREDENTIALS['access_token']}"}

Ask = Callable[..., tuple[int, Any]]


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> int:
        return int(self.seconds * 1_000_000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def simulator(clock: Clock) -> HubSpotSimulator:
    return HubSpotSimulator(now=clock, credentials=CREDENTIALS, options={"search_lag": 2.0})


@pytest.fixture
def ask(simulator: HubSpotSimulator) -> Ask:
    def asked(
        method: str, target: str, body: Any = None, headers: dict[str, str] = BEARER
    ) -> tuple[int, Any]:
        sent = b"" if body is None else msgspec.json.encode(body)
        wire = simulator.answer(request(method, target, headers=headers, body=sent))
        assert isinstance(wire, Wire)
        return wire.status, msgspec.json.decode(wire.body) if wire.body else None

    return asked


def inputs(*given: dict[str, Any], traced: bool = True) -> dict[str, Any]:
    return {
        "inputs": [{**each, "objectWriteTraceId": str(n)} if traced else each for n, each in enumerate(given)]
    }


def contact(ask: Ask, **properties: str) -> str:
    status, made = ask("POST", "/crm/v3/objects/contacts", {"properties": properties})
    assert status == 201
    id: str = made["id"]
    return id


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer other"}, {"Authorization": "Basic eDp5"}])
def test_every_request_needs_the_token(ask: Ask, headers: dict[str, str]) -> None:
    status, answer = ask("GET", "/crm/v3/objects/contacts", headers=headers)
    assert (status, answer["category"]) == (401, "INVALID_AUTHENTICATION")


@pytest.mark.parametrize(
    ("properties", "code"),
    [
        ({"nope": "1"}, "PROPERTY_DOESNT_EXIST"),
        ({"hs_object_id": "1"}, "READ_ONLY_VALUE"),
        ({"email": "nobody"}, "INVALID_EMAIL"),
        ({"lifecyclestage": "Lead"}, "INVALID_OPTION"),
    ],
)
def test_wrong_properties_are_named(ask: Ask, properties: dict[str, str], code: str) -> None:
    status, answer = ask("POST", "/crm/v3/objects/contacts", {"properties": properties})
    assert (status, answer["category"]) == (400, "VALIDATION_ERROR")
    assert answer["errors"][0]["code"] == code
    assert answer["message"].startswith("Property values were not valid: [")


def test_an_address_belongs_to_one_contact_whatever_its_case(ask: Ask) -> None:
    id = contact(ask, email="Ada@Example.com")
    status, answer = ask("POST", "/crm/v3/objects/contacts", {"properties": {"email": "ada@example.COM"}})
    assert (status, answer["category"]) == (409, "CONFLICT")
    assert answer["message"] == f"Contact already exists. Existing ID: {id}"


def test_an_address_is_stored_in_lower_case_with_its_domain(ask: Ask) -> None:
    id = contact(ask, email="Ada@Example.com", website="http://x.example", phone="(555) 123")
    _, record = ask(
        "GET", f"/crm/v3/objects/contacts/{id}?properties=email,hs_email_domain,website,phone,city"
    )
    held = {
        name: record["properties"][name] for name in ("email", "hs_email_domain", "website", "phone", "city")
    }
    assert held == {
        "email": "ada@example.com",
        "hs_email_domain": "example.com",
        "website": "http://x.example",
        "phone": "(555) 123",
        "city": None,
    }


def test_a_batch_with_trace_ids_reports_each_input(ask: Ask) -> None:
    given = inputs({"properties": {"email": "a@example.com"}}, {"properties": {"missing": "1"}})
    status, answer = ask("POST", "/crm/v3/objects/contacts/batch/create", given)
    assert (status, answer["numErrors"], len(answer["results"])) == (207, 1, 1)
    assert answer["errors"][0]["context"] == {"objectWriteTraceId": ["1"]}


def test_a_batch_without_trace_ids_is_all_or_nothing(ask: Ask) -> None:
    given = inputs({"properties": {"email": "a@example.com"}}, {"properties": {"missing": "1"}}, traced=False)
    assert ask("POST", "/crm/v3/objects/contacts/batch/create", given)[0] == 400
    assert ask("GET", "/crm/v3/objects/contacts")[1]["results"] == []


def test_an_update_of_unknown_ids_names_them_together(ask: Ask) -> None:
    id = contact(ask, email="a@example.com")
    given = inputs(*({"id": each, "properties": {"city": "Ulm"}} for each in (id, "8", "9")))
    status, answer = ask("POST", "/crm/v3/objects/contacts/batch/update", given)
    assert status == 207
    assert [error["context"] for error in answer["errors"]] == [{"ids": ["8", "9"]}]
    assert [record["id"] for record in answer["results"]] == [id]


def test_an_update_answers_with_what_was_sent_and_little_more(ask: Ask) -> None:
    id = contact(ask, email="a@example.com", firstname="Ada")
    given = inputs({"id": id, "properties": {"city": "Ulm"}})
    _, answer = ask("POST", "/crm/v3/objects/contacts/batch/update", given)
    shown = set(answer["results"][0]["properties"])
    assert shown == {"city", "createdate", "hs_object_id", "lastmodifieddate"}


@pytest.mark.parametrize(("count", "status"), [(0, 400), (1, 200), (100, 200), (101, 400)])
def test_a_batch_takes_one_to_a_hundred_inputs(ask: Ask, count: int, status: int) -> None:
    asked = {"inputs": [{"id": str(n)} for n in range(count)], "properties": []}
    got = ask("POST", "/crm/v3/objects/contacts/batch/read", asked)[0]
    assert (got if got != 207 else 200) == status


def test_the_same_id_twice_refuses_a_batch(ask: Ask) -> None:
    given = inputs({"id": "1", "properties": {}}, {"id": "1", "properties": {}})
    status, answer = ask("POST", "/crm/v3/objects/contacts/batch/update", given)
    assert (status, answer["context"]) == (400, {"ids": ["1"]})


def test_only_a_change_moves_the_time_of_modification(ask: Ask, clock: Clock) -> None:
    id = contact(ask, email="a@example.com")
    times = []
    for values in ({}, {"email": "a@example.com"}, {"city": "Ulm"}):
        clock.seconds += 1
        times.append(ask("PATCH", f"/crm/v3/objects/contacts/{id}", {"properties": values})[1]["updatedAt"])
    assert times[0] == times[1] < times[2]


def test_a_list_pages_by_id(ask: Ask) -> None:
    ids = [contact(ask, email=f"{n}@example.com") for n in range(5)]
    seen, after = [], "0"
    while after:
        _, page = ask("GET", f"/crm/v3/objects/contacts?limit=2&after={after}")
        seen += [record["id"] for record in page["results"]]
        after = page.get("paging", {}).get("next", {}).get("after", "")
    assert seen == ids


def test_search_shows_a_change_after_its_lag_and_the_former_state_until_then(ask: Ask, clock: Clock) -> None:
    id = contact(ask, email="a@example.com", city="Ulm")
    by_city = {"filterGroups": [{"filters": [{"propertyName": "city", "operator": "EQ", "value": "ulm"}]}]}

    def found() -> int:
        total: int = ask("POST", "/crm/v3/objects/contacts/search", by_city)[1]["total"]
        return total

    totals = [found()]
    clock.seconds += 2
    totals.append(found())
    ask("PATCH", f"/crm/v3/objects/contacts/{id}", {"properties": {"city": "Bonn"}})
    totals.append(found())
    clock.seconds += 2
    totals.append(found())
    assert totals == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("operator", "more", "hits"),
    [
        ("EQ", {"value": "BONN"}, 1),
        ("NEQ", {"value": "Bonn"}, 2),
        ("IN", {"values": ["bonn", "ulm"]}, 2),
        ("NOT_IN", {"values": ["bonn"]}, 2),
        ("HAS_PROPERTY", {}, 2),
        ("NOT_HAS_PROPERTY", {}, 1),
        ("CONTAINS_TOKEN", {"value": "b*"}, 1),
        ("NOT_CONTAINS_TOKEN", {"value": "b*"}, 2),
        ("GT", {"value": "Bonn"}, 1),
        ("BETWEEN", {"value": "a", "highValue": "c"}, 1),
    ],
)
def test_search_knows_its_operators(
    ask: Ask, clock: Clock, operator: str, more: dict[str, Any], hits: int
) -> None:
    for n, city in enumerate(("Bonn", "Ulm", "")):
        contact(ask, email=f"{n}@example.com", city=city)
    clock.seconds += 2
    body = {"filterGroups": [{"filters": [{"propertyName": "city", "operator": operator, **more}]}]}
    assert ask("POST", "/crm/v3/objects/contacts/search", body)[1]["total"] == hits


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 201},
        {"limit": 200, "after": "9900"},
        {"filterGroups": [{"filters": []}] * 6},
        {"filterGroups": [{"filters": [{"propertyName": "nope", "operator": "EQ", "value": "1"}]}]},
        {"filterGroups": [{"filters": [{"propertyName": "city", "operator": "LIKE", "value": "1"}]}]},
        {"sorts": ["city", "email"]},
        {"query": "x" * 3000},
    ],
    ids=["limit", "ceiling", "groups", "property", "operator", "sorts", "length"],
)
def test_search_refuses_what_is_beyond_its_limits(ask: Ask, clock: Clock, body: dict[str, Any]) -> None:
    contact(ask, email="a@example.com", city="Ulm")
    clock.seconds += 2
    assert ask("POST", "/crm/v3/objects/contacts/search", body)[0] == 400


def test_an_archived_record_is_read_from_the_recycle_bin_only(ask: Ask) -> None:
    id = contact(ask, email="a@example.com")
    assert ask("DELETE", f"/crm/v3/objects/contacts/{id}") == (204, None)
    assert ask("GET", f"/crm/v3/objects/contacts/{id}")[0] == 404
    status, record = ask("GET", f"/crm/v3/objects/contacts/{id}?archived=true")
    assert (status, record["archived"]) == (200, True)


def test_an_archived_record_frees_its_address(ask: Ask) -> None:
    ask("DELETE", f"/crm/v3/objects/contacts/{contact(ask, email='a@example.com')}")
    contact(ask, email="a@example.com")


def test_a_merge_keeps_the_primary_values_and_fills_its_empties(ask: Ask) -> None:
    one = contact(ask, email="a@example.com", city="Ulm")
    two = contact(ask, email="b@example.com", city="Bonn", phone="1")
    merge = {"primaryObjectId": one, "objectIdToMerge": two}
    assert ask("POST", "/crm/v3/objects/contacts/merge", merge)[1]["id"] == one
    names = "city,phone,hs_merged_object_ids,hs_additional_emails"
    _, survivor = ask("GET", f"/crm/v3/objects/contacts/{two}?properties={names}")
    assert survivor["id"] == one
    held = {name: survivor["properties"][name] for name in names.split(",")}
    assert held == {
        "city": "Ulm",
        "phone": "1",
        "hs_merged_object_ids": two,
        "hs_additional_emails": "b@example.com",
    }


def test_a_batch_read_does_not_follow_merged_ids(ask: Ask) -> None:
    one, two = contact(ask, email="a@example.com"), contact(ask, email="b@example.com")
    ask("POST", "/crm/v3/objects/contacts/merge", {"primaryObjectId": one, "objectIdToMerge": two})
    status, answer = ask(
        "POST", "/crm/v3/objects/contacts/batch/read", {"inputs": [{"id": two}], "properties": []}
    )
    assert (status, answer["errors"][0]["context"]) == (207, {"ids": [two]})


def test_a_merge_moves_companies_and_keeps_one_primary(ask: Ask, simulator: HubSpotSimulator) -> None:
    simulator.load(
        {
            "companies": [{"properties": {"name": "A"}}, {"properties": {"name": "B"}}],
            "contacts": [
                {"properties": {"email": "a@example.com", "company_id": "101"}},
                {"properties": {"email": "b@example.com", "company_id": "102"}},
            ],
        }
    )
    ask("POST", "/crm/v3/objects/contacts/merge", {"primaryObjectId": "103", "objectIdToMerge": "104"})
    links = simulator.records("contacts")[0]["associations"]["companies"]["results"]
    assert [each["id"] for each in links if each["type"] == "contact_to_company"] == ["101"]
    assert {each["id"] for each in links} == {"101", "102"}


def test_a_custom_property_exists_once_it_is_defined(ask: Ask) -> None:
    new = {"name": "lead_source", "type": "enumeration", "options": [{"label": "Web", "value": "web"}]}
    assert ask("POST", "/crm/v3/properties/contacts", new)[0] == 201
    contact(ask, email="a@example.com", lead_source="web")
    assert ask("POST", "/crm/v3/properties/contacts", new)[0] == 409


@pytest.mark.parametrize("name", ["contacts", "contact", "0-1"])
def test_an_object_has_several_names(ask: Ask, name: str) -> None:
    assert ask("GET", f"/crm/v3/objects/{name}")[0] == 200


def test_an_unknown_object_is_refused(ask: Ask) -> None:
    status, answer = ask("GET", "/crm/v3/objects/butterflies")
    assert (status, answer["message"]) == (400, "Unable to infer object type from: butterflies")


@pytest.mark.parametrize(
    ("limit", "allowed", "policy"),
    [("ten_secondly", 3, "TEN_SECONDLY_ROLLING"), ("daily", 3, "DAILY")],
)
def test_a_full_limit_names_its_policy_and_passes(
    clock: Clock, limit: str, allowed: int, policy: str
) -> None:
    simulator = HubSpotSimulator(now=clock, credentials=CREDENTIALS, options={"limits": {limit: allowed}})

    def call() -> Wire:
        wire = simulator.answer(request("GET", "/crm/v3/objects/contacts", headers=BEARER))
        assert wire
        return wire

    answers = [call() for _ in range(allowed + 1)]
    assert [answer.status for answer in answers] == [200] * allowed + [429]
    refused = msgspec.json.decode(answers[-1].body)
    assert (refused["policyName"], refused["errorType"]) == (policy, "RATE_LIMIT")
    assert answers[0].headers["X-HubSpot-RateLimit-Interval-Milliseconds"] == "10000"
    clock.seconds += 86_401
    assert call().status == 200


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"inputs": [7]}', b'{"inputs": {}}', b'{"inputs": null}'])
@pytest.mark.parametrize("batch", ["create", "update", "read", "archive"])
def test_nonsense_is_a_bad_request(simulator: HubSpotSimulator, batch: str, body: bytes) -> None:
    path = f"/crm/v3/objects/contacts/batch/{batch}"
    wire = simulator.answer(request("POST", path, headers=BEARER, body=body))
    assert wire
    assert wire.status == 400
