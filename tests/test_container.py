"""The image and the compose file name what exists, and the image's own steps lead to a broker that answers.

No container engine is needed: the steps of the Dockerfile are run one by one in an empty folder that stands for the
image's file system. Not run: steps that make a user, which only matter inside an image.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from syncbroker.cli.main import app
from syncbroker.demo.vendors import VENDORS, environment
from syncbroker.settings import Settings
from tests.support.asking import ask

ROOT = Path(__file__).parents[1]
PINNED = re.compile(r"[\w./-]+:\d+\.\d+(\.\d+)?(-\w+)*$")
BROKER = ("migrate", "web", "worker", "scheduler")
OF_THE_IMAGE = ("useradd", "install")
"""Programs of steps that give the image a user and that user a folder."""


@dataclass
class Stage:
    """One stage of the Dockerfile: (instruction, argument) in order."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def of(self, instruction: str) -> list[str]:
        return [argument for name, argument in self.steps if name == instruction]


def stages() -> list[Stage]:
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    found: list[Stage] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        instruction, _, argument = line.partition(" ")
        if instruction == "FROM":
            base, _, name = argument.partition(" AS ")
            found.append(Stage(base, name))
        else:
            found[-1].steps.append((instruction, argument.strip()))
    return found


def image_environment() -> dict[str, str]:
    return dict(word.split("=", 1) for line in stages()[-1].of("ENV") for word in shlex.split(line))


def compose() -> Any:
    return YAML(typ="safe").load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


def problem(words: list[str]) -> str:
    """What is wrong with a command line of ours, "" when nothing is."""
    command: Any = get_command(app)
    rest = list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    if getattr(command, "commands", None):
        return f"no such command: {' '.join(words)}"
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    unknown = [word for word in rest if word not in known]
    return f"not understood: {' '.join(unknown)}" if unknown else ""


SETTINGS = {f"SYNCBROKER_{name.upper()}" for name in Settings.model_fields}


# ------------------------------------------------------------------------------------------- the Dockerfile


def test_base_images_are_pinned_and_the_same() -> None:
    bases = {stage.base for stage in stages()}
    assert len(bases) == 1
    assert all(PINNED.match(base) for base in bases)


def test_every_step_says_what_it_runs_without_a_shell() -> None:
    steps = [
        one for stage in stages() for one in (*stage.of("RUN"), *stage.of("CMD"), *stage.of("ENTRYPOINT"))
    ]
    assert [one for one in steps if not isinstance(json.loads(one), list)] == []


def test_it_does_not_run_as_root_and_ends_on_sigterm() -> None:
    last = stages()[-1]
    assert last.of("USER") == ["10001:10001"]
    assert last.of("STOPSIGNAL") == ["SIGTERM"]
    assert last.of("VOLUME") == ['["/var/lib/syncbroker"]']
    instructions = [name for name, _ in last.steps]
    assert instructions.index("USER") > max(n for n, name in enumerate(instructions) if name == "RUN")


def test_every_install_of_the_image_is_by_hash_or_of_the_wheel_alone() -> None:
    installs = [
        json.loads(one) for stage in stages() for one in stage.of("RUN") if '"install", "--no-cache' in one
    ]
    assert len(installs) == 3
    assert all("--require-hashes" in one or {"--no-deps", "--no-index"} <= set(one) for one in installs)


def test_what_the_image_sets_are_settings_and_the_port_is_the_one_that_is_exposed() -> None:
    given = {name: value for name, value in image_environment().items() if name.startswith("SYNCBROKER_")}
    assert set(given) <= SETTINGS
    assert stages()[-1].of("EXPOSE") == [given["SYNCBROKER_PORT"]]


def test_what_is_started_exists() -> None:
    last = stages()[-1]
    assert json.loads(last.of("ENTRYPOINT")[0]) == ["syncbroker"]
    assert problem(json.loads(last.of("CMD")[0])) == ""


def test_what_is_copied_exists_and_is_not_ignored_and_nothing_else_is_sent() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        word
        for stage in stages()
        for line in stage.of("COPY")
        if not line.startswith("--from")
        for word in line.split()[:-1]
    }
    assert lines[1] == "*"
    assert copied == let_in
    assert [one for one in copied if not (ROOT / one).exists()] == []
    assert [one for one in copied if any(fnmatch(one, line) for line in lines[2:] if line[0] != "!")] == []


# ------------------------------------------------------------------------------------------- compose.yaml


@pytest.mark.parametrize("name", BROKER)
def test_a_service_of_the_broker_runs_a_command_that_exists(name: str) -> None:
    assert problem(compose()["services"][name]["command"]) == ""


def test_images_of_servers_are_pinned() -> None:
    services = compose()["services"]
    named = [services[name]["image"] for name in services if name not in BROKER]
    assert [image for image in named if not PINNED.match(image)] == []


@pytest.mark.parametrize("name", BROKER)
def test_every_variable_of_a_service_is_a_setting_or_names_a_secret_that_it_has(name: str) -> None:
    service, known = compose()["services"][name], compose()["secrets"]
    for variable, value in service["environment"].items():
        if variable.startswith("SYNCBROKER_"):
            assert variable in SETTINGS
        if variable.endswith("_FILE"):
            secret = value.removeprefix("/run/secrets/")
            assert secret in service["secrets"]
            assert known[secret] == {"file": f"./secrets/{secret}"}


def test_every_secret_of_the_example_mappings_is_given_as_a_file() -> None:
    given = compose()["services"]["worker"]["environment"]
    text = (ROOT / "mappings" / "systems.yaml").read_text(encoding="utf-8")
    wanted = {name for name in re.findall(r"\$\{(\w+)\}", text) if re.search("TOKEN|SECRET|KEY", name)}
    assert wanted
    assert {f"{name}_FILE" for name in wanted} <= set(given)


