from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest

from syncbroker.errors import Refused, Unavailable
from syncbroker.sdk.simulator import (
    Control,
    Edit,
    Fault,
    Request,
    Response,
    Server,
    Simulator,
    basic,
    bearer,
    request,
    serve,
    system_clock,
)


class Notes(Simulator):
    """A vendor of notes: GET and PUT /notes/{id}; a changed note is told to the webhook."""

    kind = "notes"
    retry_delays = (0.01, 0.02)

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.notes: dict[str, dict[str, Any]] = {}

    def handle(self, request: Request) -> Response:
        id = request.path.rpartition("/")[2]
        if id == "bug":
            raise KeyError("bug")
        if request.method == "PUT":
            self.edit("notes", id, request.json(), "api")
        if request.method == "POST":
            self.later(5.0, lambda: self.edit("notes", id, request.json(), "job"))
            return Response(status=202)
        return Response(json=self.notes.get(id), headers={"X-Seen": "1"})

    def operation(self, request: Request) -> tuple[str, bool, int]:
        return f"notes.{request.method.lower()}", request.method != "GET", 1

    def edit(self, object: str, id: str, changes: Mapping[str, Any], actor: str = "person") -> None:
        self.notes.setdefault(id, {}).update(changes, by=actor)
        self.send("POST", f"/{object}", {"X-Note": id}, msgspec.json.encode(changes))

    def insert(self, object: str, fields: Mapping[str, Any], actor: str = "person") -> str:
        id = f"n{len(self.notes)}"
        self.edit(object, id, fields, actor)
        return id

    def remove(self, object: str, id: str, actor: str = "person") -> None:
        del self.notes[id]

    def records(self, object: str) -> list[dict[str, Any]]:
        return [{"id": id, **note} for id, note in sorted(self.notes.items())]

    def load(self, data: Mapping[str, list[dict[str, Any]]]) -> None:
        for note in data["notes"]:
            self.notes[note["id"]] = dict(note)


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.now


