"""The benchmark's data and systems: three files of customers, one JSON object per line, read by a connector.

The same people are in all three; the files differ in a few values, as systems do. Fields are texts.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import orjson

from syncbroker.core.types import Event, Item, Micros, Receipt, Write
from syncbroker.errors import BadDelivery, Missing, Refused
from syncbroker.sdk.connector import Account, Change, Delivery, FieldSpec, ObjectSpec, Page
from syncbroker.sdk.registry import GROUP, Registry

SYSTEMS = ("crm", "marketing", "billing")
FIELDS = ("email", "first_name", "last_name", "company", "city", "phone", "plan", "notes")
PAGE = 4000
PARSED_PAGE = 1000
"""Sources over HTTP give smaller pages."""

REGISTRY = Registry([EntryPoint("lines", "benchmarks.world:Lines", GROUP)])


class _Id(msgspec.Struct):
    id: str


decode_id = msgspec.json.Decoder(_Id).decode


class Lines:
    """A file of JSON lines in ascending id order; read-only."""

    kind: ClassVar[str] = "lines"
    credentials_schema: ClassVar[Mapping[str, Any]] = {"type": "object"}
    options_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string"}, "parsed": {"type": "boolean"}},
    }
    objects: ClassVar[Mapping[str, ObjectSpec]] = {
        "people": ObjectSpec(
            name="people", fields={name: FieldSpec() for name in FIELDS}, sorted_scan=True, read_batch=1000
        )
    }

    def __init__(self, account: Account) -> None:
        self._file = Path(str(account.options["file"]))
        self._parsed = bool(account.options.get("parsed", False))

    def scan(self, object: str, paths: Sequence[str], *, resume: str | None = None) -> Iterator[Page]:
        with self._file.open("rb") as stream:
            take = self._parsed_page if self._parsed else self._page
            while page := take(stream):
                yield Page(items=page, resume=page[-1].id)
        yield Page(items=[], proven=True)

    def _page(self, stream: Iterable[bytes]) -> list[Item]:
        return [Item(id=decode_id(line).id, fields=line) for line in islice(stream, PAGE)]

    def _parsed_page(self, stream: Iterable[bytes]) -> list[Item]:
        records = map(orjson.loads, islice(stream, PARSED_PAGE))
        return [Item(id=fields["id"], fields=fields) for fields in records]

    def poll(
        self, object: str, paths: Sequence[str], *, cursor: str, resume: str | None = None
    ) -> Iterator[Page]:
        raise Refused("a file has no changes, only a state")

    def start_cursor(self, object: str, began: Micros) -> str | None:
        return None

    def read(self, object: str, ids: Sequence[str], paths: Sequence[str]) -> list[Item]:
        wanted = set(ids)
        found = [item for page in self.scan(object, paths) for item in page.items if item.id in wanted]
        return found + [Item(id=id_, fields={}, deleted=True) for id_ in wanted - {item.id for item in found}]

    def find(self, object: str, keys: Mapping[str, Any], paths: Sequence[str]) -> list[Item]:
        return []

    def write(self, object: str, writes: Sequence[Write], paths: Sequence[str]) -> list[Receipt]:
        return [Receipt(key=one.key, status="refused", message="a file is read-only") for one in writes]

    def job(
        self, object: str, job: str, writes: Sequence[Write], paths: Sequence[str]
    ) -> list[Receipt] | None:
        raise Missing("files have no jobs")

    def history(self, object: str, id: str, path: str) -> list[Change]:
        return []

    def answer_check(self, delivery: Delivery) -> str | None:
        return None

    def authenticate(self, delivery: Delivery) -> None:
        raise BadDelivery("files send no webhooks", status=404)

    def events(self, delivery: Delivery) -> list[Event]:
        return []


def people(count: int) -> Iterator[dict[str, str]]:
    chance = random.Random(7)
    for n in range(count):
        yield {
            "id": f"{n:09d}",
            "email": f"person{n}@company{n % 5000}.example",
            "first_name": chance.choice(("Ada", "Ben", "Cleo", "Dai", "Eva", "Finn")),
            "last_name": f"Name{n % 9973}",
            "company": f"Company {n % 5000}",
            "city": chance.choice(("Lyon", "Porto", "Leeds", "Turin", "Ghent")),
            "phone": f"+1 555 {n % 10_000_000:07d}",
            "plan": chance.choice(("free", "team", "business")),
            "notes": "met at the fair, asked for a quote, wants a call in spring" if n % 3 else "",
        }


def files(folder: Path) -> dict[str, Path]:
    return {system: folder / f"{system}.jsonl" for system in SYSTEMS}


def write_files(folder: Path, count: int) -> dict[str, Path]:
    """One file per system; every tenth person differs somewhere between them."""
    found = files(folder)
    streams = {system: path.open("wb") for system, path in found.items()}
    for n, person in enumerate(people(count)):
        for place, stream in enumerate(streams.values()):
            row = dict(person)
            if n % 10 == place:
                row["city"] = "Bath"
            stream.write(orjson.dumps(row) + b"\n")
    for stream in streams.values():
        stream.close()
    return found


def change_some(paths: Mapping[str, Path], share: float, seed: int) -> int:
    """Another city for a share of the people of each file; how many rows that are."""
    changed = 0
    for place, path in enumerate(paths.values()):
        chance = random.Random(seed * 31 + place)
        lines = path.read_bytes().splitlines(keepends=True)
        for n in chance.sample(range(len(lines)), int(len(lines) * share)):
            row = orjson.loads(lines[n])
            row["city"] = f"City {chance.randrange(10**6)}"
            lines[n] = orjson.dumps(row) + b"\n"
            changed += 1
        path.write_bytes(b"".join(lines))
    return changed


def mapping_files(folder: Path, paths: Mapping[str, Path], *, parsed: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = ["systems:"]
    for system, path in paths.items():
        text += [
            f"  {system}:",
            "    connector: lines",
            f"    options: {{file: {path}, parsed: {str(parsed).lower()}}}",
        ]
    (folder / "systems.yaml").write_text("\n".join(text) + "\n")
    lines = ["entity: person", "links:"]
    lines += [f"  {system}: {{object: people, create: never}}" for system in paths]
    lines += ["match:", "  - {on: [email]}", "fields:"]
    for name in FIELDS:
        systems = ", ".join(f"{system}: {{field: {name}, direction: pull}}" for system in paths)
        lines.append(
            f"  {name}: {{type: text, authority: [{', '.join(paths)}], policy: prefer, systems: {{{systems}}}}}"
        )
    (folder / "person.yaml").write_text("\n".join(lines) + "\n")
