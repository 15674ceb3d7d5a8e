"""The four steps put together: what `sync`, `sweep` and the workers run, and how they catch up after a crash.

Each step reads its work from the store, so that a cycle can be cut off anywhere and run again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from syncbroker.engine import Engine, Source, anew, decide, deliver, ingest, referrers, staging
from syncbroker.engine import sweep as sweeping
from syncbroker.engine.deliver import Delivered
from syncbroker.engine.ingest import Read
from syncbroker.errors import StoreUnusable, SyncbrokerError
from syncbroker.store import guards, queues, records, runs, waits
from syncbroker.store.queues import LIVE

Watch = Callable[[str, str, int], None]
"""(step, what, how many more): for progress bars."""

ROUNDS = 50
"""How often a cycle goes from deciding to delivering before it leaves the rest to the next one."""


def unwatched(_step: str, _what: str, _count: int) -> None:
    """A cycle that nobody looks at."""


@dataclass
class Summary:
    """What one cycle did. `failed`: system -> why it was left alone. `held`: object -> observations a guard holds."""

    seen: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    delivered: Delivered = field(default_factory=Delivered)
    failed: dict[str, str] = field(default_factory=dict)
    held: Counter[str] = field(default_factory=Counter)


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
    for source in engine.sources.values():
        if (systems and source.system not in systems) or source.system in summary.failed:
            continue
        name = f"{source.system} {source.object}"
        try:
            _take_up(engine, summary, source)
            result = read(engine, source, partial(watch, step, name))
        except StoreUnusable:
            raise
        except SyncbrokerError as error:
            summary.failed[source.system] = error.message
            watch("failed", source.system, 0)
            continue
        decide_run(engine, result, summary, watch)
    _derive(engine, watch)
    settle(engine, summary, watch)
    return summary


def pull_source(engine: Engine, source: Source) -> Summary:
    """Read what changed in one object and decide it. What is owed is left to be delivered."""
    return _read_source(engine, source, ingest.pull)


def sweep_source(engine: Engine, source: Source) -> Summary:
    """Compare one whole object and decide what differs. What is owed is left to be delivered."""
    return _read_source(engine, source, sweeping.sweep)


def _read_source(engine: Engine, source: Source, read: Callable[..., Read]) -> Summary:
    summary = Summary()
    _take_up(engine, summary, source)
    decide_run(engine, read(engine, source), summary)
    _derive(engine, unwatched)
    return summary


def _derive(engine: Engine, watch: Watch) -> None:
    """What is owed for whole entities, where something outside their records changed; also what a dead process left."""
    referrers.catch_up(engine)
    with engine.store.read() as tx:
        wanted = runs.to_derive(tx)
    for entity, mark in wanted.items():
        plan = engine.plans.get(entity)
        run = _push_run(engine, entity) if plan is not None and plan.entity.guard.guards_output else LIVE
        if plan is not None:
            anew.rederive(engine, entity, partial(watch, "derive", entity), run=run)
        closing = staging.look(engine, run) if run != LIVE else None
        with engine.store.write() as tx:
            if closing is not None:
                staging.close(engine, tx, closing, {})
            runs.derived(tx, entity, mark)


def _push_run(engine: Engine, entity: str) -> int:
    """The run under which what is owed for a whole entity is staged; one that a dead process left is gone on with."""
    with engine.store.write() as tx:
        for run in runs.unfinished(tx):
            if (run.kind, run.object) == ("push", entity):
                return run.id
        return runs.begin(tx, "push", "", entity, engine.now())


def decide_run(engine: Engine, result: Read, summary: Summary, watch: Watch = unwatched) -> None:
    """Decide a released run and close it. One that a guard holds waits for a person."""
    name = f"{result.source.system} {result.source.object}"
    summary.seen[result.source.system] += result.seen
    summary.changed[result.source.system] += result.changed
    if result.held:
        summary.held[name] += result.changed
        return
    decided = decide.Decided()
    with engine.store.read() as tx:  # looking costs less than a turn as the writer
        due = queues.is_due(tx, result.run, engine.now())
    if due:
        decided = decide.decide(engine, result.run, partial(watch, "decide", name), stages=True)
    summary.kinds.update(decided.kinds)
    ingest.reread(engine, decided.again)
    ingest.finish(engine, result, dict(decided.kinds))


def settle(engine: Engine, summary: Summary, watch: Watch = unwatched) -> None:
    """Decide and deliver in turn until nothing is left that is due now."""
    for _ in range(ROUNDS):
        moved = decide_waiting(engine, summary, watch)
        for system in engine.mapping.systems:
            if system in summary.delivered.failed:
                continue
            done = deliver.deliver(engine, system, partial(watch, "deliver", system))
            summary.delivered.add(done)
            moved += done.moved
        if not moved:
            return


def settle_writes(engine: Engine, record_ids: Sequence[str]) -> None:
    """Settle writes under way to these records, unless another process works on the store and does so itself."""
    with engine.store.read() as tx:
        found = records.load(tx, record_ids)
    if not any(link.open for record in found.values() for link in record.links):
        return
    try:
        engine.store.claim_process()
    except StoreUnusable:
        return
    settle(engine, Summary())


def decide_waiting(engine: Engine, summary: Summary, watch: Watch = unwatched) -> int:
    """Decide every observation outside a reading that is due now. Returns how many were taken or read again."""
    let_go = _decide_let_go(engine, summary)
    with engine.store.read() as tx:  # looking costs less than a turn as the writer
        now = engine.now()
        told, late = queues.is_due(tx, LIVE, now), queues.late_runs(tx, now)
        alarm = waits.next_alarm(tx)
    decided = decide.Decided()
    if told:
        decided = decide.decide(engine, LIVE, partial(watch, "decide", "observations"))
    if alarm is not None and alarm <= now:
        woken, kinds = anew.wake(engine)
        decided.taken += woken
        decided.kinds.update(kinds)
    for run, stages in late.items():
        part = decide.decide(engine, run, stages=stages)
        decided.taken += part.taken
        decided.kinds.update(part.kinds)
        decided.again.extend(part.again)
    summary.kinds.update(decided.kinds)
    return let_go + decided.taken + ingest.reread(engine, decided.again)


def _decide_let_go(engine: Engine, summary: Summary) -> int:
    """Runs that a person, or a later reading, has let go. How many."""
    with engine.store.read() as tx:
        waiting = runs.let_go(tx)
    for run in waiting:
        result = ingest.resumed(engine, run)
        if result is not None:
            decide_run(engine, result, summary)
        else:
            with engine.store.write() as tx:
                guards.drop_all(tx, run.id)
                runs.move(tx, run.id, "failed", run.counts, ended=engine.now())
    return len(waiting)


@dataclass(frozen=True)
class Due:
    """Work whose time has come: (delivery, system) pairs, whether observations or records wait to be decided, systems
    that are owed writes."""

    deliveries: list[tuple[int, str]]
    observations: bool
    systems: list[str]


def due(engine: Engine, limit: int = 100, without: Sequence[str] = ()) -> Due:
    """What there is to do now: at most `limit` deliveries, none of the systems `without`.

    A system whose breaker is open is not asked for its writes.
    """
    now = engine.now()
    with engine.store.read() as tx:
        systems = [
            name
            for name in engine.mapping.systems
            if (at := queues.next_due(tx, name)) is not None
            and at <= now
            and runs.breaker(tx, name).open_until <= now
        ]
        alarm = waits.next_alarm(tx)
        waiting = queues.is_due(tx, LIVE, now) or (alarm is not None and alarm <= now)
        waiting = waiting or bool(queues.late_runs(tx, now)) or bool(runs.let_go(tx))
        return Due(queues.new_deliveries(tx, limit, without), waiting, systems)


def drain(
    engine: Engine,
    summary: Summary,
    patience: float,
    sleep: Callable[[float], None],
    watch: Watch = unwatched,
) -> None:
    """Wait for what vendors finish later (jobs, lags, Retry-After), settling it as it comes.

    For at most `patience` seconds.
    """
    until = engine.now() + int(patience * 1_000_000)
    while engine.now() < until and (due := _next_due(engine, summary)) is not None and due <= until:
        sleep(max(0.05, (due - engine.now()) / 1_000_000))
        settle(engine, summary, watch)


def _next_due(engine: Engine, summary: Summary) -> int | None:
    with engine.store.read() as tx:
        systems = [system for system in engine.mapping.systems if system not in summary.delivered.failed]
        times = [due for system in systems if (due := queues.next_due(tx, system)) is not None]
    return min(times, default=None)


def recover(engine: Engine) -> Summary:
    """What a dead process left: staged runs, deliveries, pushes in doubt."""
    summary = Summary()
    if engine.store.single:
        with engine.store.write() as tx:
            queues.expire_claims(tx, engine.mapping.systems)
    _take_up(engine, summary)
    receive_all(engine)
    return summary


def _take_up(engine: Engine, summary: Summary, source: Source | None = None) -> None:
    """Runs (of one object) that nobody is at any more are decided and closed, so that nothing stays staged.

    What a person has let go comes first: until it is decided, a reading would find it once more.
    """
    _decide_let_go(engine, summary)
    for result in ingest.recover(engine, source):
        decided = decide.decide(engine, result.run, stages=True)
        summary.kinds.update(decided.kinds)
        ingest.reread(engine, decided.again)
        ingest.finish(engine, result, dict(decided.kinds))


def receive_all(engine: Engine, limit: int = 1000) -> int:
    """Every stored delivery that nobody has dealt with. Those of a system that cannot be reached stay as they are."""
    with engine.store.read() as tx:
        waiting = queues.new_deliveries(tx, limit)
    staged, failed = 0, set[str]()
    for number, system in waiting:
        if system not in failed:
            try:
                staged += ingest.receive(engine, number)
            except StoreUnusable:
                raise
            except SyncbrokerError:
                failed.add(system)
    return staged


def activate(engine: Engine) -> None:
    """Make the mapping the active one; when it changed, everything owed is derived again under it."""
    with engine.store.write() as tx:
        if runs.use_mapping(tx, engine.mapping.version, engine.now(), engine.mapping.entities):
            runs.want_derived(tx, engine.plans)
    _derive(engine, unwatched)