class Receiver:
    """Takes webhooks in place of the network; answers what `statuses` say, then 200."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[tuple[str, bytes]] = []

    def __call__(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> int:
        self.got.append((url, body))
        return self.statuses.pop(0) if self.statuses else 200


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def notes(clock: Clock) -> Notes:
    """Not served: nothing happens but by `advance`."""
    return Notes(now=clock, credentials={})


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Notes(credentials={})) as served:
        yield served


@pytest.fixture
def control(server: Server) -> Control:
    return server.control()


def call(server: Server, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    try:
        connection.request(method, path, body=body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


# ---- requests, answers, the log ----


def test_a_request_reaches_the_vendor_and_is_logged(server: Server, control: Control) -> None:
    assert call(server, "PUT", "/notes/1?x=1", b'{"text": "a"}') == (200, b'{"text":"a","by":"api"}')
    (entry,) = control.log()
    assert (entry.n, entry.method, entry.path, entry.operation) == (1, "PUT", "/notes/1", "notes.put")
    assert (entry.write, entry.count, entry.status) == (True, 1, 200)


def test_the_log_can_be_read_from_a_number_on(server: Server, control: Control) -> None:
    for _ in range(3):
        call(server, "GET", "/notes/1")
    assert [entry.n for entry in control.log(since=1)] == [2, 3]
    assert control.writes() == []


def test_one_connection_carries_many_requests(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    for method in ("GET", "HEAD", "PUT", "POST", "GET"):
        connection.request(method, "/notes/1", body=b"{}")
        connection.getresponse().read()
        sock = connection.sock
        assert sock is not None
    connection.close()


def test_a_bug_in_a_simulator_is_a_500_and_shown(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    status, body = call(server, "GET", "/notes/bug")
    assert (status, msgspec.json.decode(body)) == (500, {"simulator_error": "KeyError: 'bug'"})
    assert "Traceback" in capsys.readouterr().err


def test_an_observer_sees_each_handled_request_with_its_answer(server: Server) -> None:
    seen: list[tuple[str, int]] = []
    server.simulator.on_answer = lambda asked, answered: seen.append((asked.method, answered.status))
    call(server, "GET", "/notes/1")
    assert seen == [("GET", 200)]


def test_a_closed_server_answers_nobody() -> None:
    with serve(Notes(credentials={})) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/notes/1")
        connection.getresponse().read()
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        _again(connection)
    connection.close()
    with pytest.raises(ConnectionError):
        call(server, "GET", "/notes/1")


def _again(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/notes/1")
    connection.getresponse()


# ---- the control surface ----


def test_the_control_edits_inserts_removes_and_loads(control: Control) -> None:
    control.load({"notes": [{"id": "1", "text": "a"}, {"id": "2", "text": "b"}]})
    control.edit("notes", "1", {"text": "c"}, actor="ann")
    control.remove("notes", "2")
    assert control.insert("notes", {"text": "d"}) == "n1"
    assert [(note["id"], note["text"], note["by"]) for note in control.records("notes")] == [
        ("1", "c", "ann"),
        ("n1", "d", "person"),
    ]


def test_the_control_is_neither_logged_nor_faulted(control: Control) -> None:
    control.fault("drop_request", times=0)
    assert control.records("notes") == []
    assert control.log() == []


@pytest.mark.parametrize(
    ("method", "name", "body"),
    [
        ("POST", "remove", {"object": "notes", "id": "none"}),
        ("POST", "edit", {"object": "notes"}),
        ("POST", "edit", [1]),
        ("POST", "fault", {"kind": "no such kind"}),
        ("POST", "nothing", {}),
        ("GET", "idle?timeout=x", None),
        ("GET", "log?since=x", None),
        ("GET", "records", None),
    ],
)
def test_what_the_control_cannot_do_is_refused(control: Control, method: str, name: str, body: Any) -> None:
    with pytest.raises(Refused):
        control._call(method, name, body)


def test_a_body_that_is_no_json_is_refused_by_the_control(server: Server) -> None:
    status, body = call(server, "POST", "/_control/edit", b"{")
    assert status == 400
    assert b"not JSON" in body


def test_a_control_of_nobody_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        Control("http://127.0.0.1:1").records("notes")


# ---- faults ----


def test_a_status_fault_answers_in_place_of_the_vendor(server: Server, control: Control) -> None:
    control.fault("status", status=429, headers={"Retry-After": "1"}, json={"slow": "down"})
    assert call(server, "PUT", "/notes/1", b"{}") == (429, b'{"slow":"down"}')
    assert control.records("notes") == []
    assert [(entry.status, entry.fault) for entry in control.log()] == [(429, "status")]


@pytest.mark.parametrize(
    ("kind", "arrived", "status"), [("drop_answer", True, 200), ("drop_request", False, 0)]
)
def test_a_dropped_call_has_no_answer(
    server: Server, control: Control, kind: str, arrived: bool, status: int
) -> None:
    control.fault(kind)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        call(server, "PUT", "/notes/1", b"{}")
    assert bool(control.records("notes")) == arrived
    assert control.log()[0].status == status


def test_an_edit_before_happens_right_before_the_handling(server: Server, control: Control) -> None:
    edit = {"object": "notes", "id": "1", "changes": {"text": "first"}, "actor": "ann"}
    control.fault("edit_before", "notes.put", edit=edit)
    assert call(server, "PUT", "/notes/1", b'{"more": 1}') == (200, b'{"text":"first","by":"api","more":1}')


def test_a_delay_holds_the_request_and_not_its_neighbours(server: Server, control: Control) -> None:
    control.fault("delay", "notes.put", seconds=600.0)
    slow = threading.Thread(target=lambda: _ignored(server), daemon=True)
    slow.start()
    while server.simulator.faults:  # until the slow one is in its delay
        time.sleep(0.001)
    assert call(server, "GET", "/notes/1")[0] == 200
    assert control.records("notes") == []
    server.close()  # ends the wait
    slow.join()


def test_a_hang_after_has_handled_the_request(server: Server, control: Control) -> None:
    control.fault("hang_after", seconds=600.0)
    slow = threading.Thread(target=lambda: _ignored(server), daemon=True)
    slow.start()
    while not control.log():
        time.sleep(0.001)
    assert control.records("notes") == [{"id": "1", "by": "api"}]
    server.close()
    slow.join()


def _ignored(server: Server) -> None:
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        call(server, "PUT", "/notes/1", b"{}")


def test_a_fault_is_played_as_often_as_it_says_after_those_it_skips(server: Server, control: Control) -> None:
    control.fault("status", status=500, times=2, skip=1)
    assert [call(server, "GET", "/notes/1")[0] for _ in range(5)] == [200, 500, 500, 200, 200]


def test_a_fault_that_is_being_played_for_the_last_time_is_not_among_those_left(
    server: Server, control: Control
) -> None:
    control.fault("status", status=500, times=2)
    assert [fault.times for fault in control.faults()] == [2]
    call(server, "GET", "/notes/1")
    assert [fault.times for fault in control.faults()] == [1]
    call(server, "GET", "/notes/1")
    assert control.faults() == []


def test_a_fault_without_end_is_played_until_cleared(server: Server, control: Control) -> None:
    control.fault("status", status=500, times=0)
    assert [call(server, "GET", "/notes/1")[0] for _ in range(3)] == [500] * 3
    control.clear_faults()
    assert call(server, "GET", "/notes/1")[0] == 200


@pytest.mark.parametrize(
    ("fault", "operation", "write", "hit"),
    [
        (Fault(kind="delay"), "notes.get", False, True),
        (Fault(kind="delay", operation="notes.*"), "notes.get", False, True),
        (Fault(kind="delay", operation="notes.put"), "notes.get", False, False),
        (Fault(kind="delay", write=True), "notes.get", False, False),
        (Fault(kind="delay", write=True), "notes.put", True, True),
        (Fault(kind="delay", write=False), "notes.put", True, False),
        (Fault(kind="drop"), "webhook", False, False),
        (Fault(kind="drop", operation="webhook"), "webhook", False, True),
        (Fault(kind="drop", operation="webhook"), "notes.get", False, False),
    ],
)
def test_a_fault_meets_only_what_it_is_meant_for(
    fault: Fault, operation: str, write: bool, hit: bool
) -> None:
    assert fault.matches(operation, write) == hit


# ---- webhooks and what happens later ----


def test_webhooks_are_delivered_over_http_in_order(control: Control) -> None:
    with serve(Notes(credentials={})) as target:
        control.webhook(f"{target.url}/hooks")
        for n in range(5):
            control.edit("notes", str(n), {"n": n})
        control.idle()
        assert [entry.path for entry in target.control().log()] == ["/hooks/notes"] * 5
        assert [sent.n for sent in control.sent()] == [1, 2, 3, 4, 5]


def test_a_webhook_is_repeated_until_it_is_taken(notes: Notes, clock: Clock) -> None:
    notes.deliver = receiver = Receiver(500, 0)
    notes.connect("http://broker.example")
    notes.edit("notes", "1", {"a": 1})
    for _ in range(3):
        notes.advance()
        clock.now += 1_000_000
    assert receiver.got == [("http://broker.example/notes", b'{"a":1}')] * 3
    assert [(sent.attempt, sent.status) for sent in notes.sent] == [(1, 500), (2, 0), (3, 200)]


def test_a_webhook_that_is_never_taken_is_given_up(notes: Notes, clock: Clock) -> None:
    notes.deliver = receiver = Receiver(*[500] * 10)
    notes.connect("http://broker.example")
    notes.edit("notes", "1", {})
    for _ in range(10):
        notes.advance()
        clock.now += 1_000_000
    assert len(receiver.got) == 1 + len(Notes.retry_delays)


def test_a_webhook_to_nobody_is_no_work(control: Control) -> None:
    control.edit("notes", "1", {})
    control.idle()
    assert control.sent() == []


def test_a_delivery_to_a_closed_port_has_status_0(control: Control) -> None:
    control.webhook("http://127.0.0.1:1")
    control.edit("notes", "1", {})
    control.idle()
    assert [sent.status for sent in control.sent()] == [0, 0, 0]


@pytest.mark.parametrize(("kind", "wanted"), [("drop", 0), ("duplicate", 2)])
def test_a_webhook_can_be_lost_or_doubled(notes: Notes, kind: Any, wanted: int) -> None:
    notes.deliver = receiver = Receiver()
    notes.connect("http://broker.example")
    notes.faults.append(Fault(kind=kind, operation="webhook"))
    notes.edit("notes", "1", {})
    notes.advance()
    assert len(receiver.got) == wanted


def test_a_delayed_webhook_is_overtaken(notes: Notes, clock: Clock) -> None:
    notes.deliver = receiver = Receiver()
    notes.connect("http://broker.example")
    notes.faults.append(Fault(kind="delay", operation="webhook", seconds=3.0))
    notes.edit("notes", "1", {"n": 1})
    notes.edit("notes", "2", {"n": 2})
    notes.advance()
    clock.now += 3_000_000
    notes.advance()
    assert [body for _, body in receiver.got] == [b'{"n":2}', b'{"n":1}']


def test_a_webhook_leaves_while_requests_are_answered(server: Server, control: Control) -> None:
    """A receiver that calls back before it answers must not wait for itself."""
    answered: list[int] = []

    def calling_back(*_: object) -> int:
        answered.append(call(server, "GET", "/notes/1")[0])
        return 200

    server.simulator.deliver = calling_back
    control.webhook("http://broker.example")
    control.edit("notes", "1", {})
    control.idle()
    assert answered == [200]


def test_a_later_callback_waits_for_the_virtual_clock(notes: Notes, clock: Clock) -> None:
    notes.answer(request("POST", "/notes/1", body=b'{"text": "job"}'))
    notes.advance()
    assert notes.records("notes") == []
    clock.now += 5_000_000
    assert notes.advance() == 1
    assert notes.records("notes") == [{"id": "1", "text": "job", "by": "job"}]


def test_a_served_simulator_follows_a_virtual_clock_that_jumps(clock: Clock) -> None:
    simulator = Notes(now=clock, credentials={})
    with serve(simulator) as server:
        call(server, "POST", "/notes/1", b"{}")
        clock.now += 5_000_000
        server.control().idle()
        assert len(server.control().records("notes")) == 1


def test_idle_says_when_work_is_left(control: Control, server: Server) -> None:
    call(server, "POST", "/notes/1", b"{}")
    with pytest.raises(Unavailable, match="still had work"):
        control.idle(timeout=0.01)


def test_a_broken_callback_stops_none_after_it(notes: Notes, capsys: pytest.CaptureFixture[str]) -> None:
    done: list[int] = []
    notes.later(0.0, lambda: 1 // 0)  # type: ignore[arg-type]
    notes.later(0.0, lambda: done.append(1))
    notes.advance()
    assert done == [1]
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_many_threads_leave_one_consistent_log(server: Server, control: Control) -> None:
    def work(n: int) -> None:
        for _ in range(20):
            call(server, "PUT", f"/notes/{n}", b"{}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.n for entry in control.log()] == list(range(1, 101))


def test_the_system_clock_is_in_microseconds() -> None:
    assert abs(system_clock() - time.time() * 1_000_000) < 60_000_000


def test_an_edit_is_a_value() -> None:
    assert Edit(object="a", id="1", changes={}).actor == "person"


@pytest.mark.parametrize(
    ("header", "token", "pair"),
    [
        ("Bearer abc", "abc", None),
        ("bearer  abc ", "abc", None),
        ("Basic dTpw", "", ("u", "p")),
        ("Basic dTpwOng=", "", ("u", "p:x")),
        ("Basic !!", "", None),
        ("Basic dQ==", "", None),
        ("", "", None),
    ],
)
def test_credentials_are_read_from_the_header(header: str, token: str, pair: tuple[str, str] | None) -> None:
    asked = request("GET", "/", headers={"Authorization": header})
    assert (bearer(asked), basic(asked)) == (token, pair)
