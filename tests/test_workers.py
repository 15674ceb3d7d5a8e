from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from syncbroker.engine import cycle
from syncbroker.engine import deliver as delivering
from syncbroker.sdk.simulator import Fault
from syncbroker.store import deliveries, runs, stops, turns
from syncbroker.workers import Workers
from tests.support.deliveries import arrive
from tests.support.rig import Rig
from tests.support.telling import deliver, scheduled, until
from tests.support.three import three
from tests.support.writing import write


@pytest.fixture
def world(tmp_path: Path, sqlite_url: str) -> Iterator[Rig]:
    with three(tmp_path, sqlite_url) as made:
        yield made


@contextmanager
def working(world: Rig, tick: float = 0.02) -> Iterator[Workers]:
    workers = Workers(world.engine, tick)
    workers.start()
    try:
        yield workers
    finally:
        workers.stop()


def test_a_scheduled_pull_finds_an_edit_and_it_is_written_everywhere(world: Rig) -> None:
    scheduled(world, "    pull: {every: 5m}\n")
    with working(world):
        world.edit("crm", "p000001", name="Anna Lee")
        world.clock.pass_(331)
        until(lambda: world.held("marketing", "name")[0] == "Anna Lee")


def test_a_scheduled_sweep_finds_what_no_poll_would(world: Rig) -> None:
    scheduled(world, "    sweep: {every: 1h}\n")
    with working(world):
        world.systems["crm"]._live["people"]["p000001"]["fields"]["name"] = "Anna Lee"
        world.systems["crm"]._live["people"]["p000001"]["version"] += 1
        world.clock.pass_(3961)
        until(lambda: world.held("marketing", "name")[0] == "Anna Lee")


def test_a_reading_that_took_place_meanwhile_is_not_repeated(world: Rig) -> None:
    scheduled(world, "    pull: {every: 5m}\n")
    workers = Workers(world.engine, 1.0)
    workers.clock.look()
    world.clock.pass_(331)
    with world.engine.store.read() as tx:
        (turn,) = turns.due(tx, world.clock())
    world.sync()  # as a person may
    before = len(world.systems["crm"].log)
    workers.work.pull("crm", "people", turn.due)
    assert len(world.systems["crm"].log) == before
    workers.stop()


# ---- work ----


def test_a_delivery_is_read_decided_and_written_to_the_others(world: Rig) -> None:
    with working(world, tick=60) as workers:
        workers.nudge(deliver(world, "marketing", email="new@x.example"), "marketing")
        until(lambda: all("new@x.example" in world.held(name) for name in world.systems))


def test_a_delivery_that_nobody_announced_is_found_by_the_clock(world: Rig) -> None:
    deliver(world, "marketing", email="new@x.example")
    with working(world):
        until(lambda: all("new@x.example" in world.held(name) for name in world.systems))


def test_a_delivery_that_is_announced_twice_is_dealt_with_once(world: Rig) -> None:
    number = deliver(world, "marketing", email="new@x.example")
    with working(world, tick=60) as workers:
        workers.nudge(number, "marketing")
        workers.nudge(number, "marketing")
        until(lambda: "new@x.example" in world.held("crm"))
    assert world.kinds()["adopted"] == _adopted_at_first(world) + 1


def _adopted_at_first(world: Rig) -> int:
    return sum(summary.kinds["adopted"] for summary in world.summaries)


def test_a_write_that_failed_is_made_by_the_clock_once_its_time_has_come(world: Rig) -> None:
    world.systems["crm"].faults.append(Fault(operation="people.write", kind="status", status=401, times=1))
    deliver(world, "marketing", email="new@x.example")
    with working(world):
        until(lambda: "new@x.example" in world.held("billing"))
        until(lambda: failures(world, "crm") > 0)  # before that, nothing is put off yet
        assert "new@x.example" not in world.held("crm")
        world.clock.pass_(60)
        until(lambda: "new@x.example" in world.held("crm"))


def failures(world: Rig, system: str) -> int:
    with world.engine.store.read() as tx:
        return runs.breaker(tx, system).failures


def test_a_system_whose_calls_hang_keeps_nobody_waiting_but_itself(world: Rig) -> None:
    world.systems["crm"].faults.append(Fault(operation="people.write", kind="delay", seconds=3600, times=0))
    deliver(world, "marketing", email="new@x.example")
    with working(world):
        until(lambda: "new@x.example" in world.held("billing"))
        deliver(world, "marketing", email="newer@x.example")
        until(lambda: "newer@x.example" in world.held("billing"))
        assert world.held("crm")[0] == "ann@x.example"
        world.servers["crm"].close() if hasattr(world.servers["crm"], "close") else world.systems[
            "crm"
        ].stop()


