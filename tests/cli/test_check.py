from __future__ import annotations

import pytest

from syncbroker.cli.check import _every, decides
from syncbroker.core.mapping import FieldLink, FieldRule, Schedule, ValueSpec
from syncbroker.core.types import Type
from tests.cli.conftest import World, lines


def test_right_files_are_summed_up_with_who_decides(world: World) -> None:
    ran = world.run("check")
    assert ran.code == 0
    assert ran.out.startswith("The mapping files are right: 3 systems, 1 entity, 4 fields")
    assert lines(ran.out, "email", "marketing > crm; other edits are put back", "billing <--")


def test_the_limits_of_a_guard_are_shown_and_that_there_are_none(world: World) -> None:
    assert lines(world.run("check").out, "guard  none: no run is held")
    path = world.mappings / "person.yaml"
    path.write_text(path.read_text().replace("match:\n", "guard: {changed: 2.5%, created: 500}\nmatch:\n"))
    assert lines(world.run("check").out, "guard  changed 2.5%, created 500")
    assert world.run("check", "--json").json["entities"]["person"]["guard"] == {
        "changed": 0.025,
        "created": 500,
    }


def test_check_needs_no_store(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCBROKER_DATABASE_URL", "sqlite:////no/such/folder/store.db")
    assert world.run("check").code == 0


def test_every_problem_is_shown_at_once_with_file_line_column_and_hint(world: World) -> None:
    path = world.mappings / "person.yaml"
    path.write_text(path.read_text().replace("type: email", "type: emial").replace("prefer", "perfer"))
    ran = world.run("check")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("mappings/person.yaml:10:11: ")
    assert lines(ran.err, "mappings/person.yaml:15:")
    assert lines(ran.err, "hint: ")
    assert lines(ran.err, "2 problems in the mapping files")


def test_problems_in_json_are_the_result(world: World) -> None:
    path = world.mappings / "person.yaml"
    path.write_text(path.read_text().replace("type: email", "type: emial"))
    ran = world.run("check", "--json")
    assert (ran.code, ran.err) == (1, "")
    (problem,) = ran.json["problems"]
    assert (problem["file"], problem["line"], problem["column"]) == ("mappings/person.yaml", 10, 11)
    assert ran.json["ok"] is False


def test_right_files_in_json_tell_systems_entities_and_fields(world: World) -> None:
    found = world.run("check", "--json").json
    assert found["ok"]
    assert found["systems"] == {"crm": "toy", "marketing": "toy", "billing": "toy"}
    email = found["entities"]["person"]["fields"]["email"]
    assert (email["type"], email["policy"], email["authority"]) == ("email", "enforce", ["marketing", "crm"])
    assert found["warnings"]


def test_another_folder_can_be_named(world: World) -> None:
    other = world.folder / "other"
    other.mkdir()
    ran = world.run("check", "--mappings", str(other))
    assert ran.code == 1
    assert "no mapping files here" in ran.err
    assert world.run("check", "--mappings", str(world.folder / "nowhere")).code == 1


def test_an_unknown_connector_is_a_problem_with_a_place(world: World) -> None:
    path = world.mappings / "systems.yaml"
    path.write_text(path.read_text().replace("connector: toy", "connector: tou", 1))
    ran = world.run("check")
    assert ran.code == 1
    assert lines(ran.err, "mappings/systems.yaml:3:")


def test_a_missing_credential_is_named_without_any_value(world: World) -> None:
    path = world.mappings / "systems.yaml"
    path.write_text(path.read_text().replace("token: toy-token-1234", "token: ${TOY_TOKEN}", 1))
    ran = world.run("check")
    assert ran.code == 1
    assert lines(ran.err, "TOY_TOKEN")


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (None, "never"),
        (Schedule(every=300), "every 5m"),
        (Schedule(every=7200), "every 2h"),
        (Schedule(every=86400), "every 1d"),
        (Schedule(every=90), "every 90s"),
        (Schedule(at="0 3 * * *"), "at 0 3 * * * UTC"),
    ],
)
def test_a_schedule_is_shown_as_it_is_written(plan: Schedule | None, words: str) -> None:
    assert _every(plan) == words


def test_a_field_that_is_read_from_one_system_only_is_decided_there() -> None:
    spec = ValueSpec(type=Type.TEXT)
    links = {
        name: FieldLink(system=name, path="x", pull=name == "crm", push=True, spec=spec)
        for name in ("crm", "marketing")
    }
    assert decides(_rule(links=links)) == "crm alone"


def _rule(**changes: object) -> FieldRule:
    usual: dict[str, object] = {
        "name": "x", "type": Type.TEXT, "spec": ValueSpec(type=Type.TEXT), "policy": "prefer", "authority": (),
        "rank": ("crm", "marketing"), "links": {},
    }  # fmt: skip
    return FieldRule(**{**usual, **changes})  # type: ignore[arg-type]  # a table of cases


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"policy": "enforce", "authority": ("crm",)}, "crm; other edits are put back"),
        (
            {"policy": "enforce", "authority": ("crm",), "on_foreign_edit": "propose"},
            "crm; other edits are proposed",
        ),
        (
            {"policy": "enforce", "authority": ("crm",), "on_foreign_edit": "ignore"},
            "crm; other edits are let stand",
        ),
        ({}, "anybody; of two edits crm > marketing"),
        ({"policy": "latest"}, "the newest edit; a tie goes to crm > marketing"),
        ({"policy": "latest", "tie": "review"}, "the newest edit; a tie goes to a person"),
        ({"policy": "review"}, "anybody; of two edits a person chooses"),
        ({"policy": "seed"}, "whoever is first; at first crm > marketing"),
        ({"policy": "union"}, "everybody; additions and removals are merged"),
        ({"policy": "most_restrictive", "loosen_by": ("crm",)}, "the most restrictive; loosened by crm"),
        ({"policy": "most_restrictive"}, "the most restrictive; loosened by nobody"),
        ({"policy": "max"}, "the max value of competing edits; otherwise anybody"),
        ({"policy": "min", "monotone": True}, "the min value"),
    ],
)
def test_each_policy_says_who_decides(changes: dict[str, object], words: str) -> None:
    assert decides(_rule(**changes)) == words
