from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest
import respx

from syncbroker.errors import (
    BadSetting,
    Missing,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Reject,
    Retry,
    Stale,
    SyncbrokerError,
    Unauthorised,
    Unavailable,
)
from syncbroker.sdk.http import Http, retry_after, usual_message

BASE = "https://api.vendor.example/v1"
TOKEN = "tok-5f3c9a7e"
NOW = 1_700_000_000_000_000

Make = Callable[..., Http]


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def make(slept: list[float]) -> Iterator[Make]:
    made: list[Http] = []

    def build(base_url: str = BASE, **given: Any) -> Http:
        usual: dict[str, Any] = {
            "system": "crm",
            "now": lambda: NOW,
            "headers": {"Authorization": f"Bearer {TOKEN}"},
            "sleep": slept.append,
        }
        made.append(Http(base_url, **{**usual, **given}))
        return made[-1]

    yield build
    for http in made:
        http.close()


@pytest.fixture
def http(make: Make) -> Http:
    return make()


def fails(call: Callable[[], object]) -> SyncbrokerError:
    with pytest.raises(SyncbrokerError) as caught:
        call()
    return caught.value


# ---- what is sent ----


@respx.mock
def test_a_get_sends_the_credentials_and_the_parameters_that_are_set(http: Http) -> None:
    route = respx.get(f"{BASE}/people").respond(json={"ok": True})
    answer = http.request("GET", "/people", params={"limit": 2, "after": None, "tag": ["a", "b"]})
    sent = route.calls.last.request
    assert str(sent.url) == f"{BASE}/people?limit=2&tag=a&tag=b"
    assert sent.headers["authorization"] == f"Bearer {TOKEN}"
    assert (answer.status, answer.json, answer.begun) == (200, {"ok": True}, NOW)


@respx.mock
def test_a_json_body_is_sent_as_json(http: Http) -> None:
    route = respx.post(f"{BASE}/people").respond(json={})
    http.request("POST", "/people", json={"name": "Zoë"}, headers={"Idempotency-Key": "k1"})
    sent = route.calls.last.request
    assert msgspec.json.decode(sent.content) == {"name": "Zoë"}
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["idempotency-key"] == "k1"


@respx.mock
def test_a_form_is_sent_form_encoded(http: Http) -> None:
    route = respx.post(f"{BASE}/people").respond(json={})
    http.request("POST", "/people", form={"name": "a b", "metadata[x]": "1"})
    assert route.calls.last.request.content == b"name=a+b&metadata%5Bx%5D=1"


@respx.mock
def test_basic_credentials_are_sent(make: Make) -> None:
    route = respx.get(f"{BASE}/people").respond(json={})
    make(headers={}, basic=("any", "key-1")).request("GET", "/people")
    assert (
        route.calls.last.request.headers["authorization"]
        == "Basic " + base64.b64encode(b"any:key-1").decode()
    )


@respx.mock
def test_an_empty_answer_has_no_json(http: Http) -> None:
    respx.delete(f"{BASE}/people/1").respond(204)
    assert http.request("DELETE", "/people/1").json is None


@respx.mock
def test_a_shape_decodes_the_answer(http: Http) -> None:
    class Listed(msgspec.Struct):
        ids: list[int]

    respx.get(f"{BASE}/people").respond(json={"ids": [1]})
    assert http.request("GET", "/people", shape=Listed).json == Listed(ids=[1])


@respx.mock
def test_a_file_is_given_as_it_came(http: Http) -> None:
    respx.get(f"{BASE}/export").respond(content=b"not json")
    assert http.request("GET", "/export", shape=bytes).json == b"not json"


@respx.mock
def test_a_full_budget_is_rate_limited_and_nothing_is_sent(make: Make) -> None:
    def full() -> None:
        raise RateLimited("used up", delay=900.0)

    route = respx.route().respond(json=1)
    error = fails(lambda: make(acquire=full).request("POST", "/x", json={}))
    assert isinstance(error, RateLimited)
    assert not route.called


