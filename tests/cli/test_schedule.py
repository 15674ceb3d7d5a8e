"""`schedule`: when each object is read next, and why it may not be."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from syncbroker.store import turns
from syncbroker.store.records import FAR
from syncbroker.store.turns import Turn
from tests.cli.conftest import World, lines
from tests.support.rig import open_ready

NEXT, LAST = 4_000_000_000_000_000, 1_700_000_000_000_000


def counted(world: World, **changes: Any) -> None:
    """A clock has looked at the schedule: polls of the CRM are counted."""
    told: dict[str, Any] = {"due": NEXT, "started": LAST, "ended": LAST + 1, **changes}
    store = open_ready(world.url)
    with store.write() as tx:
        turns.put(tx, [Turn(system="crm", object="people", kind="pull", plan="every 300", **told)])
    store.close()


def of_crm(world: World) -> dict[str, Any]:
    found = world.run("schedule", "--json").json
    return next(one for one in found if (one["system"], one["kind"]) == ("crm", "pull"))


def test_every_object_has_a_line_for_polls_and_one_for_sweeps(world: World) -> None:
    found = world.run("schedule", "--json").json
    assert {(one["system"], one["object"], one["kind"]) for one in found} == {
        (system, "people", kind) for system in world.systems for kind in ("pull", "sweep")
    }


def test_what_no_clock_has_counted_has_no_time(world: World) -> None:
    assert (of_crm(world)["next"], of_crm(world)["started"]) == (None, None)
    assert "nothing is counted yet" in world.run("schedule").out


def test_what_is_counted_has_its_times(world: World) -> None:
    counted(world)
    found = of_crm(world)
    assert [datetime.fromisoformat(found[name]).timestamp() for name in ("next", "started")] == [
        NEXT / 1_000_000,
        LAST / 1_000_000,
    ]
    assert "nothing is counted yet" not in world.run("schedule").out


def test_what_is_read_when_asked_only_has_no_next_time(world: World) -> None:
    counted(world, due=FAR)
    assert of_crm(world)["next"] is None


def test_a_paused_system_has_no_next_time_and_says_so(world: World) -> None:
    counted(world)
    world.run("pause", "crm")
    assert (of_crm(world)["next"], of_crm(world)["paused"]) == (None, True)
    assert lines(world.run("schedule").out, "crm", "paused")
