"""The four steps put together: what `sync`, `sweep` and the workers run, and how they catch up after a crash.

Each step reads its work from the store, so that a cycle can be cut off anywhere and run again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from syncbroker.core.types import Micros
from syncbroker.engine import (
    Engine,
    Source,
    anew,
    breaker,
    decide,
    deliver,
    ingest,
    receive,
    referrers,
    staging,
)
from syncbroker.engine import sweep as sweeping
from syncbroker.engine.deliver import Delivered
from syncbroker.engine.ingest import Read
from syncbroker.errors import Retry, StoreUnusable, SyncbrokerError
from syncbroker.store import deliveries, guards, queues, records, runs, stops, waits
from syncbroker.store.database import Tx
from syncbroker.store.queues import LIVE, Waiting
from syncbroker.store.runs import Run

Watch = Callable[[str, str, int], None]
"""(step, what, how many more): for progress bars."""

Reread = Callable[[Sequence[Waiting]], int]
"""Has observations read again by id that could not be judged; how many were."""

DERIVING = "derive"
"""The lease of whoever derives what whole entities are owed."""

ROUNDS = 50
"""How often a cycle goes from deciding to delivering before it leaves the rest to the next one."""


def unwatched(_step: str, _what: str, _count: int) -> None:
    """A cycle that nobody looks at."""


@dataclass
class Summary:
    """What one cycle did. `failed`: system -> why it was left alone. `held`: object -> observations a guard holds.

    `stopped`: systems that a person has paused.
    """

    seen: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    delivered: Delivered = field(default_factory=Delivered)
    failed: dict[str, str] = field(default_factory=dict)
    held: Counter[str] = field(default_factory=Counter)
    stopped: set[str] = field(default_factory=set)


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
    with engine.store.read() as tx:
        summary.stopped.update(stops.stopped(tx))
    for source in engine.sources.values():
        left = source.system in summary.failed or source.system in summary.stopped
        if left or (systems and source.system not in systems):
            continue
        try:
            _read(engine, source, read, step, summary, watch)
        except StoreUnusable:
            raise
        except SyncbrokerError as error:
            summary.failed[source.system] = error.message
            watch("failed", source.system, 0)
    derive(engine, watch)
    settle(engine, summary, watch)
    return summary


def _read(
    engine: Engine, source: Source, read: Callable[..., Read], step: str, summary: Summary, watch: Watch
) -> None:
    """Read an object and decide what was read, unless another process is at it."""
    with engine.holder.holding(ingest.lease(source)) as alone:
        if not alone:
            raise Retry(f"another process reads its {source.object} now", system=source.system)
        _take_up(engine, summary, source)
        result = read(engine, source, partial(watch, step, f"{source.system} {source.object}"))
        decide_run(engine, result, summary, watch)


def pull_source(engine: Engine, source: Source) -> Summary:
    """Read what changed in one object and decide it. What is owed is left to be delivered."""
    return _read_source(engine, source, ingest.pull)


def sweep_source(engine: Engine, source: Source) -> Summary:
    """Compare one whole object and decide what differs. What is owed is left to be delivered."""
    return _read_source(engine, source, sweeping.sweep)


def _read_source(engine: Engine, source: Source, read: Callable[..., Read]) -> Summary:
    summary = Summary()
    _read(engine, source, read, "read", summary, unwatched)
    derive(engine)
    return summary


def derive(engine: Engine, watch: Watch = unwatched) -> None:
    """What is owed for whole entities, where something outside their records changed; also what a dead process left.

    One process at a time does it, for all.
    """
    referrers.catch_up(engine)
    with engine.store.read() as tx:
        wanted = runs.to_derive(tx)
    if wanted:
        with engine.holder.holding(DERIVING) as alone:
            if alone:
                _derive(engine, watch)


def _derive(engine: Engine, watch: Watch) -> None:
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


def decide_waiting(
    engine: Engine, summary: Summary, watch: Watch = unwatched, reread: Reread | None = None
) -> int:
    """Decide every observation outside a reading that is due now. Returns how many were taken or read again.

    What came by itself comes first, and between the chunks of everything else.
    """
    again = reread or partial(ingest.reread, engine)
    taken = _decide_live(engine, summary, watch, again)
    between = _Between(engine, summary, watch, again)
    taken += _decide_let_go(engine, summary, between)
    with engine.store.read() as tx:  # looking costs less than a turn as the writer
        now = engine.now()
        late, alarm = queues.late_runs(tx, now), waits.next_alarm(tx)
    if alarm is not None and alarm <= now:
        woken, kinds = anew.wake(engine)
        taken += woken
        summary.kinds.update(kinds)
    for run, stages in _unattended(engine, late).items():
        part = decide.decide(engine, run, between, stages=stages)
        summary.kinds.update(part.kinds)
        taken += part.taken + again(part.again)
    return taken + between.taken


def decide_live(engine: Engine, reread: Reread) -> int:
    """Decide what came by itself and is due now; how many observations."""
    return _decide_live(engine, Summary(), unwatched, reread)


def _unattended(engine: Engine, late: Mapping[int, bool]) -> dict[int, bool]:
    """Without the runs that whoever has read them is deciding just now."""
    if not late:
        return {}
    with engine.store.read() as tx:
        found = [run for number in late if (run := runs.get(tx, number)) is not None]
    names = {run.id: f"read:{run.system}:{run.object}" for run in found if late[run.id]}
    busy = engine.holder.others_hold(set(names.values()))
    return {run: stages for run, stages in late.items() if names.get(run) not in busy}


def _decide_live(engine: Engine, summary: Summary, watch: Watch, reread: Reread) -> int:
    with engine.store.read() as tx:
        told = queues.is_due(tx, LIVE, engine.now())
    if not told:
        return 0
    decided = decide.decide(engine, LIVE, partial(watch, "decide", "observations"))
    summary.kinds.update(decided.kinds)
    return decided.taken + reread(decided.again)


class _Between:
    """Called after each chunk of a long run: what came by itself meanwhile does not wait for the run's end."""

    def __init__(self, engine: Engine, summary: Summary, watch: Watch, reread: Reread) -> None:
        self._given = (engine, summary, watch, reread)
        self.taken = 0

    def __call__(self, _count: int) -> None:
        self.taken += _decide_live(*self._given)


