"""One history from its beginning to rest: steps are done through the real engine on the real store, then all calms
down.

A process dies at a seam: before and after every transaction, before every request and after every answer. The seams are
found by wrapping the store and the connectors, so that no crash point is listed by hand and none is forgotten.
"""

from __future__ import annotations

import hashlib
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection

from syncbroker.engine import Engine, answer, cycle, deliver
from syncbroker.engine.offers import offers
from syncbroker.errors import BadAnswer, StoreUnusable, SyncbrokerError
from syncbroker.sdk.connector import Account, Connector
from syncbroker.sdk.guarded import Guarded
from syncbroker.simulation.people import Cast, Refer
from syncbroker.simulation.script import Step
from syncbroker.simulation.systems import MINUTE, Row
from syncbroker.simulation.vendor import Simulated
from syncbroker.simulation.world import Killed, World
from syncbroker.store import decisions, deliveries, tables
from syncbroker.store.database import Store, Tx, create_all, open_store
from syncbroker.store.deliveries import Arrival

ROUNDS = 10
"""How often a world at rest is looked at before it counts as one that never calms down."""

HOUR = 60 * MINUTE


class FragileStore(Store):
    """The real store, whose transactions are seams."""

    def __init__(self, opened: Store) -> None:
        super().__init__(opened.engine, opened.where)
        self.seam: Callable[[str], None] = lambda _: None

    @contextmanager
    def write(self) -> Iterator[Tx]:
        with super().write() as tx:
            yield tx
            self.seam("transaction: before the commit")
        self.seam("transaction: after the commit")

    def empty(self) -> None:
        """As new."""
        with super().write() as tx:
            for table in reversed(tables.metadata.sorted_tables):
                tx.run(table.delete())


def make_store(folder: Path) -> FragileStore:
    """A throw-away SQLite store; it need not outlive the power."""
    store = open_store(f"sqlite:///{folder / 'simulation.db'}")
    event.listen(store.engine, "connect", _hasten)
    create_all(store)
    return FragileStore(store)


