"""`undo`, as a person and as a program uses it: the plan first, then the question, then the deed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import World, lines


@pytest.fixture
def edited(synced: World) -> World:
    """A run took over an edit of Ann's name."""
    synced.systems["crm"].edit("people", "p000001", {"name": "Ann Wrong"})
    assert synced.run("sync").code == 0
    assert synced.held("marketing", "name")[0] == "Ann Wrong"
    return synced


def run_of(world: World) -> str:
    (newest,) = world.run("decisions", "--json", "--limit", "1").json
    return str(newest["step"]["run"])


def test_undo_shows_the_plan_and_undoes_nothing_while_nobody_can_be_asked(edited: World) -> None:
    ran = edited.run("undo", run_of(edited))
    assert ran.code == 2
    assert lines(ran.out, f"undoing run {run_of(edited)} sets back 1 value")
    assert lines(ran.out, "person:ann@x.example", "name", "Ann Wrong", "Ann Lee", "crm, marketing")
    assert lines(ran.err, "--yes undoes it without asking")
    edited.run("sync")
    assert edited.held("marketing", "name")[0] == "Ann Wrong"


@pytest.mark.parametrize(("answer", "code", "name"), [(True, 0, "Ann Lee"), (False, 1, "Ann Wrong")])
def test_undo_asks_on_a_terminal(
    edited: World, monkeypatch: pytest.MonkeyPatch, answer: bool, code: int, name: str
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    def confirm(_question: str, **_given: Any) -> bool:
        if not answer:
            import typer

            raise typer.Abort
        return True

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("typer.confirm", confirm)
    ran = edited.run("undo", run_of(edited))
    assert ran.code == code
    monkeypatch.undo()
    for variable, value in edited.environment.items():
        monkeypatch.setenv(variable, value)


def test_undo_with_yes_sets_the_values_back_and_says_how_to_undo_that(edited: World) -> None:
    run = run_of(edited)
    ran = edited.run("undo", run, "--yes", "--person", "Kim")
    assert ran.code == 0
    assert lines(ran.out, "set back 1 value; syncbroker undo ")
    assert lines(ran.out, "serve or the next sync writes it out")
    edited.run("sync")
    assert edited.held("marketing", "name")[0] == edited.held("crm", "name")[0] == "Ann Lee"
    told = edited.run("explain", "person:ann@x.example", "name").out
    assert lines(told, "who   Kim, undoing run ")
    assert lines(told, "lost  Ann Wrong from crm")
    undone_by = run_of(edited)
    assert edited.run("undo", undone_by, "--yes").code == 0
    edited.run("sync")
    assert edited.held("marketing", "name")[0] == "Ann Wrong"


def test_undo_says_what_it_leaves_and_why(edited: World) -> None:
    run = run_of(edited)
    edited.systems["marketing"].edit("people", "p000001", {"name": "Ann Better"})
    edited.run("sync")
    ran = edited.run("undo", run, "--yes")
    assert ran.code == 2
    assert lines(ran.out, f"undoing run {run} changes nothing: 1 changed since")
    assert lines(ran.out, "person:ann@x.example", "name", "changed since: decision ", "(adopted by rules)")


def test_undo_by_system_and_time_and_by_mapping_version(edited: World) -> None:
    version = edited.run("explain", "person:ann@x.example", "--json").json["mapping"]
    by_time = edited.run("undo", "--since", "1h", "--system", "crm", "--field", "name", "--json")
    assert by_time.code == 2
    assert [one["back"] for one in by_time.json["reverted"]] == ["Ann Lee"]
    by_version = edited.run("undo", "--mapping", version, "--field", "name", "--entity", "person", "--json")
    assert by_version.json["scope"] == f"mapping {version} person name"
    assert edited.run("undo", "--mapping", version, "--yes", "--json").json["run"] > 0


def test_undo_lists_what_was_created_and_undoes_it_when_asked_to(synced: World) -> None:
    ran = synced.run("undo", "1", "--json")
    assert {one["system"] for one in ran.json["made"]} <= {"marketing", "billing"}
    assert ran.json["made"]
    assert ran.json["unmade"] == 0
    with_creates = synced.run("undo", "1", "--creates", "--yes")
    assert with_creates.code == 0
    assert lines(with_creates.out, "created in systems")
    assert lines(with_creates.out, "a review asks what becomes of it")
    assert [one["kind"] for one in synced.run("review", "list", "--json").json].count("delete") > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a run, or --mapping, or --since with --system"),
        (["1", "--mapping", "x"], "name a run, or --mapping, or --since with --system"),
        (["--since", "1h"], "name a run, or --mapping, or --since with --system"),
        (["0"], "name a run, or --mapping, or --since with --system"),
        (["99"], "there is no run 99"),
        (["--mapping", "zz"], "no mapping version begins with zz"),
        (["1", "--field", "nmae"], "did you mean name?"),
        (["1", "--entity", "persn"], "did you mean person?"),
        (["--since", "1h", "--system", "crn"], "did you mean crm?"),
    ],
)
def test_what_does_not_exist_is_a_wrong_command_line(
    synced: World, arguments: list[str], message: str
) -> None:
    ran = synced.run("undo", *arguments)
    assert ran.code == 2
    assert message in ran.err
