"""The four steps put together: what `sync`, `sweep` and the workers run, and how they catch up after a crash.

Each step reads its work from the store, so that a cycle can be cut off anywhere and run again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from syncbroker.engine import Engine, decide, deliver, ingest
from syncbroker.engine import sweep as sweeping
from syncbroker.engine.deliver import Delivered
from syncbroker.engine.ingest import Read
from syncbroker.errors import FixSetup, Retry
from syncbroker.store import queues, runs
from syncbroker.store.queues import LIVE

Watch = Callable[[str, str, int], None]
"""(step, what, how many more): for progress bars."""

ROUNDS = 50
"""How often a cycle goes from deciding to delivering before it leaves the rest to the next one."""


def unwatched(_step: str, _what: str, _count: int) -> None:
    """A cycle that nobody looks at."""


@dataclass
class Summary:
    """What one cycle did. `failed`: system -> why it was left alone."""

    seen: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    delivered: Delivered = field(default_factory=Delivered)
    failed: dict[str, str] = field(default_factory=dict)


def sync(engine: Engine, systems: Sequence[str] = (), watch: Watch = unwatched) -> Summary:
    """Pull what changed, decide it, deliver what is owed. With `systems`, pull only those (and deliver everywhere)."""
    return _cycle(engine, systems, ingest.pull, "pull", watch)


def sweep(engine: Engine, systems: Sequence[str] = (), watch: Watch = unwatched) -> Summary:
    """Compare everything, decide what differs, deliver what is owed."""
    return _cycle(engine, systems, sweeping.sweep, "sweep", watch)


def _cycle(
    engine: Engine, systems: Sequence[str], read: Callable[..., Read], step: str, watch: Watch
) -> Summary:
    summary = Summary()
    opened: set[str] = set()
    for source in engine.sources.values():
        if (systems and source.system not in systems) or source.system in summary.failed:
            continue
        name = f"{source.system} {source.object}"
        try:
            result = read(engine, source, partial(watch, step, name))
        except (Retry, FixSetup) as error:
            summary.failed[source.system] = error.message
            watch("failed", source.system, 0)
            continue
        summary.seen[source.system] += result.seen
        summary.changed[source.system] += result.changed
        opened |= decide_run(engine, result, summary, watch)
    for entity in opened:
        decide.rederive(engine, entity, partial(watch, "derive", entity))
    settle(engine, summary, watch)
    return summary


def decide_run(engine: Engine, result: Read, summary: Summary, watch: Watch = unwatched) -> set[str]:
    """Decide a released run and close it. Returns the entities that may be created in its object from now on."""
    name = f"{result.source.system} {result.source.object}"
    decided = decide.decide(engine, result.run, partial(watch, "decide", name))
    summary.kinds.update(decided.kinds)
    ingest.reread(engine, decided.again)
    opens = ingest.finish(engine, result, dict(decided.kinds))
    return {plan.entity.name for plan, _ in result.source.readers} if opens else set()


def settle(engine: Engine, summary: Summary, watch: Watch = unwatched) -> None:
    """Decide and deliver in turn until nothing is left that is due now."""
    for _ in range(ROUNDS):
        decided = decide.decide(engine, LIVE, partial(watch, "decide", "observations"))
        for run in _put_off(engine):
            late = decide.decide(engine, run)
            decided.taken += late.taken
            decided.kinds.update(late.kinds)
            decided.again.extend(late.again)
        summary.kinds.update(decided.kinds)
        asked = ingest.reread(engine, decided.again)
        moved = 0
        for system in engine.mapping.systems:
            if system in summary.delivered.failed:
                continue
            done = deliver.deliver(engine, system, partial(watch, "deliver", system))
            summary.delivered.add(done)
            moved += done.moved
        if not (decided.taken or asked or moved):
            return


def _put_off(engine: Engine) -> Iterable[int]:
    """Runs with observations that waited for a write or for another read and are due now."""
    with engine.store.read() as tx:
        return queues.late_runs(tx, engine.now())


def recover(engine: Engine) -> Summary:
    """What a dead process left: staged runs, deliveries, pushes in doubt."""
    summary = Summary()
    if engine.store.single:
        with engine.store.write() as tx:
            queues.expire_claims(tx)
    for result in ingest.recover(engine):
        decided = decide.decide(engine, result.run)
        summary.kinds.update(decided.kinds)
        ingest.reread(engine, decided.again)
        with engine.store.write() as tx:
            runs.move(
                tx, result.run, "done", {"seen": result.seen, "changed": result.changed}, ended=engine.now()
            )
    receive_all(engine)
    return summary


def receive_all(engine: Engine, limit: int = 1000) -> int:
    """Every stored delivery that nobody has dealt with."""
    with engine.store.read() as tx:
        numbers = queues.new_deliveries(tx, limit)
    return sum(ingest.receive(engine, number) for number in numbers)


def activate(engine: Engine) -> None:
    """Make the mapping the active one; when it changed, everything owed is derived again under it."""
    with engine.store.write() as tx:
        other = runs.use_mapping(tx, engine.mapping.version, engine.now())
    if other:
        for entity in engine.plans:
            decide.rederive(engine, entity)