def _hasten(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=OFF")
    cursor.close()


@dataclass(frozen=True)
class Answered:
    """What the simulated operator answered to a review."""

    review: decisions.Review
    choice: str


@dataclass
class Quiet:
    """What the last full sync and sweep of a world at rest still did."""

    writes: int = 0
    decisions: int = 0
    reviews: int = 0


@dataclass
class Play:
    """`passages`: how many seams were passed in steps; `die_at`: at which of them the process dies (0: at none)."""

    cast: Cast
    seed: int
    faults: frozenset[str]
    store: FragileStore
    die_at: int = 0
    passages: int = 0
    at_rest: bool = False
    answers: list[Answered] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    quiet: Quiet = field(default_factory=Quiet)
    failed: str = ""
    fault: Exception | None = None

    def __post_init__(self) -> None:
        self.stage = self.cast.stage
        self.world = World(self.stage, self.seed, self.faults)
        self.world.owners = self.cast.owners()
        self._ids = 0
        self._fuse = 0
        self._other = False
        self.store.seam = lambda _: None
        self.store.empty()
        self._vendors: dict[str, Any] = {
            name: Simulated(_account(name, self.world), self.world, self.seam)
            for name in self.stage.mapping.systems
        }
        self.engine = self._born()
        self._alive(lambda: cycle.activate(self.engine))

    # ---- processes ----

    def _born(self) -> Engine:
        """A new process on the store that is there."""
        self.store.seam = self.seam
        connectors = {name: cast("Connector", Guarded(one, name)) for name, one in self._vendors.items()}
        return Engine(
            store=self.store,
            mapping=self.stage.mapping,
            plans=self.stage.plans,
            connectors=connectors,
            sources=self.stage.sources,
            now=self.world.clock,
            new_id=self._new_id,
            tell=self._told,
        )

    def _told(self, event: str, **fields: Any) -> None:
        """What the broker sets aside as a fault of its own is none that a history may end with."""
        if event == "fault":
            self.failed = str(fields["error"])

    def _new_id(self) -> str:
        self._ids += 1
        return f"00000000-0000-7000-8000-{self._ids:012x}"

    def seam(self, _where: str) -> None:
        """A place where the process may die."""
        if self.at_rest:
            return
        self.passages += 1
        if self.passages == self.die_at:
            raise Killed
        if self._fuse:
            self._fuse -= 1
            if not self._fuse:
                self.world.count("killed")
                raise Killed

    def _alive(self, work: Callable[[], object]) -> None:
        """Work of the broker: it may fail, and its process may die, after which another one goes on."""
        for _ in range(2):
            try:
                work()
            except Killed:
                self.log.append("    the process dies")
                self._fuse = 0
                self.engine = self._born()
                try:
                    cycle.recover(self.engine)
                except StoreUnusable:
                    raise
                except SyncbrokerError as error:
                    self.log.append(f"    {type(error).__name__} while recovering")
                if self.die_at:  # what was cut off is done again, so that the same history goes on
                    continue
            except StoreUnusable:
                raise
            except SyncbrokerError as error:
                self.log.append(f"    {type(error).__name__}: {error.message}")
            return

    # ---- steps ----

    def tell(self, steps: Sequence[Step]) -> None:
        """The whole history, and then rest. What the broker's own code raises ends it, and is in `failed`."""
        try:
            for step in steps:
                self.log.append(str(step))
                self.done[step.kind] += 1
                self._do(step)
                self.world.pass_(500_000)
            self.rest()
        except StoreUnusable:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, it is what the simulation looks for
            last = traceback.extract_tb(error.__traceback__)[-1]
            self.failed = f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}"
            self.fault = error

    def _do(self, step: Step) -> None:
        getattr(self, f"_do_{step.kind}")(step)

    def _raws(self, step: Step) -> dict[str, Any]:
        """The changes with references resolved; those that lead nowhere are left out."""
        made = {}
        for path, raw in step.changes:
            if isinstance(raw, Refer):
                rows = self._about(step.system, raw.object, raw.who)
                if rows:
                    made[path] = rows[0].id
            else:
                made[path] = raw
        return made

    def _about(self, system: str, object_: str, who: int) -> list[Row]:
        here = self.world.collections[system, object_]
        return [row for row in here.rows.values() if row.who == who]

    def _do_make(self, step: Step) -> None:
        self.world.make(step.system, step.object, step.who, self._raws(step))

    def _do_edit(self, step: Step) -> None:
        rows = self._about(step.system, step.object, step.who)
        if not rows:
            return
        consent = f"opted in at {self.world.clock.at}" if step.n else None
        self.world.edit(step.system, step.object, rows[0], self._raws(step), consent=consent)

    def _do_remove(self, step: Step) -> None:
        rows = self._about(step.system, step.object, step.who)
        if rows:
            self.world.remove(step.system, step.object, rows[0])

    def _do_wait(self, step: Step) -> None:
        self.world.pass_(step.n * 1_000_000)

    def _do_fault(self, step: Step) -> None:
        if step.name == "killed":
            self._fuse = step.n
        elif step.name == "outage":
            self.world.down[step.system] = self.world.clock.at + step.n * HOUR
            self.world.count("outage")
        else:
            self.world.armed[step.name, step.system] += step.n

    def _do_meanwhile(self, step: Step) -> None:
        inner = step.inner
        if inner is not None:
            entry: tuple[str, Callable[[], None]] = ("edit_meanwhile", lambda: self._do(inner))
        else:
            entry = ("second_worker", lambda: self._second_worker(step.system))
        self.world.meanwhile.setdefault((step.system, step.name), []).append(entry)

    def _second_worker(self, system: str) -> None:
        """Another process on the same store, at work while the first one is in the middle of a call."""
        if self._other:
            return
        self._other = True
        try:
            deliver.deliver(self._born(), system)
        except SyncbrokerError as error:
            self.log.append(f"    the other worker: {type(error).__name__}")
        finally:
            self._other = False

    def _do_sync(self, _step: Step) -> None:
        self._alive(lambda: cycle.sync(self.engine))

    def _do_sweep(self, _step: Step) -> None:
        self._alive(lambda: cycle.sweep(self.engine))

    def _do_pull(self, step: Step) -> None:
        self._alive(lambda: cycle.pull_source(self.engine, self.stage.sources[step.system, step.object]))

    def _do_compare(self, step: Step) -> None:
        self._alive(lambda: cycle.sweep_source(self.engine, self.stage.sources[step.system, step.object]))

    def _do_deliver(self, step: Step) -> None:
        self._alive(lambda: deliver.deliver(self.engine, step.system))

    def _do_listen(self, _step: Step) -> None:
        self._alive(self._listen)

    def _listen(self) -> None:
        """Webhooks that are due are stored, as the web server does, and dealt with, as the workers do."""
        due = [one for one in self.world.told if one.due <= self.world.clock.at]
        for one in due:
            key = hashlib.sha256(one.body).hexdigest()
            with self.store.write() as tx:
                asked = deliveries.Request(method="POST", url="", headers={}, query={})
                came = Arrival(
                    system=one.system, dedupe=key, received=self.world.clock.at, request=asked, body=one.body
                )
                deliveries.store(tx, [came])
            self.world.told.remove(one)  # it was acknowledged
        cycle.receive_all(self.engine)
        cycle.settle(self.engine, cycle.Summary())

    def _do_answer(self, step: Step) -> None:
        """A person answers one of the reviews that wait, with one of what it offers."""
        with self.store.read() as tx:
            waiting = decisions.waiting(tx)
        if not waiting:
            return
        review = waiting[step.n % len(waiting)]
        offered = offers(review)
        if not offered:
            return
        choice = offered[step.n % len(offered)].name

        def work() -> None:
            try:
                answer.answer(self.engine, review.id, choice, "somebody")
            except BadAnswer:
                return
            self.answers.append(Answered(review, choice))

        self._alive(work)

    # ---- rest ----

    def rest(self) -> None:
        """Nobody edits any more and nothing fails: what is under way arrives, and all is looked at until nothing
        moves."""
        self.at_rest = True
        world = self.world
        world.armed.clear()
        world.meanwhile.clear()
        world.down.clear()
        self._fuse = 0
        world.pass_(5 * HOUR)
        cycle.recover(self.engine)
        self._listen()
        self.come_to_rest()

    def come_to_rest(self) -> None:
        """All is looked at until nothing moves; `quiet` says what still does after so many rounds."""
        world, moved = self.world, list[int]()
        self.quiet = Quiet()
        for _ in range(ROUNDS):
            before = self._state()
            self._round()
            moved = [b - a for a, b in zip(before, self._state(), strict=True)]
            if not any(moved) and not world.told:
                return
        self.quiet = Quiet(*moved)

    def _round(self) -> None:
        """One full sync and sweep, with the webhooks that they cause."""
        self.world.pass_(10 * MINUTE)
        cycle.sync(self.engine)
        self.world.pass_(MINUTE)
        cycle.sweep(self.engine)
        self.world.pass_(MINUTE)
        if self.world.told:
            self._listen()

    def _state(self) -> tuple[int, int, int]:
        with self.store.read() as tx:
            last, asked = decisions.last_id(tx), sum(decisions.waiting_counts(tx).values())
        return len(self.world.wrote), last, asked


def _account(system: str, world: World) -> Account:
    return Account(system=system, credentials={}, options={}, http=_no_http, now=world.clock)


def _no_http(*_given: Any, **_options: Any) -> Any:
    raise AssertionError("a simulated system has no address")
