"""`simulate`: the mapping files, played with invented people and systems that fail in every way."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syncbroker.cli.output import Json, console, known, many, print_json, print_table, say

if TYPE_CHECKING:
    from syncbroker.simulation.run import Failure, Report


def simulate(
    mappings: Annotated[
        Path | None, typer.Option(help="The folder of mapping files, instead of SYNCBROKER_MAPPINGS.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many histories to play.")] = 100,
    first_seed: Annotated[
        int, typer.Option("--first-seed", min=0, help="The first seed; the same seed is the same history.")
    ] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="Only this fault, instead of every one; may be repeated. `none`: no faults."),
    ] = None,
    failures: Annotated[int, typer.Option(min=1, help="Stop after so many violations.")] = 3,
    as_json: Json = False,
) -> None:
    """Prove the invariants over your own mapping files.

    Simulated systems with the abilities of your real ones, people who edit at the same time, webhooks that are lost,
    calls that fail, processes that die; then rest, and every invariant is checked. Needs no credentials and calls
    nothing. A violation shows its seed and the shortest history that leads to it. Exit code 1 when there is one.
    """
    from syncbroker.settings import read_settings
    from syncbroker.simulation.faults import FAULTS, chosen
    from syncbroker.simulation.people import Cast
    from syncbroker.simulation.play import make_store
    from syncbroker.simulation.run import Simulation
    from syncbroker.simulation.stage import make_stage

    wanted = fault or []
    known("fault", [*FAULTS, "none"], wanted)
    active = frozenset[str]() if "none" in wanted else chosen(wanted)
    cast = Cast(make_stage(mappings if mappings is not None else read_settings().mappings))
    with tempfile.TemporaryDirectory(prefix="syncbroker-simulation-") as folder:
        store = make_store(Path(folder))
        try:
            report = Simulation(cast, store, active, enough=failures).run(first_seed, seeds)
        finally:
            store.close()
    if as_json:
        print_json(report)
    else:
        _show(report)
    if report.failures:
        raise typer.Exit(1)


def _show(report: Report) -> None:
    to = console()
    last = report.first_seed + report.seeds - 1
    say(
        to,
        f"{many(report.seeds, 'history', 'histories')} (seeds {report.first_seed} to {last}):"
        f" {many(report.edits, 'edit')},"
        f" {many(report.writes, 'write')}, {many(sum(report.faults.values()), 'fault')} in {report.seconds:.0f} s"
        f" ({report.edits_per_second:,.0f} edits/s).",
    )
    rows = [(one.invariant, one.name, one.checked, one.violated) for one in report.invariants]
    print_table(
        to,
        ["", "invariant", "checked", "violated"],
        rows,
        title="invariants",
        right=["", "checked", "violated"],
    )
    print_table(to, ["fault", "struck"], report.faults.items(), title="faults", right=["struck"])
    print_table(to, ["decisions", "made"], report.kinds.items(), title="decisions", right=["made"])
    print_table(
        to,
        ["limit", "met"],
        report.excused.items(),
        title="limits that no rule removes, and what waits",
        right=["met"],
    )
    for one in report.failures:
        _show_failure(one)
    if not report.failures:
        say(to, "\nNo invariant was violated.")


def _show_failure(one: Failure) -> None:
    to = console()
    say(to, f"\nVIOLATED: {one.invariant} {one.name}\n  {one.text}", style="bold")
    say(to, f"  again: syncbroker simulate --first-seed {one.seed} --seeds 1")
    say(to, f"  faults: {', '.join(one.faults) or 'none'}")
    say(to, "  the shortest history found:")
    for n, step in enumerate(one.steps, 1):
        say(to, f"  {n:4} {step}")
    if one.decisions:
        say(to, "  the decisions involved:")
        for text in one.decisions:
            say(to, f"       {text}")
