"""Stripe: customers are read and written, subscriptions are read.

How Stripe is spoken to, and where that is known from:

- `Authorization: Bearer sk_...` and a pinned `Stripe-Version`; form-encoded bodies (specification of API 2022-11-15).
- Lists are newest first, 100 a page, continued by `starting_after=<last id>` (specification, parameters of
  GET /v1/customers). A record made meanwhile appears before the first page, never between two, so a scan is complete.
- There is no "updated" filter. Changes come from GET /v1/events, kept 30 days (specification, GET /v1/events). An event
  shows an old state without a version, so it only names what to read.
- There is no batch endpoint, no ETag and no If-Match: one call per write, last write wins. Each write carries an
  `Idempotency-Key`, so it may be repeated after a lost answer for at least 24 hours
  (docs.stripe.com/api/idempotent_requests).
- Nested hashes are replaced whole by an update (stripe/stripe-go#179 lost `country` that way; unverified for
  `address`), so an update of part of an address sends all of it, as read just before.
- E-mail addresses are not unique, so a create never meets an existing customer; `find` asks the list's exact,
  case-sensitive `email` filter, which shows a write at once, unlike search.
- Webhooks: `Stripe-Signature: t=<unix>,v1=<hex>[,v1=<hex>]`, HMAC-SHA256 over `t.body`; while a secret is rotated there
  is one v1 per secret (docs.stripe.com/webhooks#verify-manually).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeVar
from urllib.parse import quote

import msgspec

from connectors.stripe import hooks
from connectors.stripe.objects import ADDRESS, EVENT_TYPES, OBJECTS, STAMP_PATH, form, item
from syncbroker import errors
from syncbroker.core.types import Actor, Event, Item, Micros, Receipt, Write
from syncbroker.sdk.connector import Account, Change, Delivery, Hook, ObjectSpec, Page
from syncbroker.sdk.paths import get_path
from syncbroker.sdk.webhook import check_signature, check_time, header, json_body, secrets, unix_time

SECOND = 1_000_000
PAGE = 100
EVENTS_KEPT = 29 * 86_400  # seconds; Stripe says 30 days, one is left for clocks that differ
OVERLAP = 120  # seconds that a poll goes back before the last one began, for events that were listed late
_KINDS: Mapping[str, Literal["created", "changed", "deleted"]] = {
    "customer.created": "created",
    "customer.deleted": "deleted",
    "customer.subscription.created": "created",
}
OUR_KEY = "syncbroker-"
"""How our idempotency keys begin: Stripe repeats the key in the event, which then shows who wrote."""


class Stripe:
    """One Stripe account. Credentials: `api_key`; `webhook_secret`, and `webhook_secret_previous` during a rotation."""

    kind: ClassVar[str] = "stripe"
    credentials_schema: ClassVar[Mapping[str, Any]] = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "required": ["api_key"],
        "additionalProperties": False,
        "properties": {
            "api_key": {"type": "string", "minLength": 1, "description": "secret or restricted key"},
            "webhook_secret": {
                "type": "string",
                "minLength": 1,
                "description": "whsec_..., as text",
            },
            "webhook_secret_previous": {
                "type": "string",
                "description": "the one before, while it is rotated",
            },
        },
    }
    options_schema: ClassVar[Mapping[str, Any]] = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "api_version": {
                "type": "string",
                "pattern": r"^\d{4}-\d{2}-\d{2}(\.\w+)?$",
                "description": "the Stripe-Version to ask for",
            },
        },
    }
    objects: ClassVar[Mapping[str, ObjectSpec]] = OBJECTS

    def __init__(self, account: Account) -> None:
        self._system = account.system
        self._now = account.now
        self._secrets = secrets(account.credentials)
        self._version = str(account.options.get("api_version", "2022-11-15"))
        self._http = account.http(
            account.url or "https://api.stripe.com",
            headers={
                "Authorization": f"Bearer {account.credentials['api_key']}",
                "Stripe-Version": self._version,
            },
            message=_message,
            # 409 is another request with the same idempotency key still at work, never a newer state
            statuses={409: errors.Unavailable},
        )

    # ---- reading ----

    def scan(self, object: str, paths: Sequence[str], *, resume: str | None = None) -> Iterator[Page]:
        """Newest first. Subscriptions are listed with `status=all`, or the list leaves canceled ones out."""
        only = {"status": "all"} if object == "subscriptions" else {}
        for page in self._pages(f"/v1/{object}", _Records, only, after=resume):
            items = [self._item(object, payload) for payload in page.data]
            yield Page(items=items, resume=items[-1].id if page.has_more else None, proven=not page.has_more)

    def poll(
        self, object: str, paths: Sequence[str], *, cursor: str, resume: str | None = None
    ) -> Iterator[Page]:
        """Reads each record that an event since `cursor` (Unix seconds) names. Refused for a cursor so old that events
        before it are forgotten: then only a scan misses nothing."""
        now = self._now() // SECOND
        if now - int(cursor) > EVENTS_KEPT:
            raise errors.Refused(
                f"Stripe keeps events for 30 days and the last poll of {object} is older",
                hint=f"sweep {object}; polling goes on from there",
                system=self._system,
            )
        began, _, after = (resume or f"{now}:").partition(":")
        upto = str(max(int(cursor), int(began) - OVERLAP))
        asked = {f"types[{n}]": name for n, name in enumerate(EVENT_TYPES[object])}
        seen: set[str] = set()
        for page in self._pages("/v1/events", _Events, {**asked, "created[gte]": cursor}, after=after):
            ids = [id for id in dict.fromkeys(told.data.object.id for told in page.data) if id not in seen]
            seen.update(ids)
            items = self.read(object, ids, paths)
            if page.has_more:
                yield Page(items=items, resume=f"{began}:{page.last()}")
            else:
                yield Page(items=items, cursor=upto)

    def start_cursor(self, object: str, began: Micros) -> str | None:
        return str(began // SECOND - OVERLAP)

    def read(self, object: str, ids: Sequence[str], paths: Sequence[str]) -> list[Item]:
        """One call per id. A deleted customer answers 200 with `deleted`; an unknown id answers 404."""
        return [self._read(object, id) for id in ids]

    def _read(self, object: str, id: str) -> Item:
        try:
            payload = self._get(f"/v1/{object}/{quote(id, safe='')}", dict[str, Any])
        except errors.Missing:
            return Item(id=id, fields={}, deleted=True)
        return self._item(object, payload)

    def find(self, object: str, keys: Mapping[str, Any], paths: Sequence[str]) -> list[Item]:
        """Customers by `email` (exact letter case, shows every write) or by our stamp (search, which may lag)."""
        if object == "customers" and "email" in keys:
            pages = self._pages("/v1/customers", _Records, {"email": keys["email"]})
        elif object == "customers" and STAMP_PATH in keys:
            stamp = str(keys[STAMP_PATH]).replace("\\", "\\\\").replace("'", "\\'")
            pages = self._search(f"metadata['syncbroker_id']:'{stamp}'")
        else:
            known = " or ".join(OBJECTS[object].keys) or "nothing"
            raise errors.Refused(f"{object} can be found by {known} only", system=self._system)
        found = (self._item(object, payload) for page in pages for payload in page.data)
        return [one for one in found if all(get_path(one.fields, path) == keys[path] for path in keys)]

    # ---- writing ----

    def write(self, object: str, writes: Sequence[Write], paths: Sequence[str]) -> list[Receipt]:
        return [self._write(write) for write in writes]

    def _write(self, write: Write) -> Receipt:
        path = "/v1/customers" if write.id is None else f"/v1/customers/{quote(write.id, safe='')}"
        try:
            after = self._send(write, path, self._complete(write, path))
        except errors.Missing as error:
            return Receipt(key=write.key, status="missing", id=write.id, message=error.message)
        except errors.Refused as error:
            # the key came before with another body: that attempt arrived, what became of it is not known
            doubtful = error.code == "idempotency_error"
            return Receipt(
                key=write.key,
                status="unknown" if doubtful else "refused",
                id=write.id,
                message=error.message,
            )
        return Receipt(key=write.key, status="done", id=after.id, item=after)

    def _complete(self, write: Write, path: str) -> dict[str, Any]:
        """The values to send: with our stamp on a create, with the whole address where a part of it is written."""
        if write.op == "create":
            stamp = {STAMP_PATH: write.stamp_id} if write.stamp_id else {}
            return {name: value for name, value in (stamp | write.values).items() if value is not None}
        whole = [f"address.{part}" for part in ADDRESS]
        missing = [name for name in whole if name not in write.values]
        if write.op == "delete" or len(missing) in (0, len(whole)):
            return dict(write.values)
        now = self._item("customers", self._get(path, dict[str, Any]))
        if now.deleted:
            raise errors.Missing("the customer is deleted", status=404, system=self._system)
        return {name: get_path(now.fields, name) for name in missing} | write.values

    def _send(self, write: Write, path: str, values: Mapping[str, Any]) -> Item:
        try:
            answer = self._http.request(
                "DELETE" if write.op == "delete" else "POST",
                path,
                form=form(values) or None,
                headers={"Idempotency-Key": OUR_KEY + write.key},
                repeatable=True,
                shape=dict[str, Any],
            )
            return self._item("customers", answer.json)
        except errors.Unavailable as error:
            # repeating was safe, but whether any of the attempts arrived is not known
            raise errors.OutcomeUnknown(error.message, delay=error.delay, system=error.system) from error

    def job(
        self, object: str, job: str, writes: Sequence[Write], paths: Sequence[str]
    ) -> list[Receipt] | None:
        raise errors.Refused("Stripe has no asynchronous writes", system=self._system)

    def history(self, object: str, id: str, path: str) -> list[Change]:
        raise errors.Refused("Stripe has no history of a field", system=self._system)

    # ---- webhooks ----

    def answer_check(self, delivery: Delivery) -> str | None:
        return None

    def authenticate(self, delivery: Delivery) -> None:
        """Any v1 may match any secret. The vendor's libraries let a timestamp from the future pass; this does not."""
        parts = [part.partition("=") for part in header(delivery, "Stripe-Signature").split(",")]
        stamp = next((value for name, _, value in parts if name == "t"), "")
        given = [value for name, _, value in parts if name == "v1"]
        check_signature(given, self._secrets, stamp, ".", delivery.body)
        check_time(unix_time(stamp), delivery.received)

    def delivery_id(self, delivery: Delivery) -> str:
        """The event's: "log the event IDs you've processed, and don't process already-logged events"
        (docs.stripe.com/webhooks, "Handle duplicate events")."""
        told: _Named = json_body(delivery, _Named)
        return told.id

    def hooks(self, url: str, objects: Sequence[str]) -> list[Hook]:
        return hooks.listed(self._http, url, objects)

    def register(self, url: str, objects: Sequence[str]) -> Hook:
        return hooks.register(self._http, url, objects, self._version)

    def sample(self, url: str, at: Micros) -> Delivery:
        return hooks.sample(url, at, self._secrets[0])

    def events(self, delivery: Delivery) -> list[Event]:
        """One event; about its own type when the endpoint is subscribed to more than this connector reads.

        A subscription that "is deleted" was canceled: it can be read for ever, so that is a change. The snapshot in
        the event carries no version; that of a customer is handed on as a hint.
        """
        told: _Delivered = json_body(delivery, _Delivered)
        object = next((name for name, types in EVENT_TYPES.items() if told.type in types), None)
        id = told.data.object.get("id")
        if object is None or not id or not isinstance(id, str):
            return [Event(object=told.type or "unnamed", id=told.id, kind="changed", event_id=told.id)]
        actor = told.request.actor() if told.request else Actor(origin="automation")
        kind = _KINDS.get(told.type, "changed")
        at = told.created * SECOND
        whole = object == "customers" and kind != "deleted"
        shown = item(object, told.data.object) if whole else None
        return [Event(object=object, id=id, kind=kind, event_id=told.id, at=at, actor=actor, item=shown)]

    # ---- calls ----

    def _get(self, path: str, shape: type[T], params: Mapping[str, Any] | None = None) -> T:
        found: T = self._http.request("GET", path, params=params, shape=shape).json
        return found

    def _pages(
        self, path: str, shape: type[L], params: Mapping[str, Any], after: str | None = None
    ) -> Iterator[L]:
        while True:
            start = {"starting_after": after} if after else {}
            page = self._get(path, shape, {**params, "limit": PAGE, **start})
            after = page.last()
            if page.has_more and after is None:
                raise errors.Unavailable(f"{path}: an empty page with more after it", system=self._system)
            yield page
            if not page.has_more:
                return

    def _search(self, query: str) -> Iterator[_Records]:
        at: str | None = None
        while True:
            page = self._get("/v1/customers/search", _Records, {"query": query, "limit": PAGE, "page": at})
            yield page
            at = page.next_page
            if not page.has_more or at is None:
                return

    def _item(self, object: str, payload: Mapping[str, Any]) -> Item:
        if not isinstance(payload.get("id"), str):
            raise errors.Unavailable("Stripe answered with an object that has no id", system=self._system)
        return item(object, payload)


