"""Two systems for measuring what deciding and delivering cost: a CRM that edits, and a shop that takes every write.

Neither is anywhere but in memory, and a write costs next to nothing, so that no vendor's speed is measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.world import FIELDS
from syncbroker.core.types import Event, Item, Micros, Receipt, Write
from syncbroker.errors import BadDelivery, Missing
from syncbroker.sdk.connector import Account, Change, Delivery, FieldSpec, ObjectSpec, Page
from syncbroker.sdk.registry import GROUP, Registry

REGISTRY = Registry([EntryPoint("sink", "benchmarks.sink:Sink", GROUP)])
BATCH = 100


class Sink:
    """Says yes to every write, and shows what was written."""

    kind: ClassVar[str] = "sink"
    credentials_schema: ClassVar[Mapping[str, Any]] = {"type": "object"}
    options_schema: ClassVar[Mapping[str, Any]] = {"type": "object"}
    objects: ClassVar[Mapping[str, ObjectSpec]] = {
        "people": ObjectSpec(
            name="people",
            fields={name: FieldSpec() for name in FIELDS},
            batch={"update": BATCH},
            conditional=True,
            stamp=1000,
        )
    }

    def __init__(self, account: Account) -> None:
        self._now = account.now

    def scan(self, object: str, paths: Sequence[str], *, resume: str | None = None) -> Iterator[Page]:
        yield Page(items=[], proven=True)

    def poll(
        self, object: str, paths: Sequence[str], *, cursor: str, resume: str | None = None
    ) -> Iterator[Page]:
        yield Page(items=[], cursor=cursor)

    def start_cursor(self, object: str, began: Micros) -> str | None:
        return "0"

    def read(self, object: str, ids: Sequence[str], paths: Sequence[str]) -> list[Item]:
        return []

    def find(self, object: str, keys: Mapping[str, Any], paths: Sequence[str]) -> list[Item]:
        return []

    def write(self, object: str, writes: Sequence[Write], paths: Sequence[str]) -> list[Receipt]:
        return [
            Receipt(
                key=one.key,
                status="done",
                id=one.id,
                item=Item(id=str(one.id), fields=one.values, complete=False, stamp=self._now()),
            )
            for one in writes
        ]

    def job(
        self, object: str, job: str, writes: Sequence[Write], paths: Sequence[str]
    ) -> list[Receipt] | None:
        raise Missing("there are no jobs")

    def history(self, object: str, id: str, path: str) -> list[Change]:
        return []

    def answer_check(self, delivery: Delivery) -> str | None:
        return None

    def authenticate(self, delivery: Delivery) -> None:
        raise BadDelivery("nobody sends webhooks", status=404)

    def events(self, delivery: Delivery) -> list[Event]:
        return []


def mapping_files(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    limits = "limits: {rate: 1000000/1s}"
    (folder / "systems.yaml").write_text(
        f"systems:\n  crm: {{connector: sink, {limits}}}\n  shop: {{connector: sink, {limits}}}\n"
    )
    lines = ["entity: person", "links:"]
    lines += ["  crm: {object: people, create: never}", "  shop: {object: people, create: never}"]
    lines += ["match:", "  - {on: [email]}", "fields:"]
    for name in FIELDS:
        systems = f"{{crm: {name}, shop: {name}}}"
        lines.append(f"  {name}: {{type: text, authority: [crm, shop], policy: prefer, systems: {systems}}}")
    (folder / "person.yaml").write_text("\n".join(lines) + "\n")
