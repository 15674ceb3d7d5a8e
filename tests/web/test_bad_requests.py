"""What a stranger, a broken client or a hostile one sends over a real socket: the right status, one line, one count.

Never a 500.
"""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from structlog.testing import capture_logs

from syncbroker.engine import receive
from syncbroker.store import deliveries
from syncbroker.web import connection, webhooks
from tests.web.conftest import Start, Web

BODY = b'[{"event": "e1"}]'


@contextmanager
def line(web: Web) -> Iterator[socket.socket]:
    at = urlsplit(web.url)
    with closing(socket.create_connection((at.hostname or "", at.port or 0), timeout=30)) as made:
        yield made


def status(made: socket.socket) -> int:
    """Of the answer; 0 when the connection was closed without one."""
    got = b""
    try:
        while b"\r\n\r\n" not in got and (part := made.recv(65_536)):
            got += part
    except ConnectionResetError:
        return 0
    return int(got.split(b" ", 2)[1]) if got else 0


def received(made: socket.socket) -> bytes:
    """What comes next; nothing once it is closed, however."""
    try:
        return made.recv(65_536)
    except ConnectionResetError:
        return b""


def head(web: Web, body: bytes, *more: str, path: str = "/webhooks/crm", proof: bool = True) -> bytes:
    """The headers of a delivery, as a vendor would send them, and then these lines."""
    lines = [f"POST {path} HTTP/1.1", "Host: broker.example", *more]
    lines += [f"{name}: {value}" for name, value in web.proof(body).items()] if proof else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def sized(body: bytes) -> str:
    return f"Content-Length: {len(body)}"


class Case:
    """One thing that is sent, and what must become of it."""

    def __init__(
        self, name: str, status: int, outcome: str, send: Callable[[Web, socket.socket], None]
    ) -> None:
        self.name, self.status, self.outcome, self.send = name, status, outcome, send


def whole(make: Callable[[Web], bytes]) -> Callable[[Web, socket.socket], None]:
    return lambda web, made: made.sendall(make(web))


def posted(body: bytes, *more: str, **given_: Any) -> Callable[[Web, socket.socket], None]:
    return whole(lambda web: head(web, body, sized(body), *more, **given_) + body)


def twice(web: Web) -> bytes:
    proof = web.proof(BODY)
    return head(web, BODY, sized(BODY), f"X-Toy-Signature: {proof['X-Toy-Signature']}") + BODY


def half(made: socket.socket, sent: bytes) -> None:
    made.sendall(sent)
    made.shutdown(socket.SHUT_WR)
    made.close()


def moved(seconds: float) -> Callable[[Web, socket.socket], None]:
    def send(web: Web, made: socket.socket) -> None:
        request = head(web, BODY, sized(BODY)) + BODY
        web.world.clock.pass_(seconds)
        made.sendall(request)

    return send


BOMB = gzip.compress(b"\0" * 10_000_000)

