"""What is asked of a world at rest: are its decisions resolved again as they were, does undo touch only its own.

Both are about what the broker stored, so the first asks its log; the second is judged by the systems' contents: what
differs in them afterwards must be what the undo said it would set back.
"""

from __future__ import annotations

from random import Random

from syncbroker.engine import replay, undo
from syncbroker.engine.scope import Scope
from syncbroker.simulation.asked import ask
from syncbroker.simulation.play import Play
from syncbroker.simulation.systems import plain
from syncbroker.simulation.verdicts import Verdicts
from syncbroker.store import runs

UNDONE_EVERY = 3
"""Of every so many seeds one has a run undone: it takes as long as coming to rest."""

RUNS = 40
"""The newest runs, of which one is undone."""

Contents = dict[tuple[str, str, str], dict[str, object]]
"""(system, object, external id) -> vendor path -> value."""


def check(play: Play, found: Verdicts) -> None:
    if play.failed:
        return
    _replayed(play, found)
    if not found.violations and play.seed % UNDONE_EVERY == 0:
        _undone(play, found)


def _replayed(play: Play, found: Verdicts) -> None:
    done = replay.replay(play.engine)
    found.checked[7] += done.verified
    if done.difference is not None:
        one = done.difference
        text = (
            f"decision {one.decision} on {one.field} was {one.stored}, and is {one.got} when resolved again"
        )
        found.wrong(7, text, one.record)


def _undone(play: Play, found: Verdicts) -> None:
    run = _a_run(play)
    if not run:
        return
    before, edits = _contents(play), len(play.world.edits)
    planned = undo.plan(play.engine, Scope(run=run))
    done = undo.carry_out(play.engine, Scope(run=run), "somebody")
    found.checked[8] += done.values
    if done.values != planned.values:
        found.wrong(8, f"undoing run {run} changed {done.values} values, and {planned.values} were planned")
    play.come_to_rest()
    if len(play.world.edits) > edits:  # an automation answered: what it did is its own
        found.excused["an automation at work after an undo"] += 1
        return
    if play.quiet.writes:
        found.wrong(2, f"writes go on after run {run} was undone")
    _only(play, before, {(one.record, one.field) for one in done.reverted}, run, found)


def _a_run(play: Play) -> int:
    """A run that still has something to undo."""
    with play.store.read() as tx:
        known = [run.id for run in runs.recent(tx, limit=RUNS)]
    by = Random(f"{play.seed} undone")
    for run in by.sample(known, len(known)):
        if undo.plan(play.engine, Scope(run=run)).values:
            return run
    return 0


def _contents(play: Play) -> Contents:
    return {
        (system, object_, row.id): dict(row.now.fields)
        for (system, object_), here in play.world.collections.items()
        for row in here.rows.values()
    }


def _only(play: Play, before: Contents, reverted: set[tuple[str, str]], run: int, found: Verdicts) -> None:
    """What the systems hold differs from before only in fields that were set back, on the records they are of."""
    fields: dict[tuple[str, str, str, str], set[tuple[str, str]]] = {}
    for link in ask(play.engine).links:
        reader = play.stage.plans[link.entity].readers.get(link.system)
        for name, parts in (reader.fields if reader else {}).items():
            for part in parts:
                key = (link.system, link.object, str(link.external_id), part.path)
                fields.setdefault(key, set()).add((link.record, name))
    for where, now in _contents(play).items():
        was = before.get(where)
        if was is None:
            continue  # created since: what was waited for may have come with the undo
        for path in now.keys() | was.keys():
            if plain(now.get(path)) == plain(was.get(path)):
                continue
            if not fields.get((*where, path), set()) & reverted:
                text = f"undoing run {run} changed {path} of {' '.join(where)}, which was not to be set back"
                found.wrong(8, text)
