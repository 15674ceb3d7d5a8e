"""How results are written: tables and texts for people, one JSON document for programs.

Texts of vendors are shown as they are, but without control characters: a value must not steer a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncbroker.errors import Missing

if TYPE_CHECKING:
    from rich.console import Console

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]

WIDE = 160
"""Columns where there is no terminal that has a width."""


def console(*, stderr: bool = False) -> Console:
    """A console that takes texts literally."""
    from rich.console import Console

    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=False)
    if not made.is_terminal:
        made.width = max(made.width, WIDE)
    return made


def print_json(value: Any, *, lines: bool = False) -> None:
    """`lines`: in one line, as one of many."""
    import msgspec

    text = msgspec.json.encode(value)
    typer.echo(text.decode() if lines else msgspec.json.format(text, indent=2))


def say(to: Console, text: str = "", style: str | None = None) -> None:
    """A line of text, as long as it is."""
    to.print(text, style=style, soft_wrap=True)


def print_table(
    to: Console,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    title: str = "",
    right: Iterable[str] = (),
) -> None:
    """A plain table, nothing without rows. `right`: names of columns with numbers."""
    from rich.table import Table

    found = [tuple(row) for row in rows]
    if not found:
        return
    if title:
        to.print(f"\n{title}", style="bold")
    table = Table(box=None, pad_edge=False, header_style="dim")
    aligned = set(right)
    for name in columns:
        table.add_column(name, justify="right" if name in aligned else "left", overflow="fold")
    for row in found:
        table.add_row(*map(plain, row))
    to.print(table)


def plain(value: Any) -> str:
    """Text without control characters; nothing for None, thousands set apart for numbers."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return local(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "".join(c if c.isprintable() else " " for c in str(value))


def local(at: datetime | None) -> str:
    """ISO 8601 in the time zone of this machine, to the second."""
    return at.astimezone().isoformat(sep=" ", timespec="seconds") if at else "never"


def many(count: int, one: str, more: str = "") -> str:
    """For example "1 entity", "2 entities"."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def counts(found: Mapping[str, int], nothing: str = "none") -> str:
    """For example "3 conflict, 1 match"."""
    return ", ".join(f"{count:,} {name}" for name, count in found.items() if count) or nothing


@contextmanager
def usage() -> Iterator[None]:
    """What a command line names and does not exist is a wrong command line."""
    try:
        yield
    except Missing as error:
        hint = f"\n    hint: {error.hint}" if error.hint else ""
        raise typer.BadParameter(error.message + hint) from None


def known(kind: str, names: Iterable[str], wanted: Iterable[str]) -> None:
    """A wrong command line when one of `wanted` is not among `names`."""
    from difflib import get_close_matches

    every = list(names)
    for name in wanted:
        if name not in every:
            near = get_close_matches(name, every, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(every)}"
            raise typer.BadParameter(f"there is no {kind} {name!r}\n    hint: {hint}")
