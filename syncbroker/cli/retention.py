"""`retention`: history that is older than the settings keep it."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from syncbroker.cli.opening import opened_store
from syncbroker.cli.output import Json, console, print_json, print_table, say


def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what is too old.")] = False,
    as_json: Json = False,
) -> None:
    """Delete history that is older than the SYNCBROKER_KEEP settings say.

    A working process does this once a day. Decisions and whatever is still to be done stay.
    """
    from syncbroker.bootstrap import wall_clock
    from syncbroker.settings import read_settings
    from syncbroker.store import retention as cleaning
    from syncbroker.store import schema

    settings, found = read_settings(), Counter[str]()
    keep = settings.keep()
    with opened_store(settings) as store:
        schema.require_current(store)
        for table, count in cleaning.clean(store, keep, wall_clock(), only_look=dry_run):
            found[table] += count
    days = {name: getattr(keep, name) for name in keep.__struct_fields__}
    if as_json:
        print_json({"deleted": not dry_run, "rows": {name: found[name] for name in days}, "days": days})
        return
    word = "too old" if dry_run else "deleted"
    to = console()
    print_table(
        to,
        ["table", "kept", word],
        [
            (name, f"{many} days" if many else "for ever", str(found[name]) if many else "")
            for name, many in days.items()
        ],
        right=[word],
    )
    say(to, "decisions are kept for ever")
