"""The soak's stage: vendors that never die, and a broker whose processes do, kept alive as a service manager would.

Whatever ends is started again, whoever ended it. What a process writes is in `NAME.log` of the folder.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import msgspec

from syncbroker.decoding import decode
from syncbroker.demo.vendors import VENDORS
from syncbroker.sdk.simulator import Control
from tests.soak import servers
from tests.soak.proxy import Proxy
from tests.soak.world import FREE, OBJECTS, World, Wrote, environment, write_mappings

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
PROGRAM = [sys.executable, "-m", "syncbroker.cli.main"]

NOT_OURS = ("SYNCBROKER_", "PYTHONDONTWRITEBYTECODE")
PYCACHE = Path(tempfile.gettempdir()) / f"sb-soak-pycache-{os.getuid()}"
"""Processes that start again and again must not compile everything anew each time."""

Mode = Literal["embedded", "scaled"]
"""`embedded`: one `serve` on SQLite. `scaled`: web, workers and schedulers on PostgreSQL and Redis."""


def busy(pid: int) -> float:
    """Seconds of processor time of a process since its start, 0 for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Service:
    """One process that is to be there."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        self.name, self.command, self.env, self.folder = name, list(command), dict(env), folder
        self.process: subprocess.Popen[bytes] | None = None
        self.since = 0.0

    def start(self) -> None:
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=self.env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.since = time.monotonic()

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None else 0

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def end(self) -> int | None:
        """SIGTERM, and SIGKILL for whoever does not listen; the exit code."""
        if self.process is None:
            return None
        self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def busy(self) -> float:
        """Seconds of processor time since its start, 0 for one that is gone."""
        return busy(self.pid)

    def resident(self) -> int:
        """Bytes of resident memory, 0 for one that is gone."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Stage:
    """`world` is loaded into the vendors. `settings` are added to the environment of the broker's processes."""

    folder: Path
    world: World
    mode: Mode = "embedded"
    people: int = 40
    workers: int = 2
    schedulers: int = 1
    rates: Mapping[str, str] = field(default_factory=lambda: FREE)
    reading: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    through_proxy: bool = False
    systems: dict[str, Control] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    ended: Counter[str] = field(default_factory=Counter)
    """How often each service was found to have ended, whoever ended it."""
    vendors: int = 0
    """The process of the simulated vendors."""
    postgres: servers.Postgres | None = None
    proxy: Proxy | None = None

    def __enter__(self) -> Self:
        self._open = contextlib.ExitStack()
        self._keeping = threading.Event()
        self._away: set[str] = set()
        try:
            self._raise()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    # ---- raising ----

    def _raise(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_mappings(self.folder / "mappings", self.rates, self.reading)
        urls = self._start_vendors()
        self.systems = {name: Control(url) for name, url in urls.items()}
        self.port = servers.free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(NOT_OURS)},
            "PYTHONPATH": str(ROOT),
            "PYTHONPYCACHEPREFIX": str(PYCACHE),
            "SYNCBROKER_MAPPINGS": str(self.folder / "mappings"),
            "SYNCBROKER_DATABASE_URL": self._store(),
            "SYNCBROKER_PORT": str(self.port),
            **environment(urls),
            **self.settings,
        }
        self.services = {one.name: one for one in self._planned()}
        made = self.run("db", "upgrade")
        assert made.returncode == 0, made.stderr
        for name in OBJECTS:
            self.systems[name].webhook(VENDORS[name].webhook.format(url=self.url))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _start_vendors(self) -> dict[str, str]:
        data = self.world.populate(self.people)
        simulators = []
        for name in OBJECTS:
            vendor = VENDORS[name]
            path = self.folder / f"{name}.json"
            path.write_bytes(msgspec.json.encode(data[name]))
            own = {ours: vendor.environment[given] for ours, given in vendor.credentials.items()}
            known = {"search_lag": 0.2} if name == "crm" else {}
            simulators.append(
                {
                    "name": name,
                    "kind": vendor.kind,
                    "credentials": own,
                    "options": known,
                    "data_file": str(path),
                }
            )
        (self.folder / "simulators.json").write_bytes(msgspec.json.encode({"simulators": simulators}))
        with (self.folder / "vendors.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.soak.vendors", str(self.folder)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._open.callback(process.wait)
        self._open.callback(process.terminate)
        self.vendors = process.pid
        assert process.stdout is not None
        with process.stdout:
            return decode(process.stdout.readline(), dict[str, str])

    def _store(self) -> str:
        if self.mode == "embedded":
            return f"sqlite:///{self.folder / 'syncbroker.db'}"
        self.postgres = servers.Postgres()
        self._open.callback(self.postgres.close)
        if not self.through_proxy:
            return self.postgres.url()
        self.proxy = Proxy(self.postgres.socket)
        self._open.callback(self.proxy.close)
        return self.postgres.url("127.0.0.1", self.proxy.port)

    def _planned(self) -> list[Service]:
        def ours(name: str, *words: str) -> Service:
            return Service(name, [*PROGRAM, *words], self.environment, self.folder)

        if self.mode == "embedded":
            return [ours("serve", "serve")]
        redis = servers.free_port()
        self.environment["SYNCBROKER_REDIS_URL"] = f"redis://127.0.0.1:{redis}/0"
        return [
            Service("redis", servers.redis_command(redis, self.folder), os.environ, self.folder),
            ours("web", "serve", "--no-worker"),
            *(ours(f"worker-{n}", "worker") for n in range(1, self.workers + 1)),
            *(ours(f"scheduler-{n}", "scheduler") for n in range(1, self.schedulers + 1)),
        ]

    # ---- the broker's processes ----

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command of the broker's command line."""
        return subprocess.run(
            [*PROGRAM, *words],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self) -> None:
        """All services, and somebody who starts again whatever ends."""
        for one in self.services.values():
            one.start()
        keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        keeper.start()
        self._open.callback(self._end, keeper)

    def away(self, name: str, away: bool = True) -> None:
        """A service that is away is not started again."""
        (self._away.add if away else self._away.discard)(name)

    def _keep(self) -> None:
        while not self._keeping.wait(0.1):
            for name, one in self.services.items():
                if name not in self._away and not one.alive():
                    self.ended[name] += 1
                    one.start()

    def _end(self, keeper: threading.Thread) -> None:
        self._keeping.set()
        keeper.join()
        for one in self.services.values():
            if one.process is not None:
                one.signal(signal.SIGTERM)
        for one in self.services.values():
            one.end()

    # ---- what is there ----

    def records(self) -> dict[str, list[Any]]:
        return {name: self.systems[name].records(object_) for name, object_ in OBJECTS.items()}

    def writes(self) -> list[Wrote]:
        """Every write that the vendors got so far, in the order of time."""
        found = []
        for name in OBJECTS:
            lines = (self.folder / f"{name}.writes.jsonl").read_bytes().splitlines()
            found += [decode(line, Wrote) for line in lines]
        return sorted(found, key=lambda one: one.at)

    def until_right(self, patience: float) -> list[str]:
        """Wait until nothing is wrong in any system; what still is after so many seconds. Looking takes the vendors
        a while in which they answer nobody else, so it pauses for longer than it looks."""
        end = time.monotonic() + patience
        while True:
            began = time.monotonic()
            wrong = self.world.wrong(self.records())
            ended = time.monotonic()
            if not wrong or ended > end:
                return wrong
            time.sleep(max(0.25, 4 * (ended - began)))
