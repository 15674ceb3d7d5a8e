"""`schedule`: when each object is read next, and when it was read last."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import typer

from syncbroker.cli.opening import opened
from syncbroker.cli.output import Json, console, local, print_json, print_table


class Next(msgspec.Struct, frozen=True, kw_only=True):
    """`next`: None when it is read only when somebody asks for it, or while its system is paused."""

    system: str
    object: str
    kind: str
    plan: str
    next: datetime | None
    started: datetime | None
    ended: datetime | None
    paused: bool


def schedule(as_json: Json = False) -> None:
    """Show when each object is read next: polls and sweeps, as the mapping files say.

    What was never started yet has no times; `serve`, `worker` and `scheduler` count them.
    """
    from syncbroker.core import schedule as plans
    from syncbroker.store import stops, turns
    from syncbroker.store.records import FAR

    with opened() as engine, engine.store.read() as tx:
        there = {(one.system, one.object, one.kind): one for one in turns.every(tx)}
        stopped = stops.stopped(tx)
        found = []
        for system, object_ in engine.sources:
            for kind in ("pull", "sweep"):
                turn = there.get((system, object_, kind))
                plan = plans.text(engine.mapping.systems[system].schedule(object_, kind))
                waits = turn is not None and turn.due < FAR and system not in stopped
                found.append(
                    Next(
                        system=system,
                        object=object_,
                        kind=kind,
                        plan=plan,
                        next=_moment(turn.due) if turn is not None and waits else None,
                        started=_moment(turn.started) if turn is not None else None,
                        ended=_moment(turn.ended) if turn is not None else None,
                        paused=system in stopped,
                    )
                )
    if as_json:
        print_json(found)
        return
    print_table(
        console(),
        ["system", "object", "kind", "schedule", "next", "last"],
        [
            (one.system, one.object, one.kind, _words(one.plan), _next(one), local(one.started))
            for one in found
        ],
        title="schedule",
    )
    if not there:
        typer.echo("nothing is counted yet: start syncbroker serve, worker or scheduler")


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else datetime.fromtimestamp(micros / 1_000_000, UTC)


def _words(plan: str) -> str:
    """The schedule as it is kept, with its unit."""
    if plan.startswith("every "):
        seconds, _, rest = plan.removeprefix("every ").partition(" ")
        return f"every {seconds} s{' ' + rest if rest else ''}"
    return plan or "when asked"


def _next(one: Next) -> str:
    if one.paused:
        return "paused"
    return local(one.next) if one.next is not None else "-"
