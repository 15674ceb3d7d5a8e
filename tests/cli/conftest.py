"""Three toy systems on loopback, a mapping folder, a store: what a command finds when it is started."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog

from syncbroker.cli.main import run
from syncbroker.sdk import registry
from syncbroker.sdk.simulator import Server, serve
from tests.support import log
from tests.support.rig import entity_text, open_ready, system_text
from tests.support.toy_vendor import CREDENTIALS, ToySimulator

ROOT = Path(__file__).parents[2]

FIELDS = """  email:
    type: email
    required: true
    authority: [marketing, crm]
    policy: enforce
    systems: {crm: email, marketing: email, billing: {field: email, direction: push}}
  name: {type: person_name, policy: prefer, systems: {crm: name, marketing: name}}
  phone: {type: phone, policy: review, first_meeting: review, systems: {crm: phone, marketing: phone}}
  vip:
    type: boolean
    authority: crm
    policy: enforce
    on_foreign_edit: propose
    systems: {crm: vip, marketing: vip}"""

PEOPLE: dict[str, list[dict[str, Any]]] = {
    "crm": [
        {"email": "ann@x.example", "name": "Ann Lee", "phone": "+15551234567", "vip": False},
        {"email": "bob@x.example", "name": "Bob Ray", "phone": "+15551234568", "vip": False},
    ],
    "marketing": [{"email": "Ann@x.example", "name": "ann lee", "phone": "+15559999999", "vip": False}],
    "billing": [{"email": "bob@x.example"}],
}


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        return json.loads(self.err)["error"]


@dataclass
class World:
    folder: Path
    systems: dict[str, ToySimulator]
    servers: dict[str, Server]
    read: Callable[[], tuple[str, str]]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def mappings(self) -> Path:
        return self.folder / "mappings"

    @property
    def url(self) -> str:
        return self.environment["SYNCBROKER_DATABASE_URL"]

    def run(self, *arguments: str) -> Ran:
        """A command in this process, through the same door as the program."""
        self.read()
        code = run(list(arguments))
        out, err = self.read()
        return Ran(code, out, err)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """The program as a user starts it."""
        return subprocess.Popen(
            [sys.executable, "-m", "syncbroker.cli.main", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**os.environ, **self.environment, **options},
            # whoever started the tests may have had Ctrl-C ignored, and children inherit that
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509  # nothing is locked there
        )

    def finish(self, *arguments: str, **options: Any) -> Ran:
        child = self.start(*arguments, **options)
        out, err = child.communicate()
        return Ran(child.returncode, out, err)

    def id(self, email: str) -> str:
        return str(self.run("explain", f"person:{email}", "--json").json["record"])

    def held(self, system: str, path: str = "email") -> list[Any]:
        return [record["fields"].get(path) for record in self.systems[system].records("people")]


@pytest.fixture
def toy_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy connector is installed, and no other."""
    entry = EntryPoint("toy", "tests.support.toy_vendor:ToyConnector", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry] if group == registry.GROUP else [])


def installed(folder: Path) -> str:
    """A PYTHONPATH under which the toy connector is installed as a package would install it."""
    info = folder / "site" / "toy-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        f"[{registry.GROUP}]\ntoy = tests.support.toy_vendor:ToyConnector\n"
    )
    return os.pathsep.join([str(folder / "site"), str(ROOT)])


@pytest.fixture
def world(
    tmp_path: Path,
    sqlite_url: str,
    toy_registry: None,  # it only has to be there
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[World]:
    """Nothing is synced yet."""
    with ExitStack() as stack:
        systems = {name: ToySimulator(credentials=CREDENTIALS) for name in PEOPLE}
        for name, people in PEOPLE.items():
            systems[name].load({"people": [dict(one) for one in people]})
        servers = {name: stack.enter_context(serve(one)) for name, one in systems.items()}
        mappings = tmp_path / "mappings"
        mappings.mkdir()
        (mappings / "systems.yaml").write_text(system_text({name: one.url for name, one in servers.items()}))
        (mappings / "person.yaml").write_text(entity_text(FIELDS, PEOPLE, create="always"))
        open_ready(sqlite_url).close()
        environment = {
            "SYNCBROKER_DATABASE_URL": sqlite_url,
            "SYNCBROKER_MAPPINGS": str(mappings),
            "SYNCBROKER_PORT": "0",
            "SYNCBROKER_TICK": "0.1",
            "TZ": "UTC",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

        def read() -> tuple[str, str]:
            captured = capsys.readouterr()
            return captured.out, captured.err

        # what a thread of an earlier test may still say is no output of these commands
        structlog.configure(logger_factory=structlog.WriteLoggerFactory(StringIO()))
        root = logging.getLogger()
        handlers, level = root.handlers, root.level
        yield World(tmp_path, systems, servers, read, {**environment, "PYTHONPATH": installed(tmp_path)})
        log.plain()  # `serve` sets the log up for a whole process
        root.handlers = handlers
        root.setLevel(level)


@pytest.fixture
def synced(world: World) -> World:
    """After a first sync: two people; Ann's phones are a conflict that waits for a person."""
    assert world.run("sync").code == 0
    return world


def lines(text: str, *wanted: str) -> Sequence[str]:
    """The lines that hold every wanted word."""
    return [line for line in text.splitlines() if all(word in line for word in wanted)]
