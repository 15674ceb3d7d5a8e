"""A vendor and a connector that mean no good: what a broker meets on its worst day, in one place.

`make_hostile(simulator, mood)` spoils the answers of a toy simulator; `HostileConnector` breaks the contract
itself, as a bad third-party package would; `AWFUL` are records that are valid JSON and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, ClassVar

import msgspec

from syncbroker.core.types import Event, Item, Micros, Receipt, Write
from syncbroker.decoding import decode
from syncbroker.sdk.connector import Account, Change, Delivery, ObjectSpec, Page
from syncbroker.sdk.simulator import Fault, Request, Response
from tests.support.toy_vendor import ToyConnector, ToySimulator

SIMULATOR_MOODS = ("nonsense", "shapes", "huge", "slow", "endless", "repeats", "short", "errors")
CONNECTOR_MOODS = ("raises", "lies", "endless", "forgets")

AWFUL: tuple[dict[str, Any], ...] = (
    {"": "no name", " ": "blank", "a.b": "a dot", "a": {"": {"b.c": 1}}},
    {"name": "'; DROP TABLE links; --", "email": "x' OR '1'='1", "phone": "=1+1"},
    {"name": "<script>alert(1)</script>", "email": "\u202e\u0000\ufeff@\u200b.example", "phone": "\ud7ff"},
    {"name": {"first": ["nested", {"deeper": [[[[[[1]]]]]]}]}, "email": ["a@b.example"], "phone": 5551234567},
    {"name": True, "email": 0, "phone": 1e308, "status": -0.0, "tags": "not a list"},
    {"name": "x" * 100_000, "email": "a@" + "b." * 5_000 + "example", "tags": ["t"] * 5_000},
    {"name": "Ünïcödé \U0001f600", "email": "ü@ü.example", "phone": "٠١٢٣٤٥٦٧٨٩"},
    {"__proto__": 1, "__class__": "str", "{name}": "%s", "${HOME}": "`id`", "select": "order"},
    {"name": 10**30, "email": None, "tags": [None, {}, [], "", 0]},
    {},
)

_NONSENSE: tuple[Any, ...] = (None, 7, "x", True, [], {}, [[]], [None], {"records": None}, {"results": {}})


def make_hostile(simulator: ToySimulator, mood: str, *, seed: int = 0, size: int = 3_000_000) -> None:
    """Spoil every answer of the simulator from now on.

    nonsense: JSON or text that means nothing, with any status; shapes: the right answer with a part of another type;
    huge: `size` bytes; slow: an hour before each answer; endless: every page leads to itself; repeats: each page holds
    its records twice; short: the list ends early; errors: statuses and bodies of all kinds.
    """
    random = Random(seed)
    if mood == "slow":
        simulator.faults.append(Fault(kind="delay", seconds=3600.0, times=0))
        return

    def twist(_: Request, response: Response) -> Response:
        body = response.json
        match mood:
            case "nonsense":
                text = random.choice(["", "<html>", "{", '{"a": NaN}', "[" * 50_000, "\ufeff{}"])
                return random.choice([Response(json=random.choice(_NONSENSE)), Response(text=text)])
            case "shapes":
                return Response(status=response.status, json=_misshapen(body, random))
            case "huge":
                return Response(text='{"records": ["' + "x" * size + '"]}')
            case "endless" if isinstance(body, dict) and body.get("records"):
                return Response(json={**body, "next": body["records"][0]["id"]})
            case "repeats" if isinstance(body, dict) and "records" in body:
                return Response(json={**body, "records": body["records"] * 2})
            case "short" if isinstance(body, dict) and "next" in body:
                return Response(json={**body, "records": body["records"][:1], "next": None})
            case "errors":
                status = random.choice([300, 301, 304, 400, 402, 408, 409, 418, 423, 429, 451, 500, 503, 599])
                headers = {"Retry-After": random.choice(["", "-1", "x", "1e99", "Tue", "99999999999"])}
                return Response(status=status, headers=headers, json=random.choice(_NONSENSE))
        return response

    simulator.twist = twist


def _misshapen(tree: Any, random: Random) -> Any:
    """A copy of the tree in which one part, chosen by chance, is of another type."""
    places = [(tree, None), *_places(tree)]
    _, chosen = random.choice(places)
    spoiled = decode(msgspec.json.encode(tree))
    if chosen is None:
        return random.choice(_NONSENSE)
    here = spoiled
    *way, last = chosen
    for step in way:
        here = here[step]
    here[last] = random.choice([one for one in _NONSENSE if type(one) is not type(here[last])])
    return spoiled


def _places(tree: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...] | None]]:
    members = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, value in members:
        yield value, (*way, name)
        yield from _places(value, (*way, name))


class HostileConnector:
    """Keeps the contract's signatures and nothing else, in the way that its option `mood` says.

    raises: errors that no contract allows; lies: items without ids, twice, with absurd stamps and broken JSON, and a
    proof of what was not seen; endless: a scan that never ends; forgets: receipts of other writes, or none.
    """

    kind: ClassVar[str] = "hostile"
    credentials_schema: ClassVar[Mapping[str, Any]] = ToyConnector.credentials_schema
    options_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "required": ["mood"],
        "properties": {"mood": {"enum": list(CONNECTOR_MOODS)}},
    }
    objects: ClassVar[Mapping[str, ObjectSpec]] = ToyConnector.objects

    def __init__(self, account: Account) -> None:
        self._toy = ToyConnector(account)
        self._mood = account.options["mood"]

    def scan(self, object: str, paths: Sequence[str], *, resume: str | None = None) -> Iterator[Page]:
        self._may_raise()
        for page in self._toy.scan(object, paths, resume=resume):
            yield from self._spoiled(page)

    def poll(
        self, object: str, paths: Sequence[str], *, cursor: str, resume: str | None = None
    ) -> Iterator[Page]:
        self._may_raise()
        for page in self._toy.poll(object, paths, cursor=cursor, resume=resume):
            yield from self._spoiled(page)

    def start_cursor(self, object: str, began: Micros) -> str | None:
        return self._toy.start_cursor(object, began)

    def read(self, object: str, ids: Sequence[str], paths: Sequence[str]) -> list[Item]:
        self._may_raise()
        items = self._toy.read(object, ids, paths)
        return list(_lies(items)) if self._mood == "lies" else items

    def find(self, object: str, keys: Mapping[str, Any], paths: Sequence[str]) -> list[Item]:
        self._may_raise()
        items = self._toy.find(object, keys, paths)
        return list(_lies(items)) if self._mood == "lies" else items

    def write(self, object: str, writes: Sequence[Write], paths: Sequence[str]) -> list[Receipt]:
        receipts = self._toy.write(object, writes, paths)
        self._may_raise()  # after the vendor accepted: the worst moment
        if self._mood == "forgets":
            return [*receipts[1:], Receipt(key="nobody's", status="done", id="p999999")]
        return receipts

    def job(
        self, object: str, job: str, writes: Sequence[Write], paths: Sequence[str]
    ) -> list[Receipt] | None:
        self._may_raise()
        return [] if self._mood == "forgets" else self._toy.job(object, job, writes, paths)

    def history(self, object: str, id: str, path: str) -> list[Change]:
        self._may_raise()
        return self._toy.history(object, id, path)

    def answer_check(self, delivery: Delivery) -> str | None:
        return self._toy.answer_check(delivery)

    def authenticate(self, delivery: Delivery) -> None:
        self._may_raise()
        self._toy.authenticate(delivery)

    def events(self, delivery: Delivery) -> list[Event]:
        self._may_raise()
        return self._toy.events(delivery)

    def _may_raise(self) -> None:
        if self._mood == "raises":
            raise KeyError("properties")

    def _spoiled(self, page: Page) -> Iterator[Page]:
        if self._mood == "lies":
            yield Page(items=list(_lies(page.items)), resume=None, cursor=page.cursor, proven=True)
        elif self._mood == "endless":
            while True:
                yield Page(items=page.items, resume="again")
        else:
            yield page


def _lies(items: Sequence[Item]) -> Iterator[Item]:
    """All but the first of the items, some of them twice, each with something that cannot be."""
    absurd: tuple[dict[str, Any], ...] = (
        {"id": ""},
        {"stamp": -1},
        {"stamp": 2**70},
        {"fields": b"{not json"},
        {"fields": {"name": {"a": object}}},
        {"merged_into": ""},
        {"deleted": True, "merged_into": "itself"},
    )
    for n, item in enumerate(items[1:]):
        yield item
        yield msgspec.structs.replace(item, **absurd[n % len(absurd)])
