"""`retry`: what was given up is tried again, now that its cause is mended."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from syncbroker.cli.opening import opened
from syncbroker.cli.output import Json, console, known, plain, print_json, print_table, say


def retry(
    system: Annotated[str, typer.Argument(help="Only this system.", show_default="all")] = "",
    *,
    poison: Annotated[bool, typer.Option("--poison", help="Deliveries that failed too often.")] = False,
    aside: Annotated[bool, typer.Option("--aside", help="Observations that could not be decided.")] = False,
    refused: Annotated[bool, typer.Option("--refused", help="Writes that were refused for good.")] = False,
    breaker: Annotated[bool, typer.Option("--breaker", help="Calls held back after failures.")] = False,
    rejected: Annotated[
        bool, typer.Option("--rejected", help="Deliveries that were not what the vendor sends.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what there is.")] = False,
    person: Annotated[str, typer.Option(help="Who does this.", show_default="you")] = "",
    as_json: Json = False,
) -> None:
    """Try again what was given up, after mending what it failed of.

    Without options all of it but rejected deliveries. A working process takes it up within a tick. Exit code 2 when
    there is no such system.
    """
    from syncbroker.engine import retry as retrying

    asked = {"poison": poison, "aside": aside, "refused": refused, "breaker": breaker, "rejected": rejected}
    kinds = [name for name, wanted in asked.items() if wanted] or list(retrying.USUAL)
    with opened() as engine:
        known("system", engine.mapping.systems, [system] if system else [])
        systems = [system] if system else list(engine.mapping.systems)
        found = retrying.retry(engine, systems, kinds, person or getpass.getuser(), only_look=dry_run)
    if as_json:
        print_json({"done": not dry_run, "retried": found})
        return
    to = console()
    print_table(
        to,
        ["system", "count", "what"],
        [(one.system, one.count, retrying.KINDS[one.kind]) for one in found if one.count],
        right=["count"],
    )
    for one in found:
        for why in one.left:
            say(to, f"left as it is: {plain(why)}")
    if not found:
        say(to, "there is nothing to try again")
    elif not dry_run:
        say(to, "all of it is due now")
