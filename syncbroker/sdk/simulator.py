"""A vendor that runs on loopback: the base for every `connectors/<vendor>/simulator.py`.

A simulator keeps state and answers as the vendor does: `handle(request) -> response`, served over real HTTP by
`serve`. It never imports its connector. Besides the vendor's own API it has a control surface under `/_control/` (the
test's or demo's hand, never used by the broker): edits as a person at the vendor would make them, faults, the request
log, the state. `python -m syncbroker.sdk.simulator CONFIG.json` runs several in one process.
"""

from __future__ import annotations

import heapq
import http.client
import sys
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from syncbroker.sdk.paths import get_path, set_path
from syncbroker.sdk.simulator_server import Control, Server, main, serve, system_clock
from syncbroker.sdk.simulator_wire import (
    Edit,
    Fault,
    LogEntry,
    Request,
    Response,
    Router,
    Sent,
    Wire,
    basic,
    bearer,
    request,
)

__all__ = [
    "Control",
    "Edit",
    "Fault",
    "LogEntry",
    "Request",
    "Response",
    "Router",
    "Sent",
    "Server",
    "Simulator",
    "Wire",
    "basic",
    "bearer",
    "get_path",
    "request",
    "serve",
    "set_path",
    "system_clock",
]


def post(method: str, url: str, headers: Mapping[str, str], body: bytes) -> int:
    """Deliver one webhook over HTTP; the status of the answer, or 0 when there was none within 10 seconds."""
    parts = urlsplit(url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname or "", parts.port, timeout=10.0)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    try:
        connection.request(method, target, body=body, headers=dict(headers))
        answer = connection.getresponse()
        answer.read(65_536)
    except (OSError, http.client.HTTPException):
        return 0
    else:
        return answer.status
    finally:
        connection.close()


