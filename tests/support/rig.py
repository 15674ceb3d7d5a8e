"""A broker with toy systems around it, in one process: the engine tests' workbench.

The systems are real HTTP servers, the store is a real one, time is the test's own. `settle` runs the engine until
nothing is due; `quiet` proves that another full sync and sweep does nothing at all.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from sqlalchemy import event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection

from syncbroker.bootstrap import build
from syncbroker.core.state import NOTHING, Record
from syncbroker.engine import Engine, cycle
from syncbroker.sdk.registry import GROUP, Registry
from syncbroker.sdk.simulator import Server, serve
from syncbroker.settings import Settings
from syncbroker.store import decisions, records, schema, tables
from syncbroker.store.database import Store, open_store
from tests.support.toy_vendor import CREDENTIALS, ToySimulator

REGISTRY = Registry([EntryPoint("toy", "tests.support.toy_vendor:ToyConnector", GROUP)])

START = 1_790_000_000_000_000


@dataclass
class Clock:
    """µs; every look at it costs one, so that two steps never happen at the same time."""

    at: int = START

    def __call__(self) -> int:
        self.at += 1
        return self.at

    def pass_(self, seconds: float) -> None:
        self.at += int(seconds * 1_000_000)


@dataclass
class Rig:
    """`systems`: name -> simulator."""

    engine: Engine
    systems: dict[str, ToySimulator]
    servers: dict[str, Server]
    clock: Clock
    folder: Path
    settings: Settings
    summaries: list[cycle.Summary] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """What deciding met; a test that wants some empties this."""

    def sync(self) -> cycle.Summary:
        summary = cycle.sync(self.engine)
        self.summaries.append(summary)
        return summary

    def sweep(self) -> cycle.Summary:
        summary = cycle.sweep(self.engine)
        self.summaries.append(summary)
        return summary

    def edit(self, system: str, id: str, **changes: Any) -> None:
        """A person changes a record at the vendor; dotted paths are written with a double underscore."""
        self.clock.pass_(1)
        self.systems[system].edit(
            "people", id, {path.replace("__", "."): value for path, value in changes.items()}
        )
        self.clock.pass_(1)

    def held(self, system: str, path: str = "email", object_: str = "people") -> list[Any]:
        """What the vendor holds in a field, in id order."""
        return [record["fields"].get(path) for record in self.systems[system].records(object_)]

    def ids(self, system: str) -> list[str]:
        return [record["id"] for record in self.systems[system].records("people")]

    def writes(self) -> int:
        return sum(entry.write for system in self.systems.values() for entry in system.log)

    def last_decision(self) -> int:
        with self.engine.store.read() as tx:
            return decisions.last_id(tx)

    def kinds(self) -> dict[str, int]:
        with self.engine.store.read() as tx:
            return decisions.counts(tx)

    def outcomes(self, *kinds: str) -> list[decisions.Outcome]:
        """All outcomes so far (of these kinds), oldest first."""
        with self.engine.store.read() as tx:
            found = decisions.search(tx, limit=10_000)
        return [o for d in reversed(found) for o in d.outcomes if not kinds or o.kind in kinds]

    def reviews(self) -> list[decisions.Review]:
        with self.engine.store.read() as tx:
            return decisions.waiting(tx)

    def records(self) -> list[Record]:
        with self.engine.store.read() as tx:
            ids = [row[0] for row in tx.run(tables.records.select())]
            return sorted(records.load(tx, ids).values(), key=lambda record: record.id)

    def golden(self, field: str) -> list[Any]:
        return [record.golden[field].value if field in record.golden else None for record in self.records()]

    def id_of(self, email: str) -> str:
        """The record with this e-mail address."""
        return next(one.id for one in self.records() if one.golden.get("email", NOTHING).value == email)

    def quiet(self) -> tuple[int, int, int]:
        """(writes, decisions, reviews) that another full sync and sweep makes; (0, 0, 0) in a world at rest."""
        before = self.writes(), self.last_decision(), len(self.reviews())
        self.sync()
        self.sweep()
        after = self.writes(), self.last_decision(), len(self.reviews())
        return after[0] - before[0], after[1] - before[1], after[2] - before[2]

    def remap(self, entity: str) -> None:
        """Another text for the entity file, and a new engine on the same store."""
        (self.folder / "person.yaml").write_text(entity)
        self.engine.close()
        self.engine = build(
            self.settings, store=self.engine.store, now=self.clock, environment={}, registry=REGISTRY
        )
        cycle.activate(self.engine)


def system_text(systems: Mapping[str, str]) -> str:
    lines = ["systems:"]
    for name, url in systems.items():
        lines += [
            f"  {name}:",
            "    connector: toy",
            f"    credentials: {{token: {CREDENTIALS['token']}, webhook_secret: {CREDENTIALS['webhook_secret']}}}",
            f"    url: {url}",
            "    limits: {rate: 100000/1s}",
        ]
    return "\n".join(lines) + "\n"


def entity_text(
    fields: str,
    systems: Iterable[str],
    *,
    create: str = "never",
    delete: str = "review",
    match: str = "email",
) -> str:
    """An entity `person` on `people` of each system. `fields` is the YAML below `fields:`, indented by two."""
    lines = ["entity: person", "links:"]
    lines += [f"  {name}: {{object: people, create: {create}, delete: {delete}}}" for name in systems]
    lines += ["match:", f"  - {{on: [{match}]}}", "fields:", fields]
    return "\n".join(lines) + "\n"


@contextmanager
def rig(
    folder: Path,
    store_url: str,
    entity: str,
    data: Mapping[str, Sequence[Mapping[str, Any]]],
    options: Mapping[str, Any] | None = None,
    *,
    more: Mapping[str, str] | None = None,
    firms: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> Iterator[Rig]:
    """`data`: system -> its people. The systems are those of `data`, in that order.

    `more`: further mapping files, name -> text. `firms`: system -> its firms.
    """
    clock = Clock()
    with ExitStack() as stack:
        systems = {
            name: ToySimulator(credentials=CREDENTIALS, now=clock, options=options or {}) for name in data
        }
        for name, people in data.items():
            systems[name].load(
                {
                    "firms": [dict(one) for one in (firms or {}).get(name, ())],
                    "people": [dict(one) for one in people],
                }
            )
            clock.pass_(1)
        servers = {name: stack.enter_context(serve(one)) for name, one in systems.items()}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "systems.yaml").write_text(
            system_text({name: server.url for name, server in servers.items()})
        )
        (folder / "person.yaml").write_text(entity)
        for file, text in (more or {}).items():
            (folder / file).write_text(text)
        store = open_ready(store_url)
        stack.callback(store.close)
        settings = Settings(mappings=folder, database_url=store_url)  # type: ignore[call-arg]  # the rest is usual
        faults: list[str] = []

        def tell(event: str, **fields: Any) -> None:
            if event == "fault":
                faults.append(str(fields["error"]))

        engine = build(settings, store=store, now=clock, environment={}, registry=REGISTRY, tell=tell)
        cycle.activate(engine)
        made = Rig(engine, systems, servers, clock, folder, settings, faults=faults)

        @stack.callback
        def close() -> None:  # the engine that there is then; `remap` makes new ones
            made.engine.close()

        yield made
        assert faults == []


def open_ready(url: str) -> Store:
    """An upgraded store. A SQLite file is copied from one made by the migrations, and does not wait for the disk."""
    path = make_url(url).database
    if not url.startswith("sqlite") or not path or Path(path).exists():
        store = open_store(url)
        if schema.current(store) != schema.head():
            schema.upgrade(store)
        return store
    shutil.copy(_template(), path)
    store = open_store(url)
    event.listen(store.engine, "connect", _carefree)
    return store


@cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="syncbroker-"))
    atexit.register(shutil.rmtree, folder)
    store = open_store(f"sqlite:///{folder / 'store.db'}")
    schema.upgrade(store)
    store.close()
    return folder / "store.db"


def _carefree(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=OFF")
    cursor.close()
