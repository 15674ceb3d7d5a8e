"""The judge itself, on small documents, and on the vendors' where the environment names them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.openapi import VendorSpec, nest

PERSON = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
        "note": {"type": "string", "nullable": True},
        "home": {"anyOf": [{"$ref": "#/components/schemas/home"}], "nullable": True},
    },
}
FORM = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "active": {"type": "boolean"},
        "home": {"anyOf": [{"$ref": "#/components/schemas/home"}, {"type": "string", "enum": [""]}]},
        "items": {"type": "array", "items": {"type": "object", "properties": {"size": {"type": "number"}}}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
HOME = {
    "type": "object",
    "required": ["city"],
    "properties": {"city": {"type": "string"}, "floor": {"type": "integer"}},
}


def document(**changes: Any) -> dict[str, Any]:
    """A document of two paths, with form and JSON bodies."""
    since = {"anyOf": [{"type": "object", "properties": {"gte": {"type": "integer"}}}, {"type": "integer"}]}
    listing = {
        "parameters": [
            {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 100}},
            {
                "name": "expand",
                "in": "query",
                "style": "deepObject",
                "schema": {"type": "array", "items": {"type": "string"}},
            },
            {"name": "since", "in": "query", "style": "deepObject", "schema": since},
            {
                "name": "ids",
                "in": "query",
                "explode": False,
                "schema": {"type": "array", "items": {"type": "integer"}},
            },
            {"$ref": "#/components/parameters/revision"},
        ],
        "responses": {
            "200": {"description": "", "content": {"application/json": {"schema": {"type": "array"}}}},
            "default": {
                "description": "",
                "content": {"application/problem+json": {"schema": {"type": "object"}}},
            },
        },
    }
    person = {
        "description": "",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/person"}}},
    }
    return {
        "openapi": "3.0.0",
        "servers": [{"url": "https://vendor.example/v9"}],
        "security": [{"token": []}, {"key": []}],
        "paths": {
            "/people": {
                "get": listing,
                "post": {
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/x-www-form-urlencoded": {"schema": FORM},
                            "application/json": {"schema": FORM},
                        },
                    },
                    "responses": {"201": person},
                },
            },
            "/people/{id}": {
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
                "get": {"responses": {"200": person}},
                "delete": {
                    "responses": {"204": {"description": "", "headers": {"X-Left": {"required": True}}}}
                },
            },
            "/people/search": {"get": {"security": [], "responses": {"200": person}}},
        },
        "components": {
            "schemas": {"person": PERSON, "home": HOME},
            "parameters": {
                "revision": {
                    "name": "Revision",
                    "in": "header",
                    "required": True,
                    "schema": {"type": "string", "format": "date"},
                }
            },
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "query", "name": "api_key"},
            },
        },
    } | changes


SPEC = VendorSpec(document())
TOKEN = {"Authorization": "Bearer t"}
LISTING = TOKEN | {"Revision": "2026-01-31"}
FORM_TYPE = TOKEN | {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("", None),
        ("limit=100&expand[]=a&expand[]=b", None),
        ("since[gte]=5", None),
        ("since=5", None),
        ("ids=1,2", None),
        ({"limit": ["7"]}, None),
        ({"expand[]": ["a", "b"]}, None),
        ("limit=101", "query parameter limit: 101 is greater than the maximum of 100"),
        ("limit=ten", "query parameter limit: 'ten' is not of type 'integer'"),
        ("ids=1,x", "query parameter ids[1]: 'x' is not of type 'integer'"),
        ("page=2", "query parameter page is not documented"),
    ],
)
def test_a_query_is_judged_by_the_type_its_text_stands_for(query: Any, problem: str | None) -> None:
    found = SPEC.request_problems("GET", "/v9/people", query=query, headers=LISTING)
    assert found == ([f"GET /people: {problem}"] if problem else [])


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("name=Ada&age=36&active=true", None),
        ("name=Ada&home[city]=London&home[floor]=2", None),
        ("name=Ada&home=", None),
        ("name=Ada&items[0][size]=1.5&items[1][size]=2", None),
        ("name=Ada&labels[x y]=1", None),
        ("age=36", "body: 'name' is a required property"),
        ("name=Ada&age=old", "body.age: 'old' is not of type 'integer'"),
        ("name=Ada&items[0][size]=big", "body.items[0].size: 'big' is not of type 'number'"),
        ("", "a body is required"),
    ],
)
def test_a_form_is_judged_by_the_types_its_texts_stand_for(body: str, problem: str | None) -> None:
    found = SPEC.request_problems("POST", "/v9/people", headers=FORM_TYPE, body=body.encode())
    assert found == ([f"POST /people: {problem}"] if problem else [])


def test_a_form_with_an_undocumented_name_is_a_problem() -> None:
    (found,) = SPEC.request_problems("POST", "/v9/people", headers=FORM_TYPE, body=b"name=Ada&nmae=Ada")
    assert "'nmae' was unexpected" in found


@pytest.mark.parametrize(
    ("content_type", "body", "problem"),
    [
        ("application/json", '{"name": "Ada", "age": 3}', None),
        ("application/json; charset=utf-8", '{"name": "Ada"}', None),
        ("application/json", '{"name": "Ada", "age": "3"}', "body.age: '3' is not of type 'integer'"),
        ("application/json", "{", "the body is not JSON"),
        ("text/plain", "Ada", "content type text/plain is not documented"),
    ],
)
def test_a_json_body_is_judged_as_it_is(content_type: str, body: str, problem: str | None) -> None:
    headers = TOKEN | {"content-type": content_type}
    found = SPEC.request_problems("POST", "/v9/people", headers=headers, body=body.encode())
    assert [problem in each for each in found if problem] == ([True] if problem else [])


@pytest.mark.parametrize(
    ("headers", "query", "good"),
    [
        (LISTING, "", True),
        ({"Revision": "2026-01-31"}, "api_key=k", True),
        ({"Revision": "2026-01-31"}, "", False),
        ({"Revision": "2026-01-31", "Authorization": "Basic t"}, "", False),
        (TOKEN, "", False),
        (TOKEN | {"Revision": "January"}, "", False),
    ],
)
def test_credentials_and_required_headers_must_be_there(
    headers: dict[str, str], query: str, good: bool
) -> None:
    assert (SPEC.request_problems("GET", "/v9/people", headers=headers, query=query) == []) is good


def test_a_literal_segment_wins_over_a_variable_one() -> None:
    operation = SPEC.operation("GET", "/v9/people/search")
    assert operation is not None
    assert operation.name == "GET /people/search"


def test_a_path_variable_is_judged() -> None:
    (found,) = SPEC.request_problems("GET", "/people/ada", headers=TOKEN)
    assert "path parameter id" in found


@pytest.mark.parametrize("path", ["/v9/nobody", "/v9/people/1/2"])
def test_an_undocumented_path_is_a_problem(path: str) -> None:
    assert SPEC.request_problems("GET", path, headers=TOKEN) == [f"GET {path}: not documented"]
    assert SPEC.response_problems("GET", path, 200) == [f"GET {path}: not documented"]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"id": "1", "note": None, "home": None}, None),
        ({"id": "1", "home": {"city": "London"}}, None),
        ({"id": None}, "body.id: None is not of type 'string'"),
        ({"id": "1", "age": 0}, "body.age: 0 is less than or equal to the minimum of 0"),
        ({"id": "1", "home": {}}, "body.home: {} is not valid under any of the given schemas"),
        (None, "body: None is not of type 'object'"),
    ],
)
def test_null_is_allowed_where_an_older_document_says_nullable(answer: Any, problem: str | None) -> None:
    found = SPEC.response_problems("GET", "/v9/people/1", 200, json=answer)
    assert found == ([f"GET /people/{{id}} 200: {problem}"] if problem else [])


def test_a_newer_document_says_null_as_a_type() -> None:
    newer = document(openapi="3.1.0")
    newer["components"]["schemas"]["person"] = {
        "type": "object",
        "properties": {"note": {"type": ["string", "null"]}},
    }
    assert VendorSpec(newer).response_problems("GET", "/v9/people/1", 200, json={"note": None}) == []


def test_an_undocumented_status_is_a_problem_unless_there_is_a_default() -> None:
    assert SPEC.response_problems("GET", "/people/1", 404, json={}) != []
    assert SPEC.response_problems("GET", "/people", 404, json={}) == []


def test_an_answer_without_a_body_has_none_and_its_headers() -> None:
    assert SPEC.response_problems("DELETE", "/people/1", 204, headers={"x-left": "3"}) == []
    assert len(SPEC.response_problems("DELETE", "/people/1", 204, json={})) == 2


def test_other_versions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3\.0 or 3\.1"):
        VendorSpec(document(openapi="2.0"))


def test_names_in_brackets_nest() -> None:
    pairs = [("a[b][c]", "1"), ("d[]", "2"), ("d[]", "3"), ("e[0][f]", "4"), ("g", "5"), ("g", "6")]
    assert nest(pairs) == {"a": {"b": {"c": "1"}}, "d": ["2", "3"], "e": [{"f": "4"}], "g": ["5", "6"]}


def test_no_folder_means_no_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNCBROKER_VENDOR_SPECS", raising=False)
    assert VendorSpec.load("stripe") is None


@pytest.mark.parametrize("vendor", ["sendgrid", "stripe"])
def test_every_schema_of_a_vendors_document_can_be_used(vendor: str) -> None:
    spec = VendorSpec.load(vendor)
    if spec is None:
        pytest.skip("SYNCBROKER_VENDOR_SPECS is not set")
    for name in spec.document["components"]["schemas"]:
        spec.problems({}, {"$ref": f"urn:openapi#/components/schemas/{name}"}, name)
    for path, item in spec.document["paths"].items():
        for method in {"get", "post", "put", "patch", "delete"} & set(item):
            operation = spec.operation(method, path)
            assert operation is not None
            assert operation.name == f"{method.upper()} {path}"


def test_a_customer_as_stripe_takes_it_is_no_problem() -> None:
    spec = VendorSpec.load("stripe")
    if spec is None:
        pytest.skip("SYNCBROKER_VENDOR_SPECS is not set")
    body = b"name=Ada&address[city]=London&metadata[record]=1&preferred_locales[0]=en&tax_exempt=none&phone="
    assert spec.request_problems("POST", "/v1/customers", headers=FORM_TYPE, body=body) == []
    body = b"name=Ada&balance=much"
    assert len(spec.request_problems("POST", "/v1/customers", headers=FORM_TYPE, body=body)) == 1


def test_contacts_as_sendgrid_takes_them_are_no_problem() -> None:
    spec = VendorSpec.load("sendgrid")
    if spec is None:
        pytest.skip("SYNCBROKER_VENDOR_SPECS is not set")
    headers = TOKEN | {"Content-Type": "application/json"}
    body = json.dumps({"contacts": [{"email": "ada@example.com"}]}).encode()
    assert spec.request_problems("PUT", "/v3/marketing/contacts", headers=headers, body=body) == []
    assert spec.response_problems("PUT", "/v3/marketing/contacts", 202, json={"job_id": "1"}) == []
