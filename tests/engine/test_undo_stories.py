"""Invariant 8 over stories made by chance: undo touches only values that are still the decisions' own, lists the rest.

What must happen is worked out by reading the whole log of each field from its end, which the undo itself never does.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from syncbroker.core.state import Golden
from syncbroker.engine import cycle, undo
from syncbroker.engine import scope as scopes
from syncbroker.engine.scope import Scope
from syncbroker.engine.undo import Undone
from syncbroker.store import decisions, records, tables
from syncbroker.store.decisions import Decision
from tests.engine.conftest import Worlds
from tests.engine.test_any_story import DATA, FIELDS, Story
from tests.support.chains import broken
from tests.support.stage import Stage

Key = tuple[str, str]


def log(story: Story) -> list[Decision]:
    with story.engine.store.read() as tx:
        return decisions.following(tx, limit=100_000)


def goldens(story: Story) -> dict[Key, Golden]:
    with story.engine.store.read() as tx:
        ids = [row[0] for row in tx.run(tables.records.select())]
        return {
            (record.id, name): golden
            for record in records.load(tx, ids).values()
            for name, golden in record.golden.items()
        }


def changed(made: list[Decision], scope: Scope) -> dict[Key, list[tuple[bool, Any, Any]]]:
    """(in scope, and no first value?, before, after) of every change of each value, oldest first."""
    found: dict[Key, list[tuple[bool, Any, Any]]] = {}
    for decision in made:
        for outcome in decision.outcomes:
            q = outcome.question
            if outcome.field and q is not None and q.golden.value != outcome.after:
                first = q.golden.value is None and not (q.seen_before or q.late) and decision.actor == "rules"
                within = scope.within(decision, outcome) and not first
                change = (within, q.golden.value, outcome.after)
                found.setdefault((decision.record_id, outcome.field), []).append(change)
    return found


def expected(changes: list[tuple[bool, Any, Any]], standing: Any) -> tuple[bool, Any]:
    """(may it go back?, to what): the trailing run of changes in scope, when it leads to what stands."""
    value = standing
    for within, before, after in reversed(changes):
        if not within or after != value:
            break
        value = before
    return value != standing, value


def scope_of(story: Story, by: Random) -> Scope:
    made = log(story)
    late = made[len(made) // 3 :]
    if by.random() < 0.5:
        return Scope(run=by.choice([one.run for one in late if one.run] or [1]))
    return Scope(since=by.choice(late).at, system=by.choice(["crm", "mkt"]))


def lived(story: Story, by: Random) -> None:
    """After all the mishaps, people go on with their work: many edits, each soon seen."""
    cycle.recover(story.engine)
    for simulator in story.world.systems.values():
        simulator.faults.clear()
    for n in range(10):
        for _ in range(by.randint(1, 3)):
            system, id_ = story._somebody()
            field = by.choice(["city", "name", "note", "tags", "email"])
            value: Any = {"tags": [f"t{n}", "t"], "email": f"n{n}.{system}@x.example"}.get(field, f"Some {n}")
            if id_:
                story.world.systems[system].edit("people", id_, {field: value})
                story.world.clock.pass_(1)
        by.choice([story.do_sync, story.do_sync, story.do_sweep, story.do_pull])()
        if by.random() < 0.2:
            story.do_answer()


def check(story: Story, scope: Scope, before: dict[Key, Golden], past: list[Decision], done: Undone) -> None:
    after, changes = goldens(story), changed(past, scope)
    reverted = {(one.record, one.field): one for one in done.reverted}
    left = {(one.record, one.field) for one in done.left}
    for key, golden in before.items():
        if key not in reverted:
            assert after[key] == golden, ("touched without saying so", key)
    for key, one in reverted.items():
        may, value = expected(changes[key], before[key].value)
        assert may, ("not its own any more", key, one)
        assert after[key].value == value, ("set back to something else", key, one)
        assert before[key].frozen is None
    for key, found in changes.items():
        if any(within for within, _, _ in found) and key in before:
            assert key in reverted or key in left, ("neither undone nor listed", key, found)


def told(world: Worlds, folder: Path, seeds: range, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(scopes, "CHUNK", 3)
    monkeypatch.setattr(undo, "LISTED", 100_000)
    stage, total = Stage(world(FIELDS, DATA, create="always", delete="detach"), folder), 0
    for seed in seeds:
        story, by = Story(stage, seed), Random(-seed - 1)
        story.tell()
        lived(story, by)
        scope, before, past = scope_of(story, by), goldens(story), log(story)
        done = undo.carry_out(story.engine, scope, "Kim")
        check(story, scope, before, past, done)
        total += done.values
        between = goldens(story)
        again = undo.carry_out(story.engine, Scope(run=done.run), "Kim")
        assert not [one for one in again.left if one.field and one.why != "undone already"], (
            seed,
            again.left,
        )
        for key, golden in before.items():
            if again.values == done.values:
                assert goldens(story)[key].value == golden.value, (seed, key, between[key])
        if by.random() < 0.5:
            undo.carry_out(story.engine, Scope(run=again.run), "Kim")
        story.rest()
        assert story.wrong() == [], (seed, story.log)
        assert broken(story.engine.store) == [], (seed, story.log)
        story.engine.store.close()
    return total


def test_undo_in_a_story_touches_only_what_is_its_own_and_the_world_comes_to_rest(
    world: Worlds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(world, tmp_path, range(3), monkeypatch) > 0


@pytest.mark.slow
def test_undo_in_more_stories(world: Worlds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(world, tmp_path, range(3, 30), monkeypatch) > 12
