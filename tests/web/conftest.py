"""The application over a world of toy systems, really listening, with what it announced and counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from syncbroker.sdk.webhook import sign
from syncbroker.store import deliveries
from syncbroker.web.app import make_app
from syncbroker.web.counts import Requests
from syncbroker.web.server import listen, serving, url_of
from syncbroker.web.writer import writing
from tests.support.asking import Answered, ask
from tests.support.rig import Rig
from tests.support.three import three
from tests.support.toy_vendor import CREDENTIALS


class Web:
    """The application, its URL, and the hand of a vendor."""

    def __init__(self, world: Rig, stack: ExitStack, **settings: Any) -> None:
        self.world = world
        self.nudges: list[tuple[int, str]] = []
        self.counts = Requests()
        chosen = world.settings.model_copy(update=settings)
        writer = stack.enter_context(writing(world.engine.store, self._note, chosen.max_waiting))
        app = make_app(world.engine, chosen, writer, lambda: False, self.counts)
        listening = listen("127.0.0.1", 0)
        self.url = url_of(listening)
        stack.enter_context(serving(app, listening, self.counts))

    def _note(self, number: int, system: str) -> None:
        self.nudges.append((number, system))

    def ask(self, method: str, path: str, body: Any = b"", **headers: str) -> Answered:
        return ask(method, self.url, path, body, {"Host": "broker.example", **headers})

    def post(self, body: bytes, path: str = "/webhooks/crm", **headers: str) -> Answered:
        return self.ask("POST", path, body, **headers)

    def proof(self, body: bytes) -> dict[str, str]:
        """The headers of a genuine delivery, sent now."""
        sent = str(self.world.clock() // 1000)
        signature = sign(CREDENTIALS["webhook_secret"], sent, ".", body)
        return {"X-Toy-Time": sent, "X-Toy-Signature": signature}

    def signed(self, body: bytes, path: str = "/webhooks/crm", **headers: str) -> Answered:
        return self.post(body, path, **{**self.proof(body), **headers})

    def stored(self) -> list[deliveries.Stored]:
        with self.world.engine.store.read() as tx:
            return deliveries.load(tx, [number for number, _ in deliveries.new(tx, 100)])


Start = Callable[..., Web]


@pytest.fixture
def world(tmp_path: Path, sqlite_url: str) -> Iterator[Rig]:
    with three(tmp_path, sqlite_url) as made:
        yield made


@pytest.fixture
def start(world: Rig) -> Iterator[Start]:
    """Starts the application with other settings."""
    with ExitStack() as stack:
        yield partial(Web, world, stack)


@pytest.fixture
def web(start: Start) -> Web:
    return start()


def until_logged(logs: list[Any], event: str, times: int = 1) -> None:
    """A request is logged after it was answered."""
    until = time.monotonic() + 30
    while sum(line["event"] == event for line in logs) < times and time.monotonic() < until:
        time.sleep(0.005)
