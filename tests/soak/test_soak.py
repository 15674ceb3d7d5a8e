"""Soaks of a minute: kill -9 at random moments under load, and nothing is lost or doubled. Longer ones are for
`python -m tests.soak`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.play import Play, Report, play
from tests.soak.stage import Stage
from tests.soak.world import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def judge(report: Report, kills: int) -> None:
    """Nothing is lost and nobody is there twice. An update whose answer nobody saw may be sent again, once for each
    kill and each of the three calls that a fault strikes."""
    assert report.lost == []
    assert len(report.doubled) <= kills + 3 * sum(report.faults.values())
    assert sum(report.kills.values()) == kills
    assert report.edits > 50


def test_serve_killed_again_and_again_loses_and_doubles_nothing(tmp_path: Path) -> None:
    plan = Play(kills=8, seconds=40.0, rate=5.0, newcomers=0.0, patience=180.0, seed=3)
    with Stage(tmp_path, World(3), people=20) as stage:
        report = play(stage, plan)
    judge(report, 8)


def test_processes_of_many_killed_with_their_servers_lose_and_double_nothing(tmp_path: Path) -> None:
    plan = Play(kills=12, seconds=50.0, rate=4.0, newcomers=0.0, patience=240.0, seed=4)
    with Stage(tmp_path, World(4), mode="scaled", people=20, schedulers=2) as stage:
        report = play(stage, plan)
    judge(report, 12)
