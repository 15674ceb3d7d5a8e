"""`decisions`: the decision log, newest first."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syncbroker.cli.opening import opened
from syncbroker.cli.output import Json, console, known, local, plain, print_json, say, usage
from syncbroker.cli.words import KINDS, Members, members_of, value_text

if TYPE_CHECKING:
    from syncbroker.core.types import Micros
    from syncbroker.engine import Engine
    from syncbroker.engine.history import Step
    from syncbroker.store.decisions import Decision

_AGO = re.compile(r"(\d+)([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def decisions(
    *,
    kind: Annotated[str, typer.Option(help="Only outcomes of this kind, such as edit_reverted.")] = "",
    field: Annotated[str, typer.Option(help="Only outcomes for this field.")] = "",
    record: Annotated[
        str, typer.Option(metavar="ENTITY:WHO", help="Only this record, named as for explain.")
    ] = "",
    run: Annotated[int | None, typer.Option(help="Only this run.")] = None,
    since: Annotated[str, typer.Option(help="Only later ones: 2h, 3d, or an ISO time.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many decisions at most.")] = 50,
    verify: Annotated[
        bool, typer.Option("--verify", help="Prove that no decision was altered, removed or inserted.")
    ] = False,
    heads: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --verify: compare with exported heads.")
    ] = None,
    export_heads: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append the heads of all chains to a file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show decisions, newest first, or prove that nobody changed them.

    What was decided, from what to what, and why. Exit code 2 when there is none; with --verify 1 when the log is not
    what was written.
    """
    from syncbroker.cli import verify as chains
    from syncbroker.engine.history import step

    if export_heads is not None:
        chains.export(export_heads, as_json=as_json)
        return
    if verify:
        chains.verify(heads, as_json=as_json)
        return
    if heads is not None:
        raise typer.BadParameter("--heads goes with --verify")
    if kind:
        known("kind of decision", KINDS, [kind])
    after = moment(since) if since else 0
    with opened() as engine:
        if field:
            fields = {name for plan in engine.plans.values() for name in plan.fields}
            known("field", sorted(fields), [field])
        found = _search(engine, kind=kind, field=field, record=record, run=run, since=after, limit=limit)
        steps = [
            (decision, step(decision, outcome))
            for decision in found
            for outcome in decision.outcomes
            if (not kind or outcome.kind == kind) and (not field or outcome.field == field)
        ]
        plans = engine.plans
    to = console()
    if as_json:
        print_json(
            [
                {"record": decision.record_id, "entity": decision.entity, "step": one}
                for decision, one in steps
            ]
        )
    else:
        last = 0
        for decision, one in steps:
            if decision.id != last:
                # a run that a guard held is no record's
                about = decision.entity + (f":{decision.record_id}" if decision.record_id else "")
                run_ = f", run {decision.run}" if decision.run else ""
                head = f"{decision.id:>6}  {local(one.at)}  {about}  by {plain(decision.actor)}{run_}"
                say(to, head, "bold")
                last = decision.id
            say(to, _line(one, members_of(plans.get(decision.entity), one.field)))
    if not steps:
        typer.echo("there is no such decision", err=True)
        raise typer.Exit(2)


def _line(one: Step, members: Members) -> str:
    """One outcome: what, where, what became of the golden value, and why."""
    head = f"        {one.kind:18} {one.field or 'record'}" + (f", {one.system}" if one.system else "")
    if not one.field:
        return f"{head}: {one.why}"
    before, after = value_text(one.before, members), value_text(one.after, members)
    golden = f"{before} -> {after}" if one.before != one.after else f"{after} stayed"
    edit = "" if one.value == one.after else f" against {one.invalid or value_text(one.value, members)}"
    return f"{head}: {golden}{edit}; {one.why}"


def _search(
    engine: Engine, *, kind: str, field: str, record: str, run: int | None, since: Micros, limit: int
) -> list[Decision]:
    from syncbroker.cli.explain import find_record
    from syncbroker.store import decisions as log

    if not record:
        with engine.store.read() as tx:
            return log.search(tx, kind=kind, field=field, run=run, since=since, limit=limit)
    with usage():
        record_id, _ = find_record(engine, record)
    with engine.store.read() as tx:
        found = log.history(tx, record_id)
    return [
        one
        for one in found
        if (run is None or one.run == run)
        and one.at >= since
        and any((not kind or o.kind == kind) and (not field or o.field == field) for o in one.outcomes)
    ][:limit]


def moment(text: str) -> Micros:
    """µs since the epoch: "2h" is two hours ago; a time without a zone is this machine's."""
    ago = _AGO.fullmatch(text)
    try:
        if ago:
            at = datetime.now(UTC) - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
        else:
            at = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is no time\n    hint: write 30m, 2h, 3d, or a time such as 2026-05-01T08:00"
        ) from None
    return int(at.timestamp() * 1_000_000)