@respx.mock
def test_each_attempt_takes_a_place_in_the_budget_and_is_told(make: Make) -> None:
    respx.get(f"{BASE}/people").mock(side_effect=[httpx.Response(503), httpx.Response(200, json=1)])
    places: list[int] = []
    told: list[tuple[str, str, int]] = []
    http = make(acquire=lambda: places.append(1), on_call=lambda *call: told.append(call))
    http.request("GET", "/people?email=a@b.example")
    assert (len(places), told) == (2, [("GET", "/people", 503), ("GET", "/people", 200)])


# ---- what an answer means ----

READ: dict[str, Any] = {"method": "GET"}
WRITE: dict[str, Any] = {"method": "POST", "json": {}}
SEARCH: dict[str, Any] = {"method": "POST", "json": {}, "repeatable": True}
KEYED: dict[str, Any] = {"method": "POST", "json": {}, "repeatable": True, "changes": True}


@respx.mock
@pytest.mark.parametrize(
    ("status", "read", "write"),
    [
        (400, Refused, Refused),
        (401, Unauthorised, Unauthorised),
        (402, Refused, Refused),
        (403, Unauthorised, Unauthorised),
        (404, Missing, Missing),
        (405, Refused, Refused),
        (408, Unavailable, OutcomeUnknown),
        (409, Stale, Stale),
        (410, Missing, Missing),
        (412, Stale, Stale),
        (413, Refused, Refused),
        (422, Refused, Refused),
        (429, RateLimited, RateLimited),
        (500, Unavailable, OutcomeUnknown),
        (502, Unavailable, OutcomeUnknown),
        (503, Unavailable, OutcomeUnknown),
        (504, Unavailable, OutcomeUnknown),
        (599, Unavailable, OutcomeUnknown),
        (304, Unavailable, OutcomeUnknown),
    ],
)
def test_each_status_has_one_outcome(
    http: Http, status: int, read: type[Exception], write: type[Exception]
) -> None:
    respx.route().respond(status)
    outcomes = []
    for call in (READ, SEARCH, WRITE, KEYED):
        with pytest.raises(SyncbrokerError) as caught:
            http.request(path="/x", **call)
        outcomes.append(type(caught.value))
    assert outcomes == [read, read, write, write]


@respx.mock
def test_a_vendors_own_table_wins_literally(make: Make) -> None:
    respx.route().respond(503)
    http = make(statuses={503: Unavailable, 409: Refused})
    assert type(fails(lambda: http.request("POST", "/x", json={}))) is Unavailable


@respx.mock
@pytest.mark.parametrize("body", ["<html>", "{", "[" * 200_000, '"\\ud800', "NaN", "\xff"])
@pytest.mark.parametrize(("call", "kind"), [(READ, Unavailable), (WRITE, OutcomeUnknown)])
def test_a_success_that_is_not_json_is_no_answer(
    http: Http, body: str, call: dict[str, Any], kind: type[Exception]
) -> None:
    respx.route().respond(200, content=body.encode("latin-1"))
    error = fails(lambda: http.request(path="/x", **call))
    assert type(error) is kind
    assert "is not JSON" in error.message or "nested deeper" in error.message


@respx.mock
def test_a_success_of_another_shape_is_no_answer(http: Http) -> None:
    respx.route().respond(200, json={"ids": "secret@person.example"})
    error = fails(lambda: http.request("GET", "/x", shape=dict[str, list[int]]))
    assert isinstance(error, Unavailable)
    assert "another shape" in error.message


@respx.mock
def test_an_empty_success_is_no_answer_where_a_shape_was_wanted(http: Http) -> None:
    respx.route().respond(200)
    assert isinstance(fails(lambda: http.request("GET", "/x", shape=list[int])), Unavailable)


@respx.mock
@pytest.mark.parametrize(("call", "kind"), [(READ, Unavailable), (WRITE, OutcomeUnknown)])
def test_a_body_over_the_limit_is_no_answer(make: Make, call: dict[str, Any], kind: type[Exception]) -> None:
    respx.route().respond(200, json=["x" * 5000])
    error = fails(lambda: make(max_body=1000).request(path="/x", **call))
    assert type(error) is kind
    assert "larger than 1,000 bytes" in error.message


@respx.mock
def test_an_error_over_the_limit_keeps_its_status(make: Make) -> None:
    respx.route().respond(404, text="x" * 5000)
    assert isinstance(fails(lambda: make(max_body=1000).request("GET", "/x")), Missing)


