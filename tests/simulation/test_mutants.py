"""The simulation is worth what it catches: each rule that keeps the invariants is taken out, and its absence must show.

Every mutant names a seed that shows it soon; a few more are tried, since other changes may move histories about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from syncbroker.core import observe
from syncbroker.core.observe import Observed
from syncbroker.core.state import UNSEEN, LinkState
from syncbroker.core.types import Value
from syncbroker.engine import deliver, settle
from syncbroker.engine.workspace import Workspace
from syncbroker.simulation.faults import chosen
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

    def claim(ws: Workspace, row: Any, externals: dict[str, str]) -> Any:
        made = real(ws, row, externals)
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
    real = observe.confirm

    def confirm(link: LinkState, written: Mapping[str, Value], *given: Any, **named: Any) -> LinkState:
        after = real(link, written, *given, **named)
        was = {
            name: replace(
                after.fields[name],
                raw=link.fields.get(name, UNSEEN).raw,
                value=link.fields.get(name, UNSEEN).value,
                sent=(),
                known=(),
            )
            for name in written
        }
        return replace(after, fields={**after.fields, **was})

    patch.setattr(observe, "confirm", confirm)


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
    patch.setattr(
        observe, "_late", lambda link, look, order: Observed(link, superseded=len(look.seen))
    )


def no_tombstones(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(records, "buried", lambda tx, system, object_, digests: set())


def fingerprints_stay(patch: pytest.MonkeyPatch) -> None:
    real = Workspace.write

    def write(self: Workspace) -> dict[str, int]:
        self.stale_fingerprints.clear()
        return real(self)

    patch.setattr(Workspace, "write", write)


MUTANTS: dict[str, tuple[Mutant, int]] = {
    "base moved before the write": (base_before_write, 0),
    "echo recognition off": (echoes_are_edits, 0),
    "the re-check off": (no_recheck, 0),
    "the lease off": (no_lease, 0),
    "search before create off": (no_search, 0),
    "the late rule off": (no_late_rule, 0),
    "tombstones off": (no_tombstones, 0),
    "fingerprint not cleared on write": (fingerprints_stay, 0),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name: str, cast: Cast, fragile: FragileStore) -> None:
    mutate, first = MUTANTS[name]
    with pytest.MonkeyPatch.context() as patch:
        mutate(patch)
        assert any(_caught(cast, fragile, first + n) for n in range(MORE))


@pytest.mark.parametrize("seed", sorted({seed for _, seed in MUTANTS.values()}))
def test_the_same_histories_are_sound_without_a_mutant(cast: Cast, fragile: FragileStore, seed: int) -> None:
    assert _caught(cast, fragile, seed) == []


def _caught(cast: Cast, store: FragileStore, seed: int) -> list[int]:
    """The invariants that a history violates."""
    faults = chosen()
    simulation = Simulation(cast, store, faults)
    return [one.invariant for one in simulation.told(seed, write_script(cast, seed, faults), faults)[1].violations]
