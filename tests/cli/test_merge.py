from __future__ import annotations

import io
from typing import Any

import pytest

from tests.cli.conftest import World, lines


@pytest.fixture
def merged(synced: World) -> tuple[World, Any]:
    """Bob went into Ann."""
    ran = synced.run(
        "merge", "person:ann@x.example", "person:bob@x.example", "--yes", "--json", "--by", "Kim"
    )
    assert ran.code == 0
    return synced, ran.json["report"]


def test_the_plan_comes_first_and_without_consent_nothing_is_done(
    synced: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    ran = synced.run("merge", "person:ann@x.example", "person:bob@x.example")
    assert ran.code == 1
    assert lines(ran.out, "name", "Ann Lee", "Bob Ray")
    assert "nothing was done" in ran.err
    assert synced.run("explain", "person:bob@x.example").code == 0


def test_a_plan_for_programs_changes_nothing(synced: World) -> None:
    ran = synced.run("merge", "person:ann@x.example", "person:bob@x.example", "--json")
    assert (ran.code, ran.json["done"]) == (0, False)
    assert {one["field"] for one in ran.json["report"]["fields"]} >= {"email", "name", "phone"}


def test_a_merged_record_is_found_by_its_former_id_and_the_survivor_says_so(
    merged: tuple[World, Any],
) -> None:
    world, report = merged
    ran = world.run("explain", f"person:{report['absorbed']}")
    assert ran.code == 0
    assert lines(ran.out, report["survivor"])
    assert lines(ran.out, report["absorbed"], "is part of it", f"merge {report['merge']}", "Kim")


@pytest.mark.parametrize("by", ["number", "record"])
def test_a_merge_is_taken_apart_by_its_number_or_by_a_record(merged: tuple[World, Any], by: str) -> None:
    world, report = merged
    world.run("sync")
    name = str(report["merge"]) if by == "number" else f"person:{report['absorbed']}"
    ran = world.run("unmerge", name, "--yes")
    assert ran.code == 0
    assert lines(ran.out, "name", "Ann Lee", "Bob Ray")
    found = world.run("explain", "person:bob@x.example", "--json").json
    assert found["record"] == report["absorbed"]
    assert "crm" in [link["system"] for link in found["links"]]
    assert world.run("unmerge", str(report["merge"]), "--yes").code == 1


def test_what_does_not_exist_is_a_wrong_command_line(synced: World) -> None:
    ran = synced.run("merge", "person:ann@x.example", "person:nobody@x.example", "--yes")
    assert ran.code == 2
    ran = synced.run("unmerge", "999999", "--yes")
    assert ran.code == 2
    assert "there is no merge 999999" in ran.err


def test_a_proposal_to_merge_shows_both_records_and_the_evidence(synced: World) -> None:
    synced.systems["crm"].edit("people", "p000002", {"email": "ann@x.example"})
    synced.run("sync")
    number = synced.run("review", "list", "--kind", "merge", "--json").json[0]["number"]
    ran = synced.run("review", "show", str(number))
    assert lines(ran.out, "same", "email", "person.yaml")
    assert lines(ran.out, "--choose keep", "they are different")
    assert ran.out.count("  record ") == 2
