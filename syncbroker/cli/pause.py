"""`pause` and `resume`: a person takes a system out of the work for a while, and lets it in again."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from syncbroker.cli.opening import opened
from syncbroker.cli.output import Json, console, known, local, plain, print_json, say

System = Annotated[str, typer.Argument(help="The system.")]
Person = Annotated[str, typer.Option(help="Who does this.", show_default="you")]


def pause(
    system: System,
    why: Annotated[str, typer.Option(help="Why; status and the audit show it.")] = "",
    person: Person = "",
    as_json: Json = False,
) -> None:
    """Leave a system alone: nothing is read from it or written to it until it is resumed.

    Its webhooks are still stored, what is owed to it waits, and the other systems go on. Exit code 2 when there is no
    such system.
    """
    from syncbroker.engine.history import moment
    from syncbroker.store import audit, stops

    with opened() as engine:
        known("system", engine.mapping.systems, [system])
        by, now = person or getpass.getuser(), engine.now()
        with engine.store.write() as tx:
            done = stops.stop(tx, stops.Stop(system=system, since=now, person=by, why=why))
            if done:
                audit.note(tx, now, by, "pause", system, {"why": why})
            found = stops.stopped(tx)[system]
    if as_json:
        print_json({"system": system, "changed": done, "paused": found})
        return
    reason = f": {plain(found.why)}" if found.why else ""
    since = f"since {local(moment(found.since))}, by {plain(found.person)}{reason}"
    say(console(), f"{system} is paused {since}" if done else f"{system} was paused already, {since}")


def resume(system: System, person: Person = "", as_json: Json = False) -> None:
    """Let a paused system take part again: it is read, and what it is owed is written.

    Exit code 2 when there is no such system.
    """
    from syncbroker.store import audit, stops

    with opened() as engine:
        with engine.store.read() as tx:
            names = [*engine.mapping.systems, *stops.stopped(tx)]
        known("system", names, [system])
        now = engine.now()
        with engine.store.write() as tx:
            done = stops.resume(tx, system, now)
            if done:
                audit.note(tx, now, person or getpass.getuser(), "resume", system, {})
    if as_json:
        print_json({"system": system, "changed": done})
    else:
        say(console(), f"{system} takes part again" if done else f"{system} was not paused")