@respx.mock
@pytest.mark.parametrize(
    ("cause", "read", "write"),
    [
        (httpx.ConnectError("refused"), Unavailable, Unavailable),
        (httpx.ConnectTimeout("slow"), Unavailable, Unavailable),
        (httpx.PoolTimeout("full"), Unavailable, Unavailable),
        (httpx.ProxyError("no"), Unavailable, Unavailable),
        (httpx.ReadTimeout("slow"), Unavailable, OutcomeUnknown),
        (httpx.WriteTimeout("slow"), Unavailable, OutcomeUnknown),
        (httpx.ReadError("reset"), Unavailable, OutcomeUnknown),
        (httpx.WriteError("reset"), Unavailable, OutcomeUnknown),
        (httpx.RemoteProtocolError("gone"), Unavailable, OutcomeUnknown),
        (httpx.DecodingError("gzip"), Unavailable, OutcomeUnknown),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, Exception) else given.__name__,
)
def test_a_failed_exchange_tells_whether_something_may_have_been_done(
    http: Http, cause: Exception, read: type[Exception], write: type[Exception]
) -> None:
    respx.route().mock(side_effect=cause)
    assert type(fails(lambda: http.request(path="/x", **READ))) is read
    assert type(fails(lambda: http.request(path="/x", **WRITE))) is write


# ---- repeating ----


@respx.mock
def test_a_read_is_repeated_until_it_is_answered(http: Http, slept: list[float]) -> None:
    route = respx.get(f"{BASE}/x")
    route.mock(side_effect=[httpx.Response(500), httpx.ReadTimeout("slow"), httpx.Response(200, json=7)])
    assert http.request("GET", "/x").json == 7
    assert len(slept) == 2


@respx.mock
@pytest.mark.parametrize(("call", "attempts"), [(READ, 4), (SEARCH, 4), (KEYED, 4), (WRITE, 1)])
def test_only_a_repeatable_call_is_repeated_and_not_for_ever(
    http: Http, call: dict[str, Any], attempts: int
) -> None:
    route = respx.route().respond(500)
    fails(lambda: http.request(path="/x", **call))
    assert route.call_count == attempts


@respx.mock
@pytest.mark.parametrize("status", [400, 401, 404, 409])
def test_a_definite_answer_is_never_repeated(http: Http, status: int) -> None:
    route = respx.route().respond(status)
    fails(lambda: http.request("GET", "/x"))
    assert route.call_count == 1


@respx.mock
def test_a_retry_after_is_waited_for(http: Http, slept: list[float]) -> None:
    limited = httpx.Response(429, headers={"Retry-After": "7"})
    respx.route().mock(side_effect=[limited, httpx.Response(200, json=1)])
    http.request("GET", "/x")
    assert 7 <= slept[0] <= 7.7


@respx.mock
def test_a_retry_after_beyond_patience_is_given_to_the_caller(http: Http, slept: list[float]) -> None:
    route = respx.route().respond(429, headers={"Retry-After": "3600"})
    error = fails(lambda: http.request("GET", "/x"))
    assert isinstance(error, RateLimited)
    assert (error.delay, route.call_count, slept) == (3600.0, 1, [])


@respx.mock
def test_waits_add_up_to_no_more_than_patience(make: Make, slept: list[float]) -> None:
    respx.route().respond(503, headers={"Retry-After": "20"})
    fails(lambda: make(attempts=100, patience=60.0).request("GET", "/x"))
    assert len(slept) == 2


@respx.mock
def test_a_keyed_write_in_doubt_stays_in_doubt_when_the_last_attempt_did_nothing(http: Http) -> None:
    refused = httpx.ConnectError("refused")
    respx.route().mock(side_effect=[httpx.ReadTimeout("slow"), refused, refused, refused])
    assert isinstance(fails(lambda: http.request(path="/x", **KEYED)), OutcomeUnknown)


@respx.mock
def test_a_keyed_write_that_never_left_is_not_in_doubt(http: Http) -> None:
    respx.route().mock(side_effect=httpx.ConnectError("refused"))
    assert type(fails(lambda: http.request(path="/x", **KEYED))) is Unavailable


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30.0),
        ("1.5", 1.5),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("-5", 0.0),
        ("1e12", 86_400.0),
        ("inf", 0.0),
        ("nan", 0.0),
        ("soon", 0.0),
        ("", 0.0),
    ],
)
def test_a_retry_after_is_seconds_or_a_date_and_never_absurd(text: str, seconds: float) -> None:
    assert retry_after(text, NOW) == seconds


