"""The shortest history that still goes wrong in the same way, found by leaving out steps and then traits of the
world."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from syncbroker.simulation.faults import FAULTS
from syncbroker.simulation.script import Step

TRIALS = 200
"""How many shorter histories are tried at most."""

Fails = Callable[[Sequence[Step], frozenset[str]], bool]


def shrink(
    steps: Sequence[Step], faults: frozenset[str], fails: Fails, trials: int = TRIALS
) -> tuple[list[Step], frozenset[str]]:
    """Steps and faults that still fail, of which none can be left out (or the trials are used up).

    `fails` must be true of what it is given at first.
    """
    left = [trials]

    def tried(some: Sequence[Step], with_: frozenset[str]) -> bool:
        left[0] -= 1
        return left[0] >= 0 and fails(some, with_)

    kept = list(steps)
    size = max(1, len(kept) // 2)
    while True:
        start, shorter = 0, False
        while start < len(kept):
            rest = kept[:start] + kept[start + size :]
            if tried(rest, faults):
                kept, shorter = rest, True
            else:
                start += size
        if left[0] <= 0 or (size == 1 and not shorter):
            break
        size = max(1, size // 2) if not shorter or size > 1 else 1
    needed = {step.name for step in kept if step.kind == "fault"} | {"edit_meanwhile", "second_worker"}
    for name in sorted(name for name in faults if FAULTS[name].kind == "trait" or name not in needed):
        if tried(kept, faults - {name}):
            faults -= {name}
    return kept, faults
