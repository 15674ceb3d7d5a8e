"""What creates of undone decisions made in the systems: listed, and when asked for undone by the delete policy."""

from __future__ import annotations

from typing import Any

import pytest

from syncbroker.engine import answer, undo
from syncbroker.engine.scope import Scope, of_mapping
from syncbroker.engine.undo import Undone
from syncbroker.sdk.simulator import Fault
from syncbroker.store import decisions
from tests.engine.conftest import Worlds
from tests.engine.test_undo import ANN, AT_REST, BOB, CITY, edited
from tests.support.rig import Rig, entity_text


def imported(world: Worlds, delete: str = "detach") -> tuple[Rig, int]:
    """A run of crm brought Bob in, and a create of ours made him in mkt."""
    made = world(CITY, {"crm": [ANN], "mkt": [ANN]}, create="always", delete=delete)
    made.sync()
    made.systems["crm"].insert("people", BOB)
    made.sync()
    assert made.held("mkt") == ["ann@x.example", "bob@x.example"]
    return made, run_of(made)


def run_of(world: Rig) -> int:
    """The run that brought the newest record in."""
    with world.engine.store.read() as tx:
        (brought,) = decisions.search(tx, kind="created", limit=1)
    edited(world, city="Lund")  # so that this is not simply the last run
    return brought.run


def undone(world: Rig, run: int, *, creates: bool = True) -> Undone:
    done = undo.carry_out(world.engine, Scope(run=run), "Kim", creates=creates)
    world.sync()
    return done


def test_without_being_asked_for_a_create_is_listed_and_left(any_world: Worlds) -> None:
    world, run = imported(any_world)
    done = undone(world, run, creates=False)
    (made,) = done.made
    assert (made.system, made.external_id, made.undone, done.unmade) == ("mkt", "p000002", False, 0)
    assert (
        made.what
        == "stays; --creates undoes it: the link ends; the record stays there, and is not linked again"
    )
    assert len(world.records()[1].links) == 2
    assert "a system brought the record in; undo deletes none" in done.left_by_reason


def test_detach_ends_the_link_with_a_tombstone_and_leaves_the_vendors_record(any_world: Worlds) -> None:
    world, run = imported(any_world, "detach")
    assert undone(world, run).unmade == 1
    assert world.held("mkt") == ["ann@x.example", "bob@x.example"]
    assert [link.system for link in world.records()[1].links] == ["crm"]
    world.sweep()
    assert len(world.records()) == 2
    assert world.quiet() == AT_REST


def test_propagate_deletes_it_there_and_only_there(any_world: Worlds) -> None:
    world, run = imported(any_world, "propagate")
    undone(world, run)
    assert world.held("mkt") == ["ann@x.example"]
    assert world.held("crm") == ["ann@x.example", "bob@x.example"]
    assert world.quiet() == AT_REST


@pytest.mark.parametrize(
    ("choice", "held", "linked"),
    [
        ("detach", ["ann@x.example", "bob@x.example"], ["crm"]),
        ("delete", ["ann@x.example"], ["crm"]),
        ("keep", ["ann@x.example", "bob@x.example"], ["crm", "mkt"]),
    ],
)
def test_review_asks_a_person(any_world: Worlds, choice: str, held: list[str], linked: list[str]) -> None:
    world, run = imported(any_world, "review")
    undone(world, run)
    (review,) = world.reviews()
    assert (review.kind, review.system) == ("delete", "mkt")
    assert "a create of ours that was undone" in review.body["why"]
    answer.answer(world.engine, review.id, choice, "Pat")
    world.sync()
    assert world.held("mkt") == held
    assert [link.system for link in world.records()[1].links] == linked
    assert world.reviews() == []
    assert world.quiet() == AT_REST


def test_recreate_is_left_because_it_would_be_created_again(world: Worlds) -> None:
    there, run = imported(world, "recreate")
    done = undone(there, run)
    assert done.unmade == 0
    assert done.made[0].what.startswith("stays: its delete policy is recreate")


def test_what_somebody_edited_there_since_is_never_undone(any_world: Worlds) -> None:
    world, run = imported(any_world, "propagate")
    world.edit("mkt", "p000002", city="Turku")
    world.sync()
    done = undone(world, run)
    assert done.unmade == 0
    assert done.made[0].what.startswith("stays: edited there since (decision ")
    assert world.held("mkt") == ["ann@x.example", "bob@x.example"]


def test_a_create_without_an_answer_is_not_taken_for_ours(world: Worlds) -> None:
    there = world(CITY, {"crm": [ANN], "mkt": [ANN]}, create="always", delete="propagate")
    there.sync()
    there.systems["mkt"].faults.append(Fault(operation="people.write", kind="drop_answer"))
    there.systems["crm"].insert("people", BOB)
    there.sync()
    run = run_of(there)
    there.clock.pass_(600)
    there.sync()
    done = undone(there, run)
    assert [one.what for one in done.made] == [
        "stays: no answer came to the create, so that nobody knows whether it made the record"
    ]
    assert len(there.held("mkt")) == 2


def test_undoing_creates_twice_finds_nothing_linked(world: Worlds) -> None:
    there, run = imported(world, "detach")
    undone(there, run)
    done = undone(there, run)
    assert (done.unmade, done.made[0].what) == (0, "stays: it is not linked any more")


def test_what_a_mapping_version_created_is_undone_with_it_whoever_decided_the_values(
    any_world: Worlds,
) -> None:
    people: Any = {"crm": [ANN, BOB], "mkt": [ANN]}
    world = any_world(CITY, people, delete="propagate")
    world.sync()
    assert world.held("mkt") == ["ann@x.example"]
    world.remap(entity_text(CITY, people, create="always", delete="propagate"))
    world.sync()
    assert world.held("mkt") == ["ann@x.example", "bob@x.example"]
    scope = of_mapping(world.engine, world.engine.mapping.version)
    planned = undo.plan(world.engine, scope, creates=True)
    assert [(one.system, one.undone) for one in planned.made] == [("mkt", True)]
    undo.carry_out(world.engine, scope, "Kim", creates=True)
    world.sync()
    assert world.held("mkt") == ["ann@x.example"]
    assert world.quiet() == AT_REST
