"""Runs that a guard holds: how they are held, what joins them while they wait, and how a person lets them go.

A run is held for one of two reasons. Its *observations* pass an input limit: they stay in the inbox, nothing of them is
decided, and the cursor does not move. Or it was decided, and its *pushes* pass an output limit: they stay in the
outbox, `staged`, and nobody claims them. Either way one review of kind `guard` asks what follows.

Of each object at most one run waits with observations. What is read of the object meanwhile joins it, the newest
observation of a record taking the place of the one before, and the question is renewed.

A held run is a decision about no record: its row has the record id "" and carries the number of the run, by which
it is found. A made-up record would have to be told apart from real ones wherever records are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from syncbroker.core.types import Micros
from syncbroker.engine import Engine, Source, measure
from syncbroker.engine.measure import CHUNK, Measured
from syncbroker.engine.sharing import NotAlone
from syncbroker.store import decisions, guards, queues, records, runs
from syncbroker.store.database import Tx
from syncbroker.store.decisions import Cause, Decision, Outcome, Review
from syncbroker.store.queues import Row, Sighting, Waiting
from syncbroker.store.runs import Held, Run

PAUSE: Micros = 60_000_000
"""How long a write waits at a time while what was observed of its record is held."""


# ------------------------------------------------------------------------------------------------- holding


def hold(
    engine: Engine,
    tx: Tx,
    run: Run,
    held: Held,
    found: Measured,
    *,
    ended: Micros | None = None,
) -> Held:
    """A guard holds the run: a review asks about it, and a decision says so. Returns `held` with its review."""
    held = replace(held, review=ask(engine, tx, run, held, found))
    runs.hold(tx, run.id, held, run.counts, ended=ended)
    outcomes: dict[str, list[Outcome]] = {}
    for one in found.limits:
        outcomes.setdefault(one.entity, []).append(
            Outcome(
                kind="run_held",
                system=one.system,
                place=one.place,
                why=one.text,
                cause=Cause(run.kind, at=engine.now()),
                review=held.review,
            )
        )
    _decide(engine, tx, run.id, outcomes, "rules")
    return held


def ask(engine: Engine, tx: Tx, run: Run, held: Held, found: Measured) -> int:
    """Open the review about a held run."""
    number = tx.numbers("reviews", 1)[0]
    first = found.limits[0] if found.limits else None
    entity = first.entity if first else next((key[2] for key in found.tallies), "")
    review = Review(
        id=number,
        kind="guard",
        entity=entity,
        record_id=None,
        link=None,
        field="",
        system=first.system if first else run.system,
        opened=engine.now(),
        body=_body(tx, run, held, found),
    )
    decisions.open_reviews(tx, [review])
    return number


def renew(tx: Tx, run: Run, held: Held, found: Measured) -> None:
    """What the review of a held run asks has changed."""
    decisions.renew_reviews(tx, {held.review: _body(tx, run, held, found)})


def _body(tx: Tx, run: Run, held: Held, found: Measured) -> dict[str, Any]:
    count = queues.inbox_size(tx, run.id) if held.waits == "observations" else guards.push_count(tx, run.id)
    return {
        "run": run.id,
        "read": run.kind,
        "waits": held.waits,
        "count": count,
        "why": "; ".join(one.text for one in found.limits) or "the rest of what a person let go in part",
        **found.body(),
    }


def _decide(engine: Engine, tx: Tx, run: int, outcomes: dict[str, list[Outcome]], actor: str) -> None:
    """Decisions about a run and no record, one for each entity."""
    numbers = tx.numbers("decisions", len(outcomes)) if outcomes else range(0)
    made = [
        Decision(
            id=number,
            record_id="",
            entity=entity,
            run=run,
            at=engine.now(),
            actor=actor,
            mapping=engine.mapping.version,
            outcomes=each,
        )
        for number, (entity, each) in zip(numbers, outcomes.items(), strict=True)
    ]
    decisions.append(tx, made, engine.shapes)


# ------------------------------------------------------------------------------------------------- joining


def join(tx: Tx, run: int, rows: Iterable[Waiting]) -> int:
    """Staged observations join a held run; each takes the place of an older one of the same record. How many."""
    by_source: dict[tuple[str, str], list[Waiting]] = {}
    for row in rows:
        by_source.setdefault((row.system, row.object), []).append(row)
    for (system, object_), group in by_source.items():
        whole = {row.sighting.id for row in group if row.sighting.complete}
        numbers = {row.number for row in group}
        forget(tx, run, system, object_, sorted(whole), without=numbers)
        guards.move(tx, sorted(numbers), run)
    return sum(len(group) for group in by_source.values())


def forget(
    tx: Tx,
    run: int,
    system: str,
    object_: str,
    external_ids: Sequence[str],
    *,
    without: Iterable[int] = (),
) -> int:
    """What a held run knew of these records is out of date. Another id, or into which record one was merged, stays."""
    kept = set(without)
    old = [
        row.number
        for row in guards.staged(tx, [run], system, object_, external_ids)
        if row.number not in kept and not (row.sighting.renamed_from or row.sighting.merged_into)
    ]
    queues.finish(tx, old)
    return len(old)


def seen_unchanged(engine: Engine, run: int, source: Source, external_ids: Sequence[str]) -> None:
    """These records are at the vendor what the broker believes: what a held run had observed of them is over."""
    with engine.store.read() as tx:
        if not guards.staged(tx, [run], source.system, source.object, external_ids):
            return
    with engine.store.write() as tx:
        forget(tx, run, source.system, source.object, external_ids)


def stage(tx: Tx, run: Run, source: Source, sightings: Sequence[Sighting]) -> None:
    """Observations of webhooks join a held run as they come."""
    before = {row.number for row in _about(tx, run.id, source, sightings)}
    queues.stage(tx, run.id, source.system, source.object, sightings)
    join(tx, run.id, [row for row in _about(tx, run.id, source, sightings) if row.number not in before])
    count(tx, run)


def _about(tx: Tx, run: int, source: Source, sightings: Sequence[Sighting]) -> list[Waiting]:
    ids = sorted({s.id for s in sightings})
    return guards.staged(tx, [run], source.system, source.object, ids)


def count(tx: Tx, run: Run) -> None:
    """How much waits is part of what the review asks."""
    review = decisions.review(tx, run.held.review) if run.held else None
    if run.held is None or review is None:
        return
    waits = run.held.waits
    many = queues.inbox_size(tx, run.id) if waits == "observations" else guards.push_count(tx, run.id)
    decisions.renew_reviews(tx, {review.id: {**review.body, "count": many}})


def count_waiting(tx: Tx, numbers: Iterable[int]) -> None:
    """Something was added to these held runs."""
    for number in sorted(numbers):
        run = runs.get(tx, number)
        if run is not None:
            count(tx, run)


def divert(tx: Tx, rows: list[Waiting], *, shared: bool) -> list[Waiting]:
    """Live observations of records of which a held run knows something join it: nothing of it is decided by the side
    door. Returns the others. Nobody joins anything while others decide (`shared`)."""
    holding = {(run.system, run.object): run for run in runs.held(tx) if _waits(run)}
    left: list[Waiting] = []
    for where in dict.fromkeys((row.system, row.object) for row in rows):
        group = [row for row in rows if (row.system, row.object) == where]
        run = holding.get(where)
        if run is None:
            left += group
            continue
        ids = sorted({row.sighting.id for row in group})
        known = {row.sighting.id for row in guards.staged(tx, [run.id], *where, ids)}
        joins = [row for row in group if row.sighting.id in known and row.sighting.via not in _LOOKS]
        if joins and shared:
            raise NotAlone
        numbers = {row.number for row in joins}
        left += [row for row in group if row.number not in numbers]
        if join(tx, run.id, joins):
            count(tx, run)
    return sorted(left, key=lambda row: row.number)


_LOOKS = ("reference", "person")
"""What was held before, looked at anew: no news of the vendor's."""


