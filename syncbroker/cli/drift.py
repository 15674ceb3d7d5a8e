"""`drift`: what only sweeps found, by cause, and whether it is in order again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from syncbroker.cli.decisions import moment
from syncbroker.cli.opening import opened
from syncbroker.cli.output import Json, console, counts, known, local, print_json, print_table, say

if TYPE_CHECKING:
    from syncbroker.engine.drift_report import DriftReport


def drift(
    *,
    since: Annotated[str, typer.Option(help="Only what was found since: 2h, 3d, or an ISO time.")] = "",
    cause: Annotated[str, typer.Option(help="Only findings with this cause, such as missed_event.")] = "",
    still_open: Annotated[
        bool, typer.Option("--open", help="Only findings that are not in order yet.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many findings at most.")] = 20,
    as_json: Json = False,
) -> None:
    """Show what only sweeps found: with its cause, and when it was in order again.

    No personal data: `explain` shows the values. Exit code 0, also when there is drift.
    """
    from syncbroker.engine.drift_report import report
    from syncbroker.store.drift import CAUSES

    if cause:
        known("cause", CAUSES, [cause])
    after = moment(since) if since else 0
    with opened() as engine:
        found = report(engine, since=after, cause=cause, open_only=still_open, limit=limit)
    if as_json:
        print_json(found)
        return
    _show(found)


def _show(found: DriftReport) -> None:
    to = console()
    if not found.counts:
        say(to, "no sweep found anything that events and polls had not brought")
        return
    print_table(
        to,
        ["cause", "system", "entity", "field", "found", "open", "first", "last"],
        [
            (
                one.cause,
                one.system,
                one.entity,
                one.field or "(record)",
                one.count,
                one.open,
                local(one.first),
                local(one.last),
            )
            for one in found.counts
        ],
        title="drift",
        right=["found", "open"],
    )
    print_table(
        to,
        ["run", "found at", "causes"],
        [(str(one.run), local(one.at), counts(one.causes)) for one in found.runs],
        title="over time, newest sweep first",
    )
    print_table(
        to,
        ["record", "link", "field", "cause", "found", "healed", "how it is known"],
        [
            (
                f"{one.entity}:{one.record}" if one.record else "(none)",
                f"{one.system} {one.object}",
                one.field or "(record)",
                one.cause,
                local(one.found),
                local(one.healed) if one.healed else "open",
                one.why,
            )
            for one in found.findings
        ],
        title="findings, newest first",
    )
