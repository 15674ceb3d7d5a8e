"""Soaks of a minute: kill -9 at random moments under load, and nothing is lost or doubled. Longer ones are for
`python -m tests.soak`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.play import Play, Report, play
from tests.soak.stage import Stage
from tests.soak.world import World

pytestmark = pytest.mark.slow


def told(report: Report) -> tuple[list[str], list[str]]:
    return report.lost, report.doubled


def test_serve_killed_again_and_again_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with Stage(tmp_path, World(3), people=20) as stage:
        report = play(stage, Play(kills=8, seconds=40.0, rate=5.0, patience=90.0, seed=3))
    assert told(report) == ([], [])
    assert sum(report.kills.values()) == 8
    assert report.edits > 50


def test_processes_of_many_killed_with_their_servers_lose_and_double_nothing(tmp_path: Path) -> None:
    with Stage(tmp_path, World(4), mode="scaled", people=20, schedulers=2) as stage:
        report = play(stage, Play(kills=12, seconds=50.0, rate=4.0, patience=150.0, seed=4))
    assert told(report) == ([], [])
    assert sum(report.kills.values()) == 12
    assert report.edits > 50
