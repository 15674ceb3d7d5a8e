"""The contract between the broker and one kind of application.

A connector is a class with a `kind`, a table of `objects`, and the methods of `Connector`. It speaks the vendor's words
only: it knows nothing of mappings, records or decisions. It is built once per system and used from several threads.
It is found through the entry point group `syncbroker.connectors` (name = kind, value = the class).

It raises the errors of `syncbroker.errors` and nothing else; `sdk.http.Http` raises them for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import msgspec

from syncbroker.core.types import Actor, Event, Item, Micros, Receipt, Write

if TYPE_CHECKING:
    from syncbroker.sdk.http import Http


class FieldSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the vendor lets one do with a field. `refers_to`: the object whose external id the field holds."""

    writable: bool = True
    clearable: bool = True
    refers_to: str = ""
    required: bool = False


class ObjectSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One collection of the vendor.

    `fields`: dotted path -> what may be done with it; `open_fields`: other paths (custom properties) exist too.
    `stamp`: µs of resolution of `Item.stamp` (1_000: milliseconds, 1_000_000: seconds), or None when the vendor gives
    no usable version, so that the broker orders states by its own reads.
    `lag`: seconds within which a read may not yet show a write. `sorted_scan`: a scan yields ascending ids.
    `batch`: how many writes one call takes, per operation; an operation that is missing cannot be done.
    `conditional`: writes can be made conditional on `Write.version`. `shows`: a write's answer carries all fields.
    `history`: `Connector.history` works. `events`: webhooks tell of changes. `keys`: paths that `find` can search.
    `stamp_path`: the field that keeps `Write.stamp_id`, searchable by `find`, or "".
    `id_path`: the field that the external id is made of (Mailchimp's address), or "". `consent_path`: the field whose
    loosening needs `Item.consent`. `read_batch`: how many ids one read call takes.
    `remembers`: seconds for which the vendor knows `Write.key` again: a create that is repeated with the same key and
    values within them makes nothing new, and has the first one's answer. 0: it does not.
    """

    name: str
    fields: Mapping[str, FieldSpec]
    open_fields: bool = False
    stamp: int | None = None
    lag: float = 0.0
    sorted_scan: bool = False
    batch: Mapping[str, int] = {}
    read_batch: int = 100
    conditional: bool = False
    shows: bool = True
    history: bool = False
    events: bool = False
    keys: tuple[str, ...] = ()
    stamp_path: str = ""
    id_path: str = ""
    consent_path: str = ""
    remembers: float = 0.0


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a scan or poll. `resume`: opaque, continues after this page; None on the last page.

    `cursor` on the last page of a poll: where the next poll starts. `proven`: on the last page of a scan, True when
    the scan certainly saw every record (only then absence counts as evidence of a deletion).
    """

    items: Sequence[Item]
    resume: str | None = None
    cursor: str | None = None
    proven: bool = False


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a field's history at the vendor, newest first. `ours`: written with the broker's credentials."""

    value: Any
    at: Micros
    ours: bool
    actor: Actor = Actor()


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook request as it arrived. Header names are lower-case; `secret` is the last part of a secret URL.

    `url` is the full public URL, as the vendor signed it. `received` is the broker's clock. `repeated`: headers that
    came more than once, of which `headers` has the last; what proves a delivery must not be among them.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    received: Micros
    secret: str = ""
    repeated: frozenset[str] = frozenset()


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook as it is registered at the vendor.

    `url` without its secret part. `ours`: it leads to this broker. `missing`: the vendor's names of events that the
    objects need and the webhook does not send. `secret`: what it signs with, where the vendor tells that to whoever
    registers; shown to the person who asked, never logged.
    """

    id: str
    url: str
    ours: bool
    enabled: bool = True
    missing: tuple[str, ...] = ()
    secret: str = ""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What a connector is built from. `http(base_url, ...)` makes an `Http` with this system's limits and clock.

    `url` replaces the vendor's base URL when given (scheme, host, port; no trailing slash).
    """

    system: str
    credentials: Mapping[str, str]
    options: Mapping[str, Any]
    http: Callable[..., Http]
    now: Callable[[], Micros]
    url: str = ""


class Connector(Protocol):
    """All methods may raise Retry, Reject or FixSetup errors; a batch method reports per record where it can."""

    kind: ClassVar[str]
    credentials_schema: ClassVar[Mapping[str, Any]]
    """JSON Schema (draft-07) of the credentials; `check` and start-up use it."""
    options_schema: ClassVar[Mapping[str, Any]]
    objects: ClassVar[Mapping[str, ObjectSpec]]

    def __init__(self, account: Account) -> None: ...

    def scan(self, object: str, paths: Sequence[str], *, resume: str | None = None) -> Iterator[Page]:
        """Every record of the object, for first reads and sweeps."""

    def poll(
        self, object: str, paths: Sequence[str], *, cursor: str, resume: str | None = None
    ) -> Iterator[Page]:
        """Records changed since `cursor` (overlap is fine, gaps are not). For an object without a filter this raises
        Refused; the broker then scans."""

    def start_cursor(self, object: str, began: Micros) -> str | None:
        """The poll cursor that misses nothing after a scan that began at `began`; None when the object cannot poll."""

    def read(self, object: str, ids: Sequence[str], paths: Sequence[str]) -> list[Item]:
        """These records now, in any order. One that the vendor proves gone comes back with `deleted=True`."""

    def find(self, object: str, keys: Mapping[str, Any], paths: Sequence[str]) -> list[Item]:
        """Records whose every path equals the given raw value, asked before a create. Empty when none."""

    def write(self, object: str, writes: Sequence[Write], paths: Sequence[str]) -> list[Receipt]:
        """Writes of one operation, at most `batch[op]` of them: one vendor call. A receipt per write, any order.

        Raises Retry (nothing was written), OutcomeUnknown (settle all), FixSetup; never Reject.
        """

    def job(
        self, object: str, job: str, writes: Sequence[Write], paths: Sequence[str]
    ) -> list[Receipt] | None:
        """Receipts of an asynchronous write, or None while it is still running."""

    def history(self, object: str, id: str, path: str) -> list[Change]:
        """Who wrote the field, newest first (only where `ObjectSpec.history`)."""

    def answer_check(self, delivery: Delivery) -> str | None:
        """The body to answer a URL check (a GET at registration) with, or None when this is no such check."""

    def authenticate(self, delivery: Delivery) -> None:
        """BadDelivery unless the vendor provably sent it. Looks at the raw body only; nothing is parsed before.

        It runs between requests, so it makes no call and waits for nothing.
        """

    def events(self, delivery: Delivery) -> list[Event]:
        """What an authenticated delivery says. BadDelivery(400) when it is no payload of this vendor.

        What the connector does not know, a type of event or an object, is an event too, about an object that is not
        among its `objects`: the broker counts it and leaves it alone.
        """


@runtime_checkable
class Identifies(Protocol):
    """A connector may have this, where the vendor gives events an id of their own."""

    def delivery_id(self, delivery: Delivery) -> str:
        """The id of what an authenticated delivery tells: equal ids, same events. "" when it has none.

        Made of what is signed only. BadDelivery when the body cannot be read.
        """


@runtime_checkable
class Registers(Protocol):
    """A connector may have this, where the vendor lets its webhooks be set up by an API.

    `url` is the broker's own for this system, without a secret part. `objects` are those that the mapping reads.
    """

    def hooks(self, url: str, objects: Sequence[str]) -> list[Hook]:
        """Every webhook that is registered, whoever's it is."""

    def register(self, url: str, objects: Sequence[str]) -> Hook:
        """See to it that there is one webhook at `url` for these objects, enabled: found, put right, or made."""


@runtime_checkable
class Samples(Protocol):
    """A connector may have this, so that the way in can be tried."""

    def sample(self, url: str, at: Micros) -> Delivery:
        """A delivery that is proven as the vendor's own are, sent at `at`, about nothing that the connector knows."""


WriteOp = Literal["create", "update", "delete"]