# ---- where it goes ----


@respx.mock
def test_a_redirect_on_the_same_host_is_followed_with_credentials(http: Http) -> None:
    respx.get(f"{BASE}/old").respond(301, headers={"Location": "/v1/new"})
    route = respx.get(f"{BASE}/new").respond(json=1)
    assert http.request("GET", "/old").json == 1
    assert route.calls.last.request.headers["authorization"] == f"Bearer {TOKEN}"


@respx.mock
@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/x",
        "//evil.example/x",
        "http://api.vendor.example/x",
        "https://api.vendor.example:8443/x",
        "https://user@api.vendor.example/x",
        "ftp://api.vendor.example/x",
        "https://[::bad/x",
    ],
)
def test_a_redirect_to_another_host_is_never_followed(make: Make, target: str) -> None:
    respx.get(f"{BASE}/x").respond(302, headers={"Location": target})
    other = respx.route(host="evil.example").respond(json=1)
    error = fails(lambda: make(attempts=1).request("GET", "/x"))
    assert isinstance(error, Unavailable)
    assert not other.called


@respx.mock
def test_a_circle_of_redirects_ends(make: Make) -> None:
    route = respx.get(f"{BASE}/x").respond(302, headers={"Location": f"{BASE}/x"})
    assert isinstance(fails(lambda: make(attempts=1).request("GET", "/x")), Unavailable)
    assert route.call_count == 3


@respx.mock
def test_a_redirected_write_is_in_doubt_and_not_sent_again(http: Http) -> None:
    route = respx.post(f"{BASE}/x").respond(307, headers={"Location": f"{BASE}/y"})
    assert isinstance(fails(lambda: http.request("POST", "/x", json={})), OutcomeUnknown)
    assert route.call_count == 1


@respx.mock
def test_a_whole_url_of_the_same_host_is_taken(http: Http) -> None:
    respx.get("https://api.vendor.example/v1/people?after=2").respond(json=1)
    assert http.request("GET", "https://API.vendor.example:443/v1/people?after=2").json == 1


@pytest.mark.parametrize(
    "path", ["https://evil.example/x", "//evil.example/x", "people", "", "javascript:x", "https://[::bad"]
)
def test_a_path_that_leads_elsewhere_is_not_called(http: Http, path: str) -> None:
    with respx.mock:
        error = fails(lambda: http.request("GET", path))
    assert isinstance(error, Unavailable)


def test_a_path_that_no_url_can_hold_is_refused(http: Http) -> None:
    assert isinstance(fails(lambda: http.request("GET", "/people/a\nb")), Refused)


@pytest.mark.parametrize(
    "url", ["", "api.vendor.example", "ftp://x.example", "https://", "https://a b:x", "http://u:p@h"]
)
def test_a_base_url_that_is_none_is_a_bad_setting(make: Make, url: str) -> None:
    error = fails(lambda: make(url))
    assert isinstance(error, BadSetting)
    assert str(error).startswith("crm: ")


@pytest.mark.parametrize("token", [f"Bearer {TOKEN}\n", f"{TOKEN}\u2028", f" {TOKEN}", "tök"])
def test_a_credential_that_no_header_can_carry_is_a_bad_setting_that_does_not_show_it(
    make: Make, token: str
) -> None:
    error = fails(lambda: make(headers={"Authorization": token}))
    assert isinstance(error, BadSetting)
    assert token.strip() not in str(error)


# ---- what errors say ----


@respx.mock
def test_an_error_says_what_where_and_in_the_vendors_words(http: Http) -> None:
    respx.route().respond(422, json={"message": "no such city", "code": "city.unknown"})
    error = fails(lambda: http.request("POST", "/people?email=a@b.example", json={}))
    assert str(error) == "crm: POST /people: answered 422: no such city"
    assert isinstance(error, Reject)
    assert (error.status, error.code, error.system) == (422, "city.unknown", "crm")


