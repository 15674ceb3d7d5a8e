"""The bench that conformance checks run on: one connector against its simulator, with a clock that can be moved.

`Sample` is all that a connector author writes: what a record of one object looks like and what may be done to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec

from syncbroker.core.types import Item, Micros, Receipt, Write
from syncbroker.decoding import decode
from syncbroker.sdk.connector import Account, Connector, Delivery, ObjectSpec, Page
from syncbroker.sdk.http import Http
from syncbroker.sdk.paths import get_path
from syncbroker.sdk.simulator import Simulator, serve

E = TypeVar("E", bound=Exception)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """Vendor-specific data of one object.

    `make(n)`: the n-th initial record (n from 0) in the payload shape that `Simulator.load` takes; all different.
    `create`: path -> raw value of a new record, none of them held by an initial one. `update`: new values for an
    existing record. `clear`: a path that initial records hold and that may be cleared, "" when none. `key`: the path
    by which `find` is asked; it must be in `create`; "" when the object has none.
    `edit`: what `Simulator.edit` is given when a person changes a record; `edit_again`: another such change.
    `paths`: what is read (usual: every path named here). `derived`: paths that change by themselves.
    `shown`: path -> value that is read back, where the vendor shows another than was sent.
    `many`: how many records surely fill more than one page. `wait`: seconds until a poll may show an edit.
    `unique`: a create of an existing record answers `exists`. `proves`: a scan can prove that it saw everything.
    `signed`: deliveries carry a signature over the body; `timed`: and over a time. `url_secret`: the last part of a
    secret URL. `webhook_secret`: the name of the credential that deliveries are proven with.
    `nonsense`: 200 answers to a read that this vendor cannot give.
    """

    object: str
    make: Callable[[int], dict[str, Any]]
    create: Mapping[str, Any] = {}
    update: Mapping[str, Any] = {}
    clear: str = ""
    key: str = ""
    edit: Mapping[str, Any] = {}
    edit_again: Mapping[str, Any] = {}
    paths: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()
    shown: Mapping[str, Any] = {}
    many: int = 250
    wait: float = 0.0
    unique: bool = False
    proves: bool = True
    signed: bool = True
    timed: bool = True
    url_secret: str = ""
    webhook_secret: str = "webhook_secret"  # noqa: S105 - a name, no secret
    nonsense: tuple[str, ...] = (
        "",
        "<html>maintenance</html>",
        "{}",
        "[]",
        "null",
        '"x"',
        "7",
        '{"data": 7, "results": 7, "members": 7, "users": 7, "contacts": 7, "has_more": "x"}',
        '{"data": [7], "results": [7], "members": [7], "users": [7], "contacts": [7], "result": [7]}',
    )

    def read_paths(self) -> tuple[str, ...]:
        named = [*self.create, *self.update, *filter(None, (self.clear, self.key))]
        return self.paths or tuple(dict.fromkeys(named))


class Bench:
    """One served simulator and the connectors made for it. A context manager; everything is closed at its end."""

    def __init__(
        self,
        connector: type[Connector],
        simulator: type[Simulator],
        sample: Sample,
        *,
        credentials: Mapping[str, str],
        options: Mapping[str, Any] | None = None,
        simulator_credentials: Mapping[str, str] | None = None,
        simulator_options: Mapping[str, Any] | None = None,
    ) -> None:
        """`credentials` are given to both sides where `simulator_credentials` does not say otherwise."""
        self.sample = sample
        self.credentials = dict(credentials)
        self.options = dict(options or {})
        self.deliveries: list[Delivery] = []
        self._class = connector
        self._made: list[Http] = []
        self._moved = 0
        self.simulator = simulator(
            now=self.now,
            credentials=credentials if simulator_credentials is None else simulator_credentials,
            options=simulator_options or {},
        )
        self.simulator.deliver = self._deliver
        self._server = serve(self.simulator)
        self.control = self._server.control()
        self.connector = self.connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for http in self._made:
            http.close()
        self._server.close()

    @property
    def spec(self) -> ObjectSpec:
        return self.connector.objects[self.sample.object]

    def now(self) -> Micros:
        """The clock of both sides: the real one and what `settle` added, µs."""
        return time.time_ns() // 1000 + self._moved

    def connect(self, credentials: Mapping[str, str] | None = None) -> Connector:
        """A connector of its own, with these credentials instead of the bench's."""

        def http(base_url: str, **given: Any) -> Http:
            # one attempt: a check wants to see each failure, not the success of a repetition
            usual = {
                "system": "bench",
                "now": self.now,
                "attempts": 1,
                "secrets": list(self.credentials.values()),
            }
            made = Http(base_url, **{**usual, **given})
            self._made.append(made)
            return made

        return self._class(
            Account(
                system="bench",
                credentials=self.credentials if credentials is None else credentials,
                options=self.options,
                http=http,
                now=self.now,
                url=self._server.url,
            )
        )

    def wrong(self, *names: str) -> dict[str, str]:
        """The credentials with these (all, when none is named) spoiled; a region at the end of a key stays."""
        return {
            name: "wrong" + value if not names or name in names else value
            for name, value in self.credentials.items()
        }

    # ---- the world moves ----

    def load(self, count: int) -> list[str]:
        """`count` initial records; their ids as the connector sees them."""
        if count:
            self.control.load({self.sample.object: [self.sample.make(n) for n in range(count)]})
        self.settle()
        return [item.id for item in self.scan()]

    def settle(self, seconds: float = 0.0) -> None:
        """Move the clock beyond the declared read-after-write lag (and `seconds`); what is due by then happens."""
        self._moved += int((self.spec.lag + seconds + 0.001) * 1_000_000)
        self.simulator.advance()

    def subscribe(self) -> None:
        """Let the vendor deliver webhooks to the bench."""
        tail = f"/{self.sample.url_secret}" if self.sample.url_secret else ""
        self.control.webhook(f"https://broker.example/webhooks/bench{tail}")
        self.settle()
        self.deliveries.clear()

    def _deliver(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> int:
        parts = urlsplit(url)
        self.deliveries.append(
            Delivery(
                method=method,
                url=url,
                headers={name.lower(): value for name, value in headers.items()},
                query=dict(parse_qsl(parts.query, keep_blank_values=True)),
                body=body,
                received=self.now(),
                secret=parts.path.rpartition("/")[2] if self.sample.url_secret else "",
            )
        )
        return 200

    # ---- the connector is used ----

    def pages(self, resume: str | None = None) -> list[Page]:
        return list(self.connector.scan(self.sample.object, self.sample.read_paths(), resume=resume))

    def scan(self) -> list[Item]:
        return [item for page in self.pages() for item in page.items]

    def poll(self, cursor: str) -> tuple[list[Item], str]:
        """All items of a poll and the cursor for the next one."""
        pages = list(self.connector.poll(self.sample.object, self.sample.read_paths(), cursor=cursor))
        expect(bool(pages), "a poll has at least one page")
        following = pages[-1].cursor
        expect(following is not None, "the last page of a poll has a cursor")
        return [item for page in pages for item in page.items], following or ""

    def read(self, *ids: str) -> dict[str, Item]:
        items = self.connector.read(self.sample.object, ids, self.sample.read_paths())
        return {item.id: item for item in items}

    def present(self, id: str) -> Item:
        """The one record as it is now, which must be there."""
        item = self.read(id).get(id)
        expect(item is not None and not item.deleted, "the record can be read")
        return item or Item(id=id, fields={})

    def write(self, *writes: Write) -> dict[str, Receipt]:
        """The receipts by key, those of jobs included."""
        receipts = self.connector.write(self.sample.object, writes, self.sample.read_paths())
        found = {receipt.key: receipt for receipt in receipts}
        expect(len(found) == len(receipts) == len(writes), "there is one receipt per write")
        expect(set(found) == {write.key for write in writes}, "receipts bear the keys of their writes")
        for job in {receipt.job for receipt in receipts if receipt.status == "pending"}:
            expect(bool(job), "a pending receipt names its job")
            found |= self._job(job or "", [w for w in writes if found[w.key].job == job])
        return found

    def _job(self, job: str, writes: Sequence[Write]) -> dict[str, Receipt]:
        for _ in range(100):
            receipts = self.connector.job(self.sample.object, job, writes, self.sample.read_paths())
            if receipts is not None:
                return {receipt.key: receipt for receipt in receipts}
            self.settle(1.0)
        raise AssertionError("a job ends")

    def shows(self, item: Item, values: Mapping[str, Any]) -> None:
        """AssertionError unless the item holds these values, as the vendor shows them."""
        for path, sent in values.items():
            wanted = self.sample.shown.get(path, sent)
            held = get_path(fields_of(item), path)
            expect(held == wanted, f"{path} shows {wanted!r}, it held {held!r}")


def fields_of(item: Item) -> dict[str, Any]:
    """The item's fields, decoded where the connector left them as JSON."""
    if isinstance(item.fields, dict):
        return item.fields
    decoded: dict[str, Any] = decode(item.fields)
    return decoded


def expect(holds: bool, what: str) -> None:
    """AssertionError with what should hold, in words, unless it does."""
    if not holds:
        raise AssertionError(what)


def expect_error(kind: type[E], what: str, call: Callable[..., object], *args: object) -> E:
    """The error that the call must raise. Any other one passes through as it is."""
    try:
        got = call(*args)
    except kind as error:
        return error
    raise AssertionError(f"{what} raises {kind.__name__}, it gave {got!r}"[:600])


def once(ids: Iterable[str]) -> set[str]:
    """The ids as a set; AssertionError when one occurs twice."""
    seen = list(ids)
    expect(len(seen) == len(set(seen)), "every record is seen exactly once")
    return set(seen)
