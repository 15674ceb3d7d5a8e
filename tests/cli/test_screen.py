"""The first screen of `status`: how each system fares, and `--watch`."""

from __future__ import annotations

import json
import signal

import pytest

from syncbroker.cli.screen import span
from syncbroker.store import deliveries, runs
from syncbroker.store.database import open_store
from tests.cli.conftest import World, lines
from tests.support.deliveries import arrive


def fares(world: World) -> dict[str, dict[str, object]]:
    return {one["system"]: one for one in world.run("status", "--json").json["fares"]}


def allow(world: World, system: str, lag: str) -> None:
    file = world.mappings / "systems.yaml"
    file.write_text(file.read_text().replace(f"  {system}:\n", f"  {system}:\n    max_lag: {lag}\n"))


def test_each_system_has_a_line_that_says_how_it_fares(synced: World) -> None:
    head = synced.run("status").out.splitlines()[:6]
    assert [line.split()[:2] for line in head if line.startswith(("crm", "marketing", "billing"))] == [
        ["crm", "fine"],
        ["marketing", "fine"],
        ["billing", "fine"],
    ]


def test_a_paused_system_is_shown_with_who_and_why(synced: World) -> None:
    synced.run("pause", "crm", "--why", "their upgrade", "--person", "Kim")
    assert fares(synced)["crm"]["state"] == "paused"
    assert lines(synced.run("status").out, "crm is paused since", "by Kim: their upgrade")


def test_what_waits_longer_than_its_target_is_late(synced: World) -> None:
    allow(synced, "crm", "60s")
    allow(synced, "marketing", "90d")
    store = open_store(synced.url)
    request = deliveries.Request(method="POST", url="x")
    with store.write() as tx:
        for system in ("crm", "marketing", "billing"):
            arrive(tx, system, "d", 1_790_000_000_000_000, request, b"[]")
    store.close()
    found = fares(synced)
    assert {name: one["state"] for name, one in found.items()} == {
        "crm": "late",
        "marketing": "fine",
        "billing": "fine",
    }
    assert [one["max_lag"] for one in found.values()] == [60.0, 7_776_000.0, None]
    assert all(float(str(one["lag"])) > 3600 and one["queue"] == 1 for one in found.values())


def test_calls_that_are_held_back_are_told(synced: World) -> None:
    store = open_store(synced.url)
    with store.write() as tx:
        runs.set_breaker(tx, "crm/reads", runs.Breaker(failures=7, open_until=2**52, message="503"))
    store.close()
    assert fares(synced)["crm"]["state"] == "held back"
    assert lines(synced.run("status").out, "crm failed 7 times in a row, left alone until", ": 503")


def test_a_system_that_waits_for_one_call_to_go_well_is_still_held_back(synced: World) -> None:
    store = open_store(synced.url)
    with store.write() as tx:
        runs.set_breaker(tx, "crm", runs.Breaker(failures=1, open_until=9, message="500"))
        runs.set_breaker(tx, "crm/reads", runs.Breaker(failures=5, open_until=8, message="403"))
        runs.set_breaker(tx, "billing", runs.Breaker(failures=4, open_until=8, message="503"))
    store.close()
    found = fares(synced)
    assert [found[name]["state"] for name in ("crm", "billing")] == ["held back", "fine"]
    assert found["crm"]["held_back_why"] == "403"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0s"), (59.4, "59s"), (60, "1m"), (7_300, "2h"), (200_000, "2d")]
)
def test_spans_are_short(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_watch_looks_again_and_ends_cleanly_on_ctrl_c(synced: World) -> None:
    with synced.start("status", "--watch", "--every", "0.2", "--json") as child:
        assert child.stdout is not None
        looks = [json.loads(child.stdout.readline()) for _ in range(2)]
        child.send_signal(signal.SIGINT)
        _, err = child.communicate()
    assert (child.returncode, err) == (0, "")
    assert [one["system"] for one in looks[1]] == ["crm", "marketing", "billing"]


def test_a_watch_for_people_ends_cleanly_too(synced: World) -> None:
    with synced.start("status", "--watch", "--every", "0.2") as child:
        assert child.stdout is not None
        child.send_signal(signal.SIGINT) if child.stdout.readline() else None
        _, err = child.communicate()
    assert (child.returncode, err) == (0, "")
