"""`status`: all that waits, failed or was left out, on one screen. Shows no personal data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from syncbroker.cli import screen
from syncbroker.cli.opening import opened
from syncbroker.cli.output import Json, console, counts, local, many, print_json, print_table, say

if TYPE_CHECKING:
    from rich.console import Console

    from syncbroker.engine.status import Difference, HeldStatus, Status, SystemStatus


def status(
    differences: Annotated[
        bool,
        typer.Option(
            "--differences", help="Also count every field that is not in step, and why. Reads all records."
        ),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Only the first screen, again and again, until Ctrl-C.")
    ] = False,
    every: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds between two looks.")] = 2.0,
    as_json: Json = False,
) -> None:
    """Show how each system fares, then what there is, what waits and what failed.

    Counts only, no personal data; nothing that was dropped, blocked or skipped is left out. With --watch and --json,
    one document a line.
    """
    from syncbroker.engine import status as looking

    with opened() as engine:
        if watch:
            screen.watch(engine, every, as_json=as_json)
            return
        found = looking.status(engine)
        differing = looking.differences(engine) if differences else None
    if as_json:
        print_json(found if differing is None else {"status": found, "differences": differing})
        return
    _show(found)
    if differing is not None:
        _show_differences(differing)


def _show(found: Status) -> None:
    to = console()
    say(to, f"{found.store}, mapping {found.mapping}, {local(found.at)}\n")
    to.print(screen.table(found.fares, found.at))
    for remark in screen.remarks(found.fares):
        say(to, remark)
    say(to, f"\nrecords       {counts(found.records)}")
    say(to, f"reviews       {counts(found.reviews, 'none is waiting')}")
    say(to, f"drift         {counts(found.drift, 'all that sweeps found is in order')}")
    say(to, f"decisions     {counts(found.decisions)}")
    say(to, f"deliveries    {counts(found.deliveries)}")
    say(
        to, f"waiting       {found.observations:,} observations; {found.alarms:,} records wait for their time"
    )
    _show_webhooks(to, found)
    references = {f"{one.system} to {one.entity}": one.count for one in found.references}
    say(to, f"references    {counts(references, 'all lead to a linked record')}")
    print_table(
        to,
        ["system", "object", "links", "first read", "last pull", "last sweep"],
        [
            (
                system.name if n == 0 else "",
                one.object,
                counts(one.links),
                local(one.first_read),
                local(one.pulled),
                local(one.swept),
            )
            for system in found.systems
            for n, one in enumerate(system.objects)
        ],
        title="systems",
    )
    print_table(
        to,
        ["writes owed", "by state", "next", "calls"],
        [
            (one.name, counts(one.pushes), local(one.next_push), _breaker(one))
            for one in found.systems
            if _tells(one)
        ],
        title="waiting or failing",
    )
    print_table(
        to,
        ["paused field", "system", "since", "review"],
        [
            (f"{one.entity} {one.field}", one.system, local(one.since), str(one.review))
            for one in found.paused
        ],
        title="not written until a person says so",
    )
    print_table(
        to,
        ["run", "kind", "system", "object", "since", "waits", "review"],
        [
            (str(run.id), run.kind, run.system, run.object, local(run.started), _waits(run), str(run.review))
            for run in found.held
        ],
        title="runs that a guard holds",
    )
    _show_runs(to, found)
    print_table(
        to,
        ["could not be decided", "object", "count", "because of"],
        [(one.system, one.object, one.count, "; ".join(one.faults)) for one in found.set_aside],
        title="set aside after a fault",
        right=["count"],
    )
    print_table(
        to,
        ["left out or put right", "system", "object", "times", "meaning"],
        [(one.what, one.system, one.object, one.count, one.meaning) for one in found.counters],
        title="nothing silent",
        right=["times"],
    )


def _show_runs(to: Console, found: Status) -> None:
    print_table(
        to,
        ["run", "kind", "system", "object", "state", "started"],
        [
            (str(run.id), run.kind, run.system, run.object, run.state, run.started)
            for run in [*found.unfinished, *found.failed]
        ],
        title="runs that are not finished, and objects whose last reading failed",
    )


def _show_webhooks(to: Console, found: Status) -> None:
    """A line for each system whose webhooks are not heard: bold where they were, a remark where they never were."""
    for system in found.systems:
        hooks = system.webhooks
        if hooks is not None and hooks.silent_since is not None:
            edits = many(hooks.untold, "edit")
            text = f"webhooks of {system.name} are silent since {local(hooks.silent_since)}: {edits} came without one"
            say(to, text, style="bold")
    never = [one.name for one in found.systems if one.webhooks is not None and one.webhooks.heard is None]
    if never:
        say(to, f"webhooks      never delivered: {', '.join(never)}")


def _waits(run: HeldStatus) -> str:
    return many(run.count, "write" if run.waits == "pushes" else "observation")


def _tells(system: SystemStatus) -> bool:
    return bool(system.pushes or system.breaker or not system.connector)


def _breaker(system: SystemStatus) -> str:
    if not system.connector:
        return "the mapping no longer has this system"
    if system.breaker is None:
        return "go through"
    found = system.breaker
    until = f", left alone until {local(found.open_until)}" if found.is_open else ""
    return f"failed {found.failures} times in a row{until}: {found.message}"


def _show_differences(found: list[Difference]) -> None:
    from syncbroker.engine.explain import STANDINGS

    to = console()
    if not found:
        say(to, "\nevery field of every record is in step everywhere")
    print_table(
        to,
        ["system", "entity", "field", "count", "standing", ""],
        [
            (one.system, one.entity, one.field, one.count, one.standing, STANDINGS[one.standing])
            for one in found
        ],
        title="not in step",
        right=["count"],
    )
