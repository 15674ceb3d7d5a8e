"""How the systems fare, on one screen: a line for each, then the totals. `status --watch` renews it."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from syncbroker.cli.output import console, counts, local, many, plain, print_json

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from syncbroker.engine import Engine
    from syncbroker.engine.health import Fare, Health

STYLES = {"paused": "yellow", "held back": "red", "late": "red", "set aside": "yellow", "fine": "green"}
COLUMNS = (
    "system", "state", "lag", "allowed", "last read", "next", "queue", "owed", "waiting", "set aside", "reviews",
)  # fmt: skip
RIGHT = {"lag", "allowed", "last read", "next", "queue", "owed", "waiting", "set aside", "reviews"}


def table(lines: list[Fare], at: datetime) -> Table:
    """A line for each system. Times are told from `at`."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="dim")
    for name in COLUMNS:
        made.add_column(name, justify="right" if name in RIGHT else "left", no_wrap=True)
    for one in lines:
        cells = (
            span(one.lag) if one.lag else "-",
            span(one.max_lag) if one.max_lag is not None else "",
            f"{span((at - one.last_read).total_seconds())} ago" if one.last_read else "never",
            _next(one.next_turn, at),
            *(plain(count) for count in (one.queue, one.owed, one.staged, one.poison, one.reviews)),
        )
        made.add_row(plain(one.system), Text(one.state, STYLES[one.state]), *cells)
    return made


def _next(at: datetime | None, now: datetime) -> str:
    if at is None:
        return ""
    left = (at - now).total_seconds()
    return f"in {span(left)}" if left > 0 else "now"


def span(seconds: float) -> str:
    """For example "4s", "3m", "2h", "5d": the largest unit that fits."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, round(seconds))}s"


def remarks(lines: list[Fare]) -> list[str]:
    """Why a system is not fine, where somebody or something said why."""
    said = []
    for one in lines:
        if one.paused_since is not None:
            why = f": {plain(one.paused_why)}" if one.paused_why else ""
            since = local(one.paused_since)
            said.append(f"{one.system} is paused since {since}, by {plain(one.paused_by)}{why}")
        if one.held_back_until is not None:
            until = local(one.held_back_until)
            failed = f"{one.system} failed {many(one.failures, 'time')} in a row, left alone until {until}"
            said.append(f"{failed}: {plain(one.held_back_why)}")
        if one.silent:
            said.append(
                f"{one.system}: polls find what its webhooks should have told; they seem to be silent"
            )
    return said


def totals(found: Health) -> str:
    """One line below the table."""
    held = sum(found.held.values())
    drift = sum(found.drift.values())
    return f"reviews: {counts(found.reviews)}; runs held: {held:,}; drift open: {drift:,}"


def group(found: Health, lines: list[Fare], at: datetime, head: str) -> Group:
    from rich.console import Group
    from rich.text import Text

    return Group(Text(head), Text(), table(lines, at), Text(), *map(Text, [totals(found), *remarks(lines)]))


def watch(engine: Engine, every: float, *, as_json: bool) -> None:
    """Look again and again until it is interrupted, which is no error. With `as_json` one document a line."""
    import time

    from rich.live import Live

    from syncbroker.engine.health import fares, health
    from syncbroker.engine.history import EPOCH, moment
    from syncbroker.errors import Retry

    def look() -> tuple[Health, list[Fare], datetime]:
        found = health(engine)
        return found, fares(found), moment(found.at) or EPOCH

    def shown() -> Group:
        found, lines, at = look()
        return group(found, lines, at, f"{engine.store.where}, {local(at)}, every {every:g} s; Ctrl-C ends")

    to = console()
    try:
        while as_json or not to.is_terminal:
            if as_json:
                print_json(look()[1], lines=True)
            else:
                to.print(shown(), "")
            sys.stdout.flush()
            time.sleep(every)
        with Live(shown(), console=to, auto_refresh=False) as live:
            while True:
                time.sleep(every)
                with suppress(Retry):  # somebody writes for long; what is on the screen says when it was
                    live.update(shown(), refresh=True)
    except KeyboardInterrupt:
        return