def test_ports_agree_with_the_image() -> None:
    port = image_environment()["SYNCBROKER_PORT"]
    assert compose()["services"]["web"]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_whatever_runs_is_started_again_and_whoever_can_be_asked_is() -> None:
    services = compose()["services"]
    assert {name: one["restart"] for name, one in services.items() if one["restart"] != "unless-stopped"} == {
        "migrate": "no"
    }
    asked = {name for name, one in services.items() if not one.get("healthcheck", {}).get("disable")}
    assert asked == {"postgres", "redis", "web"}


def test_tables_are_made_before_anything_of_the_broker_starts() -> None:
    services = compose()["services"]
    for name in ("web", "worker", "scheduler"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["worker"]["deploy"]["replicas"] == 2


# ------------------------------------------------------------------------------------------- the steps, run


@dataclass
class Image:
    """A folder that stands for an image's file system, and what a container of it would be given."""

    root: Path
    environment: dict[str, str]
    folder: Path

    def inside(self, word: str) -> str:
        """A word of a step, its absolute paths those of the folder."""
        places = r"(sqlite:///|(?<![\w.:/]))/(build|opt|var|etc)(?=/|$)"
        return re.sub(places, rf"\g<1>{self.root}/\2", word)

    def run(self, words: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        told = [self.inside(word) for word in words]
        if told[0] == "python" and not self.environment.get("SYNCBROKER_PORT"):
            told[0] = sys.executable  # the base image's
        env = {**self.environment, **more}
        return subprocess.run(told, cwd=self.folder, env=env, capture_output=True, text=True, check=False)


def bare_environment(home: Path) -> dict[str, str]:
    """What an image's build has: no home with settings of its own, but the way to the package index."""
    kept = ("PIP_", "SSL_", "REQUESTS_", "http", "HTTP", "no_proxy", "NO_PROXY", "LANG", "LC_")
    given = {name: value for name, value in os.environ.items() if name.startswith(kept)}
    return {**given, "HOME": str(home), "PATH": os.defpath, "PIP_NO_COMPILE": "1"}


def built(root: Path) -> Image:
    """Both stages, step by step."""
    home = root / "home"
    home.mkdir(parents=True)
    image = Image(root, bare_environment(home), root)
    for stage in stages():
        for instruction, argument in stage.steps:
            if instruction == "WORKDIR":
                image.folder = Path(image.inside(argument))
                image.folder.mkdir(parents=True, exist_ok=True)
            elif instruction == "COPY":
                _copy(image, argument)
            elif instruction == "RUN" and (words := json.loads(argument))[0] not in OF_THE_IMAGE:
                done = image.run(words)
                assert done.returncode == 0, done.stderr[-2000:]
    image.environment |= {name: image.inside(value) for name, value in image_environment().items()}
    image.environment["PATH"] = ":".join(image.inside(one) for one in image_environment()["PATH"].split(":"))
    return image


def _copy(image: Image, argument: str) -> None:
    words = argument.split()
    elsewhere = words[0].startswith("--from")
    *sources, target = words[1:] if elsewhere else words
    for source in sources:
        found = Path(image.inside(source)) if elsewhere else ROOT / source
        into = image.folder / target
        if found.is_dir():
            shutil.copytree(found, into, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            shutil.copy(found, into)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return built(tmp_path_factory.mktemp("image"))


def given_by_hand(image: Image) -> dict[str, str]:
    """What whoever starts a container adds: the mapping files, and what they ask for; nobody is at these addresses."""
    mappings = Path(image.inside("/etc/syncbroker/mappings"))
    if not mappings.exists():
        shutil.copytree(ROOT / "mappings", mappings)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {**environment(dict.fromkeys(VENDORS, "http://127.0.0.1:9")), "SYNCBROKER_PORT": str(port)}


@pytest.fixture
def container(image: Image) -> Iterator[tuple[subprocess.Popen[str], Mapping[str, str]]]:
    """The image's own command, running, after the tables were made; and its environment."""
    given = given_by_hand(image)
    entry = json.loads(stages()[-1].of("ENTRYPOINT")[0])
    program = [str(Path(image.inside("/opt/syncbroker/venv/bin")) / entry[0])]
    made = image.run([*program, "db", "upgrade"], **given)
    assert made.returncode == 0, made.stderr
    words = [*program, *json.loads(stages()[-1].of("CMD")[0])]
    process = subprocess.Popen(
        words, cwd=image.folder, env={**image.environment, **given}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()  # where it listens
    try:
        yield process, {**image.environment, **given}
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.slow
def test_the_steps_of_the_dockerfile_lead_to_a_broker_that_answers_and_ends_in_order(
    image: Image, container: tuple[subprocess.Popen[str], Mapping[str, str]]
) -> None:
    process, given = container
    url = f"http://127.0.0.1:{given['SYNCBROKER_PORT']}"
    until = time.monotonic() + 60
    while time.monotonic() < until and not _answers(url):
        time.sleep(0.1)
    assert ask("GET", url, "/healthz").status == 200
    line = stages()[-1].of("HEALTHCHECK")[0]
    words = json.loads(line.partition("CMD ")[2])
    assert image.run(words, **given).returncode == 0
    process.send_signal(getattr(signal, stages()[-1].of("STOPSIGNAL")[0]))
    assert process.wait(60) == 0
    assert image.run(words, **given).returncode != 0


def _answers(url: str) -> bool:
    try:
        return ask("GET", url, "/healthz").status == 200
    except OSError:
        return False
