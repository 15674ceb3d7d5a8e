"""The demo from beginning to end: the stage is raised, the acts are played, the report is written."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from pathlib import Path

from syncbroker.demo.report import Report, make_console
from syncbroker.demo.scene import everybody, played
from syncbroker.demo.stage import Stage, raised
from syncbroker.demo.story import ACTS
from syncbroker.demo.world import build_world
from syncbroker.store import decisions


def show(place: Path, seed: int, size: int, *, keep: bool, colour: bool) -> bool:
    """True when every act went as expected. `keep`: everything goes on running until Ctrl-C."""
    begun = time.monotonic()
    report = Report(make_console(colour=colour))
    with raised(place, build_world(seed, size), shows=True) as stage:
        report.opening(stage)
        went_well = play(stage, report, begun)
        if not went_well:
            report.say(f"The logs and the store are in {place}", "red")
        if keep:
            _keep(stage, report)
    return went_well


def play(stage: Stage, report: Report, begun: float) -> bool:
    """Every act in turn; `begun` by the monotonic clock."""
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
    try:
        if stage.serving is None:
            stage.serve()
        beside = Path(os.path.normpath(sys.executable)).with_name("syncbroker")
        program = str(beside) if beside.exists() else shutil.which("syncbroker") or "syncbroker"
        report.kept(stage, program)
        while stage.serving is not None and stage.serving.poll() is None:
            threading.Event().wait(1.0)
        report.say("The broker has ended.", "red")
    except KeyboardInterrupt:
        report.say("\nended")
