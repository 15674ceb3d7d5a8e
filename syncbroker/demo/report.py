"""What the demo shows: the cast of systems, each act in a few lines, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from syncbroker.demo.scene import Told
from syncbroker.demo.stage import Stage
from syncbroker.demo.story import Act
from syncbroker.demo.vendors import POLLED, RATE, VENDORS
from syncbroker.engine.history import Step

WIDTH = 110
"""Columns where there is no terminal that has a width."""

NAMES = {
    "hubspot": "HubSpot",
    "mailchimp": "Mailchimp",
    "stripe": "Stripe",
    "zendesk": "Zendesk",
    "sendgrid": "SendGrid",
}

PROMISED = 1.0
"""Seconds within which an edit is to be everywhere; more is no failure on a busy machine, but it is said."""


def make_console(*, colour: bool) -> Console:
    console = Console(highlight=False, markup=False, emoji=False, no_color=None if colour else True)
    if not console.is_terminal:
        console.width = WIDTH
    return console


class Report:
    """Writes to one console, from top to bottom."""

    def __init__(self, console: Console) -> None:
        self._to = console
        self._number = 0

    def opening(self, stage: Stage) -> None:
        self._to.print("The demo of syncbroker", style="bold")
        self._to.print(
            "Five vendors run as simulators on this machine, with their own paths, logins, page sizes, jobs, lags and "
            "webhooks. Nothing leaves it."
        )
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 2), show_header=False)
        for name, vendor in VENDORS.items():
            rows = stage.world.systems[name]
            held = ", ".join(f"{len(found):,} {what}" for what, found in rows.items())
            table.add_row(name, NAMES[vendor.kind], held, Text(stage.systems[name].url, style="dim"))
        self._to.print(Padding(table, (1, 0)))
        polled = " and ".join(f"{name} is polled every {every}" for name, every in POLLED.items())
        self._to.print(
            f"The mapping files are the example's, but for two things that only cost time here: every limit is {RATE}, "
            f"and {polled}.\nEverything is in {stage.folder}",
            style="dim",
        )

    def command(self, *words: str) -> None:
        self._to.print()
        self._to.print(Text.assemble(("$ ", "dim"), ("syncbroker " + " ".join(words), "bold cyan")))

    def serving(self, stage: Stage) -> None:
        hooked = [name for name, vendor in VENDORS.items() if vendor.webhook]
        self._to.print(
            f"It listens on {stage.url}; webhooks are registered in {', '.join(hooked)}.", style="dim"
        )

    def act(self, act: Act, told: Told) -> None:
        """One act: what was done, decided, and is held now."""
        self._number += 1
        self._to.print()
        self._to.print(self._heading(act, told))
        for line in told.did:
            self._line("  ", line)
        for name, step in told.decided:
            self._line("> ", decided(name, step), "yellow")
        for value, systems in _grouped(told.holds):
            self._line("= ", f"{value}: {', '.join(systems)}", "green")
        for line in told.notes:
            self._line("  ", line, "dim")
        for line in told.unmet:
            self._line("! ", f"expected, but not so: {line}", "bold red")
        if told.seconds is not None and told.seconds > PROMISED and act.prompt:
            self._line("! ", f"slower than {PROMISED:g} s; is this machine busy?", "magenta")
        if told.output:
            self.command(told.command)
            self._to.print(_first_part(told.output), soft_wrap=True)

    def _heading(self, act: Act, told: Told) -> Table:
        table = Table.grid(expand=True)
        table.add_column()
        table.add_column(justify="right")
        mark = ("failed", "bold red") if told.unmet else ("", "green")
        took = f"everywhere after {told.seconds:.2f} s" if act.prompt and told.seconds is not None else ""
        table.add_row(
            Text(f"{self._number:2}  {act.title}", style="bold"), Text.assemble((took, "dim"), " ", mark)
        )
        return table

    def _line(self, sign: str, text: str, style: str = "") -> None:
        grid = Table.grid(padding=0)
        grid.add_column(width=6, no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(Text(f"    {sign}", style=style), Text(text, style=style))
        self._to.print(grid)

    def ending(
        self,
        played: Sequence[tuple[Act, Told]],
        kinds: Mapping[str, int],
        calls: Mapping[str, tuple[int, int]],
        seconds: float,
    ) -> None:
        """`calls`: system -> all calls, and those among them that wrote."""
        failed = [act for act, told in played if told.unmet]
        self._to.print()
        made = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
        self._to.print(f"decisions   {made}", style="dim")
        asked = ", ".join(f"{name} {every:,} ({wrote} wrote)" for name, (every, wrote) in calls.items())
        self._to.print(f"calls       {asked}", style="dim")
        self._to.print()
        if failed:
            names = ", ".join(act.title for act in failed)
            self._to.print(
                f"{len(failed)} of {len(played)} acts did not go as expected: {names}", style="bold red"
            )
        else:
            self._to.print(
                f"All {len(played)} acts went as expected, in {seconds:.0f} s.", style="bold green"
            )

    def kept(self, stage: Stage, program: str) -> None:
        """How to go on by oneself."""
        mara = stage.world.people["mara"].next["email"]
        self._to.print(
            "\nThe simulators and the broker go on until Ctrl-C. In another terminal:", style="bold"
        )
        for line in (
            f". {stage.folder / 'environment.sh'}",
            f"{program} status",
            f"{program} review list",
            f"{program} explain contact:{mara}",
            f"{program} decisions --since 10m",
        ):
            self._to.print(f"    {line}")
        self._to.print("and change something as a person at a vendor would, for example:")
        crm, contact = stage.systems["crm"].url, stage.world.people["mara"].ids["crm"]
        edit = {"object": "contacts", "id": contact, "changes": {"phone": "+1 206 555 0177"}}
        self._to.print(f"    curl {crm}/_control/edit -d '{json.dumps(edit)}'", soft_wrap=True)

    def say(self, text: str, style: str = "") -> None:
        self._to.print(text, style=style)


def decided(name: str, step: Step) -> str:
    """What was decided about whom, because of what, and by which rule."""
    what = f"{step.kind} {step.field}".strip()
    where = "from" if step.field else "in"
    source = f" {where} {step.system}" if step.system and step.kind != "resolved_by_person" else ""
    by = f", by {step.actor}" if step.kind == "resolved_by_person" else ""
    place = f" ({step.place})" if step.place else ""
    via = {"webhook": ", told by webhook", "poll": ", found by poll", "sweep": ", found by sweep"}.get(
        step.via, ""
    )
    return f"{name}: {what}{source}{by}{via}; {step.why}{place}"


def _grouped(holds: Sequence[tuple[str, list[str]]]) -> list[tuple[str, list[str]]]:
    """One line per value."""
    return [
        (value, [system for _, systems in group for system in systems])
        for value, group in groupby(holds, key=lambda pair: pair[0])
    ]


def _first_part(output: str) -> str:
    """Of a long explanation the part that answers the question."""
    lines = output.rstrip().splitlines()
    start = next((n for n, line in enumerate(lines) if " = " in line), 0)
    end = next((n for n, line in enumerate(lines) if n > start and not line.strip()), len(lines))
    rest = ["", "(then what each system holds, and the whole history)"] if end < len(lines) else []
    return "\n".join([*lines[start:end], *rest])
