"""A fault while deciding is isolated: one observation is set aside in the end, its neighbours are decided."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from syncbroker.engine import anew, cycle, isolating, status
from syncbroker.engine import decide as deciding
from syncbroker.engine.decide import decide_chunk
from syncbroker.engine.isolating import FAULTS, PAUSE, described
from syncbroker.errors import Busy
from syncbroker.store import queues, records, runs, waits
from syncbroker.store.queues import LIVE
from tests.engine.conftest import Worlds
from tests.support.crowd import decide_all, stage, told
from tests.support.rig import Rig

FIELDS = """\
  email: {type: email, policy: prefer, systems: {crm: email, mkt: email}}
  name: {type: text, policy: prefer, systems: {crm: name, mkt: name}}
"""


@pytest.fixture
def here(any_world: Worlds) -> Iterator[Rig]:
    """Five people are linked. The faults are wanted here."""
    made = any_world(FIELDS, {"crm": [], "mkt": []})
    stage(made, "crm", [told(made, f"crm{n}", person(n)) for n in range(5)])
    decide_all(made.engine, limit=1000)
    yield made
    made.faults.clear()


def person(n: int, **changes: str) -> dict[str, str]:
    return {"email": f"p{n}@x.example", "name": f"Person {n}", **changes}


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that the code cannot deal with."""
    judges = deciding.judge

    def judge(ws: Any, case: Any, *args: Any) -> Any:
        if case.sighting.fields["name"] == "Poison":
            raise ZeroDivisionError("secret@x.example")
        return judges(ws, case, *args)

    monkeypatch.setattr(deciding, "judge", judge)


def tell(here: Rig, *names: str) -> None:
    stage(here, "crm", [told(here, f"crm{n}", person(n, name=name)) for n, name in enumerate(names)])


def turns(here: Rig, many: int) -> None:
    for _ in range(many):
        decide_all(here.engine)
        here.clock.pass_(PAUSE / 1_000_000 + 1)


def aside(here: Rig) -> list[queues.SetAside]:
    with here.engine.store.read() as tx:
        return queues.set_aside(tx)


@pytest.mark.usefixtures("poison")
def test_a_fault_is_told_each_time_by_its_kind_and_place(here: Rig) -> None:
    tell(here, "New", "Poison", "New", "New", "New")
    decide_all(here.engine, limit=1000)
    (fault,) = here.faults
    assert fault.startswith("ZeroDivisionError in _judge at ")


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("place", range(5))
def test_the_neighbours_of_a_poisonous_observation_are_decided_at_once(here: Rig, place: int) -> None:
    names = ["New"] * 5
    names[place] = "Poison"
    tell(here, *names)
    assert decide_all(here.engine, limit=1000).taken == 5
    names[place] = f"Person {place}"
    assert here.golden("name") == names


@pytest.mark.usefixtures("poison")
def test_it_is_tried_again_before_it_is_set_aside(here: Rig) -> None:
    tell(here, "Poison")
    turns(here, FAULTS - 1)
    assert aside(here) == []
    turns(here, 1)
    (found,) = aside(here)
    assert (found.system, found.object, found.attempts) == ("crm", "people", FAULTS)


@pytest.mark.usefixtures("poison")
def test_what_is_set_aside_tells_kind_and_place_and_no_value(here: Rig) -> None:
    tell(here, "Poison")
    turns(here, FAULTS)
    (found,) = aside(here)
    assert found.error.startswith("ZeroDivisionError in _judge at syncbroker/engine/decide.py:")
    assert "@" not in found.error


@pytest.mark.usefixtures("poison")
def test_it_is_counted_by_status(here: Rig) -> None:
    tell(here, "Poison", "New", "Poison")
    turns(here, FAULTS + 2)
    shown = status.status(here.engine)
    assert [(one.what, one.count) for one in shown.counters if one.what == "set_aside"] == [("set_aside", 2)]
    with here.engine.store.read() as tx:
        assert queues.set_aside_counts(tx) == {("crm", "people"): 2}


