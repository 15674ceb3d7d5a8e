"""Many processes on PostgreSQL and Redis, started as an operator does, and killed as nobody should."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from syncbroker.sdk.simulator import Fault, serve
from syncbroker.store import runs, schema
from syncbroker.store.database import Store, open_store
from tests.cli.conftest import FIELDS, PEOPLE, installed
from tests.support import redis
from tests.support.rig import entity_text, system_text
from tests.support.toy_vendor import CREDENTIALS, ToySimulator

ROOT = Path(__file__).parents[2]

RECOVERED = 90.0
"""Seconds: the lease of a killed worker, a look of the clock, and room for a slow machine."""


class Site:
    """Systems in this process, and the broker's processes beside it."""

    def __init__(
        self, folder: Path, systems: dict[str, ToySimulator], store: Store, environment: dict[str, str]
    ) -> None:
        self.folder, self.systems, self.store = folder, systems, store
        self._environment = {**os.environ, **environment}
        self.children: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        with (self.folder / f"log{len(self.children)}").open("w") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "syncbroker.cli.main", *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.folder,
                env=self._environment,
            )
        self.children.append(child)
        return child

    def web(self) -> str:
        """`serve --no-worker`, to which every vendor delivers from now on; its URL."""
        child = self.start("serve", "--no-worker", "--json")
        assert child.stdout is not None
        url = str(json.loads(child.stdout.readline())["url"])
        for name, system in self.systems.items():
            system.connect(f"{url}/webhooks/{name}")
        return url

    def log(self, child: subprocess.Popen[str]) -> list[dict[str, Any]]:
        text = (self.folder / f"log{self.children.index(child)}").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def held(self, system: str, path: str = "email") -> list[Any]:
        return [record["fields"].get(path) for record in self.systems[system].records("people")]

    def everywhere(self, email: str) -> bool:
        return all(email in self.held(name) for name in self.systems)

    def in_step(self) -> bool:
        """Everything is everywhere, so each system was read: nothing is created in one before."""
        both = ["ann@x.example", "bob@x.example"]
        return all(sorted(str(one).lower() for one in self.held(name)) == both for name in self.systems)

    def close(self) -> None:
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
        self._tell()

    def _tell(self) -> None:
        """What the processes logged and the systems were asked: shown when the test fails."""
        told: list[object] = []
        for number in range(len(self.children)):
            told += [f"--- log{number}", *(self.folder / f"log{number}").read_text().splitlines()[-30:]]
        for name, system in self.systems.items():
            told += [f"--- {name}", *system.records("people"), *system.log[-15:], *system.sent[-15:]]
        sys.stdout.write("\n".join(str(line) for line in told))


def until(there: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


@pytest.fixture
def site(tmp_path: Path, postgres_url: str, redis_server: redis.Server) -> Iterator[Site]:
    with ExitStack() as stack:
        systems = {name: ToySimulator(credentials=CREDENTIALS) for name in PEOPLE}
        for name, people in PEOPLE.items():
            systems[name].load({"people": [dict(one) for one in people]})
        servers = {name: stack.enter_context(serve(one)) for name, one in systems.items()}
        mappings = tmp_path / "mappings"
        mappings.mkdir()
        text = system_text({name: one.url for name, one in servers.items()})
        polled = "    connector: toy\n    pull: {every: 2s, jitter: 0s}\n"
        (mappings / "systems.yaml").write_text(text.replace("    connector: toy\n", polled, 1))
        (mappings / "person.yaml").write_text(entity_text(FIELDS, PEOPLE, create="always"))
        store = open_store(postgres_url)
        stack.callback(store.close)
        schema.upgrade(store)
        environment = {
            "SYNCBROKER_DATABASE_URL": postgres_url,
            "SYNCBROKER_REDIS_URL": redis_server.url,
            "SYNCBROKER_MAPPINGS": str(mappings),
            "SYNCBROKER_PORT": "0",
            "SYNCBROKER_TICK": "0.2",
            "PYTHONPATH": installed(tmp_path),
            "TZ": "UTC",
        }
        made = Site(tmp_path, systems, store, environment)
        stack.callback(made.close)
        yield made


def polls(site: Site, system: str) -> int:
    return sum(entry.operation == "people.list" for entry in site.systems[system].log)


def test_two_schedulers_and_two_workers_make_each_due_turn_once(site: Site) -> None:
    workers = [site.start("worker") for _ in range(2)]
    schedulers = [site.start("scheduler") for _ in range(2)]
    until(site.in_step)
    before = polls(site, "crm")
    until(lambda: polls(site, "crm") >= before + 8)
    for child in (*schedulers, *workers):
        child.send_signal(signal.SIGTERM)
    assert [child.wait(30) for child in (*schedulers, *workers)] == [0] * 4
    with site.store.read() as tx:
        assert tx.connection.exec_driver_sql("SELECT COUNT(*) FROM leases").scalar_one() == 0
        query = "SELECT started FROM runs WHERE system = 'crm' ORDER BY started"
        started = [row[0] / 1_000_000 for row in tx.connection.exec_driver_sql(query)]
    due = 1 + (started[-1] - started[0]) / 2
    assert len(started) <= due + 2  # one catches up, one may be late; each made twice were twice as many


def test_a_worker_killed_in_the_middle_of_a_read_is_followed_by_another_within_the_lease(site: Site) -> None:
    site.systems["crm"].faults.append(Fault(operation="people.list", kind="delay", seconds=3600, times=1))
    first = site.start("worker")
    until(lambda: not site.systems["crm"].faults)  # it is asked, and does not answer
    first.kill()
    site.start("worker")
    until(site.in_step, RECOVERED)
    with site.store.read() as tx:
        assert [run for run in runs.recent(tx) if run.state == "failed"]


def test_a_worker_killed_in_the_middle_of_a_write_is_settled_by_another_within_the_lease(site: Site) -> None:
    first = site.start("worker")
    until(site.in_step)
    site.web()
    site.systems["crm"].faults.append(
        Fault(operation="people.write", kind="hang_after", seconds=3600, times=1)
    )
    site.systems["marketing"].edit("people", "p000001", {"email": "new@x.example"})
    until(lambda: "new@x.example" in site.held("crm"))  # it arrived, and nobody is told
    first.kill()
    site.start("worker")

    def settled() -> bool:
        with site.store.read() as tx:
            left = tx.connection.exec_driver_sql("SELECT COUNT(*) FROM outbox WHERE state = 'claimed'")
            return left.scalar_one() == 0 and site.everywhere("new@x.example")

    until(settled, RECOVERED)
    writes = [entry for entry in site.systems["crm"].log if entry.write]
    site.systems["marketing"].edit("people", "p000001", {"email": "newer@x.example"})
    until(lambda: site.everywhere("newer@x.example"))
    assert len([entry for entry in site.systems["crm"].log if entry.write]) == len(writes) + 1


def test_redis_may_die_and_come_back_while_webhooks_arrive(site: Site, redis_server: redis.Server) -> None:
    worker = site.start("worker")
    until(site.in_step)
    site.web()
    site.systems["marketing"].edit("people", "p000001", {"email": "one@x.example"})
    until(lambda: site.everywhere("one@x.example"))
    redis_server.kill()
    site.systems["marketing"].edit("people", "p000001", {"email": "two@x.example"})
    until(lambda: site.everywhere("two@x.example"))
    redis_server.start()
    until(lambda: "redis back" in {line["event"] for line in site.log(worker)})
    site.systems["marketing"].edit("people", "p000001", {"email": "three@x.example"})
    until(lambda: site.everywhere("three@x.example"))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert not [line for line in site.log(worker) if line["event"] == "fault"]