def _message(_status: int, payload: Any) -> tuple[str, str]:
    """`{"error": {"type", "code", "message", "param"}}` -> text and code (specification, `api_errors`)."""
    error = payload["error"]
    where = f" ({error['param']})" if error.get("param") else ""
    return f"{error.get('message', '')}{where}", error.get("code") or error["type"]


class _Asked(msgspec.Struct):
    """The API request behind an event; `id` is null when Stripe acted by itself (docs.stripe.com/api/events/object)."""

    id: str | None = None
    idempotency_key: str | None = None

    def actor(self) -> Actor:
        if self.id is None:
            return Actor(origin="automation")
        key = self.idempotency_key
        if key and key.startswith(OUR_KEY):
            return Actor(origin="integration", name="syncbroker")
        # other programs send keys as well; a request without one may be a person in the dashboard (unverified)
        return Actor(origin="integration" if key else "unknown", name=self.id)


class _Object(msgspec.Struct):
    id: str = ""  # some objects of other events have none


class _Data(msgspec.Struct):
    object: _Object


class _Named(msgspec.Struct):
    id: str = ""


class _Snapshot(msgspec.Struct):
    object: dict[str, Any]


class _Delivered(msgspec.Struct):
    """What is read of an Event that was delivered."""

    id: str
    type: str
    created: int
    data: _Snapshot
    request: _Asked | None = None


class _Told(msgspec.Struct):
    """What is read of an Event in a list: a poll reads the object itself."""

    id: str
    type: str
    created: int
    data: _Data


class _Records(msgspec.Struct):
    """A page of a list or of a search; only the latter has `next_page`."""

    data: list[dict[str, Any]]
    has_more: bool
    next_page: str | None = None

    def last(self) -> str | None:
        return self.data[-1].get("id") if self.data else None


class _Events(msgspec.Struct):
    data: list[_Told]
    has_more: bool

    def last(self) -> str | None:
        return self.data[-1].id if self.data else None


T = TypeVar("T")
L = TypeVar("L", _Records, _Events)
