"""A push whose re-check saw something else waits until that is decided; it is not tried again before."""

from __future__ import annotations

from pathlib import Path

from syncbroker.engine import cycle, deliver, ingest
from syncbroker.store import queues
from tests.support.rig import Rig, entity_text, rig

FIELDS = """\
  email: {type: email, systems: {one: email, two: email}}
  city: {type: text, authority: [one, two], policy: prefer, systems: {one: city, two: city}}
"""
PERSON = {"email": "ann@x.example", "city": "Riga"}
MANY = 10


def test_a_push_that_was_handed_back_is_not_claimed_again_before_its_observation_is_decided(
    tmp_path: Path, sqlite_url: str
) -> None:
    entity = entity_text(FIELDS, ["one", "two"])
    with rig(tmp_path, sqlite_url, entity, {"one": [PERSON], "two": [PERSON]}) as bench:
        bench.sync()
        bench.edit("one", bench.ids("one")[0], city="Oslo")
        decide_only(bench, "one")
        bench.edit("two", bench.ids("two")[0], city="Turku")
        rounds: list[int] = []

        def count(written: int) -> None:
            rounds.append(written)
            assert len(rounds) < MANY, "the same push is claimed over and over"

        deliver.deliver(bench.engine, "two", count)
        cycle.settle(bench.engine, cycle.Summary())
        assert bench.held("one", "city") == bench.held("two", "city") == ["Oslo"]


def decide_only(bench: Rig, system: str) -> None:
    """What the system holds now is decided; nothing is delivered."""
    source = bench.engine.sources[system, "people"]
    found = ingest.read_now(bench.engine, source, bench.ids(system), "read")
    with bench.engine.store.write() as tx:
        queues.stage(tx, queues.LIVE, source.system, source.object, found)
    cycle.decide_waiting(bench.engine, cycle.Summary())
