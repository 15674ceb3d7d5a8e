"""The demo's stage: five simulated vendors and the broker itself, each a process of its own, started as a user would.

A folder holds all of it: the mapping files, the store, the simulators' data, the logs, and `environment.sh` with what a
user has to export. Nothing here judges anything; the acts do (`story`).
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

import syncbroker
from syncbroker.bootstrap import build
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

RATE = "5000/1s"
"""What every simulator allows; the example mappings keep to what the vendors' plans allow."""

POLLED = {"crm": "1s"}
"""How often a system is asked for changes, where an act needs it oftener than a company would."""


class Vendor(NamedTuple):
    """One simulated system: its kind, what the environment says of it, and which of that are its credentials."""

    kind: str
    url: str
    environment: Mapping[str, str]
    credentials: Mapping[str, str]
    options: Mapping[str, Any] = {}
    webhook: str = ""


# None of these is a secret: they open simulators on this machine, and nothing else.
VENDORS: Mapping[str, Vendor] = {
    "crm": Vendor(
        "hubspot",
        "HUBSPOT_URL",
        {"HUBSPOT_TOKEN": "pat-demo-0001", "HUBSPOT_WEBHOOK_SECRET": "demo-hubspot-client-secret"},
        {"access_token": "HUBSPOT_TOKEN", "webhook_secret": "HUBSPOT_WEBHOOK_SECRET"},
        webhook="{url}/webhooks/crm",
    ),
    "marketing": Vendor(
        "mailchimp",
        "MAILCHIMP_URL",
        {
            "MAILCHIMP_KEY": "demo0123456789-us21",
            "MAILCHIMP_WEBHOOK_SECRET": "demo-mailchimp-path",
            "MAILCHIMP_LIST": "demo",
        },
        {"api_key": "MAILCHIMP_KEY"},
        {"list_id": "demo"},
        webhook="{url}/webhooks/marketing/demo-mailchimp-path",
    ),
    "billing": Vendor(
        "stripe",
        "STRIPE_URL",
        {"STRIPE_KEY": "sk_test_demo0123456789", "STRIPE_WEBHOOK_SECRET": "whsec_demo0123456789"},
        {"api_key": "STRIPE_KEY", "webhook_secret": "STRIPE_WEBHOOK_SECRET"},
        webhook="{url}/webhooks/billing",
    ),
    "support": Vendor(
        "zendesk",
        "ZENDESK_URL",
        {
            "ZENDESK_EMAIL": "broker@demo.example",
            "ZENDESK_TOKEN": "demo-zendesk-token",
            "ZENDESK_WEBHOOK_SECRET": "demo-zendesk-signing-secret",
        },
        {"email": "ZENDESK_EMAIL", "api_token": "ZENDESK_TOKEN", "webhook_secret": "ZENDESK_WEBHOOK_SECRET"},
        webhook="{url}/webhooks/support",
    ),
    "mail": Vendor(
        "sendgrid",
        "SENDGRID_URL",
        {"SENDGRID_KEY": "SG.demo.0123456789"},
        {"api_key": "SENDGRID_KEY"},
        {"rate_limit": 1_000_000},
    ),
}


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
        self._write_mappings()
        urls = self._start_simulators()
        self.systems = {name: Control(url) for name, url in urls.items()}
        self.environment = {
            "SYNCBROKER_DATABASE_URL": f"sqlite:///{self.folder / 'syncbroker.db'}",
            "SYNCBROKER_MAPPINGS": str(self.folder / "mappings"),
        }
        for name, vendor in VENDORS.items():
            self.environment |= {vendor.url: urls[name], **vendor.environment}
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in self.environment.items()]
        (self.folder / "environment.sh").write_text("".join(lines))

    def close(self) -> None:
        """End every process; what is in the folder stays."""
        if self._engine is not None:
            self._engine.store.close()
            self._engine = None
        self.stop_serving()
        self._open.close()

    def _write_mappings(self) -> None:
        target = self.folder / "mappings"
        shutil.copytree(example_mappings(), target, dirs_exist_ok=True)
        path = target / "systems.yaml"
        text = re.sub(r"limits: \{rate: [^,}]+", f"limits: {{rate: {RATE}", path.read_text())
        for name, every in POLLED.items():
            text = re.sub(rf"(?ms)(^  {name}:$.*?pull: \{{every: )[^}}]+", rf"\g<1>{every}", text, count=1)
        path.write_text(text)

    def _start_simulators(self) -> dict[str, str]:
        config = []
        for name, vendor in VENDORS.items():
            data = self.folder / f"{name}.json"
            data.write_bytes(msgspec.json.encode(self.world.systems[name]))
            credentials = {own: vendor.environment[given] for own, given in vendor.credentials.items()}
            config.append(
                {
                    "name": name,
                    "kind": vendor.kind,
                    "credentials": credentials,
                    "options": vendor.options,
                    "data_file": str(data),
                }
            )
        path = self.folder / "simulators.json"
        path.write_bytes(msgspec.json.encode({"simulators": config}))
        process = self._start("simulators", [sys.executable, "-m", "syncbroker.sdk.simulator", str(path)])
        self._open.callback(_end, process)
        return msgspec.json.decode(self._first_line("simulators", process), type=dict[str, str])

    # ---- the broker ----

    def run(self, *arguments: str, shown: bool = False) -> Done:
        """One command of the broker's command line. `shown`: in this terminal, instead of being kept."""
        return self.begin(*arguments, shown=shown).done()

    def begin(self, *arguments: str, shown: bool = False) -> Command:
        """The same, without waiting for its end."""
        kept = None if shown else subprocess.PIPE
        process = subprocess.Popen(
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
        for name, vendor in VENDORS.items():
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
        """This process's environment without settings of the person's own broker, and with the stage's."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("SYNCBROKER_")}
        return {**own, **self.environment}

    # ---- inside ----

    def _start(self, name: str, command: Sequence[str]) -> subprocess.Popen[str]:
        """Its standard error goes to a file of the folder."""
        with (self.folder / f"{name}.log").open("a") as log:
            return subprocess.Popen(
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
            if _ready(f"{self.url}/readyz"):
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


def example_mappings() -> Path:
    """Inside the package in an installation, beside it in a checkout."""
    package = Path(syncbroker.__file__).parent
    inside = package / "example_mappings"
    return inside if inside.is_dir() else package.parent / "mappings"


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


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(msgspec.json.decode(answer.read()).get("synced"))
    except (OSError, urllib.error.URLError, msgspec.DecodeError):
        return False
