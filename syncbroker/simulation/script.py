"""What happens in a made-up world, as data: a list of steps that the seed alone decides.

No step depends on another one having taken place: what it needs and does not find makes it do nothing. So any of them
can be left out, which is how a failing history becomes a short one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from syncbroker.simulation.faults import of_kind
from syncbroker.simulation.people import HEADS, Cast, Refer
from syncbroker.simulation.stage import Slot

Kind = Literal[
    "make", "edit", "remove", "sync", "sweep", "pull", "compare", "deliver", "listen", "wait", "answer", "fault",
    "meanwhile",
]  # fmt: skip

STEPS = (12, 30)


@dataclass(frozen=True)
class Step:
    """One thing that happens. `changes`: (path, raw) pairs; `n` counts (calls, seconds, which review); `name`: the
    fault,
    or the moment of a call; `inner`: what happens at that moment."""

    kind: Kind
    system: str = ""
    object: str = ""
    who: int = 0
    changes: tuple[tuple[str, Any], ...] = ()
    n: int = 0
    name: str = ""
    inner: Step | None = None

    def __str__(self) -> str:
        where = " ".join(part for part in (self.system, self.object) if part)
        match self.kind:
            case "make" | "edit":
                told = ", ".join(
                    f"{path} = {f'the {raw.object} record about {raw.who}' if isinstance(raw, Refer) else repr(raw)}"
                    for path, raw in self.changes
                )
                verb = "somebody makes" if self.kind == "make" else "somebody edits"
                return f"{verb} {where} about {self.who}: {told}"
            case "remove":
                return f"somebody deletes {where} about {self.who}"
            case "sync" | "sweep":
                return f"{self.kind} everything"
            case "pull":
                return f"pull {where}"
            case "compare":
                return f"sweep {where}"
            case "deliver":
                return f"write what {where} is owed"
            case "listen":
                return "webhooks come in"
            case "wait":
                return f"{self.n} seconds pass"
            case "answer":
                return f"a person answers review {self.n}"
            case "fault":
                return f"fault {self.name} {where}" + (f" x{self.n}" if self.n > 1 else "")
            case "meanwhile":
                return f"at the next {self.name} of {where}: {self.inner or 'another worker delivers'}"


def write_script(
    cast: Cast, seed: int, faults: frozenset[str], length: tuple[int, int] = STEPS
) -> list[Step]:
    """The history of one seed, with so many steps after everybody is there."""
    return _Writer(cast, seed, faults).write(length)


class _Writer:
    def __init__(self, cast: Cast, seed: int, faults: frozenset[str]) -> None:
        self.cast, self.stage = cast, cast.stage
        self.by = Random(f"{seed} script")
        self.heads = self.by.randint(1, HEADS)
        self.sources = list(self.stage.slots)
        self.editable = [key for key in self.sources if self.stage.slots[key]]
        self.systems = list(self.stage.mapping.systems)
        self.strikes = of_kind(faults, "event", "read", "call", "write")
        self.strikes = [name for name in self.strikes if name != "edit_meanwhile"]
        self.faults = faults
        # some worlds are calm, some are not: too much noise at once hides what a single fault does
        self.trouble = self.by.choice((0.0, 0.2, 0.5, 0.9)) if faults else 0.0
        self.favourite = self._slot()

    def write(self, length: tuple[int, int]) -> list[Step]:
        by = self.by
        steps = [
            Step("make", system, object_, who, self.cast.first(self.stage.slots[system, object_], who, by))
            for system, object_ in self.sources
            for who in range(1, self.heads + 1)
            if by.random() < 0.75
        ]
        if by.random() < 0.8:
            steps.append(Step("sync"))
        for _ in range(by.randint(*length)):
            if by.random() < self.trouble:
                steps.extend(self._trouble())
            steps.extend(self._step())
        return steps

    def _step(self) -> Sequence[Step]:
        by = self.by
        if by.random() < 0.12:
            return by.choice((self._race, self._newcomer, self._leaver))()
        chance = by.random()
        if chance < 0.42:
            return [self._edit()]
        if chance < 0.45:
            system, object_ = by.choice(self.sources)
            who = by.randint(1, self.heads)
            fields = self.cast.first(self.stage.slots[system, object_], who, by)
            return [Step("make", system, object_, who, fields)]
        if chance < 0.47:
            system, object_ = by.choice(self.sources)
            return [Step("remove", system, object_, by.randint(1, self.heads))]
        if chance < 0.57:
            return [Step("wait", n=by.choice((1, 20, 90, 400, 4000)))]
        if chance < 0.62:
            return [Step("answer", n=by.randint(0, 7))]
        if chance < 0.74:
            return [Step("listen")]
        if chance < 0.80:
            return [Step("pull", *by.choice(self.sources))]
        if chance < 0.83:
            return [Step("compare", *by.choice(self.sources))]
        if chance < 0.90:
            return [Step("deliver", by.choice(self.systems))]
        return [Step("sync" if by.random() < 0.8 else "sweep")]

    def _race(self) -> Sequence[Step]:
        """Two systems get an edit of one field; the broker knows of the first when it writes to the second."""
        by = self.by
        chosen = self._slot()
        both = [s for s in chosen[2].rule.links if chosen[2].rule.links[s].push] if chosen else []
        if chosen is None or len(both) < 2:
            return [self._edit()]
        slot, who = chosen[2], by.randint(1, self.heads)
        first, second = by.sample(both, 2)
        one, two = self._edit_of(slot, first, who), self._edit_of(slot, second, who)
        if one is None or two is None:
            return []
        between: list[Step] = [two, Step("wait", n=20)]
        moment = by.choice(("write", "write", "read"))
        if "edit_meanwhile" in self.faults and by.random() < 0.5:
            between = [Step("meanwhile", second, name=moment, inner=two)]
        elif "second_worker" in self.faults and by.random() < 0.3:
            between = [Step("meanwhile", second, name=moment)]
        return [one, Step("pull", first, one.object), *between, Step("deliver", second)]

    def _edit_of(self, slot: Slot, system: str, who: int) -> Step | None:
        object_ = slot.plan.readers[system].rule.object
        near = next((s for s in self.stage.slots[system, object_] if s.rule is slot.rule), None)
        change = self.cast.change(near, who, self.by) if near else None
        return Step("edit", system, object_, who, (change,)) if change else None

    def _newcomer(self) -> Sequence[Step]:
        """Somebody new is typed into two systems at once."""
        by, who = self.by, HEADS + 1
        plan = by.choice(list(self.stage.plans.values()))
        systems = by.sample(list(plan.readers), min(2, len(plan.readers)))
        steps: list[Step] = []
        for system in systems:
            object_ = plan.readers[system].rule.object
            steps.append(
                Step(
                    "make", system, object_, who, self.cast.first(self.stage.slots[system, object_], who, by)
                )
            )
            if system == systems[0]:
                steps.append(Step("pull", system, object_))
        return [*steps, Step("wait", n=20), Step("deliver", systems[-1])]

    def _leaver(self) -> Sequence[Step]:
        """Somebody is deleted in one system, which the broker sees, and goes on being edited elsewhere."""
        by = self.by
        system, object_ = by.choice(self.sources)
        gone = Step("remove", system, object_, by.randint(1, self.heads))
        return [gone, Step("compare", system, object_), self._edit(), Step("sync")]

    def _slot(self) -> tuple[str, str, Slot] | None:
        if not self.editable:
            return None
        system, object_ = self.by.choice(self.editable)
        return system, object_, self.by.choice(self.stage.slots[system, object_])

    def _edit(self) -> Step:
        """Half of the edits go to one field in all its systems, so that they meet."""
        by = self.by
        chosen = self._slot()
        if self.favourite and by.random() < 0.5:
            slot = self.favourite[2]
            system = by.choice(list(slot.rule.links))
            object_ = slot.plan.readers[system].rule.object
            near = [s for s in self.stage.slots[system, object_] if s.rule is slot.rule]
            chosen = (system, object_, near[0]) if near else chosen
        if chosen is None:
            return Step("wait", n=1)
        system, object_, slot = chosen
        who = by.randint(1, self.heads)
        changes = [self.cast.change(slot, who, by)]
        if by.random() < 0.2:
            changes.append(self.cast.change(by.choice(self.stage.slots[system, object_]), who, by))
        return Step("edit", system, object_, who, tuple(one for one in changes if one), n=by.randint(0, 1))

    def _trouble(self) -> Sequence[Step]:
        by = self.by
        near = list(self.favourite[2].rule.links) if self.favourite else self.systems
        system = by.choice(near if by.random() < 0.6 else self.systems)
        kinds = list(self.strikes)
        kinds += ["edit_meanwhile"] * 3 if "edit_meanwhile" in self.faults else []
        kinds += ["second_worker"] if "second_worker" in self.faults else []
        kinds += ["killed"] * 3 if "killed" in self.faults else []
        if not kinds:
            return []
        name = by.choice(kinds)
        if name == "edit_meanwhile":
            inner = self._edit()
            moment = by.choice(("write", "read", "page", "find"))
            return [Step("meanwhile", inner.system, name=moment, inner=inner)] if inner.kind == "edit" else []
        if name == "second_worker":
            return [Step("meanwhile", system, name=by.choice(("write", "find", "read")))]
        count = (
            by.randint(1, 25)
            if name == "killed"
            else by.randint(1, 6)
            if name == "outage"
            else by.choice((1, 1, 2, 5))
        )
        return [Step("fault", "" if name == "killed" else system, name=name, n=count)]
