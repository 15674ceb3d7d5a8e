from __future__ import annotations

import json
from pathlib import Path

import pytest

from syncbroker.cli.main import run
from syncbroker.simulation import run as running
from syncbroker.simulation.verdicts import Verdicts, Violation

MAPPINGS = str(Path(__file__).parents[2] / "mappings")


def test_it_reports_each_invariant(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "--mappings", MAPPINGS, "--seeds", "1", "--first-seed", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["first_seed"], report["seeds"], report["failures"]) == (1, 1, [])
    assert [one["invariant"] for one in report["invariants"]] == list(range(1, 10))


def test_it_needs_no_credentials(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HUBSPOT_TOKEN", raising=False)
    assert run(["simulate", "--mappings", MAPPINGS, "--seeds", "1", "--fault", "none"]) == 0
    assert "No invariant was violated." in capsys.readouterr().out


def test_an_unknown_fault_is_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "--mappings", MAPPINGS, "--fault", "kiled"]) == 2
    assert "did you mean killed?" in capsys.readouterr().err


def test_a_violation_shows_its_seed_and_history(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "check", lambda play: Verdicts(violations=[Violation(1, "it differs")]))
    monkeypatch.setattr(running, "shrink", lambda steps, faults, fails: (list(steps)[:2], faults))
    assert run(["simulate", "--mappings", MAPPINGS, "--seeds", "1", "--first-seed", "7"]) == 1
    shown = capsys.readouterr().out
    assert "VIOLATED: 1 converge or queue" in shown
    assert "--first-seed 7 --seeds 1" in shown
    assert "somebody makes" in shown
