"""A write that moves a record to another id at the vendor: what is seen under the new id meanwhile is no duplicate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from syncbroker.core.types import Receipt, Write
from syncbroker.engine import cycle, ingest
from syncbroker.store import queues, runs
from syncbroker.store.queues import Sighting
from tests.engine.conftest import Worlds
from tests.support.rig import Rig
from tests.support.toy_vendor import ToyConnector

FIELDS = """\
  email: {type: email, authority: one, systems: {one: email, two: email}}
"""
ANN = {"email": "ann@x.example"}
NEW = "ann@y.example"


@pytest.fixture
def moving(world: Worlds, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """In `two` a write of an address is a job that makes a new record and drops the old one."""
    bench = world(FIELDS, {"one": [ANN], "two": [ANN]})
    two = bench.systems["two"]
    done: dict[str, Receipt] = {}

    def write(_self: Any, _object: str, writes: Sequence[Write], _paths: Sequence[str]) -> list[Receipt]:
        for one in writes:
            two.remove("people", str(one.id))
            made = two.insert("people", one.values)
            done[one.key] = Receipt(key=one.key, status="done", id=made)
        return [Receipt(key=one.key, status="pending", job="j", id=one.id) for one in writes]

    def job(_self: Any, _object: str, _job: str, writes: Sequence[Write], _paths: Any) -> list[Receipt]:
        return [done[one.key] for one in writes]

    monkeypatch.setattr(ToyConnector, "write", write)
    monkeypatch.setattr(ToyConnector, "job", job)
    bench.sync()
    bench.edit("one", bench.ids("one")[0], email=NEW)
    return bench


def test_a_record_seen_under_its_new_id_before_the_job_is_settled_waits_for_it(moving: Rig) -> None:
    moving.sync()
    see_now(moving, "two")
    moving.clock.pass_(10)
    cycle.settle(moving.engine, cycle.Summary())
    moving.clock.pass_(10)
    cycle.settle(moving.engine, cycle.Summary())
    (record,) = moving.records()
    assert sorted((link.system, link.external_id, link.primary) for link in record.links) == [
        ("one", moving.ids("one")[0], True),
        ("two", moving.ids("two")[0], True),
    ]
    with moving.engine.store.read() as tx:
        assert ("duplicate_link", "two", "people") not in runs.counters(tx)
    assert moving.quiet() == (0, 0, 0)


def test_a_record_that_was_taken_for_somebody_else_under_its_new_id_becomes_the_link_that_moved(
    moving: Rig,
) -> None:
    moving.sync()
    moving.systems["two"].edit("people", moving.ids("two")[0], {"email": "not-yet@x.example"})
    see_now(moving, "two")
    moving.systems["two"].edit("people", moving.ids("two")[0], {"email": NEW})
    for _ in range(3):
        moving.clock.pass_(10)
        cycle.settle(moving.engine, cycle.Summary())
    links = [(link.system, link.external_id) for record in moving.records() for link in record.links]
    assert sorted(links) == [("one", moving.ids("one")[0]), ("two", moving.ids("two")[0])]


def test_a_record_that_was_deleted_between_two_of_its_renames_stops_nobody(world: Worlds) -> None:
    bench = world(FIELDS, {"one": [ANN], "two": [ANN]})
    bench.sync()
    old = bench.ids("two")[0]
    now = bench.clock()
    shown = {"begun": now, "ended": now, "fields": {"email": ANN["email"]}}
    moves = [
        Sighting(id="b", renamed_from=old, **shown),
        Sighting(id="b", deleted=True, begun=now, ended=now),
        Sighting(id="c", renamed_from="b", **shown),
    ]
    with bench.engine.store.write() as tx:
        queues.stage(tx, queues.LIVE, "two", "people", moves)
    cycle.decide_waiting(bench.engine, cycle.Summary())
    with bench.engine.store.read() as tx:
        assert queues.inbox_size(tx) == 0


def see_now(bench: Rig, system: str) -> None:
    """What the system holds now is decided; nothing is delivered."""
    source = bench.engine.sources[system, "people"]
    found = ingest.read_now(bench.engine, source, bench.ids(system), "poll")
    with bench.engine.store.write() as tx:
        queues.stage(tx, queues.LIVE, source.system, source.object, found)
    cycle.decide_waiting(bench.engine, cycle.Summary())
