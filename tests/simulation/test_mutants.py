"""The simulation is worth what it catches: each rule that keeps the invariants is taken out, and its absence must show.

Every mutant names a seed that shows it soon; a few more are tried, since other changes may move histories about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from syncbroker.core import observe
from syncbroker.core.observe import Edit, Look, Observed, Timing
from syncbroker.core.state import UNSEEN, LinkState
from syncbroker.engine import decide, deliver, saving, settle
from syncbroker.engine.workspace import Workspace
from syncbroker.simulation.people import Cast
from syncbroker.simulation.play import FragileStore
from syncbroker.simulation.run import Simulation
from syncbroker.simulation.script import write_script
from syncbroker.store import records

Mutant = Callable[[pytest.MonkeyPatch], None]

MORE = 40
"""How many seeds after the named one are tried."""


def base_before_write(patch: pytest.MonkeyPatch) -> None:
    real = deliver._claim

    def claim(ws: Workspace, row: Any, externals: dict[str, str], holder: str) -> Any:
        made = real(ws, row, externals, holder)
        if made is not None:
            link = ws.link(row.link)
            moved = {
                name: replace(link.fields.get(name, UNSEEN), value=value, met=True, base=value)
                for name, value in made.row.push.values.items()
            }
            after = replace(link, fields={**link.fields, **moved})
            ws.put_link(after, made.record_id, made.plan.entity.name)
        return made

    patch.setattr(deliver, "_claim", claim)


def echoes_are_edits(patch: pytest.MonkeyPatch) -> None:
    real = observe.observe

    def observing(link: LinkState, look: Look, timing: Timing) -> Observed:
        result = real(link, look, timing)
        echoed = [
            Edit(
                name,
                look.seen[name],
                link.fields[name],
                first=False,
                late=False,
                since=look.ended,
                until=look.ended,
            )
            for name in link.ours
            if name in look.seen and result.taken and look.seen[name].value == link.fields[name].value
        ]
        return replace(result, edits=(*result.edits, *echoed))

    patch.setattr(decide, "observe", observing)


def no_recheck(patch: pytest.MonkeyPatch) -> None:
    real = deliver.recheck

    def recheck(engine: Any, batch: list[Any]) -> list[Any]:
        if batch[0].write.op == "create":
            return real(engine, batch)
        return [one.based_on(one.link.order) for one in batch]

    patch.setattr(deliver, "recheck", recheck)


def no_lease(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(deliver, "LEASE", 0)


def no_search(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        settle, "look_before_create", lambda engine, batch: [one.based_on(engine.now()) for one in batch]
    )


def no_late_rule(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(observe, "_late", lambda link, look, order: Observed(link, superseded=len(look.seen)))


def no_tombstones(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(records, "buried", lambda tx, system, object_, digests: set())


def fingerprints_stay(patch: pytest.MonkeyPatch) -> None:
    real = saving.save

    def save(ws: Workspace) -> dict[str, int]:
        ws.stale_fingerprints.clear()
        return real(ws)

    patch.setattr(saving, "save", save)


class Case(NamedTuple):
    """`invariant`: what must show it, in a world with these `faults` only; `seed` shows it soon."""

    mutate: Mutant
    invariant: int
    faults: frozenset[str]
    seed: int


MUTANTS: dict[str, Case] = {
    "base moved before the write": Case(base_before_write, 4, frozenset(["server_error"]), 1),
    "echo recognition off": Case(echoes_are_edits, 4, frozenset(), 0),
    "the re-check off": Case(no_recheck, 4, frozenset(["edit_meanwhile"]), 3),
    "the lease off": Case(no_lease, 2, frozenset(["second_worker"]), 3),
    "search before create off": Case(no_search, 3, frozenset(), 0),
    "the late rule off": Case(no_late_rule, 4, frozenset(["edit_meanwhile"]), 3),
    "tombstones off": Case(no_tombstones, 3, frozenset(), 0),
    "fingerprint not cleared on write": Case(fingerprints_stay, 1, frozenset(["write_dropped"]), 4),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name: str, cast: Cast, fragile: FragileStore) -> None:
    case = MUTANTS[name]
    with pytest.MonkeyPatch.context() as patch:
        case.mutate(patch)
        found = (_violated(cast, fragile, case.seed + n, case.faults) for n in range(MORE))
        assert any(case.invariant in one for one in found)


@pytest.mark.parametrize(
    ("seed", "faults"), sorted({(one.seed, one.faults) for one in MUTANTS.values()}, key=str)
)
def test_the_same_history_is_sound_without_a_mutant(
    cast: Cast, fragile: FragileStore, seed: int, faults: frozenset[str]
) -> None:
    assert _violated(cast, fragile, seed, faults) == set()


def _violated(cast: Cast, store: FragileStore, seed: int, faults: frozenset[str]) -> set[int]:
    simulation = Simulation(cast, store, faults)
    _, verdicts = simulation.told(seed, write_script(cast, seed, faults), faults)
    return {one.invariant for one in verdicts.violations}
