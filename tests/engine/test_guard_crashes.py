"""A process that dies between any two transactions while a guard holds something: nothing of it is written by that, and
whoever comes after ends in the same state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from syncbroker.engine import Engine, answer, cycle
from syncbroker.store import decisions, deliveries, guards, queues, runs
from tests.engine.conftest import Worlds
from tests.support.deliveries import arrive
from tests.support.rig import entity_text
from tests.support.stage import THIRDS, Death, Killed, Stage, dying

FIELDS = """\
  email: {type: email, required: true, systems: {crm: email, mkt: email}}
  city: {type: text, authority: [crm, mkt], policy: prefer, systems: {crm: city, mkt: city}}
"""
CRM = [{"email": f"p{n}@x.example", "city": f"Town {n}"} for n in range(1, 6)]
MKT = [{"email": "p1@x.example", "city": "Bonn"}]


def approve(engine: Engine) -> None:
    for review in waiting(engine):
        answer.answer(engine, review.id, "approve", "pat")


def waiting(engine: Engine) -> list[decisions.Review]:
    with engine.store.read() as tx:
        return decisions.waiting(tx, kind="guard")


def edit(stage: Stage) -> None:
    for n in range(1, 5):
        stage.world.edit("crm", f"p{n:06d}", city="Metropolis")


def tell(stage: Stage, engine: Engine) -> None:
    """Three webhooks, one after the other; the limit is two."""
    for n in range(1, 4):
        id_ = f"p{n:06d}"
        if stage.world.held("crm", "city")[n - 1] != f"Told {n}":
            stage.world.edit("crm", id_, city=f"Told {n}")
        body = b'[{"event": "%d", "object": "people", "id": "%s", "kind": "changed", "at": 1, ' % (
            n,
            id_.encode(),
        )
        with engine.store.write() as tx:
            request = deliveries.Request(method="POST", url="x")
            whole = body + b'"record": null, "into": null}]'
            arrive(tx, "crm", str(n), stage.world.clock(), request, whole)
    cycle.receive_all(engine)
    cycle.settle(engine, cycle.Summary())


def wait(stage: Stage, engine: Engine) -> None:
    """A create in doubt is not repeated while its request may still arrive."""
    stage.world.clock.pass_(600)
    cycle.settle(engine, cycle.Summary())


def story(stage: Stage, engine: Engine, death: Death) -> tuple[list[int], Engine]:
    """A first load, a mass edit and webhooks, each held and then approved. How many requests to write at each hold."""
    written = []
    steps: list[Callable[[Engine], Any]] = [
        cycle.sync,
        approve,
        cycle.sync,
        cycle.sync,
        approve,
        cycle.sync,
        lambda engine: tell(stage, engine),
        approve,
        lambda engine: cycle.settle(engine, cycle.Summary()),
        lambda engine: wait(stage, engine),
    ]
    for n, step in enumerate(steps):
        if n == 3:
            edit(stage)
        try:
            with dying(death, stage.world):
                step(engine)
        except Killed:
            engine = replace(engine, shapes={})
            cycle.recover(engine)
            step(engine)
        if n in (0, 3, 6):
            assert waiting(engine), f"nothing is held after step {n}"
            written.append(stage.world.writes())
    return written, engine


def left(engine: Engine) -> tuple[Any, ...]:
    """What is held or staged."""
    with engine.store.read() as tx:
        held, undone = runs.held(tx), runs.unfinished(tx)
        staged = [count for (_, state), count in queues.outbox_counts(tx).items() if state == "staged"]
        return held, undone, staged, queues.inbox_size(tx), guards.push_count(tx, 0)


@pytest.mark.parametrize("third", THIRDS)
def test_a_process_that_dies_anywhere_around_a_guard_writes_nothing_held_and_ends_the_same(
    world: Worlds, tmp_path: Path, third: int
) -> None:
    text = entity_text(FIELDS, ["crm", "mkt"], create="always")
    text = text.replace("match:\n", "guard: {created: 3, collapse: 3, changed: 2%, window: 1h}\nmatch:\n")
    stage = Stage(world(FIELDS, {"crm": CRM, "mkt": MKT}, entity=text), tmp_path)
    alive = Death(0, after=False)
    expected, engine = story(stage, stage.again(), alive)
    end = stage.end()
    assert expected == [1, 2, 4]  # an update of the first load, the approved creates, two webhooks
    assert left(engine) == ([], [], [], 0, 0)
    assert end["mkt"] == end["crm"]
    engine.store.close()
    wrong: list[Any] = []
    # To die before a commit is to die after the one before it, unless the systems were written to between the two.
    deaths = [(n, False) for n, (a, b) in enumerate(pairwise([0, *alive.writes]), 1) if a != b]
    deaths += [(n, True) for n in range(1, alive.commits + 1)]
    for at, after in deaths[third::3]:
        written, engine = story(stage, stage.again(), Death(at, after))
        more = any(one > most for one, most in zip(written, expected, strict=True))
        if more or stage.end() != end:
            wrong.append((at, after, written, stage.end()))
        elif left(engine) != ([], [], [], 0, 0):
            wrong.append((at, after, left(engine)))
        engine.store.close()

    assert wrong == []
