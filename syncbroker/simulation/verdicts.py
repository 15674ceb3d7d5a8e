"""What the oracle says: the invariants by number, and what it found."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

INVARIANTS: dict[int, str] = {
    1: "converge or queue",
    2: "writes stop",
    3: "no duplicates",
    4: "nothing lost",
    5: "authority holds",
    6: "base after write",
    7: "replay",
    8: "undo touches only its own",
    9: "nothing silent",
}
"""By their number in docs/semantics.md."""


@dataclass(frozen=True)
class Violation:
    """`record`: the broker's record that it is about, "" when it is about none."""

    invariant: int
    text: str
    record: str = ""


@dataclass
class Verdicts:
    """`checked`: how often each invariant was looked at. `excused`: limits that were met, by name.

    `kinds` and `branches` ("policy kind") count outcomes; `decisions` are those of every record, as text.
    """

    checked: Counter[int] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    branches: Counter[str] = field(default_factory=Counter)
    decisions: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    violations: list[Violation] = field(default_factory=list)

    def wrong(self, invariant: int, text: str, record: str = "") -> None:
        self.violations.append(Violation(invariant, text, record))
