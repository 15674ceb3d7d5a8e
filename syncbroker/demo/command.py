"""`demo`: five simulated vendors, the broker between them, and a story that shows what it is for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from syncbroker.demo.report import Report
    from syncbroker.demo.stage import Stage

SMALLEST = 60
SEED = 7
SIZE = 300


def demo(
    *,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave vendors and broker running afterwards, until Ctrl-C.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Another seed is another world.")] = SEED,
    size: Annotated[
        int, typer.Option(min=SMALLEST, max=100_000, help="How many people, beside those of the story.")
    ] = SIZE,
    folder: Annotated[
        Path | None, typer.Option(help="An empty or new folder to work in; by default a temporary one.")
    ] = None,
    no_color: Annotated[bool, typer.Option("--no-color", help="Plain text.")] = False,
) -> None:
    """Play the story this broker exists for, on five simulated vendors: HubSpot, Mailchimp, Stripe, Zendesk, SendGrid.

    Needs no accounts and leaves this machine alone. Exit code 1 when an act did not go as it should.
    """
    import os
    import shutil
    import signal
    import sys
    import tempfile

    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise typer.BadParameter(f"{folder} is not empty\n    hint: name a new or empty folder")
    if no_color:
        os.environ["NO_COLOR"] = "1"
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    place = folder.absolute() if folder else Path(tempfile.mkdtemp(prefix="syncbroker-demo-"))
    went_well = False
    try:
        went_well = _demo(place, seed, size, keep=keep, colour=not no_color)
    finally:
        if folder is None and (went_well or not any(place.iterdir())):
            shutil.rmtree(place, ignore_errors=True)
    if not went_well:
        raise typer.Exit(1)


def _demo(place: Path, seed: int, size: int, *, keep: bool, colour: bool) -> bool:
    import time

    from syncbroker.demo.report import Report, make_console
    from syncbroker.demo.stage import raised
    from syncbroker.demo.world import build_world

    begun = time.monotonic()
    report = Report(make_console(colour=colour))
    with raised(place, build_world(seed, size), shows=True) as stage:
        report.opening(stage)
        went_well = _play(stage, report, begun)
        if not went_well:
            report.say(f"The logs and the store are in {place}", "red")
        if keep:
            _keep(stage, report)
    return went_well


def _play(stage: Stage, report: Report, begun: float) -> bool:
    """Every act in turn; True when all went as expected."""
    import time

    from syncbroker.demo.scene import everybody, played
    from syncbroker.demo.story import ACTS
    from syncbroker.store import decisions

    stage.make_store()
    people, told = everybody(stage), []
    for act in ACTS:
        if act.serving and stage.serving is None:
            report.command("serve")
            stage.serve()
            report.serving(stage)
        if not act.serving:
            stage.stop_serving()
        for words in act.commands:
            report.command(words)
        told.append((act, played(act.play, stage, people)))
        report.act(*told[-1])
    with stage.engine().store.read() as tx:
        kinds = decisions.counts(tx)
    calls = {name: (len(log), sum(one.write for one in log)) for name, log in stage.logs().items()}
    report.ending(told, kinds, calls, time.monotonic() - begun)
    return not any(one.unmet for _, one in told)


def _keep(stage: Stage, report: Report) -> None:
    import shutil
    import sys
    import threading

    if stage.serving is None:
        stage.serve()
    beside = Path(sys.executable).with_name("syncbroker")
    program = str(beside) if beside.exists() else shutil.which("syncbroker") or "syncbroker"
    report.kept(stage, program)
    try:
        while stage.serving is not None and stage.serving.poll() is None:
            threading.Event().wait(1.0)
        report.say("The broker has ended.", "red")
    except KeyboardInterrupt:
        report.say("\nended")
