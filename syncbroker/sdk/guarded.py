"""A connector held to its contract: whatever its calls raise is one of our errors, and its pages come to an end.

A connector may be somebody else's package. Its faults become `Unavailable` (or, in a write, `OutcomeUnknown`), so that
its system is left alone and the others go on. Messages name the kind of fault only: what was read is not in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from syncbroker.core.types import Event, Item, Micros, Receipt, Write
from syncbroker.errors import BadDelivery, OutcomeUnknown, Refused, Retry, SyncbrokerError, Unavailable
from syncbroker.sdk.connector import (
    Change,
    Connector,
    Delivery,
    Hook,
    Identifies,
    ObjectSpec,
    Page,
    Registers,
    Samples,
)

Items = TypeVar("Items", bound=Sequence[Item])

LARGEST = 2**62
"""No stamp (µs) comes near it."""


class Guarded:
    """Has the methods of `Connector`, and passes everything on."""

    def __init__(self, inner: Connector, system: str) -> None:
        self._inner, self._system = inner, system
        self._identifies = inner if isinstance(inner, Identifies) else None
        self.kind: str = inner.kind
        self.credentials_schema: Mapping[str, Any] = inner.credentials_schema
        self.options_schema: Mapping[str, Any] = inner.options_schema
        self.objects: Mapping[str, ObjectSpec] = inner.objects

    def scan(self, object: str, paths: Sequence[str], *, resume: str | None = None) -> Iterator[Page]:
        return self._pages("scan", lambda: self._inner.scan(object, paths, resume=resume))

    def poll(
        self, object: str, paths: Sequence[str], *, cursor: str, resume: str | None = None
    ) -> Iterator[Page]:
        return self._pages("poll", lambda: self._inner.poll(object, paths, cursor=cursor, resume=resume))

    def start_cursor(self, object: str, began: Micros) -> str | None:
        with self._ours("start_cursor"):
            return self._inner.start_cursor(object, began)

    def read(self, object: str, ids: Sequence[str], paths: Sequence[str]) -> list[Item]:
        with self._ours("read"):
            return self._checked(list(self._inner.read(object, ids, paths)))

    def find(self, object: str, keys: Mapping[str, Any], paths: Sequence[str]) -> list[Item]:
        with self._ours("find"):
            return self._checked(list(self._inner.find(object, keys, paths)))

    def write(self, object: str, writes: Sequence[Write], paths: Sequence[str]) -> list[Receipt]:
        with self._ours("write", OutcomeUnknown):
            return [self._receipt(receipt) for receipt in self._inner.write(object, writes, paths)]

    def job(
        self, object: str, job: str, writes: Sequence[Write], paths: Sequence[str]
    ) -> list[Receipt] | None:
        with self._ours("job"):
            done = self._inner.job(object, job, writes, paths)
            return None if done is None else [self._receipt(receipt) for receipt in done]

    def history(self, object: str, id: str, path: str) -> list[Change]:
        with self._ours("history"):
            return list(self._inner.history(object, id, path))

    def answer_check(self, delivery: Delivery) -> str | None:
        with self._ours("answer_check"):
            return self._inner.answer_check(delivery)

    def authenticate(self, delivery: Delivery) -> None:
        with self._ours("authenticate"):
            self._inner.authenticate(delivery)

    def events(self, delivery: Delivery) -> list[Event]:
        """A fault passes as it is: it is about one delivery, which is set aside, and tells nothing of the system."""
        found = list(self._inner.events(delivery))
        try:
            self._checked([one.item or Item(id=one.id, fields={}) for one in found])
        except Retry as error:
            raise BadDelivery(error.message, status=400, system=self._system) from error
        return found

    # ---- what a connector may lack ----

    def delivery_id(self, delivery: Delivery) -> str:
        """Empty for a vendor that gives none, and for a body that cannot be read."""
        if self._identifies is None:
            return ""
        try:
            with self._ours("delivery_id"):
                return self._identifies.delivery_id(delivery)
        except SyncbrokerError:  # `events` says what is wrong with it, once it is stored
            return ""

    def hooks(self, url: str, objects: Sequence[str]) -> list[Hook]:
        with self._ours("hooks"):
            return self._registering().hooks(url, objects)

    def register(self, url: str, objects: Sequence[str]) -> Hook:
        with self._ours("register"):
            return self._registering().register(url, objects)

    def sample(self, url: str, at: Micros) -> Delivery:
        if not isinstance(self._inner, Samples):
            raise Refused(f"{self.kind} has no webhooks that could be tried", system=self._system)
        with self._ours("sample"):
            return self._inner.sample(url, at)

    def _registering(self) -> Registers:
        if not isinstance(self._inner, Registers):
            raise Refused(f"{self.kind} has no webhooks that could be registered", system=self._system)
        return self._inner

    # ---- inside ----

    @contextmanager
    def _ours(self, method: str, wrong: type[Retry] = Unavailable) -> Iterator[None]:
        try:
            yield
        except SyncbrokerError:
            raise
        except Exception as error:  # the fault of a package that we know nothing of may be any
            raise self._fault(f"failed in {method}: {type(error).__name__}", wrong) from error

    def _fault(self, what: str, wrong: type[Retry] = Unavailable) -> Retry:
        hint = "this is the connector's own fault: tell those who make it"
        return wrong(f"the connector `{self.kind}` {what}", hint=hint, system=self._system)

    def _pages(self, method: str, start: Callable[[], Iterator[Page]]) -> Iterator[Page]:
        met: set[str] = set()
        with self._ours(method):
            pages = iter(start())
        while True:
            with self._ours(method):
                page = next(pages, None)
            if page is None:
                return
            if page.resume is not None and page.resume in met:
                raise self._fault(f"leads in a circle in {method}: a page comes twice")
            self._checked(page.items)
            yield page
            if page.resume is not None:
                met.add(page.resume)

    def _checked(self, items: Items) -> Items:
        for item in items:
            id_: object = item.id  # msgspec does not check what a struct is made with
            stamp = item.stamp
            if not isinstance(id_, str) or not id_ or "\0" in id_ or item.merged_into == "":
                raise self._fault("gave a record without a usable id")
            if stamp is not None and not 0 <= stamp < LARGEST:
                raise self._fault("gave a record with a version that cannot be")
        return items

    def _receipt(self, receipt: Receipt) -> Receipt:
        if receipt.item is not None:
            self._checked([receipt.item])
        return receipt
