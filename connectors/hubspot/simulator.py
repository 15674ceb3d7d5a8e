"""HubSpot on loopback: authentication, limits, error bodies, webhooks, and the hand of a person at the vendor.

Served: objects v3 (contacts, companies: list, read, create, update, archive, batch, search, merge), properties v3,
associations v4 (batch read, create, archive from contacts to companies), the token information of a private app.
State is in `simulator_portal`, endpoints in `simulator_api`, search in `simulator_search`, deliveries in
`simulator_webhooks`.

Credentials: `access_token` (asked of every request), `webhook_secret` (signs deliveries).

Options, all optional:
  properties   custom, {"contacts": {"lead_source": {"type": "enumeration", "options": ["Website"]}}}; their members
               are those of `simulator_records.Property`. `syncbroker_id` (unique) is there on both objects.
  rewrite      {"country": {"US": "United States"}}: a portal that stores another value than it is given
  search_lag   seconds until a change can be found by search (1.0)
  search_ceiling   how many results of one query can be paged through (10000)
  webhook_delay    seconds for which events are collected before they are posted together (0.02)
  limits       {"ten_secondly": 190, "search_secondly": 5, "daily": 650000}; none are enforced by default
  merge_makes_new  the survivor of a merge is a new record (False: the primary one)
  app_id, portal_id
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from connectors.hubspot.simulator_answers import Json, linked, shown
from connectors.hubspot.simulator_api import OBJECTS, Api, Parts, Route
from connectors.hubspot.simulator_portal import Portal
from connectors.hubspot.simulator_records import (
    KINDS,
    PRIMARY,
    UNLABELED,
    Property,
    Record,
    Refusal,
    Source,
    from_iso,
)
from connectors.hubspot.simulator_webhooks import Outbox, signed_headers
from syncbroker.decoding import convert
from syncbroker.sdk.simulator import Request, Response, Router, Simulator, bearer

HANDS: Mapping[str, Source] = {
    "person": Source(type="CRM_UI", id="userId:864745280"),
    "automation": Source(type="AUTOMATION_PLATFORM", id="enrollmentId:4711"),
    "integration": Source(type="INTEGRATION", id="2931120"),
}


class HubSpotSimulator(Simulator):
    kind: ClassVar[str] = "hubspot"

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        options = self.options
        self.app_id = int(options.get("app_id", 19_083_857))
        self.portal = Portal(
            now=self.now,
            emit=self._emit,
            lag=float(options.get("search_lag", 1.0)),
            rewrite=options.get("rewrite", {}),
            merge_makes_new=bool(options.get("merge_makes_new", False)),
        )
        for object, known in options.get("properties", {}).items():
            for name, members in known.items():
                self.portal.define(object, convert({"name": name, **members}, Property))
        app = Source(type="INTEGRATION", id=str(self.app_id))
        self._api = Api(self.portal, app, ceiling=int(options.get("search_ceiling", 10_000)))
        self._portal_id = int(options.get("portal_id", 44_237_313))
        self._outbox = Outbox(portal_id=self._portal_id, app_id=self.app_id)
        token_info = ("POST", "/oauth/v2/private-apps/get/access-token-info")
        self._routes: Router[Route] = Router(
            [(*token_info, Route("token_info", False, self._token_info)), *self._api.routes()]
        )
        self._limits: Mapping[str, int] = options.get("limits", {})
        self._calls: deque[int] = deque()  # ms
        self._searches: deque[int] = deque()
        self._refusals = 0

    # ---- the hand of a person ----

    def edit(self, object: str, id: str, changes: Mapping[str, Any], actor: str = "person") -> None:
        """Property -> value. `company_id` sets the primary company of a contact; None removes it. `actor`: person,
        automation or integration (another one than the app)."""
        record, source = self._held(object, id), HANDS[actor]
        try:
            self.portal.update(record, _without_company(changes), source)
        except Refusal as error:
            raise ValueError(error.message) from error
        if "company_id" in changes:
            self._set_company(id, changes["company_id"], source)

    def insert(self, object: str, fields: Mapping[str, Any], actor: str = "person") -> str:
        """Property -> value, `company_id` among them; or these as member `properties`, as `load` takes them."""
        given, source = fields.get("properties", fields), HANDS[actor]
        try:
            record = self.portal.create(object, _without_company(given), source)
        except Refusal as error:
            raise ValueError(error.message) from error
        if given.get("company_id"):
            self._set_company(record.id, given["company_id"], source)
        return record.id

    def remove(self, object: str, id: str, actor: str = "person") -> None:
        self.portal.archive(self._held(object, id), HANDS[actor])

    def records(self, object: str) -> list[Json]:
        """Members id, properties, createdAt, updatedAt, archived, associations (contacts with a company)."""
        names = self.portal.properties[object]
        found = [shown(self.portal, record, names, empties=False) for record in self.portal.live(object)]
        return [each | self._associations(object, each["id"]) for each in found]

    def load(self, data: Mapping[str, list[Json]]) -> None:
        """Members of a record: properties (`company_id` among them, for a contact's primary company), and if wanted id,
        associations, createdAt, updatedAt (ISO 8601). Properties that are not known become known."""
        now, source = self.now() // 1000, Source(type="IMPORT", id="1")
        for object in sorted(data):  # companies before contacts
            for given in data[object]:
                created = from_iso(given["createdAt"]) if "createdAt" in given else now
                updated = from_iso(given["updatedAt"]) if "updatedAt" in given else created
                properties, id = given.get("properties", {}), str(given.get("id") or "")
                record = self.portal.restore(
                    object, id, _without_company(properties), source, created, updated
                )
                links = given.get("associations", {}).get("companies", {}).get("results", [])
                companies = [properties.get("company_id"), *(each["id"] for each in links)]
                for n, company in enumerate(dict.fromkeys(str(each) for each in companies if each)):
                    types = {UNLABELED} if n else {UNLABELED, PRIMARY}
                    self.portal.links.setdefault(record.id, {})[company] = types

    def _associations(self, object: str, id: str) -> Json:
        links = linked(self.portal, id) if object == "contacts" else {}
        return {"associations": links} if links else {}

    def _held(self, object: str, id: str) -> Record:
        record = self.portal.get(object, str(id))
        if record is None:
            raise LookupError(f"there is no {KINDS[object].singular} {id}")
        return record

    def _set_company(self, contact: str, company: Any, source: Source) -> None:
        if company:
            self.portal.associate(contact, self._held("companies", company).id, PRIMARY, source)
            return
        for id, types in self.portal.companies(contact).items():
            if PRIMARY in types:
                self.portal.dissociate(contact, id, source)

    # ---- requests ----

    def operation(self, request: Request) -> tuple[str, bool, int]:
        found = self._routes.match(request.method, request.path)
        if found is None:
            return "unknown", request.method != "GET", 0
        route, parts = found
        object = "associations" if "to" in parts else OBJECTS.get(parts.get("object", ""), "account")
        inputs = (_body(request) or {}).get("inputs")
        return f"{object}.{route.name}", route.write, len(inputs) if isinstance(inputs, list) else 1

    def handle(self, request: Request) -> Response:
        found = self._routes.match(request.method, request.path)
        searching = found is not None and found[0].name == "search"
        try:
            self._admit(request, searching=searching)
            answer = self._routed(request, found)
        except Refusal as error:
            answer = self._refused(error)
        except (KeyError, TypeError, ValueError) as error:
            answer = self._refused(Refusal(400, "VALIDATION_ERROR", f"Invalid input: {error!r}"))
        # search tells nothing of limits (developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines)
        return answer if searching else msgspec.structs.replace(answer, headers=self._limit_headers())

    def _routed(self, request: Request, found: tuple[Route, dict[str, str]] | None) -> Response:
        if found is None:
            known = self._routes.methods(request.path)
            raise Refusal(405 if known else 404, "OBJECT_NOT_FOUND", "resource not found")
        body = _body(request)
        if body is None:
            raise Refusal(400, "VALIDATION_ERROR", "Invalid input JSON")
        route, parts = found
        return route.call(request, body, parts)

    def _admit(self, request: Request, *, searching: bool) -> None:
        if not bearer(request):
            raise Refusal(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")
        if bearer(request) != self.credentials.get("access_token"):
            raise Refusal(401, "INVALID_AUTHENTICATION", "The access token is not valid.")
        now = self.now() // 1000
        _forget(self._calls, now - 86_400_000)
        _forget(self._searches, now - 1000)
        # the ten-second limit does not count searches (the specification marks them exempt)
        own = (
            ("SECONDLY", len(self._searches), self._limits.get("search_secondly"))
            if searching
            else ("TEN_SECONDLY_ROLLING", self._rolling(), self._limits.get("ten_secondly"))
        )
        for policy, used, most in (("DAILY", len(self._calls), self._limits.get("daily")), own):
            if most is not None and used >= most:
                raise Refusal(
                    429, "RATE_LIMITS", f"You have reached your {policy.lower()} limit.", policy=policy
                )
        (self._searches if searching else self._calls).append(now)

    def _rolling(self) -> int:
        since = self.now() // 1000 - 10_000
        return sum(1 for at in self._calls if at > since)

    def _limit_headers(self) -> dict[str, str]:
        most, daily = self._limits.get("ten_secondly", 190), self._limits.get("daily", 650_000)
        return {
            "X-HubSpot-RateLimit-Daily": str(daily),
            "X-HubSpot-RateLimit-Daily-Remaining": str(max(daily - len(self._calls), 0)),
            "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
            "X-HubSpot-RateLimit-Max": str(most),
            "X-HubSpot-RateLimit-Remaining": str(max(most - self._rolling(), 0)),
        }

    def _refused(self, error: Refusal) -> Response:
        """`status`, `message`, `correlationId`, `category`, and what else the error has. A 429 as seen by users of the
        API: errorType and policyName, and no Retry-After (unverified)."""
        self._refusals += 1
        correlation = f"{self._refusals:08x}-0000-4000-8000-000000000000"
        body: Json = {"status": "error", "message": error.message, "correlationId": correlation}
        if error.policy:
            body |= {"errorType": "RATE_LIMIT", "policyName": error.policy, "requestId": correlation}
            return Response(status=error.status, json=body)
        if error.errors:
            body["errors"] = error.errors
        if (
            error.context and error.category != "CONFLICT"
        ):  # a single conflict names the record in its text alone
            body["context"] = error.context
        return Response(status=error.status, json=body | {"category": error.category})

    def _token_info(self, request: Request, body: Json, parts: Parts) -> Response:
        if body.get("tokenKey") != self.credentials.get("access_token"):
            raise Refusal(404, "OBJECT_NOT_FOUND", "token not found")
        return Response(
            json={"userId": 1, "hubId": self._portal_id, "appId": self.app_id, "scopes": ["oauth"]}
        )

    # ---- webhooks ----

    def _emit(self, subscription: str, body: Mapping[str, Any], source: Source) -> None:
        """Everybody's changes are told, the app's own among them."""
        at = self.now() // 1000
        if self.webhook and self._outbox.add(subscription, body, at=at, source=(source.type, source.id)):
            self.later(float(self.options.get("webhook_delay", 0.02)), self._deliver)

    def _deliver(self) -> None:
        for body in self._outbox.deliveries():
            secret, at = self.credentials.get("webhook_secret", ""), self.now() // 1000
            self.send("POST", "", signed_headers(secret, "POST", self.webhook, body, at), body)


def _body(request: Request) -> Json | None:
    """The decoded object; {} for an empty body, None for what is no JSON object."""
    try:
        body = request.json() if request.body else {}
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _without_company(fields: Mapping[str, Any]) -> Json:
    return {name: value for name, value in fields.items() if name != "company_id"}


def _forget(times: deque[int], until: int) -> None:
    while times and times[0] <= until:
        times.popleft()
