"""Once a day one of the clocks deletes what is kept no longer, a little at each look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from syncbroker.runtime.clock import Clock
from syncbroker.runtime.nudges import Kind, Nudges, make_broker
from syncbroker.store import audit, retention, tables
from syncbroker.store.database import Store
from syncbroker.store.retention import Keep
from tests.support.rig import Rig
from tests.support.three import three


class Silent(Nudges):
    def send(self, kind: Kind, *ids: object) -> None:
        """Nobody is told anything."""


@pytest.fixture
def world(tmp_path: Path, sqlite_url: str) -> Iterator[Rig]:
    with three(tmp_path, sqlite_url) as made:
        yield made


def clock(world: Rig) -> Clock:
    return Clock(replace(world.engine, keep=Keep(audit=1)), Silent(make_broker("")), 1.0)


def act(world: Rig) -> None:
    with world.engine.store.write() as tx:
        audit.note(tx, world.clock(), "pat", "pause", "crm", {})


def acts(world: Rig) -> int:
    with world.engine.store.read() as tx:
        return int(tx.run(select(func.count()).select_from(tables.audit)).scalar_one())


def looks(one: Clock, many: int) -> None:
    for _ in range(many):
        one.look()


def test_what_is_old_goes_and_what_is_young_stays(world: Rig) -> None:
    act(world)
    world.clock.pass_(2 * 86_400)
    act(world)
    looks(clock(world), 3)
    assert acts(world) == 1


def test_it_is_done_again_a_day_later_and_not_sooner(world: Rig) -> None:
    one = clock(world)
    act(world)
    looks(one, 3)
    world.clock.pass_(0.9 * 86_400)
    looks(one, 3)
    assert acts(world) == 1
    world.clock.pass_(0.2 * 86_400)
    looks(one, 3)
    assert acts(world) == 0


def test_of_several_clocks_one_does_it(world: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Keep] = []
    clean = retention.clean

    def counted(store: Store, keep: Keep, now: int) -> Iterator[tuple[str, int]]:
        begun.append(keep)
        return clean(store, keep, now)

    monkeypatch.setattr(retention, "clean", counted)
    for one in (clock(world), clock(world)):
        looks(one, 3)
    assert len(begun) == 1