@pytest.mark.usefixtures("poison")
def test_a_run_with_a_poisonous_observation_ends(here: Rig) -> None:
    here.systems["crm"].insert("people", person(7, name="Poison"))
    here.systems["crm"].insert("people", person(8))
    here.sync()
    assert "Person 8" in here.golden("name")
    with here.engine.store.read() as tx:
        assert runs.unfinished(tx) == []


def test_what_was_set_aside_is_decided_when_a_person_has_it_tried_again(
    here: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(*_: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(deciding, "judge", judge)
        tell(here, "New")
        turns(here, FAULTS)
    turns(here, 1)
    assert len(aside(here)) == 1
    with here.engine.store.write() as tx:
        assert queues.revive(tx, "mkt") == 0
        assert queues.revive(tx, "crm") == 1
    decide_all(here.engine)
    assert (here.golden("name")[0], aside(here)) == ("New", [])


@pytest.mark.usefixtures("poison")
def test_a_newer_state_of_the_same_record_does_not_wait_for_it(here: Rig) -> None:
    tell(here, "Poison")
    tell(here, "Newer")
    decide_all(here.engine)
    assert here.golden("name")[0] == "Newer"


def test_a_value_that_the_database_refuses_is_set_aside_too(here: Rig) -> None:
    """A stamp that no database has room for."""
    far = replace(told(here, "crm0", person(0, name="Far")), stamp=2**63 + 1)
    stage(here, "crm", [far, told(here, "crm1", person(1, name="New"))])
    turns(here, FAULTS)
    assert here.golden("name")[:2] == ["Person 0", "New"]
    assert [one.number for one in aside(here)]


def test_a_store_that_is_busy_is_no_fault(here: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Any) -> None:
        raise Busy("the store is busy")

    tell(here, "New")
    with monkeypatch.context() as patch:
        patch.setattr(deciding, "finish", busy)
        with pytest.raises(Busy):
            decide_all(here.engine)
    with here.engine.store.read() as tx:
        assert [row.number for row in queues.take(tx, LIVE, here.clock(), 10)]
    decide_all(here.engine)
    assert here.golden("name")[0] == "New"


def test_a_process_that_is_ended_is_no_fault(here: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(*_: Any) -> None:
        raise KeyboardInterrupt

    tell(here, "New")
    monkeypatch.setattr(deciding, "finish", ended)
    with pytest.raises(KeyboardInterrupt):
        decide_chunk(here.engine, LIVE)
    assert aside(here) == []


def test_a_fault_before_anything_was_taken_is_told(here: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(isolating.queues, "take", broken)
    tell(here, "New")
    with pytest.raises(ZeroDivisionError):
        cycle.decide_waiting(here.engine, cycle.Summary())


def test_a_fault_outside_our_code_is_placed_where_it_arose() -> None:
    with pytest.raises(TypeError) as told_:
        records.digest(b"", None)  # type: ignore[arg-type]  # the fault that is wanted
    assert described(told_.value).startswith("TypeError in digest at syncbroker/store/records.py:")
    assert described(ValueError("x")) == "ValueError"


def test_a_record_whose_time_has_come_and_that_meets_a_fault_keeps_nobody_from_being_looked_at(
    here: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [record.id for record in here.records()]
    looked_at: list[str] = []
    ends = anew.finish

    def finish(ws: Any) -> Any:
        if ids[2] in ws.records:
            raise ZeroDivisionError("secret@x.example")
        looked_at.extend(ws.records)
        return ends(ws)

    with here.engine.store.write() as tx:
        waits.set_alarms(tx, dict.fromkeys(ids, here.clock()))
    with monkeypatch.context() as patch:
        patch.setattr(anew, "finish", finish)
        assert anew.wake(here.engine)[0] == 4
    assert sorted(looked_at) == sorted(set(ids) - {ids[2]})
    (fault,) = here.faults
    assert fault.startswith("ZeroDivisionError in ")
    here.clock.pass_(anew.AGAIN / 1_000_000)
    assert anew.wake(here.engine)[0] == 1
