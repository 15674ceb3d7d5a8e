"""Simulators on the wire: the HTTP server, its control surface with a client for it, and the command that runs several.

One server serves one simulator on one loopback port. What is under `/_control/` is the hand of a test or a demo; it is
neither logged nor faulted.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

import msgspec

from syncbroker import errors
from syncbroker.decoding import convert, decode
from syncbroker.sdk.simulator_wire import Fault, LogEntry, Request, Response, Sent, Wire, request

if TYPE_CHECKING:
    from syncbroker.sdk.simulator import Simulator

CONTROL = "/_control/"
GROUP = "syncbroker.simulators"
MAX_REQUEST = 64 * 1024 * 1024


class Server:
    """One simulator being served. `url` has no trailing slash. A context manager; leaving it closes the server."""

    def __init__(self, simulator: Simulator, port: int = 0) -> None:
        self.simulator = simulator
        self._http = _Listener(("127.0.0.1", port), _handler(simulator))
        self.port: int = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        simulator.start()
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def control(self) -> Control:
        return Control(self.url)

    def close(self) -> None:
        """Stop listening, cut open connections and stop the simulator's thread. Harmless when repeated."""
        self.simulator.stop()
        self._http.shutdown()
        self._http.server_close()
        self._http.cut()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve(simulator: Simulator, port: int = 0) -> Server:
    """Serve on loopback; port 0 takes a free one. OSError when the port is taken."""
    return Server(simulator, port)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.open: set[socket.socket] = set()
        super().__init__(address, handler)

    def cut(self) -> None:
        """End the connections that callers keep alive, so that a closed server is really gone."""
        for connection in list(self.open):
            with contextlib.suppress(OSError):  # the other side was faster
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that hangs up is everyday life for a simulator; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def _handler(simulator: Simulator) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1  # headers and body leave in one packet
        server: _Listener

        def setup(self) -> None:
            super().setup()
            self.server.open.add(self.connection)

        def finish(self) -> None:
            self.server.open.discard(self.connection)
            super().finish()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its caller's name
            """Silent: the simulator has its own log."""

        def any_method(self) -> None:
            length = self.headers.get("Content-Length", "0")
            if "Transfer-Encoding" in self.headers or not length.isdecimal() or int(length) > MAX_REQUEST:
                self.close_connection = True
                self.reply(
                    Response(status=413, text="a request body needs a Content-Length in bounds").encode()
                )
                return
            body = self.rfile.read(int(length))
            asked = request(self.command, self.path, headers=dict(self.headers.items()), body=body)
            if asked.path.startswith(CONTROL):
                self.reply(control(simulator, asked).encode())
                return
            wire = simulator.answer(asked)
            if wire is None:
                self.close_connection = True
                return
            self.reply(wire)

        def reply(self, wire: Wire) -> None:
            self.send_response(wire.status)
            for name, value in wire.headers.items():
                self.send_header(name, value)
            bare = wire.status < 200 or wire.status in (204, 304)
            if not bare:
                self.send_header("Content-Length", str(len(wire.body)))
            self.end_headers()
            if not bare and self.command != "HEAD":
                self.wfile.write(wire.body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = any_method

    return Handler


# ---- the control surface ----


def control(simulator: Simulator, asked: Request) -> Response:
    """Answer one request under `/_control/`; what cannot be done is a 400 that says why."""
    name = asked.path.removeprefix(CONTROL)
    try:
        if name == "idle":  # waits, so it must not hold the lock
            return Response(json={"idle": simulator.idle(float(asked.query.get("timeout", "30")))})
        if name == "advance":
            return Response(json={"ran": simulator.advance()})
        with simulator.lock:
            given = asked.json() if asked.body else {}
            action = _ACTIONS.get((asked.method, name))
            if action is None:
                return Response(status=404, json={"error": f"no control {asked.method} {name}"})
            # encoded under the lock: the answer may hold pieces of the live state
            return Response(text=msgspec.json.encode(action(simulator, asked.query, given)).decode())
    except (LookupError, ValueError, TypeError, msgspec.ValidationError) as error:
        return Response(status=400, json={"error": f"{type(error).__name__}: {error}"})


def _edit(simulator: Simulator, query: Mapping[str, str], given: dict[str, Any]) -> Any:
    simulator.edit(given["object"], given["id"], given["changes"], given.get("actor", "person"))
    return {}


def _insert(simulator: Simulator, query: Mapping[str, str], given: dict[str, Any]) -> Any:
    return {"id": simulator.insert(given["object"], given["fields"], given.get("actor", "person"))}


def _remove(simulator: Simulator, query: Mapping[str, str], given: dict[str, Any]) -> Any:
    simulator.remove(given["object"], given["id"], given.get("actor", "person"))
    return {}


def _load(simulator: Simulator, query: Mapping[str, str], given: dict[str, Any]) -> Any:
    simulator.load(given["data"])
    return {}


def _fault(simulator: Simulator, query: Mapping[str, str], given: dict[str, Any]) -> Any:
    simulator.faults.append(convert(given, Fault))
    return {}


def _faults(simulator: Simulator, query: Mapping[str, str], given: dict[str, Any]) -> Any:
    return simulator.faults


def _clear_faults(simulator: Simulator, query: Mapping[str, str], given: dict[str, Any]) -> Any:
    simulator.faults.clear()
    return {}


def _webhook(simulator: Simulator, query: Mapping[str, str], given: dict[str, Any]) -> Any:
    simulator.connect(given["url"])
    return {}


def _records(simulator: Simulator, query: Mapping[str, str], given: dict[str, Any]) -> Any:
    return simulator.records(query["object"])


def _log(simulator: Simulator, query: Mapping[str, str], given: dict[str, Any]) -> Any:
    return simulator.log[int(query.get("since", "0")) :]


def _sent(simulator: Simulator, query: Mapping[str, str], given: dict[str, Any]) -> Any:
    return simulator.sent


_ACTIONS: Mapping[tuple[str, str], Callable[[Simulator, Mapping[str, str], dict[str, Any]], Any]] = {
    ("POST", "edit"): _edit,
    ("POST", "insert"): _insert,
    ("POST", "remove"): _remove,
    ("POST", "load"): _load,
    ("POST", "fault"): _fault,
    ("POST", "clear_faults"): _clear_faults,
    ("POST", "webhook"): _webhook,
    ("GET", "faults"): _faults,
    ("GET", "records"): _records,
    ("GET", "log"): _log,
    ("GET", "sent"): _sent,
}


class Control:
    """The hand of a test or demo on a served simulator. Raises Refused when the simulator says it cannot do that,
    Unavailable when it does not answer. May be used from several threads."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port

    def edit(self, object: str, id: str, changes: Mapping[str, Any], actor: str = "person") -> None:
        """Change fields (dotted path -> value) as a person at the vendor."""
        self._call("POST", "edit", {"object": object, "id": id, "changes": changes, "actor": actor})

    def insert(self, object: str, fields: Mapping[str, Any], actor: str = "person") -> str:
        """Make a record as a person at the vendor; its id."""
        made = self._call("POST", "insert", {"object": object, "fields": fields, "actor": actor})
        return str(made["id"])

    def remove(self, object: str, id: str, actor: str = "person") -> None:
        """Delete a record as a person at the vendor."""
        self._call("POST", "remove", {"object": object, "id": id, "actor": actor})

    def load(self, data: Mapping[str, list[dict[str, Any]]]) -> None:
        """Initial records per object, without webhooks."""
        self._call("POST", "load", {"data": data})

    def records(self, object: str) -> list[dict[str, Any]]:
        """The present state of one object, in the vendor's payload shape."""
        found: list[dict[str, Any]] = self._call("GET", f"records?object={quote(object)}")
        return found

    def log(self, since: int = 0) -> list[LogEntry]:
        """Requests of the vendor's API with a number above `since`."""
        return convert(self._call("GET", f"log?since={since}"), list[LogEntry])

    def writes(self, since: int = 0) -> list[LogEntry]:
        """Only the writes of `log`."""
        return [entry for entry in self.log(since) if entry.write]

    def sent(self) -> list[Sent]:
        """Every attempt to deliver a webhook."""
        return convert(self._call("GET", "sent"), list[Sent])

    def fault(self, kind: str, operation: str = "*", **more: Any) -> None:
        """Add a `Fault`; `more` are its other members."""
        self._call("POST", "fault", {"kind": kind, "operation": operation, **more})

    def faults(self) -> list[Fault]:
        """Those that have not been played to the end: one that is under way for the last time is not among them."""
        return convert(self._call("GET", "faults"), list[Fault])

    def clear_faults(self) -> None:
        self._call("POST", "clear_faults", {})

    def webhook(self, url: str) -> None:
        """Point the webhooks at `url`."""
        self._call("POST", "webhook", {"url": url})

    def advance(self) -> int:
        """Run what is due by the simulator's clock; how many jobs ran."""
        return int(self._call("POST", "advance", {})["ran"])

    def idle(self, timeout: float = 30.0) -> None:
        """Wait until no webhook and no later callback is pending; Unavailable when `timeout` seconds pass before."""
        if not self._call("GET", f"idle?timeout={timeout}", wait=timeout)["idle"]:
            raise errors.Unavailable(f"the simulator at {self.url} still had work after {timeout:g} s")

    def _call(self, method: str, name: str, given: Any = None, wait: float = 0.0) -> Any:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=wait + 30.0)
        body = None if given is None else msgspec.json.encode(given)
        try:
            connection.request(method, CONTROL + name, body=body)
            answer = connection.getresponse()
            found = decode(answer.read())
        except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
            reason = type(error).__name__
            raise errors.Unavailable(f"no answer from the simulator at {self.url}: {reason}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise errors.Refused(f"the simulator at {self.url}: {found['error']}", status=answer.status)
        return found


# ---- the command ----


class Setup(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One simulator of CONFIG.json; `data_file` holds what `data` would, relative to the working directory."""

    name: str
    kind: str
    port: int = 0
    credentials: dict[str, str] = {}
    options: dict[str, Any] = {}
    webhook: str = ""
    data: dict[str, list[dict[str, Any]]] = {}
    data_file: str = ""


class Config(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """CONFIG.json."""

    simulators: list[Setup]


def system_clock() -> int:
    """Now, µs."""
    return time.time_ns() // 1000


def find_simulator(kind: str) -> type[Simulator]:
    """The simulator class that an installed package offers under this kind; BadSetting when none does."""
    found = entry_points(group=GROUP, name=kind)
    if not found:
        known = ", ".join(sorted(entry_points(group=GROUP).names)) or "none"
        raise errors.BadSetting(
            f"no simulator of kind {kind!r} is installed", hint=f"installed kinds: {known}"
        )
    loaded: type[Simulator] = next(iter(found)).load()
    return loaded


def build(setup: Setup) -> Simulator:
    """A simulator as CONFIG.json describes it, with its data."""
    simulator = find_simulator(setup.kind)(
        now=system_clock, credentials=setup.credentials, webhook=setup.webhook, options=setup.options
    )
    data = setup.data
    if setup.data_file:
        data = decode(Path(setup.data_file).read_bytes(), dict[str, list[dict[str, Any]]])
    if data:
        simulator.load(data)
    return simulator


def main(arguments: list[str]) -> int:
    """Run the simulators of a CONFIG.json until SIGTERM or SIGINT; one JSON line {name: url} when all are ready.

    Exit codes: 0 stopped by a signal, 1 a simulator could not be started, 2 a configuration that cannot be read.
    """
    parser = argparse.ArgumentParser(prog="python -m syncbroker.sdk.simulator", description="Run simulators.")
    parser.add_argument("config", type=Path, metavar="CONFIG.json")
    path: Path = parser.parse_args(arguments).config
    try:
        config = decode(path.read_bytes(), Config)
    except (OSError, msgspec.DecodeError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with contextlib.ExitStack() as open_servers:
        urls = {}
        for setup in config.simulators:
            try:
                server = open_servers.enter_context(serve(build(setup), setup.port))
            except (errors.SyncbrokerError, OSError, msgspec.DecodeError) as error:
                print(f"{setup.name}: {error}", file=sys.stderr)
                return 1
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                # what a simulator's own code says to data or credentials that it does not know
                print(f"{setup.name}: cannot start ({type(error).__name__}: {error})", file=sys.stderr)
                return 1
            urls[setup.name] = server.url
        print(msgspec.json.encode(urls).decode(), flush=True)
        while not stop.wait(1.0):
            continue
    return 0
