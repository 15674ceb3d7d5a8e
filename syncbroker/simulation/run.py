"""Many seeds over one mapping: every invariant of every history, counted, with the shortest history of what went
wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from syncbroker.simulation import afterwards, crashes
from syncbroker.simulation.faults import FAULTS
from syncbroker.simulation.oracle import check
from syncbroker.simulation.people import Cast
from syncbroker.simulation.play import FragileStore, Play
from syncbroker.simulation.script import Step, write_script
from syncbroker.simulation.shrink import shrink
from syncbroker.simulation.verdicts import INVARIANTS, Verdicts, Violation

CRASH_EVERY, CRASH_POINTS = 20, 3
"""Of every so many seeds one is told again with a death at so many of its seams."""

SHOWN = 20
"""Decisions shown with a violation at most."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One history that went wrong. `steps` is the shortest one found, `decisions` those of the record it is about."""

    seed: int
    invariant: int
    name: str
    text: str
    faults: list[str]
    steps: list[str]
    decisions: list[str]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """How often one invariant was checked, and in how many histories it was violated."""

    invariant: int
    name: str
    checked: int
    violated: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of all seeds. `branches`: "policy kind" -> outcomes. `excused`: limits that were met."""

    first_seed: int
    seeds: int
    seconds: float
    steps: dict[str, int]
    edits: int
    writes: int
    edits_per_second: float
    faults: dict[str, int]
    kinds: dict[str, int]
    branches: dict[str, int]
    excused: dict[str, int]
    invariants: list[Checked]
    failures: list[Failure]


@dataclass
class Simulation:
    """`cast` has the mapping; `faults` may strike. `enough`: failures after which no more seeds are tried."""

    cast: Cast
    store: FragileStore
    faults: frozenset[str]
    enough: int = 3
    checked: Counter[int] = field(default_factory=Counter)
    violated: Counter[int] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    branches: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    edits: int = 0
    writes: int = 0

    def run(self, first: int, seeds: int, watch: Callable[[int], None] = lambda _: None) -> Report:
        begun, done = time.monotonic(), 0
        for seed in range(first, first + seeds):
            self.seed(seed)
            done += 1
            watch(seed)
            if len(self.failures) >= self.enough:
                break
        took = time.monotonic() - begun
        return Report(
            first_seed=first,
            seeds=done,
            seconds=round(took, 3),
            steps=dict(sorted(self.steps.items())),
            edits=self.edits,
            writes=self.writes,
            edits_per_second=round(self.edits / took, 1) if took else 0.0,
            faults={name: self.counts[name] for name in FAULTS if name in self.faults},
            kinds=dict(sorted(self.kinds.items())),
            branches=dict(sorted(self.branches.items())),
            excused=dict(sorted(self.excused.items())),
            invariants=[
                Checked(invariant=n, name=name, checked=self.checked[n], violated=self.violated[n])
                for n, name in INVARIANTS.items()
            ],
            failures=self.failures,
        )

    def seed(self, seed: int) -> Verdicts:
        """One history, all its invariants."""
        steps = write_script(self.cast, seed, self.faults)
        play, verdicts = self.told(seed, steps, self.faults)
        self._count(play, verdicts)
        if verdicts.violations:
            self._fail(seed, steps, verdicts.violations)
        if "killed" in self.faults and seed % CRASH_EVERY == 0:
            self._crashes(seed)
        return verdicts

    def told(self, seed: int, steps: Sequence[Step], faults: frozenset[str]) -> tuple[Play, Verdicts]:
        play = Play(self.cast, seed, faults, self.store)
        play.tell(steps)
        verdicts = check(play)
        afterwards.check(play, verdicts)
        return play, verdicts

    def _count(self, play: Play, verdicts: Verdicts) -> None:
        self.checked.update(verdicts.checked)
        self.excused.update(verdicts.excused)
        self.counts.update(play.world.counts)
        for name in ("clock_skew", "coarse_stamps"):
            self.counts[name] += any(
                here.skew if name == "clock_skew" else here.coarse for here in play.world.collections.values()
            )
        self.steps.update(play.done)
        self.edits += len(play.world.edits)
        self.writes += sum(one.made for one in play.world.wrote)
        self.kinds.update(verdicts.kinds)
        self.branches.update(verdicts.branches)

    def _fail(self, seed: int, steps: Sequence[Step], found: Sequence[Violation]) -> None:
        wrong = found[0]
        for n in {one.invariant for one in found}:
            self.violated[n] += 1

        def fails(some: Sequence[Step], faults: frozenset[str]) -> bool:
            return any(
                one.invariant == wrong.invariant for one in self.told(seed, some, faults)[1].violations
            )

        short, faults = shrink(steps, self.faults, fails)
        _, again = self.told(seed, short, faults)
        last = next((one for one in again.violations if one.invariant == wrong.invariant), wrong)
        self.failures.append(
            Failure(
                seed=seed,
                invariant=last.invariant,
                name=INVARIANTS[last.invariant],
                text=last.text,
                faults=sorted(name for name in faults if name in needed(short, faults)),
                steps=[str(step) for step in short],
                decisions=again.decisions.get(last.record, [])[-SHOWN:],
            )
        )

    def _crashes(self, seed: int) -> None:
        for at, text in crashes.differing(self.cast, seed, self.store, CRASH_POINTS):
            self.checked[6] += 1
            if not text:
                continue
            self.violated[6] += 1
            steps = crashes.crash_script(self.cast, seed)
            self.failures.append(
                Failure(
                    seed=seed,
                    invariant=6,
                    name=INVARIANTS[6],
                    text=f"a death at seam {at} leads to another end: {text}",
                    faults=["killed"],
                    steps=[str(step) for step in steps],
                    decisions=[],
                )
            )
            return


def needed(steps: Sequence[Step], faults: frozenset[str]) -> set[str]:
    """The faults that a history names, and the traits that it was left with."""
    named: set[Any] = {step.name for step in steps if step.kind == "fault"}
    named |= {"edit_meanwhile" if s.inner else "second_worker" for s in steps if s.kind == "meanwhile"}
    return named | {name for name in faults if FAULTS[name].kind == "trait"}
