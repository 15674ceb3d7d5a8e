"""`db`: the store's tables and their version."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from syncbroker.cli.opening import opened_store
from syncbroker.cli.output import Json, print_json

if TYPE_CHECKING:
    from syncbroker.store.database import Store

app = typer.Typer(help="Make, change and inspect the tables of the store.", no_args_is_help=True)


@app.command("upgrade")
def upgrade(
    revision: Annotated[
        str, typer.Argument(help="The version to reach; by default this release's.")
    ] = "head",
    as_json: Json = False,
) -> None:
    """Make the tables, or bring them to this release's version. Safe to repeat."""
    from syncbroker.store import schema

    with _changing() as store, _revisions():
        before = schema.current(store)
        schema.upgrade(store, revision)
        _note(store, "db upgrade", before)
        _tell(store, before, as_json)


@app.command("downgrade")
def downgrade(
    revision: Annotated[str, typer.Argument(help='The version to go back to; "base" drops every table.')],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Go back to an older version. What only the newer tables hold is lost."""
    from syncbroker.store import schema

    with _changing() as store, _revisions():
        before = schema.current(store)
        if not yes:
            _ask(f"Data in {store.where} will be lost. Go back to {revision}?")
        schema.downgrade(store, revision)
        _note(store, "db downgrade", before)
        _tell(store, before, as_json)


@app.command("current")
def current(as_json: Json = False) -> None:
    """Show the version of the store and the one that this release needs."""
    from syncbroker.settings import read_settings
    from syncbroker.store import schema

    with opened_store(read_settings()) as store:
        found, wanted = schema.current(store), schema.head()
        if as_json:
            print_json({"store": store.where, "version": found, "needed": wanted, "current": found == wanted})
        else:
            word = (
                "up to date"
                if found == wanted
                else f"this release needs {wanted}; run: syncbroker db upgrade"
            )
            typer.echo(f"{store.where} is at version {found or 'none'}: {word}")


@contextmanager
def _changing() -> Iterator[Store]:
    """The store, while nobody else works on it."""
    from syncbroker.settings import read_settings

    with opened_store(read_settings(), make=True) as store:
        store.claim_process()
        yield store


@contextmanager
def _revisions() -> Iterator[None]:
    from alembic.util.exc import CommandError

    try:
        yield
    except CommandError as error:
        raise typer.BadParameter(f"{error}\n    hint: see: syncbroker db current") from None


def _note(store: Store, action: str, before: str | None) -> None:
    """Who did it; in the store itself, so nothing is left to write on when all tables are gone."""
    from sqlalchemy import inspect

    from syncbroker.bootstrap import wall_clock
    from syncbroker.store import audit, schema, tables

    after = schema.current(store)
    with store.write() as tx:
        if after != before and inspect(tx.connection).has_table(tables.audit.name):
            told = {"before": before, "version": after}
            audit.note(tx, wall_clock(), getpass.getuser(), action, store.where, told)


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to be asked\n    hint: give --yes")
    typer.confirm(question, abort=True, err=True)


def _tell(store: Store, before: str | None, as_json: bool) -> None:
    from syncbroker.store import schema

    after = schema.current(store)
    if as_json:
        print_json({"store": store.where, "before": before, "version": after})
    elif before == after:
        typer.echo(f"{store.where} was at version {after or 'none'} already")
    else:
        typer.echo(f"{store.where} went from version {before or 'none'} to {after or 'none'}")