class Simulator(ABC):
    """Base of all simulators: one lock, the log, faults, webhooks out, callbacks for later.

    Every method that a subclass writes is called under the lock, so none needs its own. `later` callbacks and webhook
    deliveries run on a thread that `serve` starts; without `serve` nothing runs by itself and `advance()` runs what is
    due by `now`, which makes a simulator deterministic under a virtual clock.
    """

    kind: ClassVar[str] = ""
    retry_delays: ClassVar[tuple[float, ...]] = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
    """Seconds before each further attempt of a webhook that was not answered 2xx. Others overtake it meanwhile."""

    def __init__(
        self,
        *,
        now: Callable[[], int] = system_clock,
        credentials: Mapping[str, str],
        webhook: str = "",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """`webhook`: the URL that deliveries go to, "" for none."""
        self.now = now
        self.credentials = dict(credentials)
        self.options = dict(options or {})
        self.webhook = webhook
        self.log: list[LogEntry] = []
        self.sent: list[Sent] = []
        self.faults: list[Fault] = []
        self.lock = threading.RLock()
        self.deliver: Callable[[str, str, Mapping[str, str], bytes], int] = post
        """How a webhook leaves: (method, URL, headers, body) -> status or 0. Replaceable where no network is wanted."""
        self.on_answer: Callable[[Request, Response], None] | None = None
        """Called with each handled request and its answer; tests hold them against the vendor's own description."""
        self._due: list[tuple[int, int, Callable[[], None], bool]] = []  # (when, order, job, needs the lock)
        self._order = 0
        self._webhooks = 0
        self._running = 0
        self._wake = threading.Condition()
        self._stopping = threading.Event()
        self.senders = 1
        """Threads that run what is due. More than one deliver webhooks side by side, in no order, as vendors do."""
        self._threads: list[threading.Thread] = []

    # ---- what a subclass writes ----

    @abstractmethod
    def handle(self, request: Request) -> Response:
        """The vendor's API."""

    @abstractmethod
    def operation(self, request: Request) -> tuple[str, bool, int]:
        """A short stable name ("contacts.batch_update"), whether it is a write, how many records it carries.

        Never raises, whatever was sent.
        """

    @abstractmethod
    def edit(self, object: str, id: str, changes: Mapping[str, Any], actor: str = "person") -> None:
        """A change made by a person at the vendor (dotted path -> value); fires webhooks as the vendor does."""

    @abstractmethod
    def insert(self, object: str, fields: Mapping[str, Any], actor: str = "person") -> str:
        """A record made by a person at the vendor; its id."""

    @abstractmethod
    def remove(self, object: str, id: str, actor: str = "person") -> None:
        """A record deleted by a person at the vendor."""

    @abstractmethod
    def records(self, object: str) -> list[dict[str, Any]]:
        """The present state in the vendor's payload shape, ordered by id."""

    @abstractmethod
    def load(self, data: Mapping[str, list[dict[str, Any]]]) -> None:
        """Initial records per object, in the vendor's payload shape, without webhooks. Missing ids are assigned in
        order."""

    def connect(self, url: str) -> None:
        """Point the webhooks at `url`. A vendor that checks a URL when it is registered extends this."""
        self.webhook = url

    # ---- what a subclass uses ----

    def send(
        self, method: str, path_suffix: str, headers: Mapping[str, str], body: bytes, delay: float = 0.0
    ) -> None:
        """Queue a webhook to `self.webhook + path_suffix`, `delay` seconds from now. Without a URL nothing is sent.

        It is repeated after `retry_delays` until it is answered 2xx, then given up; `sent` shows every attempt.
        """
        if not self.webhook:
            return
        with self.lock:
            fault = self._fault("webhook", write=False)
            kind = fault.kind if fault else ""
            url = self.webhook + path_suffix
            copies = {"drop": 0, "duplicate": 2}.get(kind, 1)
            wait = delay + (fault.seconds if fault and kind == "delay" else 0.0)
            for _ in range(copies):
                self._webhooks += 1
                self._attempt(self._webhooks, 1, (method, url, dict(headers), body), wait)

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Run `callback` under the lock, `seconds` from now: an asynchronous job, a read index that lags."""
        self._put(seconds, callback, needs_lock=True)

    # ---- what the server and tests use ----

    def answer(self, request: Request) -> Wire | None:
        """One request of the vendor's API with its fault, logged. None: close the connection without an answer."""
        name, write, count = self._named(request)
        with self.lock:
            fault = self._fault(name, write)
            kind = fault.kind if fault else ""
            if fault and kind == "status":
                given = Response(
                    status=fault.status, headers=fault.headers, json=fault.json, text=fault.text
                ).encode()
                self._log(request, name, write, count, given.status, kind)
                return given
            if kind == "drop_request":
                self._log(request, name, write, count, 0, kind)
                return None
        if fault and kind == "delay" and self._stopping.wait(fault.seconds):
            return None
        with self.lock:
            if fault and fault.edit:
                made = fault.edit
                self.edit(made.object, made.id, made.changes, made.actor)
            response = self._handled(request)
            # encoded under the lock: the answer may hold pieces of the live state
            wire = response.encode()
            self._log(request, name, write, count, wire.status, kind)
            if self.on_answer:
                self.on_answer(request, response)
        if fault and kind == "hang_after" and self._stopping.wait(fault.seconds):
            return None
        return None if kind == "drop_answer" else wire

    def advance(self) -> int:
        """Run everything that is due by `now`, in order; returns when it is done, with how many jobs this thread ran.

        Not to be called by a callback: it would wait for itself.
        """
        ran = 0
        while True:
            while job := self._take():
                self._run(*job)
                ran += 1
            with self._wake:
                self._wake.wait_for(lambda: not self._running)
                if not self._due or self._due[0][0] > self.now():
                    return ran

    def idle(self, timeout: float = 30.0) -> bool:
        """Wait until no webhook and no later callback is pending; False when `timeout` seconds were not enough."""
        with self._wake:
            return self._wake.wait_for(lambda: not self._due and not self._running, timeout)

    def start(self) -> None:
        """Start the threads that run what is due. `serve` calls it."""
        self._stopping.clear()
        name = f"{self.kind}-simulator"
        self._threads = [
            threading.Thread(target=self._work, name=name, daemon=True) for _ in range(self.senders)
        ]
        for one in self._threads:
            one.start()

    def stop(self) -> None:
        """Stop the threads and whoever waits in a fault; what is pending stays pending."""
        self._stopping.set()
        with self._wake:
            self._wake.notify_all()
        for one in self._threads:
            one.join()
        self._threads = []

    # ---- inside ----

    def _named(self, request: Request) -> tuple[str, bool, int]:
        with self.lock:
            return self.operation(request)

    def _handled(self, request: Request) -> Response:
        try:
            return self.handle(request)
        except Exception as error:  # noqa: BLE001 - a bug of the simulator must show as a 500, never end a thread
            traceback.print_exc(file=sys.stderr)
            return Response(status=500, json={"simulator_error": f"{type(error).__name__}: {error}"})

    def _fault(self, operation: str, write: bool) -> Fault | None:
        for fault in self.faults:
            if not fault.matches(operation, write):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.times == 1:
                self.faults.remove(fault)
            elif fault.times:
                fault.times -= 1
            return fault
        return None

    def _log(self, request: Request, name: str, write: bool, count: int, status: int, fault: str) -> None:
        self.log.append(
            LogEntry(
                n=len(self.log) + 1,
                at=self.now(),
                method=request.method,
                path=request.path,
                operation=name,
                write=write,
                count=count,
                status=status,
                fault=fault,
            )
        )

    def _attempt(
        self, n: int, attempt: int, message: tuple[str, str, Mapping[str, str], bytes], wait: float
    ) -> None:
        def run() -> None:
            method, url, headers, body = message
            status = self.deliver(method, url, headers, body)
            with self.lock:
                path = urlsplit(url).path
                self.sent.append(
                    Sent(n=n, at=self.now(), method=method, path=path, attempt=attempt, status=status)
                )
            if not 200 <= status < 300 and attempt <= len(self.retry_delays):
                self._attempt(n, attempt + 1, message, self.retry_delays[attempt - 1])

        self._put(wait, run, needs_lock=False)

    def _put(self, seconds: float, job: Callable[[], None], *, needs_lock: bool) -> None:
        with self._wake:
            self._order += 1
            when = self.now() + int(seconds * 1_000_000)
            heapq.heappush(self._due, (when, self._order, job, needs_lock))
            self._wake.notify_all()

    def _take(self) -> tuple[Callable[[], None], bool] | None:
        with self._wake:
            if not self._due or self._due[0][0] > self.now():
                return None
            self._running += 1
            _, _, job, needs_lock = heapq.heappop(self._due)
            return job, needs_lock

    def _run(self, job: Callable[[], None], needs_lock: bool) -> None:
        try:
            if needs_lock:
                with self.lock:
                    job()
            else:
                job()
        except Exception:  # noqa: BLE001 - one broken callback must not stop the deliveries after it
            traceback.print_exc(file=sys.stderr)
        finally:
            with self._wake:
                self._running -= 1
                self._wake.notify_all()

    def _work(self) -> None:
        while not self._stopping.is_set():
            if job := self._take():
                self._run(*job)
                continue
            with self._wake:
                if self._stopping.is_set():
                    return
                if not self._due:
                    self._wake.wait()
                else:
                    # a virtual clock may jump at any time, so a wait for it is cut into short ones
                    left = (self._due[0][0] - self.now()) / 1_000_000
                    self._wake.wait(min(max(left, 0.0), 0.05))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
