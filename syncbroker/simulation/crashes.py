"""Invariant 6: a process that dies at any seam, and is started again, leads to the same end.

One calm history is told without a death, which counts its seams; then again with a death at some of them. What was cut
off is done again, and the history goes on. In the end the systems must hold the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from syncbroker.core.types import Type
from syncbroker.simulation.people import Cast
from syncbroker.simulation.play import FragileStore, Play
from syncbroker.simulation.script import Step, write_script
from syncbroker.store import decisions

CALM = frozenset(("clock_skew", "coarse_stamps"))
"""Traits that a death does not mix with. A system that rewrites is not among them: after a lost answer its rewrite
may be
taken for an edit (docs/simulation.md)."""

LENGTH = (4, 9)


def crash_script(cast: Cast, seed: int) -> list[Step]:
    return write_script(cast, seed, frozenset(), LENGTH)


def told(cast: Cast, seed: int, store: FragileStore, steps: Sequence[Step], die_at: int = 0) -> Play:
    play = Play(cast, seed, CALM, store, die_at=die_at)
    play.tell(steps)
    return play


def differing(cast: Cast, seed: int, store: FragileStore, points: int) -> Iterator[tuple[int, str]]:
    """(seam, what differs; "" when nothing does) for some seams of one history."""
    steps = crash_script(cast, seed)
    alive = told(cast, seed, store, steps)
    if asks(alive):
        return
    end, seams = held(alive), alive.passages
    by = Random(f"{seed} deaths")  # a seeded world
    for at in sorted(by.sample(range(1, seams + 1), min(points, seams))):
        dead = told(cast, seed, store, steps, at)
        if asks(dead) or edits(dead) != edits(alive):
            continue  # somebody found a record earlier or later than before, and did something else
        after = held(dead)
        yield at, "; ".join(_unlike(end, after))


def asks(play: Play) -> bool:
    """A write that could not be settled was left to a person: from there on the histories may part."""
    with play.store.read() as tx:
        return "refused" in decisions.waiting_counts(tx)


def edits(play: Play) -> list[tuple[str, str, str, str]]:
    """What people did, without ids."""
    return [(one.system, one.object, one.path, repr(one.raw)) for one in play.world.edits]


def held(play: Play) -> dict[tuple[str, str], list[str]]:
    """What the systems hold, a line for each field, without ids."""
    found: dict[tuple[str, str], list[str]] = {}
    for (system, object_), here in play.world.collections.items():
        shown: list[str] = []
        for row in here.rows.values():
            for slot in play.stage.slots[system, object_]:
                raw = row.now.fields.get(slot.link.path)
                if slot.rule.type is Type.REFERENCE and raw is not None:
                    raw = _whom(play, system, str(raw))
                shown.append(f"{slot.link.path} of {row.who} {slot.read(raw)!r}")
        found[system, object_] = sorted(shown)
    return found


def _whom(play: Play, system: str, id_: str) -> str:
    rows = (here.rows.get(id_) for (name, _), here in play.world.collections.items() if name == system)
    return next((f"about {row.who}" for row in rows if row is not None), "nobody")


def _unlike(a: dict[tuple[str, str], list[str]], b: dict[tuple[str, str], list[str]]) -> Iterator[str]:
    for key, rows in a.items():
        if rows != b[key]:
            lost, new = [r for r in rows if r not in b[key]], [r for r in b[key] if r not in rows]
            yield f"{' '.join(key)}: {', '.join(lost) or 'nothing'} became {', '.join(new) or 'nothing'}"
