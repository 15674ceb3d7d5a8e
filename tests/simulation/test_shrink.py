from __future__ import annotations

from collections.abc import Sequence

from syncbroker.simulation.script import Step
from syncbroker.simulation.shrink import shrink

STEPS = [Step("wait", n=n) for n in range(20)]


def fails(some: Sequence[Step], faults: frozenset[str]) -> bool:
    return {3, 17} <= {step.n for step in some} and "automation" in faults


def test_only_the_steps_that_it_takes_are_left() -> None:
    kept, _ = shrink(STEPS, frozenset(["automation"]), fails)
    assert [step.n for step in kept] == [3, 17]


def test_only_the_faults_that_it_takes_are_left() -> None:
    _, faults = shrink(STEPS, frozenset(["automation", "clock_skew", "killed"]), fails)
    assert faults == {"automation"}


def test_it_ends_when_its_trials_are_used_up() -> None:
    tried = 0

    def counted(some: Sequence[Step], faults: frozenset[str]) -> bool:
        nonlocal tried
        tried += 1
        return fails(some, faults)

    kept, _ = shrink(STEPS, frozenset(["automation"]), counted, trials=5)
    assert tried == 5
    assert fails(kept, frozenset(["automation"]))
