"""`serve` and `worker` as a user starts them: real processes, real signals, real webhooks."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from syncbroker.web.server import listen
from tests.cli.conftest import World
from tests.support.asking import ask


class Serving:
    """A running broker. `url` is where it listens, "" for a worker."""

    def __init__(self, world: World, child: subprocess.Popen[str], url: str) -> None:
        self.world, self.child, self.url = world, child, url

    def until_synced(self) -> None:
        until(lambda: bool(ask("GET", self.url, "/readyz").json().get("synced")))

    def connect(self) -> None:
        """Every vendor delivers to it from now on."""
        for name, system in self.world.systems.items():
            system.connect(f"{self.url}/webhooks/{name}")

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, list[dict[str, Any]]]:
        """Its exit code, and its log."""
        self.child.send_signal(number)
        _, err = self.child.communicate()
        return self.child.returncode, [json.loads(line) for line in err.splitlines()]


def until(there: Callable[[], bool]) -> None:
    while not there():
        time.sleep(0.01)


@contextmanager
def running(world: World, *arguments: str) -> Iterator[Serving]:
    with world.start(*arguments) as child:
        try:
            assert child.stdout is not None
            url = json.loads(child.stdout.readline())["url"] if arguments[0] == "serve" else ""
            yield Serving(world, child, url)
        finally:
            child.kill()


def test_an_edit_at_a_vendor_is_everywhere_and_explained_by_its_webhook(world: World) -> None:
    with running(world, "serve", "--json") as broker:
        broker.until_synced()
        broker.connect()
        world.systems["marketing"].edit("people", "p000001", {"email": "new@x.example"})
        until(lambda: all("new@x.example" in world.held(name) for name in world.systems))
        until(lambda: world.run("status", "--json").json["deliveries"].get("new", 0) == 0)
        email = world.run("explain", "person:new@x.example", "email", "--json").json["fields"][0]
        code, log = broker.stop()
    assert email["decided"]["via"] == "webhook"
    assert email["decided"]["event"].startswith("e0")
    assert code == 0
    assert {"synced", "delivery", "request"} <= {line["event"] for line in log}
    assert "x.example" not in str(log)
    assert [line for line in log if line["level"] in ("warning", "error")] == []


def test_an_interruption_ends_it_in_good_order_and_the_first_line_is_for_people(world: World) -> None:
    with world.start("serve") as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        child.send_signal(signal.SIGINT)
        child.communicate()
    assert line.startswith("syncbroker serves on http://127.0.0.1:")
    assert child.returncode == 0
    assert world.run("sync").code == 0  # the store is free again, and whole


def test_while_it_works_others_may_look_and_answer_but_not_work(world: World) -> None:
    with running(world, "serve", "--json") as broker:
        broker.until_synced()
        assert world.run("sync").code == 1
        assert world.run("review", "resolve", "1", "--choose", "marketing").code == 0
        until(lambda: world.held("crm", "phone")[0] == "+15559999999")
        assert broker.stop()[0] == 0


def test_without_a_worker_deliveries_are_kept_for_the_next_one(synced: World) -> None:
    with running(synced, "serve", "--json", "--no-worker") as broker:
        broker.connect()
        synced.systems["marketing"].edit("people", "p000001", {"email": "new@x.example"})
        until(lambda: synced.run("status", "--json").json["deliveries"].get("new", 0) > 0)
        assert synced.held("crm")[0] == "ann@x.example"
        assert synced.run("sync").code == 0
        assert synced.held("crm")[0] == "new@x.example"


def test_a_worker_alone_syncs_and_ends_on_a_signal(world: World) -> None:
    with running(world, "worker") as broker:
        until(lambda: len(world.held("billing")) == 2)
        code, log = broker.stop()
    assert code == 0
    assert "read" in {line["event"] for line in log}


def test_a_killed_process_leaves_nothing_that_the_next_one_does_not_take_up(world: World) -> None:
    with running(world, "serve", "--json") as broker:
        broker.until_synced()
        broker.connect()
        world.systems["marketing"].edit("people", "p000001", {"email": "new@x.example"})
        broker.child.kill()
        broker.child.communicate()
    with running(world, "serve", "--json") as broker:
        until(lambda: all("new@x.example" in world.held(name) for name in world.systems))


def test_a_port_that_is_taken_is_one_message(world: World) -> None:
    with closing(listen("127.0.0.1", 0)) as taken:
        ran = world.run("serve", "--port", str(taken.getsockname()[1]))
    assert ran.code == 1
    assert ran.err.startswith("syncbroker: cannot listen on 127.0.0.1:")
