"""`demo`: five simulated vendors, the broker between them, and a story that shows what it is for."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer


def demo(
    *,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave vendors and broker running afterwards, until Ctrl-C.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Another seed is another world.")] = 7,
    size: Annotated[
        int, typer.Option(min=60, max=100_000, help="How many people, beside those of the story.")
    ] = 300,
    folder: Annotated[
        Path | None, typer.Option(help="An empty or new folder to work in; by default a temporary one.")
    ] = None,
    no_color: Annotated[bool, typer.Option("--no-color", help="Plain text.")] = False,
) -> None:
    """Play the story this broker exists for, on five simulated vendors: HubSpot, Mailchimp, Stripe, Zendesk, SendGrid.

    Needs no accounts and talks to nothing outside this machine. Exit code 1 when an act did not go as it should.
    """
    from syncbroker.demo import show  # noqa: PLC0415  # all of the engine; other commands need not wait for it

    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise typer.BadParameter(f"{folder} is not empty\n    hint: name a new or empty folder")
    if no_color:
        os.environ["NO_COLOR"] = "1"
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    place = folder.absolute() if folder else Path(tempfile.mkdtemp(prefix="syncbroker-demo-"))
    failed = False
    try:
        failed = not show.show(place, seed, size, keep=keep, colour=not no_color)
    except Exception:
        failed = True
        raise
    finally:
        if folder is None and not failed:  # after a failure there is something to look into
            shutil.rmtree(place, ignore_errors=True)
    if failed:
        raise typer.Exit(1)
