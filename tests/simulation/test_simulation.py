from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syncbroker.core.mapping import Policy
from syncbroker.simulation.faults import FAULTS, chosen
from syncbroker.simulation.people import Cast
from syncbroker.simulation.play import FragileStore, Play
from syncbroker.simulation.run import Report, Simulation
from syncbroker.simulation.script import write_script
from syncbroker.simulation.stage import make_stage
from syncbroker.store.database import create_all, open_store

ROOT = Path(__file__).parents[2]
SEEDS = 40


@pytest.fixture(scope="module")
def report(cast: Cast, fragile: FragileStore) -> Report:
    """What came of the fixed seeds, with every fault on."""
    return Simulation(cast, fragile, chosen()).run(0, SEEDS)


@pytest.mark.slow
def test_no_invariant_is_violated_over_every_policy_and_type(report: Report) -> None:
    assert [(one.seed, one.invariant, one.text) for one in report.failures] == []
    assert report.seeds == SEEDS


@pytest.mark.slow
@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in ("rewriting", "batch_half")])
def test_every_fault_strikes(report: Report, fault: str) -> None:
    assert report.faults[fault] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("adopted", 500),
        ("agreed", 200),
        ("conflict_resolved", 200),
        ("conflict_queued", 5),
        ("edit_reverted", 20),
        ("edit_ignored", 50),
        ("drift_corrected", 2),
        ("rejected", 4),
        ("created", 50),
        ("linked", 50),
        ("deleted", 5),
        ("delete_queued", 3),
        ("resolved_by_person", 3),
    ],
)
def test_every_kind_of_decision_is_made_often_enough(report: Report, kind: str, least: int) -> None:
    assert report.kinds.get(kind, 0) >= least


@pytest.mark.slow
@pytest.mark.parametrize("policy", Policy.__args__)  # type: ignore[attr-defined]  # a Literal's own
def test_every_policy_adopts_and_settles_conflicts(report: Report, policy: str) -> None:
    kinds = {
        branch.split()[1]: count for branch, count in report.branches.items() if branch.split()[0] == policy
    }
    assert kinds["adopted"] >= 10
    assert (
        kinds.get("conflict_resolved", 0) + kinds.get("conflict_queued", 0) + kinds.get("edit_ignored", 0)
        >= 3
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("invariant", "least"), [(1, 1000), (2, SEEDS), (3, 30), (4, 3000), (5, 100), (6, 3), (9, 1000)]
)
def test_every_invariant_is_checked_often_enough(report: Report, invariant: int, least: int) -> None:
    (one,) = [one for one in report.invariants if one.invariant == invariant]
    assert one.checked >= least


def test_the_same_seed_is_the_same_history(cast: Cast, fragile: FragileStore) -> None:
    assert _told(cast, fragile, 3) == _told(cast, fragile, 3)


@pytest.mark.parametrize("first", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_the_example_mappings_keep_the_invariants(fragile: FragileStore, first: int) -> None:
    cast = Cast(make_stage(ROOT / "mappings"))
    assert Simulation(cast, fragile, chosen()).run(first, 2 + first).failures == []


def test_a_world_without_faults_keeps_the_invariants(cast: Cast, fragile: FragileStore) -> None:
    report = Simulation(cast, fragile, frozenset()).run(500, 5)
    assert report.failures == []
    assert report.faults == {}


@pytest.fixture
def on_postgres(postgres_url: str) -> Iterator[FragileStore]:
    store = open_store(postgres_url)
    create_all(store)
    yield FragileStore(store)
    store.close()


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_the_invariants_hold_on_postgresql(cast: Cast, on_postgres: FragileStore, seed: int) -> None:
    assert Simulation(cast, on_postgres, chosen()).run(seed, 1).failures == []


def _told(cast: Cast, store: FragileStore, seed: int) -> list[str]:
    play = Play(cast, seed, chosen(), store)
    play.tell(write_script(cast, seed, chosen()))
    return [*play.log, *map(repr, play.world.wrote)]
