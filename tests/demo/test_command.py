"""`syncbroker demo`: what it refuses, and what becomes of its folder and its exit code."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syncbroker.cli.main import run
from syncbroker.demo import show


@pytest.fixture(autouse=True)
def _same_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], list[Path]]]:
    """Replaces the story by its outcome; the folders in which it was played."""
    folders: list[Path] = []

    def with_outcome(went_well: bool) -> list[Path]:

        def story(place: Path, *_given: Any, **_more: Any) -> bool:
            place.mkdir(exist_ok=True)
            (place / "broker.log").write_text("")
            folders.append(place)
            return went_well

        monkeypatch.setattr(show, "show", story)
        return folders

    yield with_outcome
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_folder_that_holds_something_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert run(["demo", "--folder", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_a_world_too_small_for_its_oddities_is_a_wrong_command_line() -> None:
    assert run(["demo", "--size", "10"]) == 2


@pytest.mark.parametrize(("went_well", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_says_whether_every_act_went_as_expected(
    played: Callable[[bool], list[Path]], went_well: bool, code: int
) -> None:
    played(went_well)
    assert run(["demo"]) == code


@pytest.mark.parametrize("went_well", [True, False])
def test_a_temporary_folder_stays_only_where_there_is_something_to_look_into(
    played: Callable[[bool], list[Path]], went_well: bool
) -> None:
    folders = played(went_well)
    run(["demo"])
    assert folders[0].exists() is not went_well


def test_a_folder_of_the_users_own_stays(played: Callable[[bool], list[Path]], tmp_path: Path) -> None:
    folders = played(True)
    run(["demo", "--folder", str(tmp_path / "mine")])
    assert (folders[0] / "broker.log").exists()
