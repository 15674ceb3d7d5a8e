"""Mailchimp Marketing 3.0 on loopback: one audience with its members, tags, batch endpoint and webhooks.

Paths, parameters and limits as in `mailchimp-marketing` 3.0.80. Options: `list_id`; `merge_fields`, further tags;
`sources`, which of "user", "admin", "api" fire webhooks (all by default, so the broker meets the echo of its own
writes). Credentials: `api_key`; with `webhook_signing_secret` deliveries are signed.

The vendor allows ten open requests per user; so does this, counted over all connections.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import urlencode

from connectors.mailchimp import simulator_wire as wire
from connectors.mailchimp.simulator_audience import Audience, hash_of
from connectors.mailchimp.simulator_wire import Payload, Problem, invalid, not_found
from syncbroker.sdk.paths import nested
from syncbroker.sdk.simulator import Request, Response, Router, Simulator, Wire, basic, bearer

OPEN_REQUESTS = 10
BATCH = 500
LIST_ID = "a6b5da1054"
EVENTS = ("subscribe", "unsubscribe", "profile", "upemail", "cleaned", "campaign")

Parts = Mapping[str, str]
Handler = Callable[["MailchimpSimulator", Request, Parts], Response]


class MailchimpSimulator(Simulator):
    kind: ClassVar[str] = "mailchimp"

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        more = tuple(self.options.get("merge_fields", ()))
        self.audience = Audience(self.options.get("list_id", LIST_ID), more)
        self.sources = set(self.options.get("sources", ("user", "admin", "api")))
        self.events = set(EVENTS)
        self.open_requests = 0
        self._counting = threading.Lock()
        self._crowded = threading.local()

    # ---- the vendor's API ----

    def answer(self, request: Request) -> Wire | None:
        """Counts what is open at this instant; the limit itself is the vendor's answer and so part of `handle`."""
        with self._counting:
            self.open_requests += 1
            self._crowded.now = self.open_requests > OPEN_REQUESTS
        try:
            return super().answer(request)
        finally:
            with self._counting:
                self.open_requests -= 1

    def handle(self, request: Request) -> Response:
        try:
            handler, parts = self._admitted(request)
            return handler(self, request, parts)
        except Problem as problem:
            return problem.response(len(self.log) + 1)

    def _admitted(self, request: Request) -> tuple[Handler, Parts]:
        if getattr(self._crowded, "now", False):
            detail = "You have exceeded the limit of 10 simultaneous connections."
            raise Problem(429, "Too Many Requests", detail)
        _, password = basic(request) or ("", bearer(request))
        if not hmac.compare_digest(password.encode(), self.credentials["api_key"].encode()):
            detail = "Your API key may be invalid, or you've attempted to access the wrong datacenter."
            raise Problem(401, "API Key Invalid", detail)
        found = _ROUTES.match(request.method, request.path)
        if not found and _ROUTES.methods(request.path):
            raise wire.not_allowed("The requested method and resource are not compatible.")
        if not found or found[1].get("list", self.audience.list_id) != self.audience.list_id:
            raise not_found()
        (_, _, handler), parts = found
        return handler, parts

    def operation(self, request: Request) -> tuple[str, bool, int]:
        found = _ROUTES.match(request.method, request.path)
        if not found:
            return "unknown", request.method != "GET", 0
        (name, write, _), _ = found
        if name != "members.batch":
            return name, write, 1
        try:
            return name, write, len(request.json()["members"])
        except (ValueError, LookupError, TypeError):
            return name, write, 0

    def ping(self, request: Request, parts: Parts) -> Response:
        return Response(json={"health_status": "Everything's Chimpy!"})

    def show_list(self, request: Request, parts: Parts) -> Response:
        counts = [one["status"] for one in self.audience.members.values()]
        stats = {
            "member_count": counts.count("subscribed"),
            "unsubscribe_count": counts.count("unsubscribed"),
            "cleaned_count": counts.count("cleaned"),
        }
        shown = {"id": self.audience.list_id, "name": "Customers", "double_optin": False, "stats": stats}
        return Response(json=wire.selected(shown, request))

    def show_merge_fields(self, request: Request, parts: Parts) -> Response:
        fields = [
            {
                "merge_id": n,
                "tag": tag,
                "name": tag,
                "type": "address" if tag == "ADDRESS" else "text",
                "required": False,
            }
            for n, tag in enumerate(self.audience.merge_fields, start=1)
        ]
        return Response(json={"merge_fields": fields, "list_id": parts["list"], "total_items": len(fields)})

    def list_members(self, request: Request, parts: Parts) -> Response:
        count = wire.number(request, "count", 10, 1000)
        offset = wire.number(request, "offset", 0, 10**9)
        found = self.audience.listed(request.query)
        shown = {
            "members": found[offset : offset + count],
            "list_id": parts["list"],
            "total_items": len(found),
        }
        return Response(json=wire.selected(shown, request))

    def show_member(self, request: Request, parts: Parts) -> Response:
        return Response(json=wire.selected(self._member(parts), request))

    def add_member(self, request: Request, parts: Parts) -> Response:
        given = wire.body(request)
        self._tell(self.audience.add(given, self.now(), "api"))
        return Response(json=self._copy(hash_of(given["email_address"])))

    def put_member(self, request: Request, parts: Parts) -> Response:
        given = wire.body(request)
        member = self.audience.find(parts["hash"])
        if member is None or member["status"] == "archived":
            return self.add_member(request, parts)
        self._tell(self.audience.change(member, given, self.now(), "api"))
        return Response(json=self._copy(member["id"]))

    def patch_member(self, request: Request, parts: Parts) -> Response:
        member = self._member(parts)
        # PATCH knows no tags: they are ignored
        given = {name: value for name, value in wire.body(request).items() if name != "tags"}
        self._tell(self.audience.change(member, given, self.now(), "api"))
        return Response(json=self._copy(member["id"]))

    def archive_member(self, request: Request, parts: Parts) -> Response:
        self._tell(self.audience.archive(self._member(parts), self.now(), "api"))
        return Response(status=204)

    def delete_member(self, request: Request, parts: Parts) -> Response:
        self._tell(self.audience.forget(self._member(parts), "api"))
        return Response(status=204)

    def show_tags(self, request: Request, parts: Parts) -> Response:
        tags = self._member(parts)["tags"]
        return Response(json={"tags": tags, "total_items": len(tags)})

    def change_tags(self, request: Request, parts: Parts) -> Response:
        member = self._member(parts)
        try:
            wanted = {tag["name"]: _ACTIVE[tag["status"]] for tag in wire.body(request)["tags"]}
        except (LookupError, TypeError):
            raise invalid(errors={"tags": "Required"}) from None
        self.audience.set_tags(member, wanted, self.now())
        return Response(status=204)

    def batch(self, request: Request, parts: Parts) -> Response:
        """New members need a status; of existing ones it is changed only where it is given."""
        given = wire.body(request)
        members = given.get("members")
        if not isinstance(members, list) or not all(isinstance(one, dict) for one in members):
            raise invalid(errors={"members": "Required"})
        if len(members) > BATCH:
            raise invalid(errors={"members": f"At most {BATCH}"})
        created: list[Payload] = []
        updated: list[Payload] = []
        failed: list[Payload] = []
        seen: set[str] = set()
        for one in members:
            try:
                id = self.audience.address(one)
                if id in seen:
                    raise invalid("Duplicate items found in your request.")
                seen.add(id)
                member = self.audience.active(id)
                if member and given.get("update_existing"):
                    self._tell(self.audience.change(member, one, self.now(), "api"))
                    updated.append(self._copy(id))
                else:
                    self._tell(self.audience.add(one, self.now(), "api"))
                    created.append(self._copy(id))
            except Problem as problem:
                failed.append(_failure(one.get("email_address", ""), problem))
        totals = {
            "total_created": len(created),
            "total_updated": len(updated),
            "error_count": len(failed),
        }
        shown = {"new_members": created, "updated_members": updated, "errors": failed}
        return Response(json={**shown, **totals, "_links": []})

    def show_webhooks(self, request: Request, parts: Parts) -> Response:
        hooks = [self._hook()] if self.webhook else []
        return Response(json={"webhooks": hooks, "list_id": parts["list"], "total_items": len(hooks)})

    def add_webhook(self, request: Request, parts: Parts) -> Response:
        self._set_hook({"events": {}, "sources": {}, **wire.body(request)})
        return Response(json=self._hook())

    def change_webhook(self, request: Request, parts: Parts) -> Response:
        if not self.webhook or parts["hook"] != self._hook()["id"]:
            raise not_found()
        self._set_hook(wire.body(request))
        return Response(json=self._hook())

    def _set_hook(self, given: Payload) -> None:
        """There is one at a time here. What is not given stays as it is."""
        try:
            self.connect(given.get("url", self.webhook))
        except ValueError as error:
            raise invalid("We couldn't verify the provided URL.", {"url": str(error)}) from None
        if "sources" in given:
            self.sources = {name for name, on in given["sources"].items() if on}
        if "events" in given:
            self.events = {name for name, on in given["events"].items() if on}

    def _hook(self) -> Payload:
        return {
            "id": hashlib.sha256(self.webhook.encode()).hexdigest()[:10],
            "url": self.webhook,
            "events": {name: name in self.events for name in EVENTS},
            "sources": {name: name in self.sources for name in ("user", "admin", "api")},
            "list_id": self.audience.list_id,
        }

    # ---- webhooks ----

    def connect(self, url: str) -> None:
        """ValueError unless the URL answers 200 to a GET; "" ends the deliveries."""
        agent = {"User-Agent": "MailChimp.com WebHook Validator"}
        if url and self.deliver("GET", url, agent, b"") != 200:
            raise ValueError("the URL did not answer a GET with 200")
        super().connect(url)

    def _tell(self, told: Iterable[Payload]) -> None:
        fired = datetime.fromtimestamp(self.now() // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        for data in told:
            type, source = data.pop("type"), data.pop("source")
            if source not in self.sources or type not in self.events:
                continue
            body = urlencode([("type", type), ("fired_at", fired), *wire.form("data", data)]).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": "MailChimp"}
            self.send("POST", "", headers | self._signature(body), body)

    def _signature(self, body: bytes) -> dict[str, str]:
        secret = self.credentials.get("webhook_signing_secret", "")
        if not secret:
            return {}
        time = str(self.now() // 1_000_000)
        digest = hmac.new(secret.encode(), time.encode() + b"." + body, "sha256").hexdigest()
        return {"X-Mailchimp-Signature": f"t={time},v1={digest}"}

    # ---- people, and the start ----

    def edit(self, object: str, id: str, changes: Mapping[str, Any], actor: str = "person") -> None:
        """A person is the contact in the preference centre; "admin" is somebody in the web app, "integration" another
        program. `tags` is the whole list of names."""
        member = self._held(id)
        given = nested({path: value for path, value in changes.items() if path != "tags"})
        for name, value in given.get("merge_fields", {}).items():
            held = member["merge_fields"].get(name)
            if isinstance(value, dict) and isinstance(held, dict):
                given["merge_fields"][name] = {**held, **value}
        try:
            self._tell(self.audience.change(member, given, self.now(), _source(actor)))
        except Problem as problem:
            raise ValueError(problem.detail) from problem
        if "tags" in changes:
            names = dict.fromkeys((tag["name"] for tag in member["tags"]), False)
            self.audience.set_tags(member, names | dict.fromkeys(changes["tags"], True), self.now())

    def insert(self, object: str, fields: Mapping[str, Any], actor: str = "person") -> str:
        try:
            given = {"status": "subscribed", **nested(fields)}
            self._tell(self.audience.add(given, self.now(), _source(actor)))
        except Problem as problem:
            raise ValueError(problem.detail) from problem
        return hash_of(fields["email_address"])

    def remove(self, object: str, id: str, actor: str = "person") -> None:
        """For good, other than what DELETE does."""
        self._tell(self.audience.forget(self._held(id), _source(actor)))

    def records(self, object: str) -> list[dict[str, Any]]:
        """Archived members too, with that status."""
        return [self._copy(id) for id in sorted(self.audience.members)]

    def load(self, data: Mapping[str, list[dict[str, Any]]]) -> None:
        """`members`: `email_address`, and what else of the payload is known; `tags` may be names. `opted_out: false`
        lets the API subscribe an unsubscribed one again."""
        try:
            for given in data.get("members", []):
                self.audience.restore(given, self.now())
        except Problem as problem:
            raise ValueError(problem.detail) from problem

    # ---- inside ----

    def _member(self, parts: Parts) -> Payload:
        member = self.audience.find(parts["hash"])
        if member is None:
            raise not_found()
        return member

    def _held(self, id: str) -> Payload:
        member = self.audience.find(id)
        if member is None:
            raise LookupError(f"no member {id}")
        return member

    def _copy(self, id: str) -> Payload:
        path = f"/3.0/lists/{self.audience.list_id}/members/{id}"
        return {
            **self.audience.members[id],
            "_links": [{"rel": "self", "href": path, "method": "GET"}],
        }


_ACTIVE = {"active": True, "inactive": False}
_MEMBER = "/3.0/lists/{list}/members/{hash}"
_SIM = MailchimpSimulator
_ROUTES: Router[tuple[str, bool, Handler]] = Router(
    [
        ("GET", "/3.0/ping", ("ping", False, _SIM.ping)),
        ("GET", "/3.0/lists/{list}", ("lists.get", False, _SIM.show_list)),
        ("POST", "/3.0/lists/{list}", ("members.batch", True, _SIM.batch)),
        ("GET", "/3.0/lists/{list}/merge-fields", ("merge_fields.list", False, _SIM.show_merge_fields)),
        ("GET", "/3.0/lists/{list}/webhooks", ("webhooks.list", False, _SIM.show_webhooks)),
        ("POST", "/3.0/lists/{list}/webhooks", ("webhooks.create", True, _SIM.add_webhook)),
        ("PATCH", "/3.0/lists/{list}/webhooks/{hook}", ("webhooks.update", True, _SIM.change_webhook)),
        ("GET", "/3.0/lists/{list}/members", ("members.list", False, _SIM.list_members)),
        ("POST", "/3.0/lists/{list}/members", ("members.create", True, _SIM.add_member)),
        ("GET", _MEMBER, ("members.get", False, _SIM.show_member)),
        ("PUT", _MEMBER, ("members.put", True, _SIM.put_member)),
        ("PATCH", _MEMBER, ("members.update", True, _SIM.patch_member)),
        ("DELETE", _MEMBER, ("members.archive", True, _SIM.archive_member)),
        ("POST", _MEMBER + "/actions/delete-permanent", ("members.delete", True, _SIM.delete_member)),
        ("GET", _MEMBER + "/tags", ("members.tags", False, _SIM.show_tags)),
        ("POST", _MEMBER + "/tags", ("members.change_tags", True, _SIM.change_tags)),
    ]
)


def _failure(address: str, problem: Problem) -> Payload:
    field, message = next(iter(problem.errors.items()), ("", ""))
    exists = problem.title == "Member Exists"
    return {
        "email_address": address,
        "error": problem.detail,
        "error_code": "ERROR_CONTACT_EXISTS" if exists else "ERROR_GENERIC",
        "field": field,
        "field_message": message,
    }


def _source(actor: str) -> str:
    return {"person": "user", "user": "user", "admin": "admin"}.get(actor, "api")
