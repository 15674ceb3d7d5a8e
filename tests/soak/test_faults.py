"""One fault at a time, on real processes: whatever breaks, what people typed is everywhere in the end, once."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.soak.play import Load, edit, learn, still_right
from tests.soak.proxy import Proxy
from tests.soak.stage import Stage
from tests.soak.world import AUTHORITY, OBJECTS, World
from tests.support.asking import ask

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HOUR = 3_600_000_000_000


def until(condition: Callable[[], object], patience: float = 120.0) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "not within its time"
        time.sleep(0.05)


def until_more(stage: Stage, writes: int) -> None:
    """So many writes more than now."""
    before = len(stage.writes())
    until(lambda: len(stage.writes()) >= before + writes)


def until_cut(proxy: Proxy, many: int) -> None:
    until(lambda: proxy.cuts >= many)


def until_again(stage: Stage, name: str) -> None:
    """It has ended once, and there is another one."""
    until(lambda: stage.ended[name] > 0 and stage.services[name].alive())


def settle(stage: Stage, patience: float = 150.0) -> None:
    """All is right, and stays so."""
    assert stage.until_right(patience) == []
    assert still_right(stage, 2.0) == []
    assert stage.world.doubled(stage.writes()) == []


def ready(stage: Stage) -> None:
    """Everybody is everywhere after the first sync."""
    stage.start()
    assert stage.until_right(240.0) == []
    learn(stage)


def everybody_edits(stage: Stage, many: int) -> None:
    """So many people change each field where it is decided."""
    for address in list(stage.world.people)[:many]:
        for name, system in AUTHORITY.items():
            edit(stage, system, address, name, stage.world.value(name))


@contextmanager
def busy(stage: Stage, rate: float = 8.0) -> Iterator[None]:
    """People edit meanwhile. Nobody new comes: a create without an answer may be looked for for minutes."""
    load = Load(stage, rate, newcomers=0.0)
    load.start()
    yield
    load.stop()


# ------------------------------------------------------------------------------------------ PostgreSQL


def test_a_restart_of_postgresql_loses_nothing_and_ends_no_process(tmp_path: Path) -> None:
    with Stage(tmp_path, World(11), mode="scaled", people=12) as stage:
        ready(stage)
        assert stage.postgres is not None
        with busy(stage):
            for _ in range(3):
                until_more(stage, 5)
                stage.postgres.kill()
                time.sleep(0.5)
                stage.postgres.start()
        settle(stage)
        assert {name for name, many in stage.ended.items() if many} == set()


def test_a_connection_cut_between_commit_and_answer_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with Stage(tmp_path, World(12), mode="scaled", people=12, through_proxy=True) as stage:
        ready(stage)
        assert stage.proxy is not None
        with busy(stage):
            for many in range(1, 13):
                stage.proxy.arm(b"COMMIT", 1)
                until_cut(stage.proxy, many)
        settle(stage)


# ------------------------------------------------------------------------------------------ the vendors


@pytest.mark.parametrize("system", OBJECTS)
def test_a_vendor_that_is_down_delays_no_other_and_gets_all_of_it_afterwards(
    tmp_path: Path, system: str
) -> None:
    with Stage(tmp_path, World(13), people=12) as stage:
        ready(stage)
        stage.systems[system].fault("status", status=503, times=0)
        down = time.time_ns() // 1000
        everybody_edits(stage, 12)
        others = [one for one in OBJECTS if one != system]
        until(lambda: spread_among(stage, others))
        stage.systems[system].clear_faults()
        assert not [
            one for one in stage.writes() if one.system == system and one.status < 300 and one.at > down
        ]
        settle(stage)


def spread_among(stage: Stage, systems: list[str]) -> bool:
    """Whether these agree on what each of them decides."""
    found = stage.world.wrong({name: stage.records()[name] for name in systems})
    decided = tuple(f" {name} is " for name, owner in AUTHORITY.items() if owner in systems)
    return not [one for one in found if any(word in one for word in decided)]


# ------------------------------------------------------------------------------------------ the clock


@contextmanager
def clocked(folder: Path) -> Iterator[tuple[Stage, Callable[[int], None]]]:
    """A broker at work, and how to step its clock: by how many nanoseconds it is wrong from now on."""
    clock = folder / "clock"
    clock.write_bytes(struct.pack("<q", 0))

    def step(wrong: int) -> None:
        with clock.open("r+b") as file:  # in place: the broker has it mapped
            file.write(struct.pack("<q", wrong))

    with Stage(folder, World(14), people=12, settings={"SOAK_CLOCK": str(clock)}) as stage:
        path = f"{Path(__file__).parent / 'clock'}{os.pathsep}{stage.environment['PYTHONPATH']}"
        stage.services["serve"].env["PYTHONPATH"] = path
        ready(stage)
        everybody_edits(stage, 6)
        assert stage.until_right(60.0) == []
        yield stage, step
        assert stage.ended["serve"] == 0


@pytest.mark.parametrize("wrong", [HOUR, -HOUR // 180], ids=["an hour forward", "20 s back"])
def test_a_clock_that_is_stepped_loses_nothing(tmp_path: Path, wrong: int) -> None:
    with clocked(tmp_path) as (stage, step):
        step(wrong)
        everybody_edits(stage, 12)
        settle(stage)


def test_what_was_typed_while_the_clock_was_an_hour_behind_is_there_once_it_is_right(tmp_path: Path) -> None:
    """Until then what is read seems older than what was read before: it waits, and is not lost."""
    with clocked(tmp_path) as (stage, step):
        step(-HOUR)
        everybody_edits(stage, 12)
        looks = len(stage.systems["crm"].log())
        until(lambda: len(stage.systems["crm"].log()) > looks + 3, 120.0)
        step(0)
        settle(stage)


# ------------------------------------------------------------------------------------------ restarts


def test_a_rolling_restart_during_a_backfill_creates_everybody_once(tmp_path: Path) -> None:
    with Stage(tmp_path, World(15), mode="scaled", people=300) as stage:
        stage.start()
        names = [name for name in stage.services if name != "redis"]
        until_more(stage, 1)
        for name in names:
            stage.services[name].signal(signal.SIGTERM)
            until_again(stage, name)
        settle(stage)
        assert {name for name in names if stage.ended[name] != 1} == set()


# ------------------------------------------------------------------------------------------ the disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of eight megabytes; where none may be mounted, the test is not possible."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_a_503_and_when_there_is_room_again_it_goes_on(
    tmp_path: Path, small_disk: Path
) -> None:
    settings = {"SYNCBROKER_DATABASE_URL": f"sqlite:///{small_disk / 'syncbroker.db'}"}
    with Stage(tmp_path, World(16), people=12, settings=settings) as stage:
        ready(stage)
        ballast = small_disk / "ballast"
        fill(ballast)
        everybody_edits(stage, 12)
        until(lambda: 503 in answers(stage))
        assert ask("GET", stage.url, "/healthz").status == 200
        ballast.unlink()
        settle(stage)


def fill(path: Path) -> None:
    """Take all the room there is."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                continue
        except OSError:
            return


def answers(stage: Stage) -> set[int]:
    """What the vendors' webhooks were answered."""
    return {one.status for system in stage.systems.values() for one in system.sent()}
