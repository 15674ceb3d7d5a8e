"""One id follows a webhook from its delivery to the writes that it causes, through the log and the decisions."""

from __future__ import annotations

from typing import Any

from tests.cli.conftest import World
from tests.cli.test_serve import running, until
from tests.support.asking import ask


def events(log: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [line for line in log if line["event"] == name]


def test_one_id_is_on_the_delivery_its_decision_and_the_writes_it_causes(world: World) -> None:
    with running(world, "serve", "--json") as broker:
        broker.until_synced()
        broker.connect()
        world.systems["marketing"].edit("people", "p000001", {"email": "new@x.example"})
        until(lambda: all("new@x.example" in world.held(name) for name in world.systems))
        until(lambda: world.run("status", "--json").json["deliveries"].get("new", 0) == 0)
        steps = world.run("decisions", "--kind", "adopted", "--field", "email", "--json").json
        metrics = ask("GET", broker.url, "/metrics").text
        _, log = broker.stop()
    edits = [one["step"]["trace"] for one in steps if one["step"]["via"] == "webhook"]
    trace = edits[0]
    assert trace in {line["trace"] for line in events(log, "request") if line.get("outcome") == "stored"}
    assert trace in {line["trace"] for line in events(log, "received")}
    (decided,) = [line for line in events(log, "decided") if line["trace"] == trace]
    assert decided["kinds"]["adopted"] >= 1  # what came with it is decided in the same transaction
    written = [line for line in events(log, "written") if line["trace"] == trace]
    assert {(line["system"], line["op"], line["answer"]) for line in written} == {
        ("crm", "update", "done"),
        ("billing", "update", "done"),
    }
    assert all(line["link"] and line["object"] == "people" for line in written)
    assert 'syncbroker_decisions_total{kind="adopted"}' in metrics


def test_what_a_run_read_bears_the_runs_id_up_to_its_writes(synced: World) -> None:
    synced.systems["marketing"].edit("people", "p000001", {"email": "new@x.example"})
    with running(synced, "worker") as broker:
        until(lambda: "new@x.example" in synced.held("crm"))
        _, log = broker.stop()
    decided = [line for line in events(log, "decided") if "adopted" in line["kinds"]]
    (trace,) = {line["trace"] for line in decided}
    assert trace == f"run-{decided[0]['run']}"
    assert {line["trace"] for line in events(log, "written") if line["system"] == "crm"} == {trace}
