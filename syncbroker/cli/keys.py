"""`keys` and `credentials`: what systems are called with, kept in the store, encrypted, and the keys."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from syncbroker.cli.opening import opened_store
from syncbroker.cli.output import Json, console, local, many, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Sequence

Person = Annotated[str, typer.Option(help="Who does this.", show_default="you")]

keys = typer.Typer(help="Make and replace the keys of stored credentials.", no_args_is_help=True)
credentials = typer.Typer(help="Keep credentials in the store, encrypted.", no_args_is_help=True)


@keys.command("new")
def new(as_json: Json = False) -> None:
    """Print a new key. It is stored nowhere: put it into SYNCBROKER_KEYS, before older ones."""
    from syncbroker.store.credentials import new_key

    key = new_key()
    if as_json:
        print_json({"key": key})
    else:
        typer.echo(key)


@keys.command("rotate")
def rotate(person: Person = "", as_json: Json = False) -> None:
    """Encrypt all stored credentials under the newest key. The older ones may be taken away then."""
    from syncbroker.bootstrap import wall_clock
    from syncbroker.settings import read_settings
    from syncbroker.store import audit
    from syncbroker.store import credentials as stored

    settings = read_settings()
    with opened_store(settings) as store, store.write() as tx:
        count = stored.rotate(tx, settings.read_keys())
        audit.note(tx, wall_clock(), person or getpass.getuser(), "keys rotate", "", {"credentials": count})
    if as_json:
        print_json({"credentials": count})
    else:
        say(console(), f"{many(count, 'credential')} encrypted under the newest key")


@credentials.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="The variable that mapping files name, without ${}.")],
    person: Person = "",
    as_json: Json = False,
) -> None:
    """Store a credential. The value is read from standard input, or asked for without showing it."""
    from syncbroker.bootstrap import wall_clock
    from syncbroker.errors import BadSetting
    from syncbroker.settings import read_settings
    from syncbroker.store import audit
    from syncbroker.store import credentials as stored

    stored.check_name(name)
    settings = read_settings()
    held = settings.read_keys()
    value = _value(name)
    if not value:
        raise BadSetting(f"no value was given for {name}", hint="write it on standard input")
    with opened_store(settings) as store, store.write() as tx:
        stored.put(tx, held, name, value, wall_clock())
        audit.note(tx, wall_clock(), person or getpass.getuser(), "credentials set", name, {})
    if as_json:
        print_json({"set": name})
    else:
        say(console(), f"{name} is stored; what runs takes it up when it is started again")


def _value(name: str) -> str:
    from syncbroker.store.credentials import MAX_BYTES

    if sys.stdin.isatty():
        return getpass.getpass(f"{name}: ")
    text = sys.stdin.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise typer.BadParameter(f"a credential has at most {MAX_BYTES:,} characters")
    return text.rstrip("\r\n")


@credentials.command("list")
def list_(as_json: Json = False) -> None:
    """Show which credentials are stored, and since when. Never their values."""
    from syncbroker.engine.history import moment
    from syncbroker.settings import read_settings
    from syncbroker.store import credentials as stored

    with opened_store(read_settings()) as store, store.read() as tx:
        found: Sequence[tuple[str, int]] = stored.listed(tx)
    if as_json:
        print_json([{"name": name, "changed": moment(at)} for name, at in found])
    elif found:
        print_table(console(), ["name", "set"], [(name, local(moment(at))) for name, at in found])
    else:
        say(console(), "no credential is stored")


@credentials.command("remove")
def remove(
    name: Annotated[str, typer.Argument(help="The name that it was set under.")],
    person: Person = "",
    as_json: Json = False,
) -> None:
    """Forget a stored credential. Exit code 2 when there is none of the name."""
    from syncbroker.bootstrap import wall_clock
    from syncbroker.settings import read_settings
    from syncbroker.store import audit
    from syncbroker.store import credentials as stored

    with opened_store(read_settings()) as store, store.write() as tx:
        removed = stored.remove(tx, name)
        if removed:
            audit.note(tx, wall_clock(), person or getpass.getuser(), "credentials remove", name, {})
    if as_json:
        print_json({"removed": removed})
    else:
        say(console(), f"{name} is forgotten" if removed else f"no credential is stored as {name}")
    if not removed:
        raise typer.Exit(2)
