from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import postgres

ROOT = Path(__file__).parents[2]


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def result(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a quick run prints, about one kind of store. Quick: it shows that everything runs, not how fast."""
    environment = dict(os.environ)
    if request.param == "postgresql":
        server: postgres.Server = request.getfixturevalue("postgres_server")
        environment[postgres.ENV_URL] = server.url.render_as_string(hide_password=False)
    command = ["-m", "benchmarks.load_and_sweep", "--records", "200", "--rounds", "1", "--json"]
    folder = tmp_path_factory.mktemp("bench")
    done = subprocess.run(
        [sys.executable, *command, "--store", request.param, "--folder", str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    stores: dict[str, dict[str, Any]] = json.loads(done.stdout)["stores"]
    return stores[request.param]


def phases(result: dict[str, Any], phase: str) -> dict[str, dict[str, Any]]:
    return {one["who"]: one for one in result["phases"] if one["phase"] == phase}


def test_every_contestant_goes_through_every_record_in_every_phase(result: dict[str, Any]) -> None:
    done = {(one["who"], one["phase"], one["records"]) for one in result["phases"]}
    who = ("broker", "parsed", "core", "orm", "floor")
    assert done == {(name, phase, 600) for name in who for phase in ("load", "unchanged", "changed")}


def test_the_broker_decides_all_of_a_first_load(result: dict[str, Any]) -> None:
    for who in ("broker", "parsed"):
        counts = phases(result, "load")[who]["counts"]
        assert (counts["created"], counts["linked"]) == (200, 400)


def test_a_sweep_with_nothing_changed_finds_and_decides_nothing(result: dict[str, Any]) -> None:
    found = phases(result, "unchanged")
    assert [(found[who]["changed"], found[who]["counts"]) for who in ("broker", "parsed")] == [(0, {})] * 2


def test_broker_and_floor_find_the_rows_that_changed(result: dict[str, Any]) -> None:
    found = phases(result, "changed")
    assert {who: found[who]["changed"] for who in ("broker", "parsed", "floor")} == {
        "broker": 6,
        "parsed": 6,
        "floor": 6,
    }


def test_every_line_of_the_report_has_a_target_and_a_measure(result: dict[str, Any]) -> None:
    assert len(result["lines"]) == 9
    for line in result["lines"]:
        assert set(line) == {"work", "against", "target", "cpu", "reached", "wall", "reached_by_wall"}
        assert (type(line["cpu"]), type(line["reached"])) == (float, bool)


@pytest.mark.slow
def test_deciding_is_measured_beside_a_queue_that_does_nothing(postgres_server: postgres.Server) -> None:
    """Quick: it shows that everything runs, not how fast."""
    environment = {
        **os.environ,
        postgres.ENV_URL: postgres_server.url.render_as_string(hide_password=False),
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.deciding", "--records", "40", "--rounds", "1", "--json"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["rates"]) == {"one", "two", "singly", "drain", "noop"}
    assert all(one["wall"] > 0 and one["cpu"] > 0 for one in found["lines"])
