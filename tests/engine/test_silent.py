from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from syncbroker.engine import receive, silent
from syncbroker.engine.status import status
from syncbroker.store import deliveries, hearing, runs
from tests.support.deliveries import arrive
from tests.support.rig import Rig
from tests.support.three import three

HOUR = 3600


@pytest.fixture
def world(tmp_path: Path, sqlite_url: str) -> object:
    with three(tmp_path, sqlite_url) as made:
        yield made


def delivered(world: Rig, system: str = "crm") -> None:
    with world.engine.store.write() as tx:
        hearing.note_heard(tx, [system], world.clock())


def edited(world: Rig, name: str) -> None:
    """A person edits, nothing tells of it, and the next reading finds it."""
    world.clock.pass_(HOUR)
    world.edit("crm", "p000001", name=name)
    world.sync()


def silences(world: Rig) -> dict[str, silent.Silence]:
    with world.engine.store.read() as tx:
        return silent.silent(tx, world.clock())


def untold(world: Rig) -> int:
    with world.engine.store.read() as tx:
        return runs.counters(tx).get(("untold_edit", "crm", "people"), 0)


def test_edits_that_only_readings_find_make_a_system_silent_since_its_last_delivery(world: Rig) -> None:
    delivered(world)
    at = world.clock.at
    for name in ("Ann One", "Ann Two", "Ann Three"):  # before the first of them it had delivered
        edited(world, name)
    world.clock.pass_(HOUR)
    found = silences(world)
    assert set(found) == {"crm"}
    assert abs(found["crm"].since - at) < 1_000_000
    assert untold(world) == found["crm"].edits >= 2
    (crm,) = [one for one in status(world.engine).systems if one.name == "crm"]
    assert crm.webhooks is not None
    assert crm.webhooks.silent_since is not None


def test_a_delivery_ends_the_silence(world: Rig) -> None:
    delivered(world)
    for name in ("Ann One", "Ann Two", "Ann Three"):  # before the first of them it had delivered
        edited(world, name)
    world.clock.pass_(HOUR)
    delivered(world)
    assert silences(world) == {}


@pytest.mark.parametrize(
    "story",
    [
        lambda world: [edited(world, name) for name in ("Ann One", "Ann Two")],
        lambda world: [(world.clock.pass_(HOUR), world.sync()) for _ in range(4)],
        lambda world: [
            (edited(world, name), delivered(world)) for name in ("Ann One", "Ann Two", "Ann Three")
        ],
    ],
    ids=["one reading alone", "a quiet system", "deliveries go on"],
)
def test_it_is_no_false_alarm(world: Rig, story: Callable[[Rig], object]) -> None:
    delivered(world)
    story(world)
    world.clock.pass_(HOUR)
    assert silences(world) == {}


def test_an_event_that_is_a_little_late_is_no_silence(world: Rig) -> None:
    delivered(world)
    for name in ("Ann One", "Ann Two"):
        world.clock.pass_(60)
        world.edit("crm", "p000001", name=name)
        world.sync()
    assert silences(world) == {}
    assert untold(world) == 0


def test_a_system_that_has_never_delivered_is_not_silent(world: Rig) -> None:
    for name in ("Ann One", "Ann Two", "Ann Three"):
        edited(world, name)
    world.clock.pass_(HOUR)
    assert silences(world) == {}
    (crm,) = [one for one in status(world.engine).systems if one.name == "crm"]
    assert crm.webhooks is not None
    assert (crm.webhooks.heard, crm.webhooks.silent_since) == (None, None)


def test_our_own_writes_are_nobodys_edits(world: Rig) -> None:
    """Marketing owns the address: what the broker writes to crm comes back with crm's next reading."""
    delivered(world)
    for n in range(3):
        world.clock.pass_(HOUR)
        world.edit("marketing", "p000001", email=f"ann{n}@x.example")
        world.sync()
        world.clock.pass_(HOUR)
        world.sync()
    assert silences(world) == {}
    assert untold(world) == 0


def test_an_event_of_a_kind_that_is_not_known_is_kept_and_counted(world: Rig) -> None:
    sample = world.engine.connectors["crm"].sample("https://broker.example/webhooks/crm", world.clock())  # type: ignore[attr-defined]
    request = deliveries.Request(method="POST", url=sample.url, headers=dict(sample.headers))
    with world.engine.store.write() as tx:
        number = arrive(tx, "crm", "one", world.clock(), request, sample.body)
    assert receive.receive(world.engine, number) == 0
    with world.engine.store.read() as tx:
        assert runs.counters(tx)["unknown_event", "crm", ""] == 1
        assert deliveries.counts(tx) == {"done": 1}
