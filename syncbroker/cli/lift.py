"""`lift`: let a record that was detached, deleted or purged be linked or created again."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from syncbroker.cli.opening import opened
from syncbroker.cli.output import Json, console, known, many, print_json, say


def lift(
    system: Annotated[str, typer.Argument(help="The system that the record was detached from.")],
    object_: Annotated[str, typer.Argument(metavar="OBJECT", help="Its object there, such as contacts.")],
    id_: Annotated[str, typer.Argument(metavar="ID", help="The external id, or the id of our record.")],
    person: Annotated[str, typer.Option(help="Who decides this.", show_default="you")] = "",
    as_json: Json = False,
) -> None:
    """Lift a tombstone: the record may be linked or created in that system again.

    Exit code 2 when there is no such system or no tombstone for the id.
    """
    from syncbroker.engine import answer

    with opened() as engine:
        known("system", engine.mapping.systems, [system])
        known("object", [name for owner, name in engine.sources if owner == system], [object_])
        lifted = answer.lift(engine, system, object_, id_, person or getpass.getuser())
    if as_json:
        print_json({"lifted": lifted})
    elif lifted:
        say(
            console(),
            f"{many(lifted, 'tombstone')} lifted; the next pull or sweep of {system} looks at it again.",
        )
    else:
        say(console(), f"There is no tombstone for it in {system} {object_}.")
    if not lifted:
        raise typer.Exit(2)
