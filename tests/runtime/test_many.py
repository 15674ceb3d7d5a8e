"""Two workers, schedulers and senders in one test process, on a real PostgreSQL and a real Redis."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from syncbroker.bootstrap import build
from syncbroker.engine import Engine, cycle, ingest
from syncbroker.errors import StoreUnusable
from syncbroker.runtime.clock import Clock
from syncbroker.runtime.nudges import Kind, Nudges, make_broker
from syncbroker.sdk.simulator import Fault
from syncbroker.store import leases, queues, runs, stops, tables, turns
from syncbroker.store.database import Tx
from syncbroker.store.turns import Turn
from syncbroker.workers import Sender, Workers
from tests.support import redis
from tests.support.rig import REGISTRY, Rig
from tests.support.telling import deliver, scheduled, until
from tests.support.three import three


@pytest.fixture
def world(tmp_path: Path, postgres_url: str) -> Iterator[Rig]:
    with three(tmp_path, postgres_url) as made:
        yield made


@contextmanager
def another(world: Rig) -> Iterator[Engine]:
    """What another process has: an engine of its own on the same store."""
    settings = world.settings
    engine = build(settings, store=world.engine.store, now=world.clock, environment={}, registry=REGISTRY)
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def working(world: Rig, url: str, many: int = 2, tick: float = 0.05) -> Iterator[list[Workers]]:
    with ExitStack() as stack:
        engines = [world.engine, *(stack.enter_context(another(world)) for _ in range(many - 1))]
        found = [Workers(engine, tick, url) for engine in engines]
        for one in found:
            one.start()
            stack.callback(one.stop)
        yield found


def test_what_a_web_process_stores_is_dealt_with_at_once_by_a_worker(world: Rig, redis_url: str) -> None:
    sender = Sender(redis_url)
    with working(world, redis_url, tick=60):
        sender.nudge(deliver(world, "marketing", email="new@x.example"), "marketing")
        until(lambda: all("new@x.example" in world.held(name) for name in world.systems))
    sender.close()


def test_without_redis_everything_is_found_in_the_store(world: Rig, redis_server: redis.Server) -> None:
    sender = Sender(redis_server.url)
    with capture_logs() as logs, working(world, redis_server.url):
        redis_server.kill()
        sender.nudge(deliver(world, "marketing", email="new@x.example"), "marketing")
        until(lambda: all("new@x.example" in world.held(name) for name in world.systems))
        redis_server.start()
        until(lambda: "redis back" in [line["event"] for line in logs])
        deliver(world, "marketing", email="newer@x.example")
        until(lambda: all("newer@x.example" in world.held(name) for name in world.systems))
    sender.close()
    assert 1 <= [line["event"] for line in logs].count("redis away") <= 3  # each process says so once


def test_a_redis_that_loses_every_message_loses_no_work(world: Rig, redis_url: str) -> None:
    with working(world, redis_url):
        for n in range(3):
            deliver(world, "marketing", email=f"new{n}@x.example")
            redis.flush(redis_url)
            until(partial(everywhere, world, f"new{n}@x.example"))


def everywhere(world: Rig, email: str) -> bool:
    return all(email in world.held(name) for name in world.systems)


def polled(world: Rig, system: str, times: int) -> bool:
    return polls(world, system) >= times


def polls(world: Rig, system: str) -> int:
    return sum(entry.operation == "people.list" for entry in world.systems[system].log)


def test_each_due_turn_is_made_once_however_many_clocks_there_are(world: Rig, redis_url: str) -> None:
    scheduled(world, "    pull: {every: 5m, jitter: 0s}\n")
    with working(world, redis_url, tick=0.02), another(world) as third:
        nudges = Nudges(make_broker(redis_url))
        clock = Clock(third, nudges, 0.02)
        clock.start()
        try:
            before = polls(world, "crm")
            for n in range(1, 6):
                world.clock.pass_(301)
                until(partial(polled, world, "crm", before + n))
                until(lambda: not started(world))
            assert polls(world, "crm") == before + 5
        finally:
            clock.stop(5)
            nudges.close()


def started(world: Rig) -> list[Turn]:
    with world.engine.store.read() as tx:
        return [one for one in turns.every(tx) if (one.started or 0) > (one.ended or 0)]


def test_a_turn_that_another_process_begins_at_this_moment_is_not_of_a_clock_that_was_set_back(
    world: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduled(world, "    pull: {every: 5m, jitter: 0s}\n")
    engine = world.engine
    clock = Clock(engine, Kept(), 1.0)
    clock.plan()
    every, begun = turns.every, world.clock() + 301_000_000

    def held_up(tx: Tx) -> list[Turn]:
        """What is there some minutes after this was called: meanwhile another process has begun the turn."""
        world.clock.pass_(301)
        turn = Turn(system="crm", object="people", kind="pull", due=begun, plan="")
        turns.begin(tx, turn, begun, begun + 300_000_000)
        return every(tx)

    with monkeypatch.context() as patch:
        patch.setattr(turns, "every", held_up)
        clock.plan()
    with engine.store.read() as tx:
        (turn,) = [one for one in turns.every(tx) if (one.system, one.kind) == ("crm", "pull")]
    assert (turn.started, turn.due) == (begun, begun + 300_000_000)


class Kept(Nudges):
    """What was sent, instead of sending it."""

    def __init__(self) -> None:
        super().__init__(make_broker(""))
        self.sent: list[tuple[str, tuple[object, ...]]] = []

    def send(self, kind: Kind, *ids: object) -> None:
        self.sent.append((kind.name, ids))


def test_of_clocks_that_look_at_the_same_moment_one_announces(world: Rig) -> None:
    scheduled(world, "    pull: {every: 5m, jitter: 0s}\n")
    kept = [Kept() for _ in range(8)]
    clocks = [Clock(world.engine, one, 1.0) for one in kept]
    for one in clocks:
        one.look()
    world.clock.pass_(301)
    start = threading.Barrier(len(clocks))

    def look(one: Clock) -> None:
        start.wait()
        one.look()

    threads = [threading.Thread(target=look, args=(one,)) for one in clocks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [name for one in kept for name, _ in one.sent] == ["pull_source"]


def test_a_turn_that_was_announced_and_not_made_is_announced_again(world: Rig) -> None:
    scheduled(world, "    pull: {every: 5m, jitter: 0s}\n")
    kept = Kept()
    clock = Clock(world.engine, kept, 1.0)
    clock.look()
    world.clock.pass_(301)
    clock.look()
    clock.look()
    assert len(kept.sent) == 1
    world.clock.pass_(turns.AGAIN / 1_000_000 + 1)
    clock.look()
    assert [name for name, _ in kept.sent] == ["pull_source"] * 2


# ---- leases ----


def test_a_reading_that_a_live_process_has_under_way_is_left_to_it(world: Rig) -> None:
    source = world.engine.sources["crm", "people"]
    with another(world) as other, other.holder.holding(ingest.lease(source)):
        with other.store.write() as tx:
            run = runs.begin(tx, "pull", "crm", "people", world.clock())
        summary = cycle.recover(world.engine)
        cycle.take_up(world.engine, source, summary)
        assert set(world.sync().failed) == {"crm"}
        with other.store.read() as tx:
            assert runs.unfinished(tx)[0].id == run
        assert cycle.due(world.engine).abandoned == []
    assert cycle.due(world.engine).abandoned == [(source, "pull")]
    assert not world.sync().failed


def test_a_lease_that_nobody_renews_is_taken_by_the_next(world: Rig) -> None:
    with world.engine.store.write() as tx:
        assert leases.take(tx, "read:crm:people", "one", term=1)
    time.sleep(0.001)
    with world.engine.store.write() as tx:
        assert leases.take(tx, "read:crm:people", "other")
        assert not leases.take(tx, "read:crm:people", "one")
        assert leases.renew(tx, "one", ["read:crm:people"]) == set()


def test_a_lease_that_could_not_be_given_back_runs_out_while_its_process_lives(
    world: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = world.engine.holder
    assert holder.take("read:crm:people")

    def away(*_given: object) -> None:
        raise StoreUnusable("the store cannot be reached")

    with monkeypatch.context() as patch:
        patch.setattr(leases, "release", away)
        holder.release("read:crm:people")
    before = _until(world, "read:crm:people")
    holder.beat()
    assert _until(world, "read:crm:people") == before
    assert holder.take("read:crm:people")
    holder.beat()
    assert _until(world, "read:crm:people") > before


def _until(world: Rig, name: str) -> int:
    with world.engine.store.read() as tx:
        lease = tables.leases.c
        return int(tx.run(select(lease.until).where(lease.name == name)).scalar_one())


def test_a_reading_whose_lease_was_lost_is_given_up_before_anything_of_it_is_decided(world: Rig) -> None:
    engine, source = world.engine, world.engine.sources["crm", "people"]
    world.edit("crm", "p000001", name="Anna Lee")
    with engine.holder.holding(ingest.lease(source)):
        with engine.store.write() as tx:
            leases.release(tx, [ingest.lease(source)], engine.holder.id)
            assert leases.take(tx, ingest.lease(source), "another")
        engine.holder.beat()
        with pytest.raises(Exception, match="another process has taken this over"):
            ingest.pull(engine, source)
    with engine.store.write() as tx:
        leases.release(tx, [ingest.lease(source)], "another")
        assert queues.inbox_size(tx) == 0
    world.sync()
    assert world.held("marketing", "name")[0] == "Anna Lee"


def test_of_two_processes_one_writes_to_a_system_unless_it_takes_more(world: Rig) -> None:
    with another(world) as other, other.holder.holding("write:crm:0"):
        world.edit("marketing", "p000001", email="new@x.example")
        world.sync()
        assert "new@x.example" not in world.held("crm")
        assert "new@x.example" in world.held("billing")
    world.sync()
    assert "new@x.example" in world.held("crm")


def test_a_dead_vendor_is_tried_by_one_process_at_a_time(world: Rig, redis_url: str) -> None:
    world.systems["crm"].faults.append(Fault(operation="people.*", kind="status", status=503, times=0))
    scheduled(world, "    pull: {every: 1s, jitter: 0s}\n")
    with working(world, redis_url, many=3, tick=0.02):
        until(lambda: _reads_failed(world) >= 5, step=lambda: world.clock.pass_(6))
        before = calls(world, "crm")
        for _ in range(20):
            world.clock.pass_(1)
            time.sleep(0.02)
        assert calls(world, "crm") - before <= 4  # one try, as often as the client itself repeats it


def calls(world: Rig, system: str) -> int:
    return len(world.systems[system].log)


def _reads_failed(world: Rig) -> int:
    with world.engine.store.read() as tx:
        return runs.breaker(tx, "crm/reads").failures


# ---- pause ----


def test_a_paused_system_is_neither_read_nor_written_and_catches_up_afterwards(
    world: Rig, redis_url: str
) -> None:
    scheduled(world, "    pull: {every: 1s, jitter: 0s}\n")
    with world.engine.store.write() as tx:
        stops.stop(tx, stops.Stop(system="crm", since=world.clock(), person="pat", why="a migration"))
    with working(world, redis_url, tick=0.02) as (one, _):
        before = calls(world, "crm")
        world.edit("crm", "p000002", name="Bob Moved")
        one.nudge(deliver(world, "crm", phone="+15550001111"), "crm")
        deliver(world, "marketing", email="new@x.example")
        world.clock.pass_(30)
        until(lambda: "new@x.example" in world.held("billing"))
        assert calls(world, "crm") == before
        with world.engine.store.write() as tx:
            assert stops.resume(tx, "crm", world.clock())
        until(lambda: "new@x.example" in world.held("crm") and "Bob Moved" in world.held("marketing", "name"))


def test_stopping_frees_every_lease_at_once(world: Rig, redis_url: str) -> None:
    with working(world, redis_url) as (one, other):
        until(lambda: _leases(world) >= 0)
        one.begin()
        one.stop()
        other.stop()
        assert _leases(world) == 0


def _leases(world: Rig) -> int:
    with world.engine.store.read() as tx:
        return int(tx.connection.exec_driver_sql("SELECT COUNT(*) FROM leases").scalar_one())
