"""The demo's story, played on processes that are started as a user starts them, and judged by what the vendors hold."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import pytest

from syncbroker.core.resolve import Kind
from syncbroker.demo.payloads import OBJECTS
from syncbroker.demo.scene import PLACES, Told, everybody, played
from syncbroker.demo.stage import Stage, raised
from syncbroker.demo.story import ACTS, Act
from syncbroker.demo.world import World, build_world
from syncbroker.sdk.paths import get_path
from syncbroker.store import decisions
from tests.acceptance.support import SEED


class Story(NamedTuple):
    """A story that has been played to the end; the systems are still there to be asked."""

    stage: Stage
    world: World
    told: dict[str, Told]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    world = build_world(SEED, 60)
    with raised(tmp_path_factory.mktemp("story"), world) as stage:
        stage.make_store()
        people, told = everybody(stage), {}
        for act in ACTS:
            if act.serving and stage.serving is None:
                stage.serve()
            if not act.serving:
                stage.stop_serving()
            told[act.name] = played(act.play, stage, people)
        yield Story(stage, world, told)


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.name)
def test_every_expectation_of_the_act_holds(story: Story, act: Act) -> None:
    assert not story.told[act.name].unmet


ELSEWHERE = {"merged", "unmerged", "run_held", "authority_changed"}
"""What the example mappings have no occasion for: stories of their own show these."""


def test_every_kind_of_decision_occurs(story: Story) -> None:
    with story.stage.engine().store.read() as tx:
        found = decisions.counts(tx)
    assert set(found) == set(get_args(Kind)) - ELSEWHERE


@pytest.mark.parametrize("system", OBJECTS)
def test_nobody_is_in_a_system_twice_who_was_there_once(story: Story, system: str) -> None:
    def addresses(records: list[dict[str, object]]) -> Counter[str]:
        held = (get_path(one, PLACES["email"][system]) for one in records)
        return Counter(str(one).strip().lower() for one in held if one)

    before = addresses(story.world.systems[system][OBJECTS[system]])
    after = addresses(story.stage.systems[system].records(OBJECTS[system]))
    assert {one: many for one, many in after.items() if many > max(1, before[one])} == {}


def test_serve_met_no_fault_of_its_own(story: Story) -> None:
    lines = [json.loads(line) for line in Path(story.stage.folder / "broker.log").read_text().splitlines()]
    assert [
        line for line in lines if line["level"] in ("error", "critical") or line["event"] == "fault"
    ] == []


def test_the_log_holds_neither_addresses_nor_secrets(story: Story) -> None:
    log = Path(story.stage.folder / "broker.log").read_text()
    names = ("SECRET", "TOKEN", "KEY")
    secrets = [v for name, v in story.stage.environment.items() if any(word in name for word in names)]
    words = [*secrets, *(person.email for person in story.world.people.values())]
    assert [word for word in words if word in log] == []
