from __future__ import annotations

import re
import subprocess
import sys

import pytest

from syncbroker import __version__
from syncbroker.cli import status
from syncbroker.cli.main import run
from tests.cli.conftest import World


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"syncbroker {__version__}\n"


def test_without_a_command_there_is_help_and_nothing_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "explain" in captured.err


@pytest.mark.parametrize(
    "arguments",
    [
        [name, "--help"]
        for name in (
            "check",
            "sync",
            "sweep",
            "status",
            "explain",
            "decisions",
            "serve",
            "worker",
            "review",
            "db",
        )
    ],
)
def test_each_command_helps(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    assert arguments[0] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sync", "--frobnicate"], "No such option: --frobnicate"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["explain"], "Missing argument"),
        (["review", "show", "seven"], "Invalid value for 'number'"),
        (["db"], ""),
        (["decisions", "--limit", "0"], "Invalid value for '--limit'"),
    ],
)
def test_a_wrong_command_line_is_two_and_one_message(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_a_wrong_command_line_in_json_is_an_error_in_json(world: World) -> None:
    ran = world.run("sync", "--json", "nosuch")
    assert ran.code == 2
    assert ran.out == ""
    assert ran.error["kind"] == "Usage"
    assert ran.error["message"] == "there is no system 'nosuch'"


def test_an_error_is_one_message_with_a_hint(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCBROKER_DATABASE_URL", "mysql://nobody:secret@localhost/x")
    ran = world.run("status")
    assert (ran.code, ran.out) == (1, "")
    assert re.fullmatch(r"syncbroker: a store on mysql is not supported\n    hint: .*\n", ran.err)


def test_an_error_in_json_has_kind_message_and_hint(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCBROKER_PORT", "seventy")
    ran = world.run("status", "--json")
    assert ran.code == 1
    assert ran.error["kind"] == "BadSetting"
    assert "SYNCBROKER_PORT" in ran.error["message"]


@pytest.mark.parametrize(
    ("name", "value", "like"),
    [
        ("REDIS_URL", "s3cret@localhost:6379", "redis://HOST:6379/0"),
        ("PUBLIC_URL", "broker.example.com", "https://broker.example.com"),
        ("PUBLIC_URL", "https://broker.example.com/hooks", "https://broker.example.com"),
        ("LOG_LEVEL", "debug", "DEBUG or INFO"),
    ],
)
def test_a_setting_of_another_form_says_what_it_is_like_and_not_what_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, value: str, like: str
) -> None:
    monkeypatch.setenv(f"SYNCBROKER_{name}", value)
    ran = world.run("check", "--json") if name == "LOG_LEVEL" else world.run("status", "--json")
    assert ran.code == 1
    assert f"SYNCBROKER_{name}: it must be like {like}" in ran.error["message"]
    assert "s3cret" not in ran.out + ran.err
    assert "seventy" not in ran.err


def test_a_fault_of_ours_is_one_line_without_the_errors_text(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise KeyError("ann@x.example")

    monkeypatch.setattr(status, "opened", broken)
    ran = world.run("status")
    assert ran.code == 1
    assert ran.err.startswith("syncbroker: this is a fault of syncbroker: KeyError in test_main.py:")
    assert "ann@x.example" not in ran.err


def test_an_interruption_is_130_and_says_that_nothing_is_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(status, "opened", interrupted)
    ran = world.run("status")
    assert ran.code == 130
    assert "interrupted; what was done is kept" in ran.err


def test_a_reader_that_goes_away_is_no_traceback(synced: World) -> None:
    child = synced.start("decisions", "--json")
    assert child.stdout is not None
    child.stdout.close()
    assert child.stderr is not None
    err = child.stderr.read()
    child.stderr.close()
    assert child.wait() in (0, 1)
    assert "Traceback" not in err


def test_loading_the_program_loads_no_database_web_or_broker() -> None:
    heavy = (
        "sqlalchemy alembic uvicorn starlette dramatiq httpx structlog jsonschema phonenumbers rich".split()
    )
    code = f"import sys, syncbroker.cli.main; print([m for m in {heavy} if m in sys.modules])"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"
