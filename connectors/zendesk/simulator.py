"""A Zendesk Support account on loopback: users, their identities, organizations, jobs, exports and signed webhooks.

What it knows, and from where: paths, parameters and bodies from the vendor's published API document (client package
python-zendesk); the error for a `create_many` without permission from its description; the 429 texts from
airbytehq/airbyte#11899 and #11035; events and jobs as simulator_events.py and simulator_jobs.py say. Unverified: the
answer to a `start_time` that is too recent, and the body of user.merged. A path may end in `.json`.

Options: `rate_limit` (calls a minute, by plan 200 to 2,500; here 100,000), `export_limit` (of exports a minute, the
vendor's 10; here 10,000), `export_age` (seconds that exports leave out, the vendor's 60), `job_seconds` (until a job
runs, 0.05), `data_imports` (whether create_many of users is allowed; the vendor's default is not, here it is),
`search_lag` (seconds until search finds an address, with the vendor up to minutes, here 0), `strip_phone` (telephone
numbers lose their formatting).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from connectors.zendesk.simulator_events import changes, envelope
from connectors.zendesk.simulator_hooks import Hooks
from connectors.zendesk.simulator_jobs import Jobs
from connectors.zendesk.simulator_records import (
    NOUN,
    InvalidError,
    Json,
    MissingError,
    Records,
    text_of,
)
from connectors.zendesk.simulator_requests import (
    RefusedError,
    carried,
    cursor_of,
    cursor_page,
    id_in,
    object_in,
    objects_in,
    offset_page,
    place_of,
    same,
    split_ids,
)
from syncbroker.sdk.paths import nested
from syncbroker.sdk.simulator import Request, Response, Router, Simulator, basic

SECOND = 1_000_000
MINUTE = 60 * SECOND
_NOT_FOUND = Response(status=404, json={"error": "RecordNotFound", "description": "Not found"})
Handler = Callable[[Request, Mapping[str, str]], Response]


class ZendeskSimulator(Simulator):
    """Objects: users, organizations. Credentials: `email`, `api_token`, `webhook_secret`."""

    kind: ClassVar[str] = "zendesk"

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        option = self.options.get
        self._rate = int(option("rate_limit", 100_000))
        self._export_rate = int(option("export_limit", 10_000))
        self._export_age = float(option("export_age", 60))
        self._imports = bool(option("data_imports", True))
        self._search_lag = float(option("search_lag", 0))
        self._records = Records(self.now, self._changed, strip=bool(option("strip_phone", False)))
        # (object, id) -> (µs, order) of the last change
        self._changes: dict[tuple[str, int], tuple[int, int]] = {}
        self._gone: dict[int, Json] = {}  # deleted organizations, which exports still list
        self._jobs = Jobs(self.now, self.later, float(option("job_seconds", 0.05)))
        self._registered = Hooks()
        self._calls: deque[int] = deque()
        self._exports: deque[int] = deque()
        self._count = 0
        self._routes: Router[tuple[str, bool, Handler]] = Router(
            [
                ("GET", "/api/v2/incremental/users/cursor", ("users.export", False, self._export_users)),
                ("GET", "/api/v2/incremental/organizations", ("organizations.export", False, self._export)),
                ("GET", "/api/v2/job_statuses/{id}", ("jobs.show", False, self._job)),
                ("GET", "/api/v2/users/{id}/identities", ("identities.list", False, self._identities)),
                ("POST", "/api/v2/users/{id}/identities", ("identities.create", True, self._identify)),
                ("PUT", "/api/v2/users/{id}/identities/{one}", ("identities.update", True, self._reidentify)),
                (
                    "PUT",
                    "/api/v2/users/{id}/identities/{one}/make_primary",
                    ("identities.make_primary", True, self._make_primary),
                ),
                ("PUT", "/api/v2/users/{id}/merge", ("users.merge", True, self._merge)),
                ("GET", "/api/v2/webhooks", ("webhooks.list", False, self._hooks)),
                ("POST", "/api/v2/webhooks", ("webhooks.create", True, self._hook)),
                ("PATCH", "/api/v2/webhooks/{id}", ("webhooks.update", True, self._rehook)),
                ("GET", "/api/v2/webhooks/{id}/signing_secret", ("webhooks.secret", False, self._secret)),
                ("GET", "/api/v2/{object}/search", ("search", False, self._search)),
                ("GET", "/api/v2/{object}/show_many", ("show_many", False, self._show_many)),
                ("POST", "/api/v2/{object}/create_many", ("create_many", True, self._create_many)),
                ("PUT", "/api/v2/{object}/update_many", ("update_many", True, self._update_many)),
                ("DELETE", "/api/v2/{object}/destroy_many", ("destroy_many", True, self._destroy_many)),
                ("GET", "/api/v2/{object}", ("list", False, self._list)),
                ("POST", "/api/v2/{object}", ("create", True, self._create)),
                ("GET", "/api/v2/{object}/{id}", ("show", False, self._show)),
                ("PUT", "/api/v2/{object}/{id}", ("update", True, self._update)),
                ("DELETE", "/api/v2/{object}/{id}", ("delete", True, self._delete)),
            ]
        )

    # ---- the vendor's API ----

    def operation(self, request: Request) -> tuple[str, bool, int]:
        found = self._found(request)
        if found is None:
            return "unknown", False, 0
        (name, write, _), names = found
        return ".".join(filter(None, (names.get("object"), name))), write, carried(request) if write else 0

    def handle(self, request: Request) -> Response:
        try:
            self._admit(request)
            found = self._found(request)
            if found is None:
                return Response(status=404, json={"error": "InvalidEndpoint", "description": "Not found"})
            answer = found[0][2](request, found[1])
        except RefusedError as error:
            answer = error.answer
        except InvalidError as error:
            invalid = {"error": "RecordInvalid", "description": "Record validation errors"}
            answer = Response(status=422, json=invalid | {"details": error.details})
        except MissingError:
            answer = _NOT_FOUND
        left = max(0, self._rate - len(self._calls))
        limits = {"X-Rate-Limit": str(self._rate), "X-Rate-Limit-Remaining": str(left)}
        return msgspec.structs.replace(answer, headers={**limits, **answer.headers})

    def _found(self, request: Request) -> tuple[tuple[str, bool, Handler], dict[str, str]] | None:
        found = self._routes.match(request.method, request.path.removesuffix(".json"))
        return found if found and found[1].get("object", "users") in NOUN else None

    def _admit(self, request: Request) -> None:
        known = (f"{self.credentials.get('email')}/token", self.credentials.get("api_token"))
        if basic(request) != known:
            raise RefusedError(401, "Couldn't authenticate you", "")
        wait = self._full(self._calls, self._rate)
        if wait:
            text = "Number of allowed API requests per minute exceeded"
            error = RefusedError(429, "", "", {"Retry-After": str(wait)})
            error.answer = msgspec.structs.replace(error.answer, text=text)  # really no JSON
            raise error

    def _full(self, calls: deque[int], limit: int) -> int:
        """Count a call; seconds to wait when there were `limit` within the last minute."""
        now = self.now()
        while calls and calls[0] <= now - MINUTE:
            calls.popleft()
        if len(calls) >= limit:
            return 1 + (calls[0] + MINUTE - now) // SECOND
        calls.append(now)
        return 0

    # lists

    def _list(self, request: Request, names: Mapping[str, str]) -> Response:
        object = names["object"]
        found = self._records.all(object)
        if "external_id" in request.query:
            found = [one for one in found if same(one["external_id"], request.query["external_id"])]
        if "page[size]" in request.query or "page[after]" in request.query:
            return Response(json=cursor_page(object, found, request))
        return Response(json=offset_page(object, found, request))

    def _search(self, request: Request, names: Mapping[str, str]) -> Response:
        object, asked = names["object"], request.query
        found = self._records.all(object)
        if "external_id" in asked:
            found = [one for one in found if same(one["external_id"], asked["external_id"])]
        elif object == "organizations":
            found = [one for one in found if same(one["name"], asked.get("name", ""))]
        else:
            address = re.fullmatch(r'(?:email:)?"?([^"\s]+)"?', asked.get("query", ""))
            found = [one for one in found if address and self._indexed(one["id"], address[1])]
        return Response(json=offset_page(object, found, request))

    def _indexed(self, id: int, address: str) -> bool:
        horizon = self.now() - int(self._search_lag * SECOND)
        return any(
            same(one["value"], address) and self._records.known_since[one["id"]] <= horizon
            for one in self._records.identities[id]
        )

    def _show_many(self, request: Request, names: Mapping[str, str]) -> Response:
        """Deleted users are among the answers, unknown ids are not (unverified)."""
        object = names["object"]
        path = "ids" if "ids" in request.query else "external_ids"
        wanted = set(split_ids(request.query.get(path, "").casefold()))
        name = "id" if path == "ids" else "external_id"
        found = self._records.named(object, name, wanted, deleted=path == "ids")
        return Response(json={object: found, "count": len(found), "next_page": None, "previous_page": None})

    # exports

    def _export_users(self, request: Request, names: Mapping[str, str]) -> Response:
        since = self._since(request)
        if "cursor" in request.query:
            since = place_of(request.query["cursor"])
        found, more = self._exported("users", since, request)
        after = cursor_of(*(self._changes["users", found[-1]["id"]] if found else since))
        url = f"https://example.zendesk.com/api/v2/incremental/users/cursor.json?cursor={after}"
        links = {"after_cursor": after, "after_url": url, "before_cursor": None, "before_url": None}
        return Response(json={"users": found, **links, "end_of_stream": not more})

    def _export(self, request: Request, names: Mapping[str, str]) -> Response:
        """By time: the next page begins with the last second of this one."""
        found, more = self._exported("organizations", self._since(request), request)
        last = self._changes["organizations", found[-1]["id"]][0] // SECOND if found else None
        url = f"https://example.zendesk.com/api/v2/incremental/organizations.json?start_time={last}"
        told = {"count": len(found), "end_time": last, "next_page": url if last else None}
        return Response(json={"organizations": found, **told, "end_of_stream": not more})

    def _since(self, request: Request) -> tuple[int, int]:
        wait = self._full(self._exports, self._export_rate)
        if wait:
            text = "Number of allowed incremental export API requests per minute exceeded"
            raise RefusedError(429, "APIRateLimitExceeded", text, {"Retry-After": str(wait)})
        if "cursor" in request.query:
            return 0, 0
        start = request.query.get("start_time", "")
        if not start.isdecimal():
            raise RefusedError(400, "InvalidValue", "start_time is missing or no Unix time")
        if int(start) * SECOND > self.now() - int(self._export_age * SECOND):
            raise RefusedError(
                422, "InvalidValue", "Too recent start_time. Use a start_time older than 60 seconds"
            )
        return int(start) * SECOND, 0

    def _exported(self, object: str, since: tuple[int, int], request: Request) -> tuple[list[Json], bool]:
        size = min(int(request.query.get("per_page", "1000")), 1000)
        horizon = self.now() - int(self._export_age * SECOND)
        places = sorted(
            (place, id)
            for (kind, id), place in self._changes.items()
            if kind == object and since < place and place[0] <= horizon
        )
        found = [self._gone.get(id) or self._records.shown(object, id) for _, id in places[:size]]
        return found, len(places) > size

    # one record

    def _show(self, request: Request, names: Mapping[str, str]) -> Response:
        return self._told(names["object"], self._records.shown(names["object"], id_in(names)))

    def _create(self, request: Request, names: Mapping[str, str]) -> Response:
        object = names["object"]
        given = {name: value for name, value in object_in(request, NOUN[object]).items() if name != "id"}
        made = self._records.create(object, given)
        return msgspec.structs.replace(
            self._told(object, made), status=201, headers={"Location": made["url"]}
        )

    def _update(self, request: Request, names: Mapping[str, str]) -> Response:
        object = names["object"]
        return self._told(
            object, self._records.update(object, id_in(names), object_in(request, NOUN[object]))
        )

    def _delete(self, request: Request, names: Mapping[str, str]) -> Response:
        object = names["object"]
        gone = self._records.delete(object, id_in(names))
        return self._told(object, gone) if object == "users" else Response(status=204)

    def _told(self, object: str, record: Json) -> Response:
        return Response(json={NOUN[object]: record})

    def _merge(self, request: Request, names: Mapping[str, str]) -> Response:
        loser, winner = id_in(names), int(object_in(request, "user").get("id") or 0)
        return self._told("users", self.merge(loser, winner))

    # identities

    def _identities(self, request: Request, names: Mapping[str, str]) -> Response:
        self._records.shown("users", id_in(names))
        return Response(json={"identities": self._records.identities[id_in(names)]})

    def _identify(self, request: Request, names: Mapping[str, str]) -> Response:
        made = self._records.add_identity(id_in(names), object_in(request, "identity"))
        return Response(status=201, json={"identity": made})

    def _reidentify(self, request: Request, names: Mapping[str, str]) -> Response:
        given = object_in(request, "identity")
        changed = self._records.change_identity(id_in(names), id_in(names, "one"), given)
        return Response(json={"identity": changed})

    def _make_primary(self, request: Request, names: Mapping[str, str]) -> Response:
        return Response(json={"identities": self._records.make_primary(id_in(names), id_in(names, "one"))})

    # jobs

    def _create_many(self, request: Request, names: Mapping[str, str]) -> Response:
        object = names["object"]
        if object == "users" and not self._imports:
            raise RefusedError(403, "Forbidden", "Data imports are not enabled")
        given = objects_in(request, object)

        def task(place: int) -> Json:
            return {"index": place, "id": self._records.create(object, {**given[place], "id": None})["id"]}

        return self._jobs.queued(f"{object} create", len(given), task, lambda place: {"index": place})

    def _update_many(self, request: Request, names: Mapping[str, str]) -> Response:
        object = names["object"]
        if "ids" in request.query:
            same = object_in(request, NOUN[object])
            given = [{**same, "id": int(id)} for id in split_ids(request.query["ids"])]
        else:
            given = objects_in(request, object)
        ids = [int(one.get("id") or 0) for one in given]

        def task(place: int) -> Json:
            self._records.update(object, ids[place], given[place])
            return {"id": ids[place], "action": "update", "status": "Updated", "success": True}

        failed = {"action": "update"}
        return self._jobs.queued(
            f"{object} update", len(ids), task, lambda place: {"id": ids[place], **failed}
        )

    def _destroy_many(self, request: Request, names: Mapping[str, str]) -> Response:
        object = names["object"]
        ids = [int(id) for id in split_ids(request.query.get("ids", ""))]

        def task(place: int) -> Json:
            self._records.delete(object, ids[place])
            return {"id": ids[place], "action": "delete", "status": "Deleted", "success": True}

        failed = {"action": "delete"}
        return self._jobs.queued(
            f"{object} delete", len(ids), task, lambda place: {"id": ids[place], **failed}
        )

    def _job(self, request: Request, names: Mapping[str, str]) -> Response:
        return Response(json={"job_status": self._jobs.status(names["id"])})

    # webhooks

    def _hooks(self, request: Request, names: Mapping[str, str]) -> Response:
        return Response(json=self._registered.page())

    def _hook(self, request: Request, names: Mapping[str, str]) -> Response:
        made = self._registered.create(object_in(request, "webhook"), self.now())
        self.connect(made["endpoint"])
        return Response(status=201, json={"webhook": made})

    def _rehook(self, request: Request, names: Mapping[str, str]) -> Response:
        self._registered.change(names["id"], object_in(request, "webhook"))
        return Response(status=204)

    def _secret(self, request: Request, names: Mapping[str, str]) -> Response:
        self._registered.get(names["id"])
        told = {"algorithm": "SHA256", "secret": self.credentials.get("webhook_secret", "")}
        return Response(json={"signing_secret": told})

    # ---- the hand of a person ----

    def edit(self, object: str, id: str, changes: Mapping[str, Any], actor: str = "person") -> None:
        """An address given here replaces the primary one, as in an agent's hands."""
        changes = dict(changes)
        address = changes.pop("email", None) if object == "users" else None
        if address is not None:
            self._records.set_address(int(id), str(address))
        if changes:
            self._records.update(object, int(id), nested(changes))

    def insert(self, object: str, fields: Mapping[str, Any], actor: str = "person") -> str:
        return str(self._records.create(object, {"verified": True, **fields})["id"])

    def remove(self, object: str, id: str, actor: str = "person") -> None:
        self._records.delete(object, int(id))

    def merge(self, loser: int, winner: int) -> Json:
        """Merge one end user into another; the one that stays."""
        gone, kept = self._records.merge(loser, winner)
        self._changes.pop(("users", loser), None)
        self._mark("users", winner)
        self._tell("users", gone, "merged", {"user": {"id": str(winner)}})
        self._tell("users", kept, "identity_created", {})
        return kept

    def records(self, object: str) -> list[Json]:
        return self._records.all(object)

    def load(self, data: Mapping[str, list[Json]]) -> None:
        """Members that are not given are filled in; organizations come first, so that users can refer to them."""
        for object in ("organizations", "users"):
            for fields in data.get(object, []):
                made = self._records.create(object, fields, quiet=True)
                self._mark(object, made["id"], since=made["updated_at"])

    # ---- what happens ----

    def _changed(self, object: str, before: Json | None, after: Json | None) -> None:
        """The ear of `Records`: put the change in its place for exports, and tell the webhook."""
        record: Json = after or before or {}
        if after is None and object == "organizations":
            self._gone[record["id"]] = record | {"deleted_at": text_of(self.now())}
        self._mark(object, record["id"])
        for what, event in changes(object, before, after):
            self._tell(object, record, what, event)

    def _mark(self, object: str, id: int, since: str = "") -> None:
        self._count += 1
        at = int(datetime.fromisoformat(since).timestamp()) * SECOND if since else self.now()
        self._changes[object, id] = (at, self._count)

    def _tell(self, object: str, record: Json, what: str, event: Json) -> None:
        self._count += 1
        time = text_of(self.now())
        id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"event {self._count}"))
        if not self._registered.sends(self.webhook, f"zen:event-type:{NOUN[object]}.{what}"):
            return
        body = msgspec.json.encode(envelope(object, record, what, event, id=id, time=time))
        secret = self.credentials.get("webhook_secret", "")
        signature = hmac.new(secret.encode(), time.encode() + body, hashlib.sha256).digest()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "X-Zendesk-Account-Id": "10973248",
            "X-Zendesk-Webhook-Id": "01SIMULATED",
            "X-Zendesk-Webhook-Invocation-Id": f"01SIM{self._count:020d}",
            "X-Zendesk-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Zendesk-Webhook-Signature-Timestamp": time,
        }
        self.send("POST", "", headers, body)
