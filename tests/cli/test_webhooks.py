from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from io import StringIO

import pytest

from syncbroker.bootstrap import build
from syncbroker.cli import logs
from syncbroker.engine import receive
from syncbroker.settings import read_settings
from syncbroker.store.database import open_store
from syncbroker.web.app import make_app
from syncbroker.web.counts import Requests
from syncbroker.web.server import listen, serving, url_of
from syncbroker.web.writer import writing
from tests.cli.conftest import World
from tests.support import log


@pytest.fixture
def reached(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A broker that listens at its public address, and deals with what it is told at once."""
    with ExitStack() as stack:
        logs.configure(
            "ERROR", StringIO()
        )  # the log of a broker in this process is none of the command's output
        stack.callback(log.plain)
        listening = listen("127.0.0.1", 0)
        monkeypatch.setenv("SYNCBROKER_PUBLIC_URL", url_of(listening))
        settings = read_settings()
        store = open_store(settings.database_url)
        stack.callback(store.close)
        engine = build(settings, store=store)
        stack.callback(engine.close)

        def nudge(number: int, _system: str) -> None:
            receive.receive(engine, number)

        writer = stack.enter_context(writing(store, nudge, 1000))
        counts = Requests()
        app = make_app(engine, settings, writer, lambda: True, counts)
        stack.enter_context(serving(app, listening, counts))
        yield settings.public_url


def test_what_is_registered_is_found_again_and_not_made_twice(world: World, reached: str) -> None:
    first = world.run("webhooks", "register", "crm", "--json")
    assert first.code == 0
    assert first.json["crm"][0]["url"] == f"{reached}/webhooks/crm"
    assert world.run("webhooks", "register", "crm").code == 0
    assert world.systems["crm"].webhook == f"{reached}/webhooks/crm"
    sets = [one for one in world.systems["crm"].log if one.operation == "hooks.set"]
    assert len(sets) == 1


def test_the_list_says_whose_each_is(world: World, reached: str) -> None:
    world.systems["crm"].connect("https://elsewhere.example/hook")
    assert [one["told"] for one in world.run("webhooks", "list", "crm", "--json").json["crm"]] == [
        "somebody else's",
        "none of them is ours",
    ]


def test_a_try_tells_every_step(world: World, reached: str) -> None:
    done = world.run("webhooks", "test", "crm", "--json")
    assert [(one["step"], one["ok"]) for one in done.json["crm"]] == [
        ("a forged delivery is refused", True),
        ("a genuine one is taken", True),
        ("it is stored", True),
        ("a worker deals with it", True),
    ]
    assert done.code == 0


def test_a_try_without_a_broker_says_that_nobody_answers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCBROKER_PUBLIC_URL", "http://127.0.0.1:1")
    done = world.run("webhooks", "test", "crm", "--json")
    assert done.code == 1
    assert "no answer" in done.json["crm"][0]["told"]


@pytest.mark.parametrize("what", ["register", "list"])
def test_without_a_public_address_it_says_which_setting_is_missing(world: World, what: str) -> None:
    done = world.run("webhooks", what)
    assert done.code == 1
    assert done.err.count("SYNCBROKER_PUBLIC_URL") == 1


def test_a_system_that_does_not_exist_is_a_wrong_command_line(world: World) -> None:
    assert world.run("webhooks", "list", "nobody").code == 2
