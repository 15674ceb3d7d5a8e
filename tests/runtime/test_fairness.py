"""A huge backfill of one system and another one that hangs keep nobody waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncbroker.engine import decide, receive
from syncbroker.sdk.simulator import Fault
from syncbroker.store import queues, runs, tables
from syncbroker.workers import Workers
from tests.support.rig import Rig, entity_text, rig
from tests.support.telling import deliver, until

FIELDS = """  email:
    type: email
    required: true
    policy: prefer
    systems: {b: email, d: email, a: email, c: email}
  name: {type: person_name, policy: prefer, systems: {b: name, d: name, a: name, c: name}}"""

MANY = 4000


@pytest.fixture
def world(tmp_path: Path, store_url: str) -> Iterator[Rig]:
    """`b` and `d` are in step; `c` hangs; `a` is to be read for the first time, and has thousands."""
    ann = {"email": "ann@x.example", "name": "Ann Lee"}
    data: dict[str, list[dict[str, Any]]] = {"b": [ann], "d": [ann], "a": [], "c": [ann]}
    with rig(tmp_path / "mappings", store_url, entity_text(FIELDS, data), data) as made:
        made.sync()
        made.systems["a"].load({"people": [{"email": f"p{n}@x.example", "name": "A B"} for n in range(MANY)]})
        with made.engine.store.write() as tx:
            tx.run(tables.cursors.delete().where(tables.cursors.c.system == "a"))
        made.systems["c"].faults.append(Fault(operation="people.*", kind="delay", seconds=3600, times=0))
        yield made


def test_a_webhook_is_decided_and_written_while_a_backfill_is_decided_and_another_system_hangs(
    world: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks, first, go_on = list[int](), threading.Event(), threading.Event()
    whole = decide.decide_chunk

    def slowly(engine: Any, run: int, limit: int = 100, **more: Any) -> decide.Decided:
        if run != queues.LIVE:
            chunks.append(run)
            first.set()
            if len(chunks) == 3:
                go_on.wait()
        return whole(engine, run, limit, **more)

    monkeypatch.setattr(decide, "decide_chunk", slowly)
    workers = Workers(world.engine, 0.05)
    workers.begin()
    workers.start()
    try:
        first.wait()
        workers.nudge(deliver(world, "b", email="new@x.example"), "b")
        until(lambda: "new@x.example" in world.held("d"))
        with world.engine.store.read() as tx:
            assert queues.inbox_size(tx, chunks[0]) > MANY / 2
            assert runs.cursor(tx, "a", "people").first_read is None
    finally:
        go_on.set()
        world.systems["c"].stop()
        workers.stop()


def test_what_came_by_itself_is_decided_between_the_chunks_of_a_run_that_was_let_go(
    world: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deciding lane has such a run to itself; it must not finish it first."""
    from syncbroker.engine import cycle

    world.systems["c"].faults.clear()
    monkeypatch.setattr(decide, "CHUNK", 100)
    order = list[int]()
    whole = decide.decide_chunk

    def noted(engine: Any, run: int, limit: int = 100, **more: Any) -> decide.Decided:
        found = whole(engine, run, 100, **more)
        if found.taken:
            order.append(run)
        if len(order) == 3:
            engine_receives(world)
        return found

    monkeypatch.setattr(decide, "decide_chunk", noted)
    source = world.engine.sources["a", "people"]
    from syncbroker.engine import ingest

    result = ingest.pull(world.engine, source)
    with world.engine.store.write() as tx:
        runs.move(tx, result.run, "done", {})
    cycle.decide_waiting(world.engine, cycle.Summary())
    assert order[3] == queues.LIVE or order[4] == queues.LIVE
    assert len(order) > 30


def engine_receives(world: Rig) -> None:

    receive.receive(world.engine, deliver(world, "b", name="Anna Lee"))
