"""A Stripe account on loopback: customers, subscriptions, events and signed webhooks.

What it knows, and from where: paths, parameters and shapes from the specification of API 2022-11-15; the period of a
subscription moves to its items from `Stripe-Version` 2025-03-31 on (vendor's fixtures of 2026-08); idempotency as
docs.stripe.com/api/idempotent_requests says (an answer is kept 24 hours, none for a request that failed validation;
the same key with other parameters is an `idempotency_error`); event attributes from docs.stripe.com/api/events/object;
signatures as the vendor's library checks them.

Options: `api_version` (what webhooks are rendered in, and requests that name none), `rate_limit` (calls a second;
Stripe allows 100 in live mode (unverified), here 10,000), `search_lag` (seconds until search shows a write; Stripe
says less than a minute, here 0). With `webhook_secret_previous` two secrets sign side by side, as during a rotation.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import msgspec

from connectors.stripe.simulator_hooks import Endpoints
from connectors.stripe.simulator_objects import Json, before, customer, rendered, subscription, written
from connectors.stripe.simulator_query import (
    RefusedError,
    created_between,
    member_text,
    number,
    read_form,
    read_query,
    search_terms,
    type_fits,
)
from syncbroker.sdk.simulator import Request, Response, Router, Simulator, basic, bearer, set_path

SECOND = 1_000_000
DAY = 86_400
Handler = Callable[[Request, Mapping[str, str]], Response]
_PREFIX = {"customers": "cus", "subscriptions": "sub"}
_SINGULAR = {"customers": "customer", "subscriptions": "customer.subscription"}


class _Cause(msgspec.Struct, frozen=True):
    """`Event.request`: the request behind an event, all null for what Stripe did by itself."""

    id: str | None = None
    idempotency_key: str | None = None


class StripeSimulator(Simulator):
    """Objects: customers, subscriptions. Removing a subscription by hand cancels it, as the dashboard does."""

    kind: ClassVar[str] = "stripe"

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        known = (self.credentials.get(f"webhook_secret{tail}", "") for tail in ("", "_previous"))
        self._secrets = [one for one in known if one]
        self._endpoints = Endpoints()
        self._version = str(self.options.get("api_version", "2022-11-15"))
        self._rate = int(self.options.get("rate_limit", 10_000))
        self._search_lag = float(self.options.get("search_lag", 0))
        self._stored: dict[str, dict[str, Json]] = {"customers": {}, "subscriptions": {}, "events": {}}
        self._deleted: dict[str, Json] = {}
        self._places: dict[
            str, tuple[int, int]
        ] = {}  # id -> (created, order): deleted ones still mark a page
        self._indexed: dict[str, list[tuple[int, Json | None]]] = {}  # what search shows, from when on
        self._answers: dict[str, tuple[int, bytes, Response]] = {}
        self._calls: deque[int] = deque()
        self._cause = _Cause()
        self._count = 0
        self._routes: Router[tuple[str, bool, Handler]] = Router(
            [
                ("GET", "/v1/customers/search", ("customers.search", False, self._search)),
                ("GET", "/v1/webhook_endpoints", ("webhook_endpoints.list", False, self._hooks)),
                ("POST", "/v1/webhook_endpoints", ("webhook_endpoints.create", True, self._hook)),
                ("POST", "/v1/webhook_endpoints/{id}", ("webhook_endpoints.update", True, self._rehook)),
                ("GET", "/v1/{object}", ("list", False, self._list)),
                ("GET", "/v1/{object}/{id}", ("get", False, self._get)),
                ("POST", "/v1/customers", ("customers.create", True, self._create)),
                ("POST", "/v1/customers/{id}", ("customers.update", True, self._update)),
                ("DELETE", "/v1/customers/{id}", ("customers.delete", True, self._delete)),
            ]
        )

    # ---- the vendor's API ----

    def operation(self, request: Request) -> tuple[str, bool, int]:
        match self._routes.match(request.method, request.path):
            case ("list" | "get" as what, write, _), {"object": object, **_rest} if object in self._stored:
                return f"{object}.{what}", write, 0
            case (name, write, _), _ if name not in ("list", "get"):
                return name, write, int(write)
        return "unknown", False, 0

    def handle(self, request: Request) -> Response:
        self._count += 1
        id = f"req_{self._count:014d}"
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        headers = {"Request-Id": id, "Stripe-Version": self._asked_version(request)}
        try:
            self._admit(request)
            handler, names = self._found(request)
            if key is None:
                self._cause = _Cause(id)
                answer = handler(request, names)
            else:
                self._cause = _Cause(id, key)
                headers["Idempotency-Key"] = key
                answer, replayed = self._once(key, request, lambda: handler(request, names))
                headers |= {"Idempotent-Replayed": "true"} if replayed else {}
        except RefusedError as error:
            headers["Stripe-Should-Retry"] = "true" if error.status in (409, 429) else "false"
            answer = Response(status=error.status, json={"error": error.error})
        finally:
            self._cause = _Cause()
        return Response(status=answer.status, json=answer.json, headers=headers)

    def _found(self, request: Request) -> tuple[Handler, Mapping[str, str]]:
        found = self._routes.match(request.method, request.path)
        if found is None or found[1].get("object", "customers") not in self._stored:
            raise RefusedError(404, f"Unrecognized request URL ({request.method}: {request.path}).")
        return found[0][2], found[1]

    def _asked_version(self, request: Request) -> str:
        return request.headers.get("stripe-version", self._version)

    def _admit(self, request: Request) -> None:
        user = basic(request)
        if (bearer(request) or (user[0] if user else "")) != self.credentials.get("api_key"):
            raise RefusedError(401, "Invalid API Key provided")
        version = self._asked_version(request)
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}(\.\w+)?", version):
            raise RefusedError(400, f"Invalid Stripe API version: {version}")
        now = self.now()
        while self._calls and self._calls[0] <= now - SECOND:
            self._calls.popleft()
        if len(self._calls) >= self._rate:
            raise RefusedError(429, "Request rate limit exceeded.", code="rate_limit")
        self._calls.append(now)

    def _once(self, key: str, request: Request, act: Callable[[], Response]) -> tuple[Response, bool]:
        """The answer under this idempotency key, and whether it is an earlier one."""
        if len(key) > 255:
            raise RefusedError(400, "Idempotency keys can have 255 characters", type="idempotency_error")
        mark = b"\0".join([request.method.encode(), request.path.encode(), request.body])
        at, known, answer = self._answers.get(key, (0, b"", Response()))
        if known and self.now() - at < DAY * SECOND:
            if known != mark:
                raise RefusedError(
                    400,
                    "Keys for idempotent requests can only be used with the same parameters they were first used with.",
                    type="idempotency_error",
                )
            return answer, True
        answer = act()  # a RefusedError leaves nothing behind: the request never began
        self._answers[key] = (self.now(), mark, answer)
        return answer, False

    def _list(self, request: Request, names: Mapping[str, str]) -> Response:
        object = names["object"]
        asked = read_query(request)
        found = sorted(self._stored[object].values(), key=lambda one: self._places[one["id"]], reverse=True)
        first, last = created_between(asked.get("created", {}))
        found = [one for one in found if first <= one["created"] <= last and self._wanted(object, one, asked)]
        page, more = self._page(found, asked)
        return Response(
            json={
                "object": "list",
                "data": [self._shown(one, request) for one in page],
                "has_more": more,
                "url": f"/v1/{object}",
            }
        )

    def _wanted(self, object: str, one: Json, asked: Json) -> bool:
        if object == "customers":
            return "email" not in asked or one["email"] == asked["email"]
        if object == "subscriptions":
            status = asked.get("status")
            fits = one["status"] != "canceled" if status is None else status in ("all", one["status"])
            return fits and asked.get("customer", one["customer"]) == one["customer"]
        if one["created"] < self._seconds() - 30 * DAY:
            return False
        types = asked.get("types") or ({"0": asked["type"]} if "type" in asked else None)
        return types is None or any(type_fits(one["type"], wanted) for wanted in types.values())

    def _page(self, found: list[Json], asked: Json) -> tuple[list[Json], bool]:
        limit = number("limit", asked.get("limit", "10"))
        if not 1 <= limit <= 100:
            raise RefusedError(400, "Invalid integer: between 1 and 100", param="limit")
        for name, newer in (("starting_after", False), ("ending_before", True)):
            if name not in asked:
                continue
            place = self._places.get(asked[name])
            if place is None:
                gone = f"No such object: '{asked[name]}'"
                raise RefusedError(400, gone, code="resource_missing", param=name)
            if newer:
                found = [one for one in found if self._places[one["id"]] > place]
                return found[-limit:], len(found) > limit
            found = [one for one in found if self._places[one["id"]] < place]
        return found[:limit], len(found) > limit

    def _search(self, request: Request, names: Mapping[str, str]) -> Response:
        asked = read_query(request)
        terms = search_terms(asked.get("query", ""))
        horizon = self.now() - int(self._search_lag * SECOND)
        found = [
            one
            for one in (self._visible(id, horizon) for id in self._indexed)
            if one and all(member_text(one, *name).casefold() == text.casefold() for name, text in terms)
        ]
        limit = number("limit", asked.get("limit", "10"))
        start = number("page", asked.get("page", "0"))
        more = len(found) > start + limit
        return Response(
            json={
                "object": "search_result",
                "data": [self._shown(one, request) for one in found[start : start + limit]],
                "has_more": more,
                "next_page": str(start + limit) if more else None,
                "url": "/v1/customers/search",
            }
        )

    def _visible(self, id: str, horizon: int) -> Json | None:
        states = [state for at, state in self._indexed[id] if at <= horizon]
        return states[-1] if states else None

    def _get(self, request: Request, names: Mapping[str, str]) -> Response:
        if names["id"] in self._deleted:
            return Response(json=self._deleted[names["id"]])
        return Response(json=self._shown(self._known(names["object"], names["id"]), request))

    def _create(self, request: Request, names: Mapping[str, str]) -> Response:
        given = read_form(request)
        blank = customer("", 0, {})
        fields = {name: value for name, value in written(blank, given).items() if value != blank[name]}
        made = self._add("customers", fields)
        self._tell("customer.created", made)
        return Response(json=self._shown(made, request))

    def _update(self, request: Request, names: Mapping[str, str]) -> Response:
        given = read_form(request)
        changed = self._change(
            "customers", names["id"], written(self._known("customers", names["id"]), given)
        )
        return Response(json=self._shown(changed, request))

    def _delete(self, request: Request, names: Mapping[str, str]) -> Response:
        self._drop(self._known("customers", names["id"]))
        return Response(json=self._deleted[names["id"]])

    def _hooks(self, request: Request, names: Mapping[str, str]) -> Response:
        shown = {"object": "list", "data": self._endpoints.newest_first(), "has_more": False}
        return Response(json={**shown, "url": "/v1/webhook_endpoints"})

    def _hook(self, request: Request, names: Mapping[str, str]) -> Response:
        made = self._endpoints.create(read_form(request), self._seconds(), self._secrets[0])
        self.connect(made["url"])
        return Response(json=made)

    def _rehook(self, request: Request, names: Mapping[str, str]) -> Response:
        return Response(json=self._endpoints.update(names["id"], read_form(request)))

    def _known(self, object: str, id: str) -> Json:
        found = self._stored[object].get(id)
        if found is None:
            what = f"No such {object.removesuffix('s')}: '{id}'"
            raise RefusedError(404, what, code="resource_missing", param="id")
        return found

    def _shown(self, record: Json, request: Request) -> Json:
        return rendered(record, self._asked_version(request))

    # ---- the hand of a person ----

    def edit(self, object: str, id: str, changes: Mapping[str, Any], actor: str = "person") -> None:
        after = rendered(self._stored[object][id], "")
        for path, value in changes.items():
            head, _, rest = path.partition(".")
            if head == "metadata" and value is None:
                after["metadata"].pop(rest, None)
            else:
                set_path(after, path, value)
        make = customer if object == "customers" else subscription
        with_parts = make(id, after["created"], after)
        self._caused(actor, lambda: self._change(object, id, with_parts))

    def insert(self, object: str, fields: Mapping[str, Any], actor: str = "person") -> str:
        made = self._add(object, fields)
        self._caused(actor, lambda: self._tell(f"{_SINGULAR[object]}.created", made))
        return str(made["id"])

    def remove(self, object: str, id: str, actor: str = "person") -> None:
        record = self._stored[object][id]
        act = self._drop if object == "customers" else self._cancel
        self._caused(actor, lambda: act(record))

    def records(self, object: str) -> list[Json]:
        return [rendered(one, self._version) for _, one in sorted(self._stored[object].items())]

    def load(self, data: Mapping[str, list[Json]]) -> None:
        """Members that are not given are filled in; an item of a subscription may be no more than its price."""
        for object in ("customers", "subscriptions"):
            for fields in data.get(object, []):
                self._add(object, fields)

    def _caused(self, actor: str, act: Callable[[], Any]) -> None:
        """Do it for this actor: a person's request in the dashboard has an id and no key (unverified)."""
        self._count += 1
        id = f"req_{self._count:014d}"
        key = f"other-{self._count}" if actor == "integration" else None
        self._cause = _Cause() if actor == "automation" else _Cause(id, key)
        try:
            act()
        finally:
            self._cause = _Cause()

    # ---- what happens ----

    def _seconds(self) -> int:
        return self.now() // SECOND

    def _add(self, object: str, fields: Mapping[str, Any]) -> Json:
        self._count += 1
        id = fields.get("id") or f"{_PREFIX[object]}_{self._count:014d}"
        if id in self._places:
            raise ValueError(f"{object}: {id} exists")
        created = fields.get("created") or self._seconds()
        make = customer if object == "customers" else subscription
        made = make(id, created, fields)
        self._stored[object][id] = made
        self._places[id] = (made["created"], self._count)
        self._index(object, id, made)
        return made

    def _change(self, object: str, id: str, after: Json) -> Json:
        """Put the state after a write in place; an event tells of it unless nothing changed."""
        previous = before(self._stored[object][id], after)
        self._stored[object][id] = after
        if previous:
            self._index(object, id, after)
            ended = object == "subscriptions" and "status" in previous and after["status"] == "canceled"
            self._tell(f"{_SINGULAR[object]}.{'deleted' if ended else 'updated'}", after, previous)
        return after

    def _drop(self, record: Json) -> None:
        """Deleting a customer cancels its subscriptions (specification, DELETE /v1/customers/{customer})."""
        id = record["id"]
        for one in [*self._stored["subscriptions"].values()]:
            if one["customer"] == id and one["status"] != "canceled":
                self._cancel(one)
        del self._stored["customers"][id]
        self._deleted[id] = {"id": id, "object": "customer", "deleted": True}
        self._index("customers", id, None)
        self._tell("customer.deleted", record)

    def _cancel(self, record: Json) -> None:
        now = self._seconds()
        ended = record | {"status": "canceled", "canceled_at": now, "ended_at": now}
        self._change("subscriptions", record["id"], ended)

    def _index(self, object: str, id: str, state: Json | None) -> None:
        if object == "customers":
            horizon = self.now() - int(self._search_lag * SECOND)
            states = self._indexed.get(id, [])
            shown = [index for index, (at, _) in enumerate(states) if at <= horizon]
            self._indexed[id] = [*states[shown[-1] if shown else 0 :], (self.now(), state)]

    def _tell(self, type: str, record: Json, previous: Json | None = None) -> None:
        """Keep an event and send it to the webhook endpoint."""
        self._count += 1
        id = f"evt_{self._count:014d}"
        data: Json = {"object": rendered(record, self._version)}
        if type.endswith(".updated") and previous:
            data["previous_attributes"] = previous
        event: Json = {
            "id": id,
            "object": "event",
            "api_version": self._version,
            "created": self._seconds(),
            "data": data,
            "livemode": False,
            "pending_webhooks": int(bool(self.webhook)),
            "request": msgspec.to_builtins(self._cause),
            "type": type,
        }
        self._stored["events"][id] = event
        self._places[id] = (event["created"], self._count)
        if not self._endpoints.sends(self.webhook, type):
            return
        body = msgspec.json.encode(event)
        signed = f"{event['created']}.".encode() + body
        signatures = [hmac.new(one.encode(), signed, hashlib.sha256).hexdigest() for one in self._secrets]
        header = ",".join([f"t={event['created']}", *(f"v1={one}" for one in signatures)])
        self.send("POST", "", {"Content-Type": "application/json", "Stripe-Signature": header}, body)
