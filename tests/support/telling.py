"""Webhooks that are in the store, schedules, and waiting for what comes: for tests of what goes on by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from syncbroker.bootstrap import build
from syncbroker.engine import cycle
from syncbroker.store import deliveries
from tests.support.deliveries import arrive
from tests.support.rig import REGISTRY, Rig


def until(there: Callable[[], bool], step: Callable[[], object] = lambda: None) -> None:
    """Wait for something that comes; pytest's own timeout is the only limit. `step`: done before each look."""
    step()
    while not there():
        time.sleep(0.005)
        step()


def deliver(world: Rig, system: str, id: str = "p000001", **changes: Any) -> int:
    """A person edits somebody there, or without changes deletes them; the webhook is in the store, and nobody
    was told."""
    sent: list[tuple[str, bytes]] = []
    simulator = world.systems[system]
    simulator.webhook = "http://broker.example/webhooks/" + system

    def keep(_method: str, url: str, _headers: object, body: bytes) -> int:
        sent.append((url, body))
        return 200

    simulator.deliver = keep
    if changes:
        world.edit(system, id, **changes)
    else:
        simulator.remove("people", id)
    until(lambda: bool(sent))
    simulator.webhook = ""
    url, body = sent[0]
    with world.engine.store.write() as tx:
        return arrive(
            tx,
            system,
            f"digest {world.clock()}",
            world.clock(),
            deliveries.Request(method="POST", url=url),
            body,
        )


def scheduled(world: Rig, text: str) -> None:
    """The same world under a mapping with further keys for the first system."""
    path = world.folder / "systems.yaml"
    path.write_text(path.read_text().replace("    connector: toy\n", f"    connector: toy\n{text}", 1))
    world.engine.close()
    world.engine = build(
        world.settings, store=world.engine.store, now=world.clock, environment={}, registry=REGISTRY
    )
    cycle.activate(world.engine)