CASES = [
    Case("gzip bomb", 415, "unsupported", posted(BOMB, "Content-Encoding: gzip")),
    Case("wrong content type", 415, "unsupported", posted(BODY, "Content-Type: image/png")),
    Case("multipart", 415, "unsupported", posted(BODY, "Content-Type: multipart/form-data; boundary=x")),
    Case("10 MB", 413, "too_large", whole(lambda web: head(web, BODY, "Content-Length: 10000000"))),
    Case("no signature", 401, "refused", posted(BODY, proof=False)),
    Case("NUL bytes for a signature", 400, "malformed", posted(BODY, "X-Other: a\0b")),
    Case("signature twice", 400, "refused", whole(twice)),
    Case("expired", 401, "refused", moved(301)),
    Case("from the future", 401, "refused", moved(-301)),
    Case("unknown system", 404, "nothing_here", posted(BODY, path="/webhooks/nobody")),
    Case("bad path", 404, "nothing_here", posted(BODY, path="/../../etc/passwd")),
    Case(
        "bad method", 405, "nothing_here", whole(lambda _: b"PUT /webhooks/crm HTTP/1.1\r\nHost: x\r\n\r\n")
    ),
    Case("no method", 400, "malformed", whole(lambda _: b"BREW /webhooks/crm HTTP/1.1\r\nHost: x\r\n\r\n")),
    Case("huge headers", 431, "malformed", posted(BODY, "X-Long: " + "x" * 1_000_000)),
    Case("no HTTP", 400, "malformed", whole(lambda _: b"\x16\x03\x01\x02\0\x01\0\r\n\r\n")),
    Case("no host", 400, "malformed", whole(lambda _: b"POST /webhooks/crm HTTP/1.1\r\n\r\n")),
    Case("two hosts", 400, "malformed", posted(BODY, "Host: other.example")),
    Case("a line of headers goes on", 400, "malformed", posted(BODY, "X-Other: a\r\n b")),
    Case("length and chunks", 400, "malformed", posted(BODY, "Transfer-Encoding: chunked")),
    Case("another protocol", 501, "malformed", posted(BODY, "Connection: Upgrade", "Upgrade: h2c")),
    Case("HTTP of later", 505, "malformed", whole(lambda _: b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n")),
    Case("two lengths", 400, "malformed", posted(BODY, "Content-Length: 3")),
    Case(
        "unknown encoding",
        501,
        "malformed",
        whole(lambda web: head(web, BODY, "Transfer-Encoding: rot13") + BODY),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_answered_told_once_and_counted_once(web: Web, case: Case) -> None:
    with capture_logs() as logs, line(web) as made:
        case.send(web, made)
        assert status(made) == case.status
        settled(web)
    assert [(one["event"], one["status"], one["outcome"]) for one in logs] == [
        ("request", case.status, case.outcome)
    ]
    assert [(outcome, count) for (_, outcome), count in web.counts.all().items()] == [(case.outcome, 1)]
    assert web.stored() == []


def settled(web: Web) -> None:
    """Until what was sent is counted; a request is told just before."""
    until = time.monotonic() + 30
    while not web.counts.all() and time.monotonic() < until:
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("headers", lambda web: head(web, BODY)[:-20]),
        ("body", lambda web: head(web, BODY, sized(BODY)) + BODY[:5]),
        ("chunk", lambda web: head(web, BODY, "Transfer-Encoding: chunked") + b"5\r\n[{"),
        (
            "chunked nonsense",
            lambda web: head(web, BODY, "Transfer-Encoding: chunked") + b"zz\r\nnonsense\r\n",
        ),
    ],
)
def test_half_a_request_is_told_once_and_counted_once(
    web: Web, name: str, sent: Callable[[Web], bytes]
) -> None:
    with capture_logs() as logs, line(web) as made:
        half(made, sent(web))
        settled(web)
    assert [one["outcome"] for one in logs] == ["broken_off"]
    assert sum(web.counts.all().values()) == 1
    assert web.stored() == []


def test_headers_that_dribble_in_are_cut_off(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEADER_SECONDS", 0.2)
    with capture_logs() as logs, line(web) as made:
        made.sendall(b"POST /webhooks/crm HTTP/1.1\r\n")
        for _ in range(100):
            try:
                made.sendall(b"X-A: 1\r\n")
            except OSError:
                break
            if web.counts.all():
                break
            time.sleep(0.02)
        assert status(made) in (0, 408)
    assert [(one["status"], one["outcome"]) for one in logs] == [(408, "too_slow")]
    assert web.counts.all() == {("", "too_slow"): 1}


def test_a_body_that_dribbles_in_is_cut_off(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "BODY_SECONDS", 0.2)
    with capture_logs() as logs, line(web) as made:
        made.sendall(head(web, BODY, "Content-Length: 1000"))
        while not web.counts.all():
            made.sendall(b"x")
            time.sleep(0.02)
        assert status(made) == 408
    assert [(one["status"], one["outcome"], one["system"]) for one in logs] == [(408, "too_slow", "crm")]


def test_a_connection_that_says_nothing_is_closed(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEADER_SECONDS", 0.1)
    with line(web) as made:
        assert made.recv(10) == b""


def test_a_second_request_on_a_connection_has_a_deadline_too(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture_logs(), line(web) as made:
        made.sendall(head(web, BODY, sized(BODY)) + BODY)
        assert status(made) == 200
        monkeypatch.setattr(connection, "HEADER_SECONDS", 0.1)
        made.sendall(b"POST /webhooks")
        assert b"408" in made.recv(65_536)


def test_a_body_that_goes_on_after_the_answer_is_cut_off(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEADER_SECONDS", 0.2)
    with line(web) as made:
        made.sendall(head(web, BODY, "Content-Length: 100000", path="/webhooks/nobody"))
        assert status(made) == 404
        until = time.monotonic() + 30
        with pytest.raises(OSError):  # reset or broken pipe, as the kernel likes
            while time.monotonic() < until:
                made.sendall(b"x")
                time.sleep(0.02)


def test_requests_that_do_not_wait_for_the_answer_are_answered_in_their_order(web: Web) -> None:
    with capture_logs(), line(web) as made:
        made.sendall(
            (head(web, BODY, sized(BODY)) + BODY) * 2 + head(web, b"", "Connection: close", path="/x")
        )
        got = b""
        while part := made.recv(65_536):
            got += part
    assert [int(one.split(b" ", 2)[1]) for one in got.split(b"HTTP/1.1")[1:]] == [200, 200, 404]
    assert [outcome for _, outcome in web.counts.all()] == ["stored", "known", "nothing_here"]


def test_a_flood_of_requests_that_do_not_wait_is_cut_off(web: Web) -> None:
    with capture_logs(), line(web) as made:
        made.sendall((head(web, BODY, sized(BODY)) + BODY) * 100)
        got = b""
        while part := received(made):
            got += part
    assert got.count(b"HTTP/1.1 200") <= connection.PIPELINED
    assert web.signed(BODY).status == 200


def test_more_connections_than_are_taken_are_told_so(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS", 2)
    with capture_logs() as logs, line(web) as first, line(web) as second:
        for made in (first, second):  # they are there once they are answered
            made.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert status(made) == 200
        for _ in range(3):
            with line(web) as third:
                assert status(third) == 503
    assert web.counts.all()["", "crowded"] == 3
    assert [one["outcome"] for one in logs if one["log_level"] == "warning"] == ["crowded"]
    answers, until = [503], time.monotonic() + 30
    while (
        answers[-1] == 503 and time.monotonic() < until
    ):  # it takes a moment until the others are seen to be gone
        with line(web) as later:
            later.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            answers.append(status(later))
    assert answers[-1] == 200


def test_deep_json_with_a_right_signature_is_kept_and_rejected_later(web: Web) -> None:
    for body in (b"[" * 100_000, b'{"a":' * 50_000, b"[null, \0]", b"\xff\xfe\0"):
        assert web.signed(body).status == 200
        assert [receive.receive(web.world.engine, one.id) for one in web.stored()] == [0]
    with web.world.engine.store.read() as tx:
        assert deliveries.counts(tx) == {"rejected": 4}


def test_a_stopped_systems_deliveries_are_still_stored(web: Web) -> None:
    with web.world.engine.store.write() as tx:
        tx.connection.exec_driver_sql("INSERT INTO stops VALUES ('crm', 1, 'ann', 'a test')")
    assert web.signed(BODY).status == 200
    assert len(web.stored()) == 1


def test_more_deliveries_than_a_system_may_send_are_429(start: Start, world: Any) -> None:
    rules = world.engine.mapping.systems
    rules["crm"] = limited(rules["crm"], (2, 1000.0))
    web = start()
    with capture_logs() as logs:
        answers = [web.signed(b"[%d]" % n) for n in range(5)]
        assert web.signed(BODY, "/webhooks/marketing").status == 200
    assert [one.status for one in answers] == [200, 200, 429, 429, 429]
    assert int(answers[2].headers["retry-after"]) >= 1
    assert web.counts.all()["crm", "limited"] == 3
    assert sum(one["outcome"] == "limited" and one["log_level"] == "warning" for one in logs) == 1


def limited(rules: Any, deliveries: tuple[int, float]) -> Any:
    return replace(rules, deliveries=deliveries)


def test_a_stranger_cannot_use_up_what_a_vendor_may_send(start: Start, world: Any) -> None:
    rules = world.engine.mapping.systems
    rules["crm"] = limited(rules["crm"], (1, 1000.0))
    web = start()
    assert [web.post(BODY).status for _ in range(3)] == [401] * 3
    assert web.signed(BODY).status == 200


def test_past_the_bound_the_answer_is_503_and_other_systems_go_on(start: Start) -> None:
    web = start(max_waiting=4)
    answers = [web.signed(b"[%d]" % n) for n in range(4)]
    assert [one.status for one in answers] == [200, 200, 503, 503]
    assert 0 < int(answers[2].headers["retry-after"]) < 60
    assert web.signed(BODY, "/webhooks/marketing").status == 200
    assert web.counts.all()["crm", "full"] == 2


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_the_trace_is_stored_told_and_answered(web: Web) -> None:
    with capture_logs() as logs:
        answer = web.signed(BODY, traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
        settled(web)
    assert answer.headers["x-syncbroker-trace"] == TRACE
    (told,) = logs
    assert (told["trace"], told["outcome"], told["delivery"]) == (TRACE, "stored", web.stored()[0].id)
    with web.world.engine.store.read() as tx:
        assert tx.rows("SELECT trace FROM deliveries", ()) == [(TRACE,)]


BYTES = st.binary(max_size=300)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    garbage=st.one_of(
        BYTES,
        BYTES.map(lambda more: b"POST /webhooks/crm HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n\r\n"),
        BYTES.map(
            lambda more: (
                b"POST /webhooks/crm HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + more
            )
        ),
    )
)
def test_nothing_that_a_socket_can_carry_is_a_fault(web: Web, garbage: bytes) -> None:
    with capture_logs() as logs, line(web) as made:
        made.sendall(garbage)
        made.shutdown(socket.SHUT_WR)
        assert status(made) in {0, 400, 401, 404, 405, 408, 413, 415, 431, 501, 505}
    assert [one for one in logs if one["event"] == "fault" or one.get("status") == 500] == []


def test_the_server_still_works_after_all_of_it(web: Web) -> None:
    for case in CASES:
        if case.name not in ("expired", "from the future"):
            with line(web) as made:
                case.send(web, made)
                status(made)
    assert web.signed(BODY).status == 200
