from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from syncbroker.engine.status import COUNTED, Status, differences, status
from syncbroker.sdk.simulator import Fault
from syncbroker.store import deliveries, runs
from tests.support.deliveries import arrive
from tests.support.rig import Rig, entity_text, rig
from tests.support.three import FIELDS, three


@pytest.fixture
def world(tmp_path: Path, sqlite_url: str) -> Iterator[Rig]:
    with three(tmp_path, sqlite_url) as made:
        yield made


def system(found: Status, name: str) -> dict[str, object]:
    one = next(one for one in found.systems if one.name == name)
    made: dict[str, object] = msgspec.to_builtins(one)
    return made


def test_records_links_reviews_and_decisions_are_counted(tmp_path: Path, ready_url: str) -> None:
    with three(tmp_path, ready_url) as world:
        found = status(world.engine)
        kinds = world.kinds()
    assert found.records == {"person": 2}
    assert [one.objects[0].links for one in found.systems] == [{"live": 2}] * 3
    assert found.reviews == {"conflict": 1}
    assert found.decisions == kinds
    assert found.observations == 0


def test_each_object_tells_when_it_was_first_read_pulled_and_swept(world: Rig) -> None:
    world.clock.pass_(60)
    world.sync()
    world.clock.pass_(60)
    world.sweep()
    (people,) = status(world.engine).systems[0].objects
    assert people.first_read is not None
    assert people.swept is not None
    assert people.first_read < people.swept


def test_writes_that_are_owed_and_the_breaker_of_a_failing_system_are_shown(world: Rig) -> None:
    world.systems["billing"].faults.append(
        Fault(operation="people.write", kind="status", status=401, times=0)
    )
    world.edit("marketing", "p000001", email="new@x.example")
    world.sync()
    found = system(status(world.engine), "billing")
    assert found["pushes"] == {"due": 1}
    assert found["next_push"] is not None
    breaker = found["breaker"]
    assert isinstance(breaker, dict)
    assert breaker["is_open"]
    assert breaker["failures"] == 1


def test_deliveries_and_unfinished_runs_are_counted(world: Rig) -> None:
    request = deliveries.Request(method="POST", url="http://broker.example/webhooks/crm")
    with world.engine.store.write() as tx:
        arrive(tx, "crm", "digest", world.clock(), request, b"[]")
        number = runs.begin(tx, "pull", "crm", "people", world.clock())
    found = status(world.engine)
    assert found.deliveries == {"new": 1}
    assert [(run.id, run.state) for run in found.unfinished] == [(number, "reading")]


def test_an_object_whose_last_reading_failed_is_shown_until_one_succeeds(world: Rig) -> None:
    world.systems["crm"].faults.append(Fault(operation="people.list", kind="status", status=401, times=1))
    world.sync()
    assert [(run.system, run.object) for run in status(world.engine).failed] == [("crm", "people")]
    world.sync()
    assert status(world.engine).failed == []


def test_counters_say_what_they_mean(world: Rig) -> None:
    with world.engine.store.write() as tx:
        runs.count(tx, {("withdrawn", "crm", "people"): 3, ("unheard_of", "crm", ""): 1})
    found = {(one.what, one.count): one.meaning for one in status(world.engine).counters}
    assert found["withdrawn", 3] == COUNTED["withdrawn"]
    assert found["unheard_of", 1] == ""


def test_references_that_lead_nowhere_are_counted_by_system_and_entity(world: Rig) -> None:
    from syncbroker.store import records

    with world.engine.store.write() as tx:
        records.pend(tx, [("crm", "company", "c1", 1), ("crm", "company", "c2", 2)])
    (one,) = status(world.engine).references
    assert (one.system, one.entity, one.count) == ("crm", "company", 2)


def test_a_system_that_the_mapping_no_longer_has_is_still_shown(tmp_path: Path, sqlite_url: str) -> None:
    with three(tmp_path, sqlite_url) as before:
        folder, settings = before.folder, before.settings
    people = {"crm": [{"email": "ann@x.example"}]}
    fields = "  email: {type: email, required: true, systems: {crm: email}}"
    assert folder.name == settings.mappings.name
    with rig(folder, sqlite_url, entity_text(fields, people), people) as after:
        found = status(after.engine)
    assert {one.name: one.connector for one in found.systems} == {
        "crm": "toy",
        "billing": "",
        "marketing": "",
    }


def test_status_holds_no_personal_data(world: Rig) -> None:
    text = msgspec.json.encode([status(world.engine), differences(world.engine)]).decode()
    for person in ("ann", "Lee", "example", "5551234567"):
        assert person not in text.replace(world.engine.store.where, "")


def test_differences_are_counted_by_field_and_reason(world: Rig) -> None:
    found = {(one.system, one.field): (one.standing, one.count) for one in differences(world.engine, chunk=1)}
    assert found == {
        ("crm", "phone"): ("in review", 1),
        ("marketing", "phone"): ("in review", 1),
        ("marketing", "source"): ("let stand", 1),
    }


def test_a_world_in_step_has_no_differences(tmp_path: Path, sqlite_url: str) -> None:
    people = {"crm": [{"email": "ann@x.example", "name": "Ann"}], "marketing": [], "billing": []}
    with rig(
        tmp_path / "mappings", sqlite_url, entity_text(FIELDS, people, create="always"), people
    ) as world:
        world.sync()
        assert differences(world.engine) == []