@respx.mock
@pytest.mark.parametrize(
    "leak",
    [
        TOKEN,
        base64.b64encode(TOKEN.encode()).decode(),
        "ann.lee@person.example",
        "ann%2Blee@person.example",
        "+1 (555) 123-4567",
        "555-123-4567",
        "5551234567",
        "hook-secret-1",
    ],
)
@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_no_secret_and_no_personal_data_is_shown(make: Make, leak: str, status: int) -> None:
    http = make(attempts=1, secrets=["hook-secret-1"])
    respx.route().respond(status, json={"message": f"bad: {leak}!", "code": leak if "@" in leak else "c"})
    error = fails(lambda: http.request("GET", "/people/ann.lee%40person.example", params={"q": leak}))
    shown = f"{error} {error!r} {vars(error)} {error.__cause__!r}"
    assert leak not in shown
    assert "ann.lee" not in shown


@respx.mock
def test_a_header_that_cannot_be_sent_is_not_quoted(make: Make) -> None:
    respx.route().mock(side_effect=httpx.LocalProtocolError(f"Illegal header value b'{TOKEN}'"))
    error = fails(lambda: make().request("GET", "/x"))
    assert isinstance(error, BadSetting)
    assert error.__suppress_context__
    assert TOKEN not in str(error)


@respx.mock
def test_a_long_and_dirty_message_becomes_one_short_line(http: Http) -> None:
    respx.route().respond(400, json={"message": "a\r\n\x1b[31mb\x00" + "c" * 1000})
    text = fails(lambda: http.request("GET", "/x")).message
    assert text.isprintable()
    assert len(text) < 400


@respx.mock
def test_a_message_reader_that_stumbles_costs_only_the_message(make: Make) -> None:
    def stumbling(_: int, json: Any) -> tuple[str, str]:
        return json["error"]["message"], ""

    respx.route().respond(400, json=[1])
    assert fails(lambda: make(message=stumbling).request("GET", "/x")).message == "GET /x: answered 400"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "m", "category": "C"}, ("m", "C")),
        ({"error": {"message": "m", "code": "c"}}, ("m", "c")),
        ({"error": "m"}, ("m", "")),
        ({"title": "t", "detail": "d", "type": "u"}, ("d", "u")),
        ({"errors": [{"message": "m"}]}, ("m", "")),
        ({"errors": ["m"]}, ("m", "")),
        ([{"message": "m"}], ("m", "")),
        ({}, ("", "")),
    ],
)
def test_the_usual_shapes_of_error_bodies_are_read(body: Any, said: tuple[str, str]) -> None:
    assert usual_message(400, body) == said


# ---- a real socket ----


@pytest.fixture
def raw() -> Iterator[Callable[[bytes, bool], str]]:
    """A server that answers one connection with the given bytes and then closes it, or holds it open."""
    listeners: list[socket.socket] = []
    done = threading.Event()

    def answering(answer: bytes, hold: bool) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def work() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)
                if hold:
                    done.wait()

        threading.Thread(target=work, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield answering
    done.set()
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize(
    ("answer", "hold", "part"),
    [
        (b"", False, "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", False, "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", False, "broke off"),
        (b"nonsense\r\n\r\n", False, "broke off"),
        (b"", True, "no answer within"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", True, "no answer within"),
    ],
)
def test_a_real_broken_answer_leaves_a_write_in_doubt(
    make: Make, raw: Callable[[bytes, bool], str], answer: bytes, hold: bool, part: str
) -> None:
    http = make(raw(answer, hold), timeout=0.2)
    error = fails(lambda: http.request("POST", "/x", json={}))
    assert isinstance(error, OutcomeUnknown)
    assert part in error.message


def test_a_port_that_nobody_listens_on_is_unavailable_even_for_a_write(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    error = fails(lambda: make(url).request("POST", "/x", json={}))
    assert type(error) is Unavailable
    assert isinstance(error, Retry)
    assert "no connection" in error.message


def test_an_answer_that_trickles_in_is_not_waited_for_for_ever(make: Make) -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                try:
                    while not stop.wait(0.05):
                        connection.sendall(b"1")
                except ConnectionError:
                    return  # the caller gave up, as it should

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        http = make(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.3, attempts=1)
        error = fails(lambda: http.request("GET", "/x"))
        stop.set()
        thread.join()
    assert "not complete within" in error.message
