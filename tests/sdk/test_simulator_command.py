"""`python -m syncbroker.sdk.simulator CONFIG.json`, as a user starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syncbroker.sdk.simulator import Control

REPOSITORY = Path(__file__).parents[2]
CREDENTIALS = {"token": "t-1234", "webhook_secret": "w-1234"}


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """An environment in which the toy vendor's simulator is an installed package."""
    info = tmp_path / "site" / "toy_vendor-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-vendor\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[syncbroker.simulators]\ntoy = tests.support.toy_vendor:ToySimulator\n"
    )
    path = os.pathsep.join([str(REPOSITORY), str(tmp_path / "site")])
    return {**os.environ, "PYTHONPATH": path}


def start(config: Any, tmp_path: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    file = tmp_path / "config.json"
    file.write_bytes(config if isinstance(config, bytes) else msgspec.json.encode(config))
    command = [sys.executable, "-m", "syncbroker.sdk.simulator", str(file)]
    return subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_several_simulators_serve_until_a_signal(
    tmp_path: Path, installed: dict[str, str], number: signal.Signals
) -> None:
    people = {"people": [{"name": "Ann", "email": "ann@toy.example"}]}
    (tmp_path / "people.json").write_bytes(msgspec.json.encode(people))
    config = {
        "simulators": [
            {"name": "one", "kind": "toy", "credentials": CREDENTIALS, "data": people},
            {"name": "two", "kind": "toy", "credentials": CREDENTIALS, "data_file": "people.json"},
        ]
    }
    with start(config, tmp_path, installed) as process:
        assert process.stdout is not None
        urls = msgspec.json.decode(process.stdout.readline(), type=dict[str, str])
        assert list(urls) == ["one", "two"]
        for url in urls.values():
            assert [record["fields"]["name"] for record in Control(url).records("people")] == ["Ann"]
        process.send_signal(number)
        assert process.wait() == 0


@pytest.mark.parametrize(
    ("config", "code", "said"),
    [
        (b"{", 2, "config.json"),
        ({"simulators": [{"name": "crm"}]}, 2, "kind"),
        ({"simulators": [{"name": "crm", "kind": "toy", "prot": 1}]}, 2, "prot"),
        ({"simulators": [{"name": "crm", "kind": "nosuch"}]}, 1, "crm: no simulator of kind 'nosuch'"),
        ({"simulators": [{"name": "crm", "kind": "toy", "data_file": "none.json"}]}, 1, "none.json"),
        (
            {"simulators": [{"name": "crm", "kind": "toy", "data": {"cats": [{}]}}]},
            1,
            "crm: cannot start (KeyError",
        ),
    ],
)
def test_a_configuration_that_cannot_be_used_is_one_line(
    tmp_path: Path, installed: dict[str, str], config: Any, code: int, said: str
) -> None:
    with start(config, tmp_path, installed) as process:
        _, err = process.communicate()
    assert process.returncode == code
    assert said in err.decode()
    assert "Traceback" not in err.decode()