def _waits(run: Run) -> bool:
    return run.held is not None and run.held.waits == "observations"


def free(tx: Tx, rows: list[Row], now: Micros) -> tuple[list[Row], list[Row]]:
    """(writes that may be claimed, those that wait because what was observed of their record is held)."""
    holding = {(run.system, run.object): run.id for run in runs.held(tx) if _waits(run)}
    blocked: set[int] = set()
    for where, run in holding.items():
        numbers = [row.link for row in rows if (row.system, row.object) == where]
        if not numbers:
            continue
        ids = {n: state.external_id for n, (state, _, _) in records.link_states(tx, numbers).items()}
        asked = sorted({id_ for id_ in ids.values() if id_ is not None})
        known = {row.sighting.id for row in guards.staged(tx, [run], *where, asked)}
        blocked.update(n for n, id_ in ids.items() if id_ in known)
    return (
        [row for row in rows if row.link not in blocked],
        [replace(row, due=now + PAUSE) for row in rows if row.link in blocked],
    )


def hurry(tx: Tx, run: int) -> None:
    """Writes that waited for a held run may go on."""
    for rows in guards.observations(tx, run, CHUNK):
        by_source: dict[tuple[str, str], list[str]] = {}
        for row in rows:
            by_source.setdefault((row.system, row.object), []).append(row.sighting.id)
        for where, ids in by_source.items():
            found = records.by_external_id(tx, *where, sorted(set(ids)))
            guards.hurry(tx, sorted(n for links in found.values() for n, _, _ in links))


def readings(tx: Tx, source: Source) -> Run | None:
    """The run that waits with observations of an object."""
    return runs.holding(tx, source.system, source.object, "observations")


def live(tx: Tx, engine: Engine, system: str, object_: str) -> Run:
    """A run for what webhooks bring, or what is owed by their decisions."""
    number = runs.begin(tx, "live", system, object_, engine.now())
    return Run(
        id=number,
        kind="live",
        system=system,
        object=object_,
        state="reading",
        started=engine.now(),
        ended=None,
        counts={},
    )


def measured(engine: Engine, tx: Tx, run: Run) -> Measured:
    """What a held run would do now."""
    source = engine.sources.get((run.system, run.object))
    if run.held is not None and run.held.waits == "pushes":
        return measure.owed(engine, tx, run.id)
    return measure.staged(engine, tx, source, run.id) if source is not None else Measured()
