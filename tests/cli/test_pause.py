"""`pause`, `resume`, `audit`: who took a system out of the work, since when, and why."""

from __future__ import annotations

import pytest

from tests.cli.conftest import World


def test_a_paused_system_says_who_paused_it_and_why(world: World) -> None:
    found = world.run("pause", "crm", "--why", "their upgrade", "--person", "Kim", "--json").json
    assert found["changed"] is True
    assert (found["paused"]["person"], found["paused"]["why"]) == ("Kim", "their upgrade")


def test_pausing_twice_keeps_the_first(world: World) -> None:
    world.run("pause", "crm", "--why", "their upgrade", "--person", "Kim")
    again = world.run("pause", "crm", "--why", "other", "--person", "Pat", "--json").json
    assert again["changed"] is False
    assert again["paused"]["person"] == "Kim"


def test_resume_ends_it_and_says_when_there_was_nothing_to_end(world: World) -> None:
    world.run("pause", "crm")
    assert "takes part again" in world.run("resume", "crm").out
    assert "was not paused" in world.run("resume", "crm").out


def test_a_system_that_does_not_exist_is_a_wrong_command_line(world: World) -> None:
    assert world.run("pause", "cmr").code == 2
    assert world.run("resume", "cmr").code == 2
    assert world.run("retry", "cmr").code == 2


def test_the_audit_shows_what_people_did_newest_first(world: World) -> None:
    world.run("pause", "crm", "--why", "their upgrade", "--person", "Kim")
    world.run("resume", "crm", "--person", "Pat")
    found = world.run("audit", "--json").json
    assert [(one["person"], one["action"], one["subject"]) for one in found] == [
        ("Pat", "resume", "crm"),
        ("Kim", "pause", "crm"),
    ]
    assert found[1]["body"] == {"why": "their upgrade"}


def test_the_audit_can_begin_later(world: World) -> None:
    world.run("pause", "crm")
    assert world.run("audit", "--since", "1h", "--json").json != []
    assert world.run("audit", "--since", "2999-01-01", "--json").json == []


def test_an_audit_of_nothing_says_so(world: World) -> None:
    assert "nobody did anything" in world.run("audit").out


@pytest.mark.parametrize("command", ["sync", "sweep"])
def test_a_cycle_says_which_systems_it_left_out(world: World, command: str) -> None:
    world.run("pause", "crm")
    told = world.run(command).out
    assert "neither read nor written, since a person has paused them: crm" in told
    assert "syncbroker resume" in told
    assert world.run(command, "--json").json["paused"] == ["crm"]


def test_a_cycle_of_all_systems_speaks_of_no_pause(world: World) -> None:
    assert "paused" not in world.run("sync").out