def _decide_let_go(engine: Engine, summary: Summary, between: Callable[[int], None] = ingest.quiet) -> int:
    """Runs that a person, or a later reading, has let go. How many were decided here."""
    with engine.store.read() as tx:
        waiting = runs.let_go(tx)
    done = 0
    for run in waiting:
        with engine.holder.holding(f"run:{run.id}") as alone:
            if alone:
                _decide_one_let_go(engine, run, summary, between)
                done += 1
    return done


def _decide_one_let_go(engine: Engine, run: Run, summary: Summary, between: Callable[[int], None]) -> None:
    with engine.store.read() as tx:
        current = runs.get(tx, run.id)
    if current is None or current.state != "released":  # another process was quicker
        return
    result = ingest.resumed(engine, current)
    if result is not None:
        decide_run(engine, result, summary, lambda _step, _what, count: between(count))
        return
    with engine.store.write() as tx:
        guards.drop_all(tx, run.id)
        runs.move(tx, run.id, "failed", run.counts, ended=engine.now())


@dataclass(frozen=True)
class Due:
    """Work whose time has come: systems with deliveries, whether something waits to be decided, systems that are owed
    writes, objects of which a dead process left a reading, and its kind."""

    told: list[str]
    observations: bool
    owed: list[str]
    abandoned: list[tuple[Source, str]]


