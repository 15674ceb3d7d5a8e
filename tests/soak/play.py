"""What happens in a soak: people edit, processes die, vendors fail; then quiet, and the verdict."""

from __future__ import annotations

import random
import signal
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from syncbroker.errors import SyncbrokerError
from syncbroker.sdk.paths import get_path
from tests.soak.stage import Stage
from tests.soak.world import AUTHORITY, OBJECTS, PATHS, Edit, Wrote, now

NEWCOMERS, FOREIGN = 0.04, 0.2
"""Of all edits: somebody new, and a field that another system decides."""


class Load(threading.Thread):
    """People at the vendors, so many edits a second until `stop`."""

    def __init__(
        self, stage: Stage, rate: float, *, newcomers: float = NEWCOMERS, foreign: float = FOREIGN
    ) -> None:
        super().__init__(name="load", daemon=True)
        self.stage, self.rate, self.newcomers, self.foreign = stage, rate, newcomers, foreign
        self.ending = threading.Event()
        self.fault: Exception | None = None

    def stop(self) -> None:
        self.ending.set()
        self.join()
        if self.fault is not None:
            raise self.fault

    def run(self) -> None:
        begun, done = time.monotonic(), 0
        try:
            learn(self.stage)
            while not self.ending.wait(max(0.0, begun + done / self.rate - time.monotonic())):
                self.act()
                done += 1
                if done % 50 == 0:
                    learn(self.stage)
        except Exception as error:  # noqa: BLE001  # told by `stop`, in the thread that judges
            self.fault = error

    def act(self) -> None:
        world = self.stage.world
        if world.random.random() < self.newcomers:
            system, fields = world.newcomer()
            self.stage.systems[system].insert(OBJECTS[system], fields)
            return
        name = world.random.choice(list(AUTHORITY))
        system = AUTHORITY[name]
        kind = name
        if world.random.random() < self.foreign:
            system, kind = world.random.choice([one for one in OBJECTS if one != system]), "other"
        here = [address for address, known in world.people.items() if system in known]
        if here:
            edit(self.stage, system, world.random.choice(here), name, world.value(kind))


def edit(stage: Stage, system: str, address: str, name: str, value: str) -> Edit:
    """A person at the vendor sets one field, and the world notes it."""
    path = PATHS[name][system].removeprefix("properties.")
    began = now()
    stage.systems[system].edit(OBJECTS[system], stage.world.people[address][system], {path: value})
    done = Edit(began, now(), system, address, name, value)
    stage.world.edits.append(done)
    return done


def learn(stage: Stage) -> None:
    """Where everybody is by now."""
    for system, found in stage.records().items():
        for one in found:
            known = stage.world.people.get(str(get_path(one, PATHS["email"][system])))
            if known is not None:
                known[system] = str(one["id"])


# ------------------------------------------------------------------------------------------------ faults


class Kill(msgspec.Struct, frozen=True):
    at: int
    what: str


class Killer(threading.Thread):
    """Kills, at seeded moments, so many times. `names`: what may be killed; "postgres" is stopped at once and started.

    `troubles`: how often a kill is accompanied by a vendor that refuses, hangs or loses answers for a moment.
    """

    def __init__(self, stage: Stage, names: Sequence[str], kills: int, seconds: float, seed: int) -> None:
        super().__init__(name="killer", daemon=True)
        self.stage, self.names, self.kills = stage, list(names), kills
        self.random = random.Random(seed)
        gaps = [self.random.expovariate(1.0) for _ in range(kills)]
        self.gaps = [one * seconds / sum(gaps) for one in gaps] if kills else []
        self.made: list[Kill] = []
        self.faults = Counter[str]()
        self.troubles = 0.3
        self.fault: Exception | None = None

    def run(self) -> None:
        try:
            for gap in self.gaps:
                time.sleep(gap)
                self.kill(self.random.choice(self.names))
                if self.random.random() < self.troubles:
                    self.trouble()
        except Exception as error:  # noqa: BLE001  # told by `finish`, in the thread that judges
            self.fault = error

    def finish(self) -> None:
        self.join()
        if self.fault is not None:
            raise self.fault

    def kill(self, name: str) -> None:
        self.made.append(Kill(now(), name))
        if name == "postgres":
            assert self.stage.postgres is not None
            self.stage.postgres.kill()
            self.stage.postgres.start()
            return
        one = self.stage.services[name]
        until = time.monotonic() + 10
        while not one.alive() and time.monotonic() < until:  # the keeper is about to start it
            time.sleep(0.01)
        one.signal(signal.SIGKILL)

    def trouble(self) -> None:
        """One vendor has a bad moment."""
        system = self.random.choice(list(OBJECTS))
        kind = self.random.choice(["drop_answer", "drop_request", "hang_after", "status", "delay"])
        self.faults[kind] += 1
        write = True if kind in ("drop_answer", "hang_after") else None
        self.stage.systems[system].fault(kind, times=3, seconds=2.0, write=write, status=503)


