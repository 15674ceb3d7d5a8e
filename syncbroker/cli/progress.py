"""What a person sees while a cycle works: bars on a terminal, a line per finished object elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from syncbroker.cli.output import console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from syncbroker.engine.cycle import Watch

WORDS = {"pull": "read", "sweep": "compared", "decide": "decided", "derive": "derived", "deliver": "written"}
"""What is counted in each step."""


@contextmanager
def watching(bars: bool | None, quiet: bool) -> Iterator[Watch]:
    """A watch on standard error. `bars`: True or False as asked for, None for bars on a terminal only.

    `quiet`: nothing, unless bars were asked for.
    """
    to = console(stderr=True)
    if bars or (bars is None and to.is_terminal and not quiet):
        with _bars(to) as progress:
            yield Bars(progress)
        return
    lines = Lines(None if quiet else to)
    try:
        yield lines
    finally:
        lines.end()


def _bars(to: Console) -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description:<28}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[told]}", markup=False),
        TimeElapsedColumn(),
        console=to,
    )


class Lines:
    """One line for each object or system, once its turn is over."""

    def __init__(self, to: Console | None) -> None:
        self._to = to
        self._at = ""
        self._counts: Counter[str] = Counter()
        self._failed = False

    def __call__(self, step: str, what: str, count: int) -> None:
        if what != self._at:
            self.end()
            self._at = what
        self._counts[step] += count
        self._failed = self._failed or step == "failed"

    def end(self) -> None:
        if self._to is not None and (told(self._counts) or self._failed):
            self._to.print(f"{self._at}: {'failed' if self._failed else told(self._counts)}")
        self._at, self._counts, self._failed = "", Counter(), False


class Bars:
    """A bar for each object or system; what was read is the measure for what is decided."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._counts: dict[str, Counter[str]] = {}
        self._at = ""

    def __call__(self, step: str, what: str, count: int) -> None:
        if step in ("decide", "derive", "deliver") and not count and what not in self._tasks:
            return
        if what != self._at:
            self._end()
            self._at = what
        task = self._tasks.get(what)
        if task is None:
            task = self._tasks[what] = self._progress.add_task(what, total=None, told="")
            self._counts[what] = Counter()
        found = self._counts[what]
        found[step] += count
        words = "failed" if step == "failed" else told(found)
        if found["decide"]:
            measure = max(found["pull"] + found["sweep"], found["decide"])
            self._progress.update(task, total=measure, completed=found["decide"], told=words)
        else:
            self._progress.update(task, completed=sum(found.values()), told=words)
        if step == "failed":
            self._end()

    def _end(self) -> None:
        if self._at:
            done = max(1, sum(self._counts[self._at].values()))
            self._progress.update(self._tasks[self._at], total=done, completed=done)
            self._progress.stop_task(self._tasks[self._at])
        self._at = ""


def told(found: Counter[str]) -> str:
    """For example "300 read, 12 decided"."""
    return ", ".join(f"{found[step]:,} {word}" for step, word in WORDS.items() if found[step])
