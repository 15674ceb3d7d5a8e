"""`backup` and `restore`: a SQLite store copied while it is worked on, and put back."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated

import typer

from syncbroker.cli.opening import opened_store
from syncbroker.cli.output import Json, console, print_json, say

NEXT = """Next: syncbroker sweep. It reads every system whole before anything is written, so what the systems hold since
the backup is found, and what the broker itself wrote since then is recognised. Then start serve again."""


def backup(
    file: Annotated[Path, typer.Argument(help="The new file; it must not exist.")], as_json: Json = False
) -> None:
    """Copy a SQLite store into a file, also while serve runs. The copy is checked, and only you can read it.

    For PostgreSQL the message says what to run instead.
    """
    from syncbroker.settings import read_settings
    from syncbroker.store import backup as copying

    with opened_store(read_settings()) as store:
        made = copying.make(store, file)
        where = store.where
    if as_json:
        print_json({"store": where, "backup": made})
    else:
        say(console(), f"{where} is in {file}: {made.size:,} bytes, version {made.version}, checked")


def restore(
    file: Annotated[Path | None, typer.Argument(help="A file that backup made.", show_default=False)] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; the present store is moved aside.")] = False,
    mark: Annotated[
        bool,
        typer.Option(
            "--mark", help="The store was put back by other means, such as pg_restore: only note that."
        ),
    ] = False,
    person: Annotated[str, typer.Option(help="Who does this.", show_default="you")] = "",
    as_json: Json = False,
) -> None:
    """Put a backup in the place of the store. The present store is moved aside, never deleted.

    Nobody else may have the store open. Exit code 2 without a file, or when there is nobody to ask and no --yes.
    """
    from syncbroker.bootstrap import wall_clock
    from syncbroker.settings import read_settings
    from syncbroker.store import backup as copying
    from syncbroker.store import schema

    if (file is None) != mark:
        raise typer.BadParameter("give the file to restore, or --mark after another way of restoring")
    by, settings = person or getpass.getuser(), read_settings()
    with opened_store(settings, make=True) as store:
        if file is None:
            store.claim_process()
            schema.require_current(store)
            with store.write() as tx:
                copying.mark(tx, by, wall_clock(), {"by": "other means"})
            aside, version = None, schema.current(store)
        else:
            target = copying.path_of(store)
            version = copying.verify(file)
            store.claim_process()
            if target.exists() and not yes:
                _ask(f"{store.where} exists. Move it aside and restore {file}?")
            aside = copying.put_back(store, file, by, wall_clock())
        where, current = store.where, version == schema.head()
    if as_json:
        print_json({"store": where, "version": version, "current": current, "aside": aside and str(aside)})
        return
    to = console()
    say(to, f"{where} is restored" if file is not None else f"{where} is marked as restored")
    if aside is not None:
        say(to, f"what was there is in {aside}")
    if not current:
        say(to, "It is of an older release. First: syncbroker db upgrade, then: syncbroker restore --mark")
    say(to, NEXT)


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to be asked\n    hint: give --yes")
    typer.confirm(question, abort=True, err=True)
