from __future__ import annotations

import pytest

from syncbroker.sdk.simulator import Response, Router, request


def test_a_request_keeps_its_raw_path_and_all_values_of_its_query() -> None:
    asked = request("GET", "/a%2Fb/c?tag=1&tag=2&empty=", headers={"X-One": "1"})
    assert asked.path == "/a%2Fb/c"
    assert asked.query == {"tag": "2", "empty": ""}
    assert asked.query_all == {"tag": ["1", "2"], "empty": [""]}
    assert asked.headers == {"x-one": "1"}


def test_a_form_body_keeps_all_values() -> None:
    asked = request("POST", "/", body=b"a%5Bb%5D=1&a%5Bb%5D=2&c=")
    assert asked.form() == {"a[b]": ["1", "2"], "c": [""]}


def test_a_json_body_that_is_none_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="not JSON"):
        request("POST", "/", body=b"{").json()


@pytest.mark.parametrize(
    ("response", "content_type", "body"),
    [
        (Response(json={"a": 1}), "application/json;charset=utf-8", b'{"a":1}'),
        (Response(text="x"), "text/plain; charset=utf-8", b"x"),
        (Response(text="<p>", headers={"content-type": "text/html"}), "text/html", b"<p>"),
        (Response(status=204), "", b""),
        (Response(json=[]), "application/json;charset=utf-8", b"[]"),
    ],
)
def test_an_answer_says_what_it_carries(response: Response, content_type: str, body: bytes) -> None:
    wire = response.encode()
    headers = {name.lower(): value for name, value in wire.headers.items()}
    assert (headers.get("content-type", ""), wire.body) == (content_type, body)


ROUTER = Router(
    [
        ("POST", "/crm/{type}/batch/read", "batch"),
        ("GET", "/crm/{type}/{id}", "one"),
        ("PUT", "/crm/{type}/{id}", "put"),
        ("GET", "/users/{id}.json", "dotted"),
        ("GET", "/users/me", "me"),
        ("GET", "/users/{id}", "user"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("POST", "/crm/contacts/batch/read", ("batch", {"type": "contacts"})),
        ("GET", "/crm/contacts/7", ("one", {"type": "contacts", "id": "7"})),
        ("GET", "/crm/contacts/a%40b.example%2Fx", ("one", {"type": "contacts", "id": "a@b.example/x"})),
        ("GET", "/users/7.json", ("dotted", {"id": "7"})),
        ("GET", "/users/me", ("me", {})),
        ("GET", "/users/7", ("user", {"id": "7"})),
        ("GET", "/users/", None),
        ("GET", "/users/7/x", None),
        ("DELETE", "/users/7", None),
        ("GET", "/Users/7", None),
    ],
)
def test_a_route_is_found_by_method_and_path(method: str, path: str, found: object) -> None:
    assert ROUTER.match(method, path) == found


def test_a_known_path_tells_its_methods() -> None:
    assert ROUTER.methods("/crm/contacts/7") == ["GET", "PUT"]
    assert ROUTER.methods("/nowhere") == []
