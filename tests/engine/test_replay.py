"""Stored inputs give the stored outcome, under the rules that were in force; a rule that changed is found out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy import func, select

from syncbroker.core import resolve
from syncbroker.core.resolve import POLICIES
from syncbroker.engine import answer
from syncbroker.engine import replay as replaying
from syncbroker.engine.replay import Replayed, replay
from syncbroker.store import runs, tables
from tests.engine.conftest import Worlds
from tests.support.rig import Rig
from tests.support.three import DATA, FIELDS, three


@pytest.fixture
def world(tmp_path: Path, sqlite_url: str) -> Iterator[Rig]:
    with three(tmp_path, sqlite_url) as made:
        lived(made)
        yield made


def lived(world: Rig) -> None:
    """A little of everything: an adoption, a revert, a refusal to clear, an answer, a deletion."""
    world.edit("marketing", "p000001", email="new@x.example", name="Ann New")
    world.sync()
    world.edit("crm", "p000001", email="foreign@x.example", address__city="Lund", address__country="Sweden")
    world.sync()
    conflict = next(one for one in world.reviews() if one.kind == "conflict")
    answer.answer(world.engine, conflict.id, "marketing", "Kim")
    world.edit("crm", "p000001", name=None, source="Fair")
    world.sync()
    world.systems["billing"].remove("people", "p000001")
    world.sweep()


def remapped(world: Rig) -> str:
    """The mapping changes; returns the version before."""
    before = world.engine.mapping.version
    world.remap((world.folder / "person.yaml").read_text().replace("policy: prefer", "policy: latest"))
    world.edit("crm", "p000001", name="Ann Newer")
    world.sync()
    return before


def decided(world: Rig) -> int:
    """How many decisions there are; their numbers may have gaps."""
    with world.engine.store.read() as tx:
        return int(tx.run(select(func.count()).select_from(tables.decisions)).scalar_one())


def by_version(done: Replayed) -> dict[str, replaying.VersionReplayed]:
    return {one.version: one for one in done.versions}


def test_every_stored_decision_resolves_to_its_outcome_again(any_world: Worlds) -> None:
    world = any_world(FIELDS, DATA, create="always")
    world.sync()
    lived(world)
    done = replay(world.engine)
    assert done.difference is None
    assert done.last == world.last_decision()
    assert done.decisions == decided(world)
    assert done.verified > 10
    assert by_version(done)[world.engine.mapping.version].verified == done.verified


def test_outcomes_that_no_rule_gave_are_counted_apart_with_the_reason(world: Rig) -> None:
    done = replay(world.engine)
    assert done.without_rule["answers of a person"] == 1
    assert done.without_rule["identity: records made"] == 2
    assert {"identity: records recognised", "deletions that wait for a person"} <= done.without_rule.keys()
    counted = done.verified + sum(done.without_rule.values())
    assert counted == len(world.outcomes())


@pytest.mark.parametrize("policy", ["enforce", "prefer", "review"])
def test_a_mutated_rule_is_found_out(world: Rig, monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    real = POLICIES[policy]
    monkeypatch.setitem(
        POLICIES, policy, lambda rule, q: replace(real(rule, q), kind="edit_ignored", winner="nobody")
    )
    found = replay(world.engine).difference
    assert found is not None
    assert (found.policy, found.got.kind, found.got.winner) == (policy, "edit_ignored", "nobody")
    assert found.stored.winner != "nobody"
    assert found.place.startswith("mappings/person.yaml:")
    assert (found.entity, found.field) != ("", "")


@pytest.mark.parametrize("what", ["why", "winner", "after"])
def test_a_difference_in_any_part_of_the_outcome_is_one(
    world: Rig, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    real = resolve.resolve

    def mutated(rule: Any, q: Any) -> Any:
        verdict = real(rule, q)
        if what == "after":
            return replace(verdict, golden=replace(verdict.golden, value="something else"))
        return replace(verdict, **{what: "something else"})

    monkeypatch.setattr(replaying, "resolve", mutated)
    found = replay(world.engine).difference
    assert found is not None
    assert getattr(found.got, what) == "something else"


def test_it_stops_at_the_first_difference(world: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    real = POLICIES["prefer"]
    monkeypatch.setitem(POLICIES, "prefer", lambda rule, q: replace(real(rule, q), why="mutated"))
    done = replay(world.engine)
    assert done.difference is not None
    assert done.difference.decision == done.last < world.last_decision()


def test_decisions_under_another_version_are_verified_under_its_kept_rules_and_reported_apart(
    world: Rig,
) -> None:
    before = remapped(world)
    done = replay(world.engine)
    assert done.difference is None
    old, new = by_version(done)[before], by_version(done)[world.engine.mapping.version]
    assert (old.active, new.active) == (False, True)
    assert old.verified > 0
    assert new.verified > 0
    assert old.not_verifiable == new.not_verifiable == {}


def test_rules_that_were_not_kept_are_counted_as_not_verifiable(world: Rig) -> None:
    before = remapped(world)
    with world.engine.store.write() as tx:
        tx.run(tables.mappings.update().where(tables.mappings.c.version == before).values(body=None))
    done = replay(world.engine)
    assert done.difference is None
    old = by_version(done)[before]
    assert old.verified == 0
    assert list(old.not_verifiable) == ["its rules were not kept"]


def test_rules_kept_in_a_form_that_is_no_longer_known_are_counted_as_not_verifiable(world: Rig) -> None:
    before = remapped(world)
    with world.engine.store.write() as tx:
        tx.run(
            tables.mappings.update()
            .where(tables.mappings.c.version == before)
            .values(body='{"person": {"name": 1}}')
        )
    assert by_version(replay(world.engine))[before].not_verifiable["its rules were not kept"] > 0


def test_a_kept_rule_that_was_changed_afterwards_is_found_out(world: Rig) -> None:
    before = remapped(world)
    with world.engine.store.write() as tx:
        kept = runs.versions(tx)[before].rules
        assert kept is not None
        body = msgspec.json.encode(kept).decode().replace('"policy":"prefer"', '"policy":"latest"')
        tx.run(tables.mappings.update().where(tables.mappings.c.version == before).values(body=body))
    found = replay(world.engine).difference
    assert found is not None
    assert found.mapping == before


def test_the_kept_rules_hold_no_credentials(world: Rig) -> None:
    with world.engine.store.read() as tx:
        bodies = [row.body for row in tx.run(tables.mappings.select())]
    secrets = [one for rules in world.engine.mapping.systems.values() for one in rules.credentials.values()]
    assert secrets
    assert all("email" in body for body in bodies)
    assert [secret for secret in secrets if any(secret in body for body in bodies)] == []


def test_since_leaves_older_decisions_out(world: Rig) -> None:
    world.clock.pass_(3600)
    at = world.clock()
    assert replay(world.engine, at).decisions == 0
    world.edit("crm", "p000001", name="Ann Late")
    world.sync()
    done = replay(world.engine, at)
    assert done.decisions == world.last_decision() - done.first + 1 > 0
    assert done.verified >= 1


def test_it_goes_through_the_log_in_bounded_pieces(world: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "CHUNK", 1)
    sizes: list[int] = []
    done = replay(world.engine, progress=sizes.append)
    assert set(sizes) == {1}
    assert done.decisions == len(sizes) == decided(world)


def test_an_empty_log_has_nothing_to_replay(any_world: Worlds) -> None:
    world = any_world(FIELDS, {"crm": [], "marketing": [], "billing": []})
    done = replay(world.engine)
    assert (done.decisions, done.difference) == (0, None)