def test_a_delivery_of_a_system_that_cannot_be_read_waits_and_is_not_tried_every_tick(world: Rig) -> None:
    world.systems["marketing"].faults.append(
        Fault(operation="people.read", kind="status", status=401, times=0)
    )
    number = deliver(world, "marketing")
    with capture_logs() as logs, working(world) as workers:
        workers.nudge(number, "marketing")
        until(lambda: any(line.get("work") == "receive" for line in logs))
        for _ in range(20):
            workers.clock.look()
        world.systems["marketing"].faults.clear()
        assert sum(line.get("work") == "receive" for line in logs) == 1
        world.clock.pass_(10)
        until(lambda: "delete" in {review.kind for review in world.reviews()})


def test_a_quiet_world_is_only_looked_at(world: Rig) -> None:
    world.sync()
    workers = Workers(world.engine, 1.0)
    workers.start()
    before = [len(system.log) for system in world.systems.values()]
    for _ in range(3):
        workers.clock.look()
    assert all(queue.qsize() == 0 for queue in workers.broker.queues.values())
    assert cycle.due(world.engine) == cycle.Due([], False, [], [])
    workers.stop()
    assert [len(system.log) for system in world.systems.values()] == before


def test_beginning_takes_up_what_came_while_nobody_worked(world: Rig) -> None:
    deliver(world, "marketing", email="new@x.example")
    world.edit("crm", "p000002", name="Bob Moved")
    workers = Workers(world.engine, 0.02)
    assert not workers.synced
    workers.begin()
    workers.start()
    until(lambda: workers.synced)
    assert all("new@x.example" in world.held(name) for name in world.systems)
    assert "Bob Moved" in world.held("marketing", "name")
    workers.stop()


def test_what_was_announced_and_not_yet_read_is_not_in_step(world: Rig) -> None:
    world.edit("crm", "p000002", name="Bob Moved")
    workers = Workers(world.engine, 60)
    workers.begin()
    workers.clock.look()
    assert not workers.synced
    workers.start()
    until(lambda: workers.synced)
    workers.stop()


def test_what_is_being_written_is_not_in_step(world: Rig) -> None:
    workers = Workers(world.engine, 60)
    workers.begin()
    for source in world.engine.sources.values():
        with world.engine.store.read() as tx:
            (turn,) = [one for one in turns.every(tx) if one.kind == "pull" and one.system == source.system]
        if source.system == "crm":
            world.edit("crm", "p000002", name="Bob Moved")
        workers.work.pull(source.system, source.object, turn.due)
    claims = delivering.claim(world.engine, "marketing", world.engine.now())
    assert not workers.synced
    write(world.engine, claims)
    assert workers.synced
    workers.stop()


def test_beginning_goes_on_when_the_system_of_a_waiting_delivery_is_down(world: Rig) -> None:
    number = deliver(world, "marketing")
    world.edit("crm", "p000002", name="Bob Moved")
    world.systems["marketing"].faults.append(
        Fault(operation="people.read", kind="status", status=401, times=0)
    )
    workers = Workers(world.engine, 0.02)
    with capture_logs() as logs:
        workers.begin()
        workers.start()
        until(lambda: "Bob Moved" in world.golden("name"))
        until(lambda: any(line["event"] == "put off" for line in logs))
        said = list(logs)  # what is cut off by the end is put off as well
        workers.stop()
    assert {line["system"] for line in said if line["event"] == "put off"} == {"marketing"}
    with world.engine.store.read() as tx:
        assert deliveries.new(tx, 10) == [(number, "marketing")]


def test_stopping_before_starting_is_no_fault(world: Rig) -> None:
    assert Workers(world.engine, 1.0).stop()


def test_deliveries_of_a_paused_system_do_not_hide_those_of_others(world: Rig) -> None:
    request = deliveries.Request(method="POST", url="http://broker.example")
    with world.engine.store.write() as tx:
        for n in range(5):
            arrive(tx, "marketing", f"digest {n}", world.clock(), request, b"[]")
        arrive(tx, "crm", "digest", world.clock(), request, b"[]")
    with world.engine.store.write() as tx:
        stops.stop(tx, stops.Stop(system="marketing", since=1, person="pat", why="a test"))
    assert cycle.due(world.engine).told == ["crm"]


def _make_due_turns(workers: Workers, world: Rig) -> None:
    for one in workers.clock._take_turns(world.clock()):
        workers.work.pull(one.system, one.object, one.due)


def test_a_clock_that_was_set_back_delays_no_reading_by_more_than_its_schedule(world: Rig) -> None:
    scheduled(world, "    pull: {every: 5m}\n")
    workers = Workers(world.engine, 1.0)
    workers.clock.look()
    world.clock.pass_(331)
    _make_due_turns(workers, world)
    world.clock.pass_(-3600)
    set_back = world.clock()
    workers.clock.look()
    world.clock.pass_(331)
    _make_due_turns(workers, world)
    with world.engine.store.read() as tx:
        pulled = runs.cursor(tx, "crm", "people").pulled
    assert pulled is not None
    assert set_back < pulled <= world.clock()
