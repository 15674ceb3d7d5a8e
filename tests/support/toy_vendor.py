"""A small made-up vendor: a simulator and its connector, used wherever a test needs a system but no real vendor's ways.

Two objects show the two ends of what vendors are like. `people` can do everything: unique e-mail address, versions in
milliseconds, conditional writes, batches, history, signed webhooks. `firms` can do little: writes are jobs, reads lag,
no versions, no filter for changes, no webhooks, no deletes.

Simulator options: `page` (records per page, 100), `upper` (paths whose values the vendor rewrites to capitals).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from syncbroker.core.types import Actor, Event, Item, Micros, Receipt, Write
from syncbroker.errors import BadDelivery, Refused, Reject, Unavailable
from syncbroker.sdk.connector import Account, Change, Delivery, FieldSpec, Hook, ObjectSpec, Page
from syncbroker.sdk.paths import get_path, nested, set_path
from syncbroker.sdk.simulator import Request, Response, Router, Simulator, bearer, system_clock
from syncbroker.sdk.webhook import check_signature, check_time, header, json_body, sign, unix_time

FIRM_LAG = 1.0
JOB_SECONDS = 0.5
CREDENTIALS = {"token": "toy-token-1234", "webhook_secret": "toy-secret-5678"}

_PREFIX = {"people": "p", "firms": "f"}
Record = dict[str, Any]


class ToySimulator(Simulator):
    """A record is `{"id", "version", "by", "fields": {...}}`; `load` and `insert` take `fields`, ids count up."""

    kind = "toy"

    def __init__(
        self,
        *,
        credentials: Mapping[str, str],
        now: Callable[[], int] = system_clock,
        webhook: str = "",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(now=now, credentials=credentials, webhook=webhook, options=options)
        self.twist: Callable[[Request, Response], Response] | None = None
        """A hostile vendor's last touch on every answer."""
        self._live: dict[str, dict[str, Record]] = {"people": {}, "firms": {}}
        self._shown: dict[str, dict[str, Record]] = {"people": self._live["people"], "firms": {}}
        self._gone: dict[str, str | None] = {}
        self._history: dict[tuple[str, str], list[Record]] = {}
        self._jobs: dict[str, list[Record] | None] = {}
        self._counts = dict.fromkeys(("people", "firms", "jobs", "events"), 0)
        self._routes: Router[tuple[str, Callable[..., Response]]] = Router(
            [
                ("GET", "/v1/jobs/{id}", ("jobs.read", self._job)),
                ("GET", "/v1/hooks", ("hooks.list", self._hooks)),
                ("POST", "/v1/hooks", ("hooks.set", self._hook)),
                ("GET", "/v1/{object}", ("list", self._list)),
                ("POST", "/v1/{object}/read", ("read", self._read)),
                ("POST", "/v1/{object}/find", ("find", self._find)),
                ("POST", "/v1/{object}/write", ("write", self._write)),
                ("GET", "/v1/{object}/{id}/history", ("history", self._changes)),
            ]
        )

    # ---- the vendor's API ----

    def operation(self, request: Request) -> tuple[str, bool, int]:
        found = self._routes.match(request.method, request.path)
        if not found:
            return "unknown", False, 0
        (name, _), names = found
        full = f"{names['object']}.{name}" if "object" in names else name
        try:
            body = request.json() if request.body else {}
            return full, name == "write", len(body.get("records", [0]))
        except (ValueError, AttributeError, TypeError):
            return full, name == "write", 0

    def handle(self, request: Request) -> Response:
        response = self._answered(request)
        return self.twist(request, response) if self.twist else response

    def _answered(self, request: Request) -> Response:
        if bearer(request) != self.credentials["token"]:
            return _error(401, "unknown_token", "the token is not known")
        found = self._routes.match(request.method, request.path)
        if not found or found[1].get("object", "people") not in self._live:
            return _error(404, "no_such_path", "there is nothing here")
        (_, handler), names = found
        try:
            return handler(request, **names)
        except (ValueError, KeyError, TypeError) as error:
            return _error(400, "bad_request", f"cannot be read: {type(error).__name__}")

    def _hooks(self, request: Request) -> Response:
        return Response(json=[self.webhook] if self.webhook else [])

    def _hook(self, request: Request) -> Response:
        self.connect(request.json()["url"])
        return Response(json={})

    def _list(self, request: Request, object: str) -> Response:
        after, since = request.query.get("after", ""), int(request.query.get("since", "0"))
        size = int(self.options.get("page", 100))
        rest = [
            record
            for id, record in sorted(self._shown[object].items())
            if id > after and record["version"] >= since
        ]
        page = rest[:size]
        following = page[-1]["id"] if len(rest) > size else None
        return Response(
            json={
                "records": page,
                "next": following,
                "total": len(self._shown[object]),
                "now": self._millis(),
            }
        )

    def _read(self, request: Request, object: str) -> Response:
        ids, shown = request.json()["ids"], self._shown[object]
        gone = [{"id": id, "into": self._gone.get(id)} for id in ids if id not in shown]
        return Response(json={"records": [shown[id] for id in ids if id in shown], "gone": gone})

    def _find(self, request: Request, object: str) -> Response:
        asked = request.json()
        equal = [
            record
            for record in self._shown[object].values()
            if get_path(record["fields"], asked["path"]) == asked["value"]
        ]
        return Response(json={"records": equal})

    def _write(self, request: Request, object: str) -> Response:
        body = request.json()
        wanted = [(body["op"], one) for one in body["records"]]
        if object == "people":
            return Response(json={"results": [self._apply(object, op, one) for op, one in wanted]})
        job = self._next("jobs", "j")
        self._jobs[job] = None

        def finish() -> None:
            self._jobs[job] = [self._apply(object, op, one) for op, one in wanted]

        self.later(JOB_SECONDS, finish)
        return Response(status=202, json={"job": job})

    def _job(self, request: Request, id: str) -> Response:
        if id not in self._jobs:
            return _error(404, "no_such_job", "there is no such job")
        return Response(json={"done": self._jobs[id] is not None, "results": self._jobs[id] or []})

    def _changes(self, request: Request, object: str, id: str) -> Response:
        changes = self._history.get((id, request.query["path"]), [])
        return Response(json={"changes": changes[::-1]})

    def _apply(self, object: str, op: str, one: Record) -> Record:
        """One write of a batch: `{"key", "status", "id", "record", "message"}`."""
        live, id = self._live[object], one.get("id")
        if op == "create":
            email = get_path(one["values"], "email")
            twin = next((r for r in live.values() if email and r["fields"].get("email") == email), None)
            if twin:
                return {"key": one["key"], "status": "exists", "id": twin["id"], "record": twin}
            made = self._make(object, one["values"], "api")
            return {"key": one["key"], "status": "done", "id": made["id"], "record": made}
        if id not in live:
            return {"key": one["key"], "status": "missing", "id": id}
        if one.get("version") not in (None, live[id]["version"]):
            return {"key": one["key"], "status": "stale", "id": id, "record": live[id]}
        if op == "delete":
            self._drop(object, id)
            return {"key": one["key"], "status": "done", "id": id}
        self._change(object, id, _flat(one["values"]), "api")
        return {"key": one["key"], "status": "done", "id": id, "record": live[id]}

    # ---- people at the vendor ----

    def edit(self, object: str, id: str, changes: Mapping[str, Any], actor: str = "person") -> None:
        self._change(object, id, changes, actor)

    def insert(self, object: str, fields: Mapping[str, Any], actor: str = "person") -> str:
        return str(self._make(object, fields, actor)["id"])

    def remove(self, object: str, id: str, actor: str = "person") -> None:
        self._drop(object, id)

    def merge(self, loser: str, survivor: str) -> None:
        """A person merges two people: the loser is gone and says into whom."""
        del self._live["people"][loser]
        self._gone[loser] = survivor
        self._tell("people", loser, "merged", None, into=survivor)

    def records(self, object: str) -> list[Record]:
        return [record for _, record in sorted(self._live[object].items())]

    def load(self, data: Mapping[str, list[Record]]) -> None:
        webhook, self.webhook = self.webhook, ""
        for object, loaded in data.items():
            for fields in loaded:
                self._make(object, fields, "person")
        self._shown["firms"].update(copy.deepcopy(self._live["firms"]))
        self.webhook = webhook

    # ---- inside ----

    def _make(self, object: str, fields: Mapping[str, Any], by: str) -> Record:
        id = self._next(object, _PREFIX[object])
        self._live[object][id] = {"id": id, "version": self._millis(), "by": by, "fields": {}}
        self._set(object, id, _flat(fields), by)
        self._tell(object, id, "created", self._live[object][id])
        return self._live[object][id]

    def _change(self, object: str, id: str, changes: Mapping[str, Any], by: str) -> None:
        record = self._live[object][id]
        record["version"] = max(record["version"] + 1, self._millis())
        record["by"] = by
        self._set(object, id, changes, by)
        self._tell(object, id, "changed", record)

    def _set(self, object: str, id: str, changes: Mapping[str, Any], by: str) -> None:
        for path, given in changes.items():
            value = given.upper() if path in self.options.get("upper", ()) and given else given
            set_path(self._live[object][id]["fields"], path, value)
            self._history.setdefault((id, path), []).append({"value": value, "at": self._millis(), "by": by})

    def _drop(self, object: str, id: str) -> None:
        del self._live[object][id]
        self._gone[id] = None
        self._tell(object, id, "deleted", None)

    def _tell(self, object: str, id: str, kind: str, record: Record | None, into: str | None = None) -> None:
        if object == "firms":  # no webhooks, and its reads show a change only later
            shown = copy.deepcopy(record)

            def show() -> None:
                self._shown["firms"].pop(id, None) if shown is None else self._shown["firms"].update(
                    {id: shown}
                )

            self.later(FIRM_LAG, show)
            return
        event = {
            "event": self._next("events", "e"),
            "object": object,
            "id": id,
            "kind": kind,
            "at": self._millis(),
            "record": record,
            "into": into,
        }
        body, sent = msgspec.json.encode([event]), str(self._millis())
        signature = sign(self.credentials["webhook_secret"], sent, ".", body)
        self.send("POST", "", {"X-Toy-Time": sent, "X-Toy-Signature": signature}, body)

    def _next(self, what: str, prefix: str) -> str:
        self._counts[what] += 1
        return f"{prefix}{self._counts[what]:06d}"

    def _millis(self) -> int:
        return self.now() // 1000


