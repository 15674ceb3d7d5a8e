"""SendGrid's marketing contacts on loopback: upserts and deletions as jobs, exports as files, reads that lag behind.

Paths, shapes and limits from the vendor's OpenAPI document of 2026-01; rate limits as in its guide. An export is one
JSON object per line, compressed, as users report it, and its files refuse a request that carries credentials, as
Amazon's do. Options: `job_seconds` until a job is done and `lag_seconds` until reads show it after that (0.2 each),
`export_seconds` (0.1), `export_rows` per file, `rate_limit` per minute (600, unverified for these endpoints),
`custom_fields` (name -> Text, Number or Date). People's changes are seen at once.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from connectors.sendgrid import simulator_wire as wire
from connectors.sendgrid.simulator_store import FailedError, Store
from connectors.sendgrid.simulator_wire import File, Payload, RefusalError, stamp
from syncbroker.sdk.paths import nested
from syncbroker.sdk.simulator import Request, Response, Router, Simulator, bearer

MINUTE = 60_000_000
DAY = 86_400_000_000
Parts = Mapping[str, str]
Handler = Callable[["SendGridSimulator", Request, Parts], Response]
_EXPORTED = ("first_name", "last_name", "email", "phone_number", "address_line_1", "address_line_2", "city")
_EXPORTED_TOO = ("state_province_region", "postal_code", "country", "alternate_emails", "custom_fields")


class SendGridSimulator(Simulator):
    kind: ClassVar[str] = "sendgrid"

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.store = Store()
        for name, field_type in self.options.get("custom_fields", {}).items():
            self.store.define(name, field_type)
        self._jobs: dict[str, Payload] = {}
        self._exports: dict[str, Payload] = {}
        self._files: dict[str, bytes] = {}
        self._minute = (0, 0)  # which one, how many calls in it

    # ---- the vendor's API ----

    def handle(self, request: Request) -> Response:
        found = _ROUTES.match(request.method, request.path)
        if found and found[0][0] == "files.get":
            return self.download(request, found[1])
        limit = int(self.options.get("rate_limit", 600))
        minute = self.now() // MINUTE
        used = self._minute[1] + 1 if self._minute[0] == minute else 1
        self._minute = minute, used
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(limit - used, 0)),
            "X-RateLimit-Reset": str((minute + 1) * 60),
        }
        try:
            if used > limit:
                raise RefusalError(429, "too many requests")  # noqa: TRY301 - one place answers
            handler, parts = self._admitted(request)
            response = handler(self, request, parts)
        except RefusalError as refusal:
            response = refusal.response()
        return msgspec.structs.replace(response, headers={**headers, **response.headers})

    def _admitted(self, request: Request) -> tuple[Handler, Parts]:
        key = bearer(request)
        if not key:
            raise RefusalError(401, "authorization required")
        if not hmac.compare_digest(key.encode(), self.credentials["api_key"].encode()):
            raise RefusalError(401, "The provided authorization grant is invalid, expired, or revoked")
        found = _ROUTES.match(request.method, request.path)
        if not found:
            known = _ROUTES.methods(request.path)
            raise RefusalError(405, "method not allowed") if known else RefusalError(404, "not found")
        (_, _, handler), parts = found
        return handler, parts

    def operation(self, request: Request) -> tuple[str, bool, int]:
        found = _ROUTES.match(request.method, request.path)
        if not found:
            return "unknown", request.method != "GET", 0
        (name, write, _), _ = found
        if name == "contacts.delete":
            return name, write, len(list(filter(None, request.query.get("ids", "").split(","))))
        if name != "contacts.upsert":
            return name, write, 1
        try:
            return name, write, len(request.json()["contacts"])
        except (ValueError, LookupError, TypeError):
            return name, write, 0

    def upsert(self, request: Request, parts: Parts) -> Response:
        given = wire.body(request)
        contacts = self.store.check(given.get("contacts"))
        lists = wire.strings(given, "list_ids", 1000) if "list_ids" in given else []

        def run(results: Payload) -> list[str]:
            written = []
            known = self.store.by_identifier()
            for contact in contacts:
                try:
                    held, new = self.store.upsert(contact, lists, self.now(), known)
                except FailedError:
                    results["errored_count"] += 1
                    continue
                results["created_count" if new else "updated_count"] += 1
                written.append(held["id"])
            return written

        return self._job("upsert", len(contacts), run)

    def delete(self, request: Request, parts: Parts) -> Response:
        every = request.query.get("delete_all_contacts") == "true"
        ids = list(self.store.stored) if every else request.query.get("ids", "").split(",")
        if not any(ids):
            raise RefusalError(400, "ids or delete_all_contacts is required", "ids")

        def run(results: Payload) -> list[str]:
            gone = [id for id in ids if self.store.stored.pop(id, None)]
            results["deleted_count"] = len(gone)
            return gone

        return self._job("delete", len(ids), run)

    def _job(self, kind: str, asked: int, run: Callable[[Payload], list[str]]) -> Response:
        """Accept now, do it after `job_seconds`, show it `lag_seconds` later."""
        id = self.store.make_id("job")
        counts = ("created_count", "updated_count", "deleted_count", "errored_count")
        job: Payload = {"id": id, "status": "pending", "job_type": kind, "started_at": stamp(self.now())}
        self._jobs[id] = job

        changed: list[str] = []

        def end() -> None:
            results: Payload = {"requested_count": asked, **dict.fromkeys(counts, 0)}
            changed.extend(run(results))
            failed = results["errored_count"]
            status = "completed" if not failed else "failed" if failed == asked else "errored"
            job.update(status=status, results=results, finished_at=stamp(self.now()))

        wait = float(self.options.get("job_seconds", 0.2))
        self.later(wait, end)
        self.later(wait + float(self.options.get("lag_seconds", 0.2)), lambda: self._show(changed))
        return Response(status=202, json={"job_id": id})

    def _show(self, ids: Sequence[str]) -> None:
        for id in ids:
            self.store.show(id)

    def show_job(self, request: Request, parts: Parts) -> Response:
        return Response(json=_known(self._jobs, parts["id"]))

    def show_contact(self, request: Request, parts: Parts) -> Response:
        contact = self.store.shown.get(parts["id"])
        return Response(json=contact) if contact else Response(status=404)

    def sample_contacts(self, request: Request, parts: Parts) -> Response:
        recent = sorted(self.store.shown.values(), key=lambda one: str(one["updated_at"]))[-50:]
        recent.sort(key=lambda one: str(one["email"]))
        return Response(json={"result": recent, "contact_count": len(self.store.shown), "_metadata": {}})

    def count_contacts(self, request: Request, parts: Parts) -> Response:
        count = len(self.store.shown)
        return Response(json={"contact_count": count, "billable_count": count})

    def read_batch(self, request: Request, parts: Parts) -> Response:
        ids = wire.strings(wire.body(request), "ids", 100)
        return Response(json={"result": [self.store.shown[id] for id in ids if id in self.store.shown]})

    def search_emails(self, request: Request, parts: Parts) -> Response:
        given = wire.strings(wire.body(request), "emails", 100)
        return self._searched({address.lower(): ("email", "alternate_emails") for address in given})

    def search_identifiers(self, request: Request, parts: Parts) -> Response:
        name = parts["type"]
        if name not in ("email", "phone_number_id", "external_id", "anonymous_id"):
            raise RefusalError(400, "unknown identifier type", "identifier_type")
        given = wire.strings(wire.body(request), "identifiers", 100)
        return self._searched({value.lower() if name == "email" else value: (name,) for value in given})

    def _searched(self, wanted: Mapping[str, Sequence[str]]) -> Response:
        result: Payload = {}
        for value, names in wanted.items():
            contact = next(
                (
                    one
                    for one in self.store.shown.values()
                    for name in names
                    if value and (one[name] == value or (isinstance(one[name], list) and value in one[name]))
                ),
                None,
            )
            result[value] = {"contact": contact} if contact else {"error": "contact not found"}
        if not any("contact" in found for found in result.values()):
            return Response(status=404, json={"message": "no contacts found"})
        return Response(json={"result": result})

    def list_fields(self, request: Request, parts: Parts) -> Response:
        reserved = [
            {"id": f"_rf{n}_T", "name": name, "field_type": "Text"} for n, name in enumerate(_EXPORTED)
        ]
        shown = {"custom_fields": self.store.definitions, "reserved_fields": reserved, "_metadata": {}}
        return Response(json=shown)

    def add_field(self, request: Request, parts: Parts) -> Response:
        given = wire.body(request)
        name, field_type = given.get("name"), given.get("field_type")
        if not isinstance(name, str) or not name or field_type not in ("Text", "Number", "Date"):
            raise RefusalError(400, "name and field_type are required", "name")
        if any(one["name"] == name for one in self.store.definitions):
            raise RefusalError(400, "field name must be unique", "name")
        return Response(json=self.store.define(name, field_type))

    # ---- exports ----

    def start_export(self, request: Request, parts: Parts) -> Response:
        given = wire.body(request) if request.body else {}
        if given.get("file_type", "csv") != "json":
            raise RefusalError(400, "this simulator exports json only", "file_type")
        id = self.store.make_id("export")
        now = self.now()
        times = {"created_at": stamp(now), "updated_at": stamp(now), "expires_at": stamp(now + 3 * DAY)}
        export: Payload = {"id": id, "status": "pending", **times}
        self._exports[id] = export
        host = request.headers.get("host", "localhost")

        def end() -> None:
            names = self._write_files(id)
            urls = [f"http://{host}/files/{name}?X-Amz-Signature=0" for name in names]
            ready = stamp(self.now())
            count = len(self.store.shown)
            export.update(
                status="ready", urls=urls, contact_count=count, updated_at=ready, completed_at=ready
            )

        self.later(float(self.options.get("export_seconds", 0.1)), end)
        return Response(status=202, json={"id": id, "_metadata": {}})

    def _write_files(self, id: str) -> list[str]:
        contacts = list(self.store.shown.values())
        rows = int(self.options.get("export_rows", 100_000))
        names: list[str] = []
        for start in range(0, max(len(contacts), 1), rows):
            name = f"{id}-{len(names)}.json.gz"
            lines = [msgspec.json.encode(_exported(one)) for one in contacts[start : start + rows]]
            self._files[name] = b"".join(line + b"\n" for line in lines)
            names.append(name)
        return names

    def show_export(self, request: Request, parts: Parts) -> Response:
        return Response(json=_known(self._exports, parts["id"]))

    def list_exports(self, request: Request, parts: Parts) -> Response:
        return Response(json={"result": list(self._exports.values()), "_metadata": {}})

    def download(self, request: Request, parts: Parts) -> Response:
        if "authorization" in request.headers:
            text = "Only one auth mechanism allowed"
            return Response(
                status=400, text=f"<Error><Code>InvalidArgument</Code><Message>{text}</Message></Error>"
            )
        if parts["name"] not in self._files:
            return Response(status=403, text="<Error><Code>AccessDenied</Code></Error>")
        return File(content=self._files[parts["name"]])

    # ---- people, and the start ----

    def edit(self, object: str, id: str, changes: Mapping[str, Any], actor: str = "person") -> None:
        contact = self.store.stored[id]
        given = nested(changes)
        contact |= {name: value for name, value in given.items() if name != "custom_fields"}
        for name, value in given.get("custom_fields", {}).items():
            self.store.define(name, "Text" if isinstance(value, str) else "Number")
            contact["custom_fields"][name] = value
        contact["email"] = contact["email"].lower()
        contact["updated_at"] = stamp(self.now())
        self.store.show(id)

    def insert(self, object: str, fields: Mapping[str, Any], actor: str = "person") -> str:
        if any(one["email"] == str(fields["email"]).lower() for one in self.store.stored.values()):
            raise ValueError("a contact with this e-mail address is there already")
        return self.store.restore(nested(fields), self.now())

    def remove(self, object: str, id: str, actor: str = "person") -> None:
        del self.store.stored[id]
        self.store.show(id)

    def records(self, object: str) -> list[dict[str, Any]]:
        """As stored, whether reads show it already or not."""
        return [self.store.stored[id] for id in sorted(self.store.stored)]

    def load(self, data: Mapping[str, list[dict[str, Any]]]) -> None:
        """`contacts` in the shape of GET /v3/marketing/contacts/{id}; custom fields come into being by their names."""
        for given in data.get("contacts", []):
            self.store.restore(given, self.now())


_CONTACTS = "/v3/marketing/contacts"
_FIELDS = "/v3/marketing/field_definitions"
_SIM = SendGridSimulator
_ROUTES: Router[tuple[str, bool, Handler]] = Router(
    [
        ("PUT", _CONTACTS, ("contacts.upsert", True, _SIM.upsert)),
        ("DELETE", _CONTACTS, ("contacts.delete", True, _SIM.delete)),
        ("GET", _CONTACTS, ("contacts.sample", False, _SIM.sample_contacts)),
        ("GET", f"{_CONTACTS}/count", ("contacts.count", False, _SIM.count_contacts)),
        ("POST", f"{_CONTACTS}/batch", ("contacts.read", False, _SIM.read_batch)),
        ("POST", f"{_CONTACTS}/search/emails", ("contacts.search_emails", False, _SIM.search_emails)),
        (
            "POST",
            f"{_CONTACTS}/search/identifiers/{{type}}",
            ("contacts.search", False, _SIM.search_identifiers),
        ),
        ("GET", f"{_CONTACTS}/imports/{{id}}", ("jobs.get", False, _SIM.show_job)),
        ("POST", f"{_CONTACTS}/exports", ("exports.create", False, _SIM.start_export)),
        ("GET", f"{_CONTACTS}/exports", ("exports.list", False, _SIM.list_exports)),
        ("GET", f"{_CONTACTS}/exports/{{id}}", ("exports.get", False, _SIM.show_export)),
        ("GET", f"{_CONTACTS}/{{id}}", ("contacts.get", False, _SIM.show_contact)),
        ("GET", _FIELDS, ("fields.list", False, _SIM.list_fields)),
        ("POST", _FIELDS, ("fields.create", False, _SIM.add_field)),
        ("GET", "/files/{name}", ("files.get", False, _SIM.download)),
    ]
)


def _known(held: Mapping[str, Payload], id: str) -> Payload:
    if id not in held:
        raise RefusalError(404, "not found")
    return held[id]


def _exported(contact: Payload) -> Payload:
    """As users report it: `contact_id` for `id`, nothing that is empty, no lists."""
    plain = {name: contact[name] for name in (*_EXPORTED, *_EXPORTED_TOO) if contact[name]}
    times = {"created_at": contact["created_at"], "updated_at": contact["updated_at"]}
    return {"contact_id": contact["id"], "custom_fields": {}, **plain, **times}
