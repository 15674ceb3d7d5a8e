"""`sync` and `sweep`: one cycle over all systems or some, and a summary of what it did."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from syncbroker.cli.opening import opened
from syncbroker.cli.output import Json, known, print_json
from syncbroker.cli.progress import watching

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncbroker.engine.cycle import Summary

Systems = Annotated[list[str] | None, typer.Argument(metavar="[SYSTEM]...", help="Read only these systems.")]
Bars = Annotated[
    bool | None,
    typer.Option("--progress/--no-progress", help="Bars while it works; by default on a terminal only."),
]


PATIENCE = 20.0
"""Seconds that a command waits for what vendors finish later, such as jobs; what takes longer is the next one's."""


def sync(systems: Systems = None, progress: Bars = None, as_json: Json = False) -> None:
    """Pull what changed, decide it, write what is owed. With names, pull only from those systems.

    Exit code 1 when a system failed; the others go on, and the next sync takes up what is left.
    """
    from syncbroker.engine import cycle

    _run(cycle.sync, "Synced", systems or [], progress, as_json)


def sweep(systems: Systems = None, progress: Bars = None, as_json: Json = False) -> None:
    """Compare everything, decide what differs, write.

    Finds what webhooks and pulls missed. Exit codes as for sync.
    """
    from syncbroker.engine import cycle

    _run(cycle.sweep, "Swept", systems or [], progress, as_json)


def _run(
    run: Callable[..., Summary], word: str, systems: list[str], progress: bool | None, as_json: bool
) -> None:
    from syncbroker.bootstrap import Calls
    from syncbroker.cli import summary
    from syncbroker.engine import cycle

    calls, begun = Calls(), time.monotonic()
    with opened(works=True, calls=calls) as engine:
        known("system", engine.mapping.systems, systems)
        with watching(progress, quiet=as_json) as watch:
            late = cycle.recover(engine)
            cycle.activate(engine)
            done = run(engine, systems, watch)
            cycle.drain(engine, done, PATIENCE, time.sleep, watch)
        done.kinds.update(late.kinds)
        report = summary.report(engine, done, calls, time.monotonic() - begun)
    if as_json:
        print_json(report)
    else:
        summary.show(report, word)
    raise typer.Exit(1 if report.failed else 0)
