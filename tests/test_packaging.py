"""What is shipped fits together: entry points, lock files, the words in tracked files."""

from __future__ import annotations

import ast
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

import syncbroker

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
KINDS = {"hubspot", "mailchimp", "sendgrid", "stripe", "zendesk"}
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-build.lock")


def locked(name: str) -> dict[str, str]:
    """Package -> version, as the lock file pins them."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9.-]+)==([^ ]+)", text, flags=re.MULTILINE))


def named(requirement: str) -> str:
    """The normalised name of a requirement."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=~! ;]", requirement, maxsplit=1)[0]).lower()


def tracked() -> list[Path]:
    """The files that belong to the project; all of the folder where it is no checkout."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    paths = (ROOT / name for name in listing.stdout.decode().split("\0") if name)
    return [path for path in paths if path.is_file()]


def entry_points() -> Iterator[EntryPoint]:
    """Every entry point and script that pyproject.toml declares."""
    for group, points in PROJECT["project"]["entry-points"].items():
        yield from (EntryPoint(name, value, group) for name, value in points.items())
    yield from (
        EntryPoint(name, value, "console_scripts") for name, value in PROJECT["project"]["scripts"].items()
    )


@pytest.mark.parametrize(
    "point", [pytest.param(each, id=f"{each.group}:{each.name}") for each in entry_points()]
)
def test_an_entry_point_leads_to_something_callable(point: EntryPoint) -> None:
    assert callable(point.load())


@pytest.mark.parametrize("group", ["syncbroker.connectors", "syncbroker.simulators"])
def test_an_entry_point_is_named_by_the_kind_it_leads_to(group: str) -> None:
    points = PROJECT["project"]["entry-points"][group]
    assert set(points) == KINDS
    assert {EntryPoint(name, value, group).load().kind for name, value in points.items()} == KINDS


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("requirements.lock", PROJECT["project"]["dependencies"]),
        ("requirements-dev.lock", PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]),
        ("requirements-build.lock", PROJECT["build-system"]["requires"]),
    ],
)
def test_a_lock_file_holds_every_declared_dependency(lock: str, wanted: list[str]) -> None:
    assert {named(requirement) for requirement in wanted} <= {named(name) for name in locked(lock)}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_file_is_a_pin_with_hashes_or_a_hash(lock: str) -> None:
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    assert [
        line
        for line in lines
        if not re.match(r"[a-z0-9.-]+==\S+( ; .+)? \\$|    --hash=sha256:[0-9a-f]{64}( \\)?$", line)
    ] == []
    assert all(
        after.startswith("    --hash=")
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
        if line[0] != " "
    )


def test_what_is_tested_is_what_runs_and_what_builds() -> None:
    tested = locked("requirements-dev.lock")
    assert locked("requirements.lock").items() <= tested.items()
    building = locked("requirements-build.lock")
    assert {name: building[name] for name in building.keys() & tested.keys()}.items() <= tested.items()


def test_the_build_group_is_the_build_system() -> None:
    assert PROJECT["dependency-groups"]["build"] == PROJECT["build-system"]["requires"]


def test_the_package_and_the_project_have_one_version() -> None:
    assert syncbroker.__version__ == PROJECT["project"]["version"]


def test_every_dependency_is_bounded() -> None:
    wanted = PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]
    assert [each for each in wanted if not re.search(r">=.+,<|~=", each)] == []


def test_no_tracked_file_names_a_place_on_somebodys_machine() -> None:
    lies_in = [each for each in (str(ROOT.parent),) if each not in {"/", tempfile.gettempdir()}]
    places = re.compile(
        "|".join([*(rf"(?<![\w.]){re.escape(each)}/" for each in lies_in), r"/(home|Users)/\w+/", r"/root/"])
    )
    found = {}
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        if path != Path(__file__) and (match := places.search(text)):
            found[str(path.relative_to(ROOT))] = match.group()
    assert found == {}


def test_the_core_asks_no_clock_and_speaks_to_nobody() -> None:
    """What import rules cannot see: `datetime.now()` and parts of packages that are otherwise pure."""
    found = []
    for path in (ROOT / "syncbroker" / "core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in {
                "now",
                "today",
                "utcnow",
                "today_in_system_tz",
            }:
                found.append(f"{path.name}:{node.lineno} {node.attr}")
            if isinstance(node, ast.ImportFrom) and node.module in {"urllib.request", "uuid", "email.utils"}:
                found.append(f"{path.name}:{node.lineno} {node.module}")
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in {"open", "print", "input"}
            ):
                found.append(f"{path.name}:{node.lineno} {node.func.id}()")
    assert found == []
