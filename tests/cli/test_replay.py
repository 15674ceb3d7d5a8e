"""`replay`, as a person and as a program reads it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from syncbroker.core.resolve import POLICIES
from tests.cli.conftest import World, lines


def test_replay_says_how_much_was_resolved_again_and_how_fast(synced: World) -> None:
    ran = synced.run("replay", "--verify")
    assert ran.code == 0
    assert lines(ran.out, "decisions (1 to ", "a second")
    assert lines(ran.out, "resolved again, with the same result")
    assert lines(ran.out, "by the active rules")
    assert lines(ran.out, "decided by no rule: identity: records made")


def test_a_rule_that_says_otherwise_now_is_told_with_record_place_and_both_outcomes(
    synced: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced.systems["crm"].edit("people", "p000001", {"email": "foreign@x.example"})
    synced.run("sync")
    real = POLICIES["enforce"]
    monkeypatch.setitem(POLICIES, "enforce", lambda rule, q: replace(real(rule, q), kind="edit_ignored"))
    ran = synced.run("replay", "--verify")
    assert ran.code == 1
    assert lines(ran.out, "decision ", "is another one now")
    assert lines(ran.out, "record  person:", "email", "an edit in crm")
    assert lines(ran.out, "rule    enforce, mappings/person.yaml:9")
    assert lines(ran.out, "stored  edit_reverted -> ann@x.example")
    assert lines(ran.out, "now     edit_ignored -> ann@x.example")
    found = synced.run("replay", "--verify", "--json")
    assert found.code == 1
    assert found.json["difference"]["got"]["kind"] == "edit_ignored"


def test_since_a_time_after_everything_there_is_nothing(synced: World) -> None:
    ran = synced.run("replay", "--verify", "--since", "2999-01-01")
    assert (ran.code, ran.out) == (0, "there is no decision to resolve again\n")


def test_replay_without_verify_is_a_wrong_command_line(synced: World) -> None:
    ran = synced.run("replay")
    assert ran.code == 2
    assert "syncbroker replay --verify" in ran.err
