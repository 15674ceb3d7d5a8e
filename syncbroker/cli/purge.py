"""`purge`: erase everything that the store holds of one record."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from syncbroker.cli.opening import opened
from syncbroker.cli.output import Json, console, many, print_json, say, usage

if TYPE_CHECKING:
    from rich.console import Console

    from syncbroker.engine.purge import Erasure


def purge(
    *,
    record: Annotated[
        str, typer.Option(metavar="ENTITY:WHO", help="The record, named as for explain.", show_default=False)
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    person: Annotated[str, typer.Option(help="Who decides this.", show_default="you")] = "",
    as_json: Json = False,
) -> None:
    """Erase what the store holds of a record, and keep it from coming back.

    Shows what would go, then asks. Nothing is written to or deleted in any system. It cannot be undone.

    Exit code 2 when there is no such record, or nobody to ask and no --yes.
    """
    from syncbroker.cli.explain import find_record
    from syncbroker.engine.purge import carry_out, plan

    with opened(works=True) as engine:
        with usage():
            record_id, _ = find_record(engine, record)
        planned = plan(engine, record_id)
        if not as_json:
            _show(console(), planned)
        if not yes:
            _ask(as_json=as_json)
        done = carry_out(engine, record_id, person or getpass.getuser())
    if as_json:
        print_json(done)
        return
    to = console()
    rows = ", ".join(f"{name} {count:,}" for name, count in done.rows.items())
    say(to, f"erased: {rows}")
    if not done.compacted:
        say(to, "what PostgreSQL keeps of deleted rows goes with: VACUUM FULL; see docs/operations.md")


def _show(to: Console, planned: Erasure) -> None:
    say(to, f"{planned.entity} {planned.record}: every value of it goes from the store", "bold")
    if len(planned.records) > 1:
        say(to, f"  with {many(len(planned.records) - 1, 'record')} that were merged into it")
    say(to, f"  {many(planned.ids, 'id')} in {', '.join(planned.systems) or 'no system'} will be barred")
    if planned.referrers:
        say(to, f"  {many(planned.referrers, 'record')} refer to it, and will refer to nothing")
    say(to, "  its decisions keep their place in the log, with digests instead of values")
    say(to, "  nothing is deleted in the systems themselves")


def _ask(*, as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to be asked\n    hint: give --yes")
    typer.confirm("Erase it for good?", abort=True, err=True)
