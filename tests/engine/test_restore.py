"""An old backup is put back while the systems went on: nothing is doubled, nothing of theirs is lost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from syncbroker.engine import cycle
from syncbroker.store import backup
from tests.engine.conftest import Worlds
from tests.support.rig import Rig

FIELDS = """\
  email: {type: email, systems: {crm: email, mkt: email}}
  name: {type: text, policy: latest, systems: {crm: name, mkt: name}}
"""
ANN = {"email": "ann@x.example", "name": "Ann"}
AT_REST = (0, 0, 0)


def opened(world: Worlds) -> Rig:
    here = world(FIELDS, {"crm": [ANN], "mkt": [ANN]}, create="always", delete="propagate")
    here.sync()
    return here


def put_back(here: Rig, file: Path) -> None:
    backup.put_back(here.engine.store, file, "Kim", here.clock())
    cycle.recover(here.engine)
    cycle.activate(here.engine)
    here.sweep()
    here.sync()


def held(here: Rig, system: str) -> Counter[tuple[str, str]]:
    return Counter(zip(here.held(system), here.held(system, "name"), strict=True))


def test_what_the_broker_wrote_since_is_recognised_and_created_no_second_time(
    world: Worlds, tmp_path: Path
) -> None:
    here = opened(world)
    backup.make(here.engine.store, tmp_path / "copy.db")
    here.systems["crm"].insert("people", {"email": "bob@x.example", "name": "Bob"})
    here.sync()
    assert held(here, "mkt") == {("ann@x.example", "Ann"): 1, ("bob@x.example", "Bob"): 1}
    put_back(here, tmp_path / "copy.db")
    assert (
        held(here, "mkt") == held(here, "crm") == {("ann@x.example", "Ann"): 1, ("bob@x.example", "Bob"): 1}
    )
    assert here.quiet() == AT_REST


def test_edits_made_since_are_found_by_the_sweep(world: Worlds, tmp_path: Path) -> None:
    here = opened(world)
    backup.make(here.engine.store, tmp_path / "copy.db")
    here.edit("mkt", "p000001", name="Ann Lee")
    here.sync()
    here.edit("crm", "p000001", name="Ann Ray")
    put_back(here, tmp_path / "copy.db")
    assert here.held("crm", "name") == here.held("mkt", "name") == ["Ann Ray"]
    assert here.quiet() == AT_REST


def test_a_write_that_was_owed_then_and_made_since_is_not_made_again(world: Worlds, tmp_path: Path) -> None:
    here = opened(world)
    here.systems["crm"].insert("people", {"email": "bob@x.example", "name": "Bob"})
    here.edit("crm", "p000001", name="Ann Lee")
    for name in ("crm", "mkt"):  # decided, and not written yet
        cycle.pull_source(here.engine, here.engine.sources[name, "people"])
    backup.make(here.engine.store, tmp_path / "copy.db")
    cycle.settle(here.engine, cycle.Summary())
    assert sorted(here.held("mkt", "name")) == ["Ann Lee", "Bob"]
    written = here.writes()
    put_back(here, tmp_path / "copy.db")
    assert here.writes() == written
    assert sorted(here.held("mkt", "name")) == ["Ann Lee", "Bob"]
    assert here.quiet() == AT_REST


def test_a_deletion_that_was_carried_on_since_stays_carried_on(world: Worlds, tmp_path: Path) -> None:
    here = opened(world)
    backup.make(here.engine.store, tmp_path / "copy.db")
    here.systems["crm"].remove("people", "p000001")
    here.sweep()
    assert here.held("mkt") == []
    put_back(here, tmp_path / "copy.db")
    assert (here.held("crm"), here.held("mkt")) == ([], [])
