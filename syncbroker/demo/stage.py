"""The demo's stage: five simulated vendors and the broker itself, each a process of its own, started as a user would.

A folder holds all of it: the mapping files, the store, the simulators' data, the logs, and `environment.sh` with what a
user has to export. Nothing here judges anything; the acts do (`story`).
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import urlsplit

import msgspec

from syncbroker.bootstrap import build
from syncbroker.decoding import decode
from syncbroker.demo import vendors
from syncbroker.demo.world import World
from syncbroker.engine import Engine, cycle
from syncbroker.engine.cycle import Summary
from syncbroker.errors import Unavailable
from syncbroker.sdk.simulator import Control, LogEntry
from syncbroker.settings import Settings
from syncbroker.store import schema
from syncbroker.store.database import open_store

PATIENCE = 60.0
"""Seconds that a process may take to say that it is there, on a machine that has other things to do."""


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


class Command:
    """A command of the broker's command line that is running."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def done(self) -> Done:
        out, err = self._process.communicate()
        return Done(self._process.returncode, out or "", err or "")


class Stage:
    """`systems`: the demo's hand on each simulator. `environment`: what the broker's processes are given.

    `shows`: somebody watches, so that long commands may write to this terminal themselves. `program`: how the broker's
    command line is called.
    """

    def __init__(self, folder: Path, world: World, *, shows: bool = False) -> None:
        self.shows = shows
        self.program = [sys.executable, "-m", "syncbroker.cli.main"]
        self.folder = folder
        self.world = world
        self.systems: dict[str, Control] = {}
        self.environment: dict[str, str] = {}
        self.url = ""
        self.log_ends: dict[str, int] = {}
        self._written: dict[str, int] = {}
        self._open = contextlib.ExitStack()
        self._serving: subprocess.Popen[str] | None = None
        self._engine: Engine | None = None

    # ---- raising and clearing ----

    def raise_(self) -> None:
        """Write the folder and start the simulators."""
        self.folder.mkdir(parents=True, exist_ok=True)
        vendors.write_mappings(self.folder / "mappings")
        config = str(vendors.write_config(self.folder, self.world))
        process = self._start("simulators", [sys.executable, "-m", "syncbroker.sdk.simulator", config])
        self._open.callback(_end, process)
        urls = decode(self._first_line("simulators", process), dict[str, str])
        self.systems = {name: Control(url) for name, url in urls.items()}
        self.environment = {
            "SYNCBROKER_DATABASE_URL": f"sqlite:///{self.folder / 'syncbroker.db'}",
            "SYNCBROKER_MAPPINGS": str(self.folder / "mappings"),
            **vendors.environment(urls),
        }
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in self.environment.items()]
        (self.folder / "environment.sh").write_text("".join(lines))

    def close(self) -> None:
        """End every process; what is in the folder stays."""
        if self._engine is not None:
            self._engine.close()
            self._engine.store.close()
            self._engine = None
        self.stop_serving()
        self._open.close()

    # ---- the broker ----

    def run(self, *arguments: str, shown: bool = False) -> Done:
        """One command of the broker's command line. `shown`: in this terminal, instead of being kept."""
        return self.begin(*arguments, shown=shown).done()

    def begin(self, *arguments: str, shown: bool = False) -> Command:
        """The same, without waiting for its end."""
        kept = None if shown else subprocess.PIPE
        process = subprocess.Popen(  # noqa: S603  # our own program
            [*self.program, *arguments],
            env=self.whole_environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=kept,
            stderr=kept,
            text=True,
        )
        self._open.callback(_stop, process)
        return Command(process)

    def make_store(self) -> None:
        """What `syncbroker db upgrade` does."""
        store = open_store(self.environment["SYNCBROKER_DATABASE_URL"])
        try:
            schema.upgrade(store)
        finally:
            store.close()

    def work(self) -> Summary:
        """A full sync and a full sweep, as the commands of these names make them, by this process."""
        engine = self._built()
        try:
            engine.store.claim_process()
            cycle.recover(engine)
            summary = cycle.sync(engine)
            swept = cycle.sweep(engine)
            summary.failed |= {**summary.delivered.failed, **swept.failed, **swept.delivered.failed}
        finally:
            engine.close()
            engine.store.close()
        return summary

    def serve(self) -> None:
        """Start `syncbroker serve`, wait until its first sync is over, and point the vendors' webhooks at it."""
        port = self.url.rpartition(":")[2] if self.url else "0"
        process = self._start("broker", [*self.program, "serve", "--port", port])
        self._serving = process
        line = self._first_line("broker", process)
        found = re.search(r"https?://[^\s;]+", line)
        if not found:
            raise Unavailable(f"serve said {line!r} instead of where it listens", hint=self._log("broker"))
        self.url = found.group()
        self._wait_until_synced(process)
        for name, vendor in vendors.VENDORS.items():
            if vendor.webhook:
                self.systems[name].webhook(vendor.webhook.format(url=self.url))

    @property
    def serving(self) -> subprocess.Popen[str] | None:
        return self._serving

    def stop_serving(self) -> None:
        """End `serve` as a user would; SIGKILL if it does not listen."""
        if self._serving is not None:
            _end(self._serving)
            self._serving = None

    def engine(self) -> Engine:
        """The store and the mapping as the broker's processes use them: to look at."""
        if self._engine is None:
            self._engine = self._built()
        return self._engine

    def _built(self) -> Engine:
        settings = Settings(  # type: ignore[call-arg]  # the rest is as usual
            mappings=Path(self.environment["SYNCBROKER_MAPPINGS"]),
            database_url=self.environment["SYNCBROKER_DATABASE_URL"],
        )
        return build(settings, environment=self.environment)

    def look_at_logs(self) -> dict[str, int]:
        """How many writes each system has been sent so far. `log_ends`: how long each request log was."""
        for name, control in self.systems.items():
            entries = control.log(self.log_ends.get(name, 0))
            self.log_ends[name] = self.log_ends.get(name, 0) + len(entries)
            self._written[name] = self._written.get(name, 0) + sum(entry.write for entry in entries)
        return dict(self._written)

    def logs(self) -> dict[str, list[LogEntry]]:
        """Every request that the systems were sent."""
        return {name: control.log() for name, control in self.systems.items()}

    def whole_environment(self) -> dict[str, str]:
        """The environment of this process without settings of the person's own broker, and with the stage's."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("SYNCBROKER_")}
        return {**own, **self.environment}

    # ---- inside ----

    def _start(self, name: str, command: Sequence[str]) -> subprocess.Popen[str]:
        """Its standard error goes to a file of the folder."""
        with (self.folder / f"{name}.log").open("a") as log:
            return subprocess.Popen(  # noqa: S603  # our own programs
                command,
                env=self.whole_environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def _first_line(self, name: str, process: subprocess.Popen[str]) -> str:
        """What a process says once it is ready. It says nothing more, so nobody has to read on."""
        watch = threading.Timer(PATIENCE, process.kill)
        watch.start()
        try:
            line = _out(process).readline()
        finally:
            watch.cancel()
        if not line:
            process.wait()
            raise Unavailable(
                f"the {name} did not start (exit code {process.returncode})", hint=self._log(name)
            )
        return line.strip()

    def _wait_until_synced(self, process: subprocess.Popen[str]) -> None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and process.poll() is None:
            if _synced(self.url):
                return
            time.sleep(0.05)
        raise Unavailable("serve started, but its first sync did not end", hint=self._log("broker"))

    def _log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        last = path.read_text(errors="replace").strip().splitlines()[-3:]
        return f"{path} ends with: {' | '.join(last)}" if last else f"{path} is empty"


@contextlib.contextmanager
def raised(folder: Path, world: World, *, shows: bool = False) -> Iterator[Stage]:
    """A stage while the body runs."""
    stage = Stage(folder, world, shows=shows)
    try:
        stage.raise_()
        yield stage
    finally:
        stage.close()


def _end(process: subprocess.Popen[str]) -> None:
    _stop(process)
    _out(process).close()


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _out(process: subprocess.Popen[str]) -> IO[str]:
    if process.stdout is None:  # it was started with a pipe
        raise AssertionError
    return process.stdout


def _synced(url: str) -> bool:
    """What `readyz` says; False while nobody answers."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return bool(decode(connection.getresponse().read()).get("synced"))
    except (OSError, http.client.HTTPException, msgspec.DecodeError):
        return False
    finally:
        connection.close()