def due(engine: Engine) -> Due:
    """What there is to do now. Nothing of a system that is paused, or whose breaker is open."""
    now = engine.now()
    with engine.store.read() as tx:
        stopped, left = stops.stopped(tx), runs.open_breakers(tx, now)
        told = [
            name
            for name in engine.mapping.systems
            if name not in stopped and breaker.reads(name) not in left and deliveries.due(tx, name, now, 1)
        ]
        gone = [name for name in deliveries.systems(tx) if name not in engine.mapping.systems]
        waiting = _to_decide(tx, now)
        unfinished = [run for run in ingest.abandoned(tx) if run.system not in stopped]
    return Due([*told, *gone], waiting, owed(engine), _left_behind(engine, unfinished))


def owed(engine: Engine) -> list[str]:
    """Systems to which something is to be written now, and may be."""
    now = engine.now()
    with engine.store.read() as tx:
        left = stops.stopped(tx).keys() | runs.open_breakers(tx, now)
        return [
            name for name in engine.mapping.systems if name not in left and queues.due_states(tx, name, now)
        ]


def _left_behind(engine: Engine, unfinished: Sequence[Run]) -> list[tuple[Source, str]]:
    """Objects of which a reading is not finished, while nobody reads them, with the kind of that reading."""
    mapped = {
        run.id: engine.sources[key]
        for run in unfinished
        if (key := (run.system, run.object)) in engine.sources
    }
    if not mapped:
        return []
    busy = engine.holder.others_hold({ingest.lease(source) for source in mapped.values()})
    with engine.store.read() as tx:  # one that ended just now had its lease as long as it went on
        still = [run for run in ingest.abandoned(tx) if run.id in mapped]
    left = [(mapped[run.id], "sweep" if run.kind == "sweep" else "pull") for run in still]
    return [(source, kind) for source, kind in left if ingest.lease(source) not in busy]


def _to_decide(tx: Tx, now: Micros) -> bool:
    """Whether anything outside a reading waits to be decided or derived."""
    if queues.is_due(tx, LIVE, now):
        return True
    alarm = waits.next_alarm(tx)
    if alarm is not None and alarm <= now:
        return True
    return bool(queues.late_runs(tx, now) or runs.let_go(tx) or runs.to_derive(tx))


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


def begin(engine: Engine) -> None:
    """A process begins to work. What a dead one left is found by the clock; what it was about to write is in doubt."""
    if engine.store.single:
        with engine.store.write() as tx:
            queues.expire_claims(tx, engine.mapping.systems)
    ingest.recover(engine)
    _use_mapping(engine)


def recover(engine: Engine) -> Summary:
    """What a dead process left: staged runs, deliveries, pushes in doubt."""
    summary = Summary()
    if engine.store.single:
        with engine.store.write() as tx:
            queues.expire_claims(tx, engine.mapping.systems)
    _take_up(engine, summary)
    for source in engine.sources.values():
        take_up(engine, source, summary)
    receive_all(engine)
    return summary


def take_up(engine: Engine, source: Source, summary: Summary) -> None:
    """What a dead process left of a reading, unless another process reads the object now."""
    with engine.store.read() as tx:
        left = any((run.system, run.object) == (source.system, source.object) for run in ingest.abandoned(tx))
    if left:
        with engine.holder.holding(ingest.lease(source)) as alone:
            if alone:
                _take_up(engine, summary, source)


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
        waiting = deliveries.new(tx, limit, list(stops.stopped(tx)), engine.now())
    staged, failed = 0, set[str]()
    for number, system in waiting:
        if system not in failed:
            try:
                staged += receive.receive_one(engine, number, system)
            except StoreUnusable:
                raise
            except SyncbrokerError:
                failed.add(system)
    return staged


def activate(engine: Engine) -> None:
    """Make the mapping the active one; when it changed, everything owed is derived again under it."""
    _use_mapping(engine)
    derive(engine)


def _use_mapping(engine: Engine) -> None:
    with engine.store.write() as tx:
        if runs.use_mapping(tx, engine.mapping.version, engine.now(), engine.mapping.entities):
            runs.want_derived(tx, engine.plans)
