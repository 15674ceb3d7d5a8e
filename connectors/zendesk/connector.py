"""Zendesk: users (the people who ask and the agents) and organizations are read and written.

How Zendesk is spoken to, and where that is known from (paths are on developer.zendesk.com unless said otherwise):

- Basic authentication `email/token` with an API token (seen on the wire of the client package zenpy).
- Lists: cursor pagination, `page[size]` up to 100 (/api-reference/introduction/pagination).
- Changes: /api/v2/incremental/users/cursor and, by time, /api/v2/incremental/organizations. `start_time` is at least a
  minute old and the last minute is left out (descriptions of both in the published API document), so a poll lags.
- Several records: show_many, create_many, update_many, destroy_many with up to 100, the writing ones asynchronous: they
  answer a `job_status` whose results name ids, never fields (/api-reference/ticketing/ticket-management/job_statuses).
  A single write goes to the plain endpoint and is answered at once with the whole record.
  create_many of users is forbidden until Zendesk enables imports for the account; then users are created one by one.
- An update's `email` adds a secondary address and leaves the primary one (facetoe/zenpy#237; user properties: writable
  on create only). So an address is added as a verified identity and made primary, two calls more.
- An e-mail address and an external_id belong to one user only: 422 `DuplicateValue`; so does an organization's name.
- No ETag; `safe_update` is for tickets only. Writes are unconditional.
- A merged user is gone (404, unverified) and told by the event user.merged; a deleted one is `active: false`.
- Webhooks: base64 HMAC-SHA256 of timestamp + body (/documentation/webhooks/verifying); what they tell is in events.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from connectors.zendesk import hooks
from connectors.zendesk.events import delivery_id, told_by
from connectors.zendesk.objects import (
    CREDENTIALS,
    OBJECTS,
    OPTIONS,
    SINGULAR,
    STAMP_PATH,
    body,
    item,
    message,
)
from syncbroker import errors
from syncbroker.core.types import Event, Item, Micros, Receipt, Write
from syncbroker.sdk.connector import Account, Change, Delivery, Hook, ObjectSpec, Page
from syncbroker.sdk.paths import get_path
from syncbroker.sdk.webhook import check_signature, check_time, header, iso_time, secrets

SECOND = 1_000_000
EXPORT_AGE = (
    120  # seconds that a start_time is old at least: the vendor's minute, and one for clocks that differ
)
OVERLAP = 60  # seconds that the first poll goes back before the scan it follows, for the same reason

Json = dict[str, Any]


class Zendesk:
    """One Zendesk account. Credentials: `email` and `api_token` of an admin; `webhook_secret` for events."""

    kind: ClassVar[str] = "zendesk"
    credentials_schema: ClassVar[Mapping[str, Any]] = CREDENTIALS
    options_schema: ClassVar[Mapping[str, Any]] = OPTIONS
    objects: ClassVar[Mapping[str, ObjectSpec]] = OBJECTS

    def __init__(self, account: Account) -> None:
        self._system = account.system
        self._now = account.now
        self._secrets = secrets(account.credentials)
        subdomain = account.options.get("subdomain")
        if not account.url and not subdomain:
            raise errors.BadSetting(
                "the address of the Zendesk account is not known",
                hint="add the option subdomain: acme for acme.zendesk.com",
                system=account.system,
            )
        self._http = account.http(
            account.url or f"https://{subdomain}.zendesk.com",
            basic=(f"{account.credentials['email']}/token", account.credentials["api_token"]),
            message=message,
            # 409 says that two requests met and one may be repeated, never that a state is newer
            statuses={409: errors.Unavailable},
        )
        self._imports = True  # until a create_many is forbidden

    # ---- reading ----

    def scan(self, object: str, paths: Sequence[str], *, resume: str | None = None) -> Iterator[Page]:
        """In ascending order of ids (unverified). A cursor is not moved by what is added or deleted meanwhile."""
        after = resume
        while True:
            answer = self._get(f"/api/v2/{object}", {"page[size]": 100, "page[after]": after})
            items = self._items(object, answer)
            meta = self._part(answer, "meta", dict)
            if not self._part(meta, "has_more", bool):
                yield Page(items=items, proven=True)
                return
            after = self._part(meta, "after_cursor", str)
            yield Page(items=items, resume=after)

    def poll(
        self, object: str, paths: Sequence[str], *, cursor: str, resume: str | None = None
    ) -> Iterator[Page]:
        """Everything changed up to a minute ago, deleted users among it.

        A cursor is `time:<Unix seconds>` or, for users from the second page on, `cursor:<the vendor's>`.
        """
        at = resume or cursor
        while True:
            kind, _, value = at.partition(":")
            oldest = self._now() // SECOND - EXPORT_AGE
            asked = {"cursor": value} if kind == "cursor" else {"start_time": min(int(value), oldest)}
            if object == "users":
                answer = self._get("/api/v2/incremental/users/cursor", asked)
                then = f"cursor:{answer['after_cursor']}" if answer.get("after_cursor") else at
            else:
                answer = self._get("/api/v2/incremental/organizations", asked)
                then = f"time:{answer['end_time']}" if answer.get("end_time") else at
            items = self._items(object, answer)
            if self._part(answer, "end_of_stream", bool):
                yield Page(items=items, cursor=then)
                return
            if then == at:
                raise errors.Unavailable("Zendesk's export does not move on", system=self._system)
            at = then
            yield Page(items=items, resume=at)

    def start_cursor(self, object: str, began: Micros) -> str | None:
        return f"time:{began // SECOND - OVERLAP}"

    def read(self, object: str, ids: Sequence[str], paths: Sequence[str]) -> list[Item]:
        """One call, and one more for each id that it leaves out: absence from a page proves nothing, a 404 does."""
        if not ids:
            return []
        answer = self._get(f"/api/v2/{object}/show_many", {"ids": ",".join(ids)})
        found = {one.id: one for one in self._items(object, answer) if one.id in ids}
        return [found.get(id) or self._read(object, id) for id in ids]

    def _read(self, object: str, id: str) -> Item:
        try:
            answer = self._get(f"/api/v2/{object}/{id}")
        except errors.Missing:
            return Item(id=id, fields={}, deleted=True)
        return self._item(object, answer)

    def find(self, object: str, keys: Mapping[str, Any], paths: Sequence[str]) -> list[Item]:
        """By external_id at once; by a user's e-mail address through the search index, which lags by up to minutes.

        Letter case does not matter to Zendesk in any of these keys, and so not here.
        """
        path = next((one for one in (STAMP_PATH, *OBJECTS[object].keys) if one in keys), None)
        if path is None:
            known = " or ".join(OBJECTS[object].keys)
            raise errors.Refused(f"{object} can be found by {known} only", system=self._system)
        found = self._holders(object, path, str(keys[path]))
        return [one for one in found if all(_same(get_path(one.fields, name), keys[name]) for name in keys)]

    def _holders(self, object: str, path: str, value: str) -> list[Item]:
        """Records that hold the value, as an address of a user maybe not the primary one. Deleted ones left out."""
        if path == STAMP_PATH:
            answer = self._get(f"/api/v2/{object}/show_many", {"external_ids": value})
        elif object == "users":
            quoted = value.replace('"', "")
            answer = self._get("/api/v2/users/search", {"query": f'email:"{quoted}"'})
        else:
            answer = self._get("/api/v2/organizations/search", {"name": value})
        return [one for one in self._items(object, answer) if not one.deleted]

    # ---- writing ----

    def write(self, object: str, writes: Sequence[Write], paths: Sequence[str]) -> list[Receipt]:
        """One call for one write, one asynchronous call for several; an e-mail address that changes takes two more.

        A batch that is refused as a whole is sent again write by write, so that one bad write stops no other.
        """
        alone = [[write] for write in writes if _moves(object, write)]
        together = [write for write in writes if not _moves(object, write)]
        todo = deque(group for group in (together, *alone) if group)
        receipts: list[Receipt] = []
        while todo:
            group = todo[0]
            try:
                receipts += self._many(object, group) if len(group) > 1 else [self._one(object, group[0])]
                todo.popleft()
            except _Split:
                todo.popleft()
                todo.extendleft([write] for write in reversed(group))
            except (errors.Retry, errors.FixSetup) as error:
                if not receipts:
                    raise
                # what was answered so far must not be lost with the rest
                rest = [write for group in todo for write in group]
                return receipts + [_receipt(write, "unknown", message=error.message) for write in rest]
        return receipts

    def _one(self, object: str, write: Write) -> Receipt:
        try:
            return self._send(object, write)
        except errors.Missing as error:
            return _receipt(write, "missing", message=error.message)
        except errors.Refused as error:
            if write.op == "create" and error.code == "DuplicateValue":
                return self._met(object, write, error.message)
            return _receipt(write, "refused", message=error.message)

    def _send(self, object: str, write: Write) -> Receipt:
        path = f"/api/v2/{object}" if write.id is None else f"/api/v2/{object}/{write.id}"
        if write.op == "delete":
            self._http.request("DELETE", path)
            return _receipt(write, "done", item=Item(id=str(write.id), fields={}, deleted=True))
        fields = body(object, write)
        if not _moves(object, write):
            return self._put(object, write, path, fields)
        self._make_primary(path, str(fields.pop("email")))
        if not fields:
            return _receipt(write, "done")
        try:
            return self._put(object, write, path, fields)
        except errors.Refused as error:
            return _receipt(
                write, "refused", message=f"the address is changed, the rest is not: {error.message}"
            )
        except (errors.Retry, errors.FixSetup) as error:
            raise errors.OutcomeUnknown(error.message, system=self._system) from error

    def _put(self, object: str, write: Write, path: str, fields: Json) -> Receipt:
        method = "POST" if write.op == "create" else "PUT"
        answer = self._http.request(method, path, json={SINGULAR[object]: fields}, shape=Json)
        try:
            after = self._item(object, answer.json)
        except errors.Unavailable as error:
            raise errors.OutcomeUnknown(error.message, system=self._system) from error
        return _receipt(write, "done", id=after.id, item=after)

    def _make_primary(self, path: str, address: str) -> None:
        """Give the user this address as the primary one. Until the last call nothing shows in the user's fields.

        The identity is made verified, because Zendesk shows another address in `email` while the primary one is not
        (user properties, `email`); nobody is written to.
        """
        new = {"type": "email", "value": address, "verified": True, "skip_verify_email": True}
        try:
            answer = self._http.request("POST", f"{path}/identities", json={"identity": new}, shape=Json).json
            identity = self._part(answer, "identity", dict)
        except errors.Refused:
            # perhaps it is the user's own already, as a secondary address or from an attempt before
            known = self._part(self._get(f"{path}/identities"), "identities", list)
            own = [one for one in known if one.get("type") == "email" and _same(one.get("value"), address)]
            if not own:
                raise
            identity = own[0]
        one = f"{path}/identities/{self._part(identity, 'id', int)}"
        if not identity.get("verified"):
            self._http.request("PUT", one, json={"identity": {"verified": True}})
        self._http.request("PUT", f"{one}/make_primary")

    def _met(self, object: str, write: Write, told: str) -> Receipt:
        """The record that a create met. Search may not know it yet; then nothing can be said but that there is one."""
        fields = body(object, write)
        for path in (STAMP_PATH, *OBJECTS[object].keys):
            for one in self._holders(object, path, str(fields[path])) if fields.get(path) else ():
                return _receipt(write, "exists", id=one.id, item=one, message=told)
        return _receipt(write, "unknown", message=f"{told}; search does not show it yet")

    def _many(self, object: str, writes: Sequence[Write]) -> list[Receipt]:
        op = writes[0].op
        if op == "create" and object == "users" and not self._imports:
            raise _Split
        path = f"/api/v2/{object}"
        try:
            if op == "delete":
                ids = ",".join(str(write.id) for write in writes)
                answer = self._http.request("DELETE", f"{path}/destroy_many", params={"ids": ids}, shape=Json)
            elif op == "create":
                given = {object: [body(object, write) for write in _in_order(writes)]}
                answer = self._http.request("POST", f"{path}/create_many", json=given, shape=Json)
            else:
                given = {object: [{"id": _number(write.id), **body(object, write)} for write in writes]}
                answer = self._http.request("PUT", f"{path}/update_many", json=given, shape=Json)
        except errors.Refused as error:
            raise _Split from error
        except errors.Unauthorised as error:
            if op != "create" or object != "users":
                raise
            self._imports = False
            raise _Split from error
        try:
            job = self._part(self._part(answer.json, "job_status", dict), "id", str)
        except errors.Unavailable as error:
            raise errors.OutcomeUnknown(error.message, system=self._system) from error
        return [_receipt(write, "pending", job=job) for write in writes]

    def job(
        self, object: str, job: str, writes: Sequence[Write], paths: Sequence[str]
    ) -> list[Receipt] | None:
        """A job is kept for a day at most. Its results name the id of what was updated or deleted, and for what was
        created the place in the call, where writes are in the order of their keys."""
        try:
            told = self._part(self._get(f"/api/v2/job_statuses/{job}"), "job_status", dict)
        except errors.Missing:
            return [_receipt(write, "unknown", message="Zendesk has forgotten the job") for write in writes]
        if told.get("status") in ("queued", "working"):
            return None
        found = told.get("results")
        results = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
        if any(write.op != "create" for write in writes):
            by_id = {str(one.get("id")): one for one in results}
            outcomes = {write.key: by_id.get(str(write.id)) for write in writes}
        elif told.get("total") == len(writes):
            by_place = {one.get("index"): one for one in results}
            outcomes = {write.key: by_place.get(place) for place, write in enumerate(_in_order(writes))}
        else:
            outcomes = self._by_stamp(object, writes, results)
        why = str(told.get("message") or f"the job ended as {told.get('status')}")
        return [self._result(object, write, outcomes[write.key], why) for write in writes]

    def _by_stamp(
        self, object: str, writes: Sequence[Write], results: Sequence[Json]
    ) -> dict[str, Json | None]:
        """Outcomes where only some of a job's writes are asked about, so that places mean nothing: what was made is
        read, and our stamp in it says whose it is."""
        made = self.read(object, [str(one["id"]) for one in results if one.get("id")], ())
        by_stamp = {str(get_path(one.fields, STAMP_PATH)).casefold(): {"id": one.id} for one in made}
        stamps = {write.key: str(body(object, write).get(STAMP_PATH, "")) for write in writes}
        return {key: by_stamp.get(stamp.casefold()) for key, stamp in stamps.items()}

    def _result(self, object: str, write: Write, result: Json | None, why: str) -> Receipt:
        if result is None:
            return _receipt(write, "unknown", message=why)
        if result.get("success", True) and not result.get("error"):
            return _receipt(write, "done", id=str(result.get("id") or write.id))
        told = f"{result.get('error', '')}: {result.get('details', '')}"
        if "NotFound" in told:
            return _receipt(write, "missing", message=told)
        if write.op == "create" and ("already being used" in told or "already been taken" in told):
            return self._met(object, write, told)
        return _receipt(write, "refused", message=told)

    def history(self, object: str, id: str, path: str) -> list[Change]:
        raise errors.Refused("Zendesk has no history of a user's fields", system=self._system)

    # ---- webhooks ----

    def answer_check(self, delivery: Delivery) -> str | None:
        return None

    def authenticate(self, delivery: Delivery) -> None:
        stamp = header(delivery, "X-Zendesk-Webhook-Signature-Timestamp")
        given = header(delivery, "X-Zendesk-Webhook-Signature")
        check_signature(given, self._secrets, stamp, delivery.body, encoding="base64")
        check_time(iso_time(stamp), delivery.received)

    def events(self, delivery: Delivery) -> list[Event]:
        return told_by(delivery)

    def delivery_id(self, delivery: Delivery) -> str:
        return delivery_id(delivery)

    def hooks(self, url: str, objects: Sequence[str]) -> list[Hook]:
        return hooks.listed(self._http, url, objects)

    def register(self, url: str, objects: Sequence[str]) -> Hook:
        return hooks.register(self._http, url, objects)

    def sample(self, url: str, at: Micros) -> Delivery:
        return hooks.sample(url, at, self._secrets[0])

    # ---- calls ----

    def _get(self, path: str, params: Mapping[str, Any] | None = None) -> Json:
        found: Json = self._http.request("GET", path, params=params, shape=Json).json
        return found

    def _items(self, object: str, answer: Json) -> list[Item]:
        return [self._item(object, {SINGULAR[object]: one}) for one in self._part(answer, object, list)]

    def _item(self, object: str, answer: Json) -> Item:
        payload = self._part(answer, SINGULAR[object], dict)
        self._part(payload, "id", int)
        return item(payload)

    def _part(self, answer: Json, name: str, kind: type[Any]) -> Any:
        found = answer.get(name)
        if isinstance(found, kind):
            return found
        raise errors.Unavailable(f"Zendesk answered without a usable `{name}`", system=self._system)


class _Split(Exception):
    """A batch that has to be sent write by write; nothing of it was done."""


def _receipt(
    write: Write,
    status: Literal["done", "pending", "exists", "missing", "refused", "unknown"],
    *,
    id: str | None = None,
    item: Item | None = None,
    job: str | None = None,
    message: str = "",
) -> Receipt:
    return Receipt(key=write.key, status=status, id=id or write.id, item=item, job=job, message=message)


def _moves(object: str, write: Write) -> bool:
    """Whether the write changes the primary address of a user, which update_many cannot."""
    return object == "users" and write.op == "update" and write.values.get("email") is not None


def _in_order(writes: Sequence[Write]) -> list[Write]:
    return sorted(writes, key=lambda write: write.key)


def _number(id: str | None) -> int | str | None:
    return int(id) if id and id.isdecimal() else id


def _same(one: Any, other: Any) -> bool:
    return str(one).casefold() == str(other).casefold()
