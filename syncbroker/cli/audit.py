"""`audit`: what people did to the broker itself."""

from __future__ import annotations

from typing import Annotated

import typer

from syncbroker.cli.decisions import moment
from syncbroker.cli.opening import opened_store
from syncbroker.cli.output import Json, console, local, plain, print_json, print_table, say


def audit(
    since: Annotated[str, typer.Option(help="Only later ones: 2h, 3d, or an ISO time.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 100,
    as_json: Json = False,
) -> None:
    """Show what people did to the broker itself, newest first: paused, resumed, retried, restored.

    What they decided about records is in the decisions.
    """
    import msgspec

    from syncbroker.engine.history import moment as told
    from syncbroker.settings import read_settings
    from syncbroker.store import audit as kept
    from syncbroker.store import schema

    with opened_store(read_settings()) as store:
        schema.require_current(store)
        with store.read() as tx:
            found = kept.entries(tx, since=moment(since) if since else 0, limit=limit)
    if as_json:
        print_json([{**msgspec.structs.asdict(one), "at": told(one.at)} for one in found])
        return
    to = console()
    print_table(
        to,
        ["when", "who", "action", "what", ""],
        [
            (
                local(told(one.at)),
                one.person,
                one.action,
                one.subject,
                ", ".join(f"{name}: {plain(value)}" for name, value in one.body.items() if value != ""),
            )
            for one in found
        ],
    )
    if not found:
        say(to, "nobody did anything to it")