# ------------------------------------------------------------------------------------------------ figures


@dataclass
class Memory:
    """Resident bytes of each process at each look."""

    seen: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def look(self, stage: Stage) -> None:
        for name, one in stage.services.items():
            if (many := one.resident()) > 0:
                self.seen[name].append(many)

    def growth(self) -> dict[str, tuple[float, float]]:
        """Service -> MB, medians of the first and of the last fifth of all looks."""
        found = {}
        for name, many in self.seen.items():
            part = max(1, len(many) // 5)
            found[name] = (statistics.median(many[:part]) / 1e6, statistics.median(many[-part:]) / 1e6)
        return found


class Report(msgspec.Struct):
    """`lost` and `doubled` say what; both empty is what a soak is for. Times in seconds."""

    mode: str
    seed: int
    seconds: float
    kills: dict[str, int]
    ended: dict[str, int]
    faults: dict[str, int]
    edits: int
    newcomers: int
    writes: int
    events: int
    lost: list[str]
    doubled: list[str]
    quiet_after: float
    recovery: dict[str, list[float]]
    """Kind of process -> [median, p95, longest] from its kill to the next write that a vendor accepted."""
    spread: list[float]
    """[median, p95, longest] from an edit to its writing in another system."""
    memory: dict[str, tuple[float, float]]


def quantiles(found: Sequence[float]) -> list[float]:
    if not found:
        return []
    ordered = sorted(found)
    at = [ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.95)]
    return [round(one, 3) for one in (*at, ordered[-1])]


def recovery(kills: Sequence[Kill], wrote: Sequence[Wrote]) -> dict[str, list[float]]:
    """From each kill to the next write that a vendor accepted, by kind of process."""
    accepted = [one.at for one in wrote if one.status < 300]
    found = defaultdict(list)
    for kill in kills:
        later = next((at for at in accepted if at > kill.at), None)
        if later is not None:
            found[kill.what.partition("-")[0]].append((later - kill.at) / 1e6)
    return {kind: quantiles(times) for kind, times in found.items()}


@dataclass
class Play:
    """`calm`: seconds of load without kills afterwards, in which memory is looked at. `newcomers`: of all edits; a
    create whose answer was lost is looked for for minutes before it is made anew."""

    kills: int
    seconds: float
    rate: float = 6.0
    newcomers: float = NEWCOMERS
    calm: float = 0.0
    patience: float = 240.0
    seed: int = 1
    names: Sequence[str] = ()


def play(stage: Stage, plan: Play) -> Report:
    """Everybody is everywhere; then load and kills for so long, then quiet until everything is right, or for as long as
    patience lasts. Creates under kills are those of newcomers."""
    begun = time.monotonic()
    before = len(stage.world.people)
    stage.start()
    first = stage.until_right(plan.patience)
    if first:
        raise AssertionError(f"the first sync did not come to its end: {first[:3]}")
    learn(stage)
    names = plan.names or [*stage.services, *(["postgres"] if stage.postgres is not None else [])]
    load = Load(stage, plan.rate, newcomers=plan.newcomers)
    killer = Killer(stage, names, plan.kills, plan.seconds, plan.seed)
    load.start()
    killer.start()
    killer.finish()
    for system in stage.systems.values():
        system.clear_faults()
    memory = Memory()
    until = time.monotonic() + plan.calm
    while time.monotonic() < until:
        time.sleep(1.0)
        memory.look(stage)
    load.stop()
    rest = time.monotonic()
    wrong = stage.until_right(plan.patience)
    quiet = time.monotonic() - rest
    wrong = wrong or still_right(stage)
    wrote = stage.writes()
    return Report(
        mode=stage.mode,
        seed=plan.seed,
        seconds=round(time.monotonic() - begun, 1),
        kills=dict(Counter(kill.what for kill in killer.made)),
        ended=dict(stage.ended),
        faults=dict(killer.faults),
        edits=len(stage.world.edits),
        newcomers=len(stage.world.people) - before,
        writes=sum(one.status < 300 for one in wrote),
        events=sum(sent_ok(stage)),
        lost=wrong,
        doubled=stage.world.doubled(wrote),
        quiet_after=round(quiet, 1),
        recovery=recovery(killer.made, wrote),
        spread=quantiles([one / 1e6 for one in stage.world.spread(wrote)]),
        memory=memory.growth(),
    )


def still_right(stage: Stage, seconds: float = 6.0) -> list[str]:
    """What is right must stay right: a write that comes late, or one of an old value, would show now."""
    time.sleep(seconds)
    return stage.world.wrong(stage.records())


def sent_ok(stage: Stage) -> list[int]:
    """Webhooks that were taken, by system."""
    found = []
    for system in stage.systems.values():
        try:
            found.append(sum(200 <= one.status < 300 for one in system.sent()))
        except SyncbrokerError:
            found.append(0)
    return found