def _error(status: int, code: str, text: str) -> Response:
    return Response(status=status, json={"error": {"code": code, "message": text}})


def _flat(fields: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in fields.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found


# ---- the connector ----


class _Record(msgspec.Struct):
    id: str
    version: int
    by: str
    fields: dict[str, Any]


class _List(msgspec.Struct):
    records: list[_Record]
    next: str | None
    total: int
    now: int


class _Gone(msgspec.Struct):
    id: str
    into: str | None


class _Read(msgspec.Struct):
    records: list[_Record]
    gone: list[_Gone]


class _Found(msgspec.Struct):
    records: list[_Record]


class _Result(msgspec.Struct):
    key: str
    status: Literal["done", "exists", "missing", "stale", "refused"]
    id: str | None = None
    record: _Record | None = None
    message: str = ""


class _Results(msgspec.Struct):
    results: list[_Result]


class _Started(msgspec.Struct):
    job: str


class _Job(msgspec.Struct):
    done: bool
    results: list[_Result]


class _Change(msgspec.Struct):
    value: Any
    at: int
    by: str


class _Changes(msgspec.Struct):
    changes: list[_Change]


class _Event(msgspec.Struct):
    event: str
    object: str
    id: str
    kind: Literal["created", "changed", "deleted", "merged"]
    at: int
    record: _Record | None
    into: str | None


class ToyConnector:
    """The connector to the toy vendor; also an example of a small one."""

    kind: ClassVar[str] = "toy"
    credentials_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "required": ["token", "webhook_secret"],
        "additionalProperties": False,
        "properties": {
            "token": {"type": "string", "minLength": 1, "description": "from the toy vendor's settings page"},
            "webhook_secret": {"type": "string", "minLength": 1},
        },
    }
    options_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {},
    }
    objects: ClassVar[Mapping[str, ObjectSpec]] = {
        "people": ObjectSpec(
            name="people",
            fields={
                "name": FieldSpec(),
                "email": FieldSpec(required=True, clearable=False),
                "phone": FieldSpec(),
                "status": FieldSpec(),
                "tags": FieldSpec(),
                "address.city": FieldSpec(),
                "address.country": FieldSpec(),
                "firm": FieldSpec(refers_to="firms"),
            },
            open_fields=True,
            stamp=1_000,
            sorted_scan=True,
            batch={"create": 50, "update": 50, "delete": 50},
            conditional=True,
            history=True,
            events=True,
            keys=("email",),
        ),
        "firms": ObjectSpec(
            name="firms",
            fields={"name": FieldSpec(), "country": FieldSpec()},
            lag=FIRM_LAG,
            sorted_scan=True,
            batch={"create": 10, "update": 10},
            shows=False,
            keys=("name",),
        ),
    }

    def __init__(self, account: Account) -> None:
        self._secret = account.credentials["webhook_secret"]
        self._http = account.http(
            account.url or "https://api.toy.example",
            headers={"Authorization": f"Bearer {account.credentials['token']}"},
        )

    def scan(self, object: str, paths: Sequence[str], *, resume: str | None = None) -> Iterator[Page]:
        after, _, before = (resume or "").partition("|")
        seen = int(before or 0)
        while True:
            listed = self._page(object, after, None)
            seen += len(listed.records)
            items = _items(object, listed.records)
            if listed.next is None:
                yield Page(items=items, proven=seen == listed.total)
                return
            yield Page(items=items, resume=f"{listed.next}|{seen}")
            after = listed.next

    def poll(
        self, object: str, paths: Sequence[str], *, cursor: str, resume: str | None = None
    ) -> Iterator[Page]:
        if object == "firms":
            raise Refused("firms cannot be asked for changes")
        after, _, began = (resume or "").partition("|")
        while True:
            listed = self._page(object, after, cursor)
            # the next poll starts where the first page of this one was read
            began = began or str(listed.now - 1)
            items = _items(object, listed.records)
            if listed.next is None:
                yield Page(items=items, cursor=began)
                return
            yield Page(items=items, resume=f"{listed.next}|{began}")
            after = listed.next

    def _page(self, object: str, after: str, since: str | None) -> _List:
        answer = self._http.request(
            "GET", f"/v1/{object}", params={"after": after or None, "since": since}, shape=_List
        )
        listed: _List = answer.json
        ids = [record.id for record in listed.records]
        if (
            ids != sorted(set(ids))
            or (ids and ids[0] <= after)
            or (listed.next and [listed.next] != ids[-1:])
        ):
            raise Unavailable(f"GET /v1/{object}: the pages do not follow each other")
        return listed

    def start_cursor(self, object: str, began: Micros) -> str | None:
        return str(began // 1000 - 1) if object == "people" else None

    def read(self, object: str, ids: Sequence[str], paths: Sequence[str]) -> list[Item]:
        answer = self._http.request(
            "POST", f"/v1/{object}/read", json={"ids": list(ids)}, repeatable=True, shape=_Read
        )
        gone = [Item(id=one.id, fields={}, deleted=True, merged_into=one.into) for one in answer.json.gone]
        return [*_items(object, answer.json.records), *gone]

    def find(self, object: str, keys: Mapping[str, Any], paths: Sequence[str]) -> list[Item]:
        (path, value), *_ = keys.items()
        asked = {"path": path, "value": value}
        answer = self._http.request("POST", f"/v1/{object}/find", json=asked, repeatable=True, shape=_Found)
        return _items(object, answer.json.records)

    def write(self, object: str, writes: Sequence[Write], paths: Sequence[str]) -> list[Receipt]:
        batch = [
            {
                "key": write.key,
                "id": write.id,
                "values": nested(write.values),
                "version": None if write.version is None else write.version // 1000,
            }
            for write in writes
        ]
        body = {"op": writes[0].op, "records": batch}
        shape = _Results if object == "people" else _Started
        try:
            answer = self._http.request("POST", f"/v1/{object}/write", json=body, shape=shape).json
        except Reject as error:
            return [Receipt(key=write.key, status="refused", message=error.message) for write in writes]
        if isinstance(answer, _Started):
            return [Receipt(key=write.key, status="pending", job=answer.job) for write in writes]
        return _receipts(object, answer.results, writes)

    def job(
        self, object: str, job: str, writes: Sequence[Write], paths: Sequence[str]
    ) -> list[Receipt] | None:
        answer = self._http.request("GET", f"/v1/jobs/{job}", shape=_Job).json
        return _receipts(object, answer.results, writes) if answer.done else None

    def history(self, object: str, id: str, path: str) -> list[Change]:
        found = self._http.request("GET", f"/v1/{object}/{id}/history", params={"path": path}, shape=_Changes)
        return [
            Change(value=one.value, at=one.at * 1000, ours=one.by == "api", actor=_actor(one.by))
            for one in found.json.changes
        ]

    def answer_check(self, delivery: Delivery) -> str | None:
        return None

    def authenticate(self, delivery: Delivery) -> None:
        sent = header(delivery, "X-Toy-Time")
        check_signature(header(delivery, "X-Toy-Signature"), self._secret, sent, ".", delivery.body)
        check_time(unix_time(sent, "ms"), delivery.received)

    def hooks(self, url: str, objects: Sequence[str]) -> list[Hook]:
        found = self._http.request("GET", "/v1/hooks", shape=list[str]).json
        return [Hook(id="h1", url=one, ours=one == url) for one in found]

    def register(self, url: str, objects: Sequence[str]) -> Hook:
        if not any(one.ours for one in self.hooks(url, objects)):
            self._http.request("POST", "/v1/hooks", json={"url": url})
        return Hook(id="h1", url=url, ours=True, secret=self._secret)

    def sample(self, url: str, at: Micros) -> Delivery:
        told = {"event": f"t{at}", "object": "test", "id": "t", "kind": "changed", "at": at // 1000}
        body, sent = msgspec.json.encode([{**told, "record": None, "into": None}]), str(at // 1000)
        headers = {"x-toy-time": sent, "x-toy-signature": sign(self._secret, sent, ".", body)}
        return Delivery(method="POST", url=url, headers=headers, query={}, body=body, received=at)

    def events(self, delivery: Delivery) -> list[Event]:
        told: list[_Event] = json_body(delivery, list[_Event])
        if not told:
            raise BadDelivery("the delivery tells of nothing", status=400)
        return [
            Event(
                object=one.object,
                id=one.id,
                kind=one.kind,
                event_id=one.event,
                at=one.at * 1000,
                item=_items(one.object, [one.record])[0] if one.record else None,
                new_id=one.into,
                actor=_actor(one.record.by) if one.record else None,
            )
            for one in told
        ]


def _actor(by: str) -> Actor:
    return Actor(origin="integration" if by == "api" else "person", name=by)


def _items(object: str, records: Sequence[_Record]) -> list[Item]:
    return [
        Item(
            id=record.id,
            fields=record.fields,
            stamp=record.version * 1000 if object == "people" else None,
            consent=record.fields.get("consent"),
            actor=_actor(record.by),
        )
        for record in records
    ]


def _receipts(object: str, results: Sequence[_Result], writes: Sequence[Write]) -> list[Receipt]:
    known = {one.key: one for one in results}
    receipts = []
    for write in writes:
        one = known.get(write.key)
        if one is None:
            receipts.append(Receipt(key=write.key, status="unknown"))
            continue
        item = _items(object, [one.record])[0] if one.record else None
        receipts.append(Receipt(key=write.key, status=one.status, id=one.id, item=item, message=one.message))
    return receipts
