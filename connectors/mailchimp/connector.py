"""Mailchimp Marketing 3.0: the members of one audience (a "list") are read and written.

How Mailchimp is spoken to, and where that is known from (paths are below `/3.0`; parameters as in the vendor's package
`mailchimp-marketing` 3.0.80 unless another source is named):

- HTTP basic, any user, the API key as password; the data centre is the key's suffix. At most 10 open requests per user,
  the 11th gets 429; a call ends after 120 seconds (the vendor's published agent skill "run-bulk-jobs"). There are no
  rate headers.
- Lists have `count` (at most 1000), `offset` and `total_items`; `walk` reads them without a cursor. Archived members
  are in no list unless `status=archived` asks for them (unverified), so an archived one is noticed by its webhook or by
  a sweep. `since_last_changed` sees merge fields, status and tags (as users report), to the second.
- A member is read by its hash with one GET each. There is no endpoint for several; `POST /batches` is a job with an
  archive to download, made for thousands. An archived member still answers 200 with `status: archived`.
- `POST /lists/{list_id}` writes 500 members and answers each one's state, or an error for it. It knows members only by
  `email_address`, so the address belonging to an id is remembered from the read that precedes a write, else asked for.
  An update sends `status` only when the status is what is to be written: then no update can subscribe anybody, and for
  an address that is not on the list it does nothing (VingtCinq/python-mailchimp#68).
- A new address needs `PATCH /lists/{list_id}/members/{hash}` of its own; the answer has the new hash. Tags need
  `POST .../tags`, which answers nothing, so the member is read again.
- A contact that unsubscribed or bounced is not subscribed again by an API ("Member In Compliance State"): refused.
- DELETE archives; permanent deletion is left to people. No ETag, no version on writes.
- Webhooks are form-encoded and come to a secret URL that is checked with a GET first. Those created since 2026 may be
  signed as well, `X-Mailchimp-Signature: t=<unix>,v1=<hex>` over `t.body` (the vendor's published agent skill
  "subscribe-to-webhooks"): give `webhook_signing_secret`, and an unsigned delivery is refused. Their `data[id]` is the
  `unique_email_id`, not the hash, so ids are made from the addresses. They carry no version: each one is a hint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from connectors.mailchimp import hooks
from connectors.mailchimp.audience import Audience
from connectors.mailchimp.members import MEMBERS, SECOND, item, micros, subscriber_hash
from connectors.mailchimp.walk import Place, Row, advance
from connectors.mailchimp.writing import Writer
from syncbroker import errors
from syncbroker.core.types import Event, Item, Micros, Receipt, Write
from syncbroker.decoding import decode
from syncbroker.sdk import webhook
from syncbroker.sdk.connector import Account, Change, Delivery, Hook, ObjectSpec, Page
from syncbroker.sdk.http import usual_message

OVERLAP = 60  # seconds before the newest change seen that the next poll starts at: changes may be listed late
SKEW = 600  # seconds that the vendor's clock and this machine's may be apart


class Mailchimp:
    """One audience. Options: `list_id`; `new_status`, the status of a created member where the mapping gives none."""

    kind: ClassVar[str] = "mailchimp"
    credentials_schema: ClassVar[Mapping[str, Any]] = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "required": ["api_key"],
        "additionalProperties": False,
        "properties": {
            "api_key": {"type": "string", "minLength": 1, "description": "with its data centre, ...-us21"},
            "webhook_secret": {
                "type": "string",
                "minLength": 16,
                "description": "a long random text, the last part of the webhook's URL",
            },
            "webhook_secret_previous": {
                "type": "string",
                "description": "the one before, while it is rotated",
            },
            "webhook_signing_secret": {
                "type": "string",
                "minLength": 1,
                "description": "`signing_secret` as answered when the webhook was created; then all are signed",
            },
            "webhook_signing_secret_previous": {"type": "string", "description": "the one before"},
        },
    }
    options_schema: ClassVar[Mapping[str, Any]] = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "required": ["list_id"],
        "additionalProperties": False,
        "properties": {
            "list_id": {"type": "string", "minLength": 1, "description": "audience settings, `Audience ID`"},
            "new_status": {
                "enum": ["transactional", "pending", "unsubscribed", "subscribed"],
                "default": "transactional",
            },
        },
    }
    objects: ClassVar[Mapping[str, ObjectSpec]] = {"members": MEMBERS}

    def __init__(self, account: Account) -> None:
        self._system = account.system
        self._secrets = webhook.secrets(account.credentials)
        self._signing = webhook.secrets(account.credentials, "webhook_signing_secret")
        key = account.credentials["api_key"]
        http = account.http(
            account.url or _address(key, account.system), basic=("syncbroker", key), message=_message
        )
        self._audience = Audience(http, str(account.options["list_id"]), account.system)
        self._writer = Writer(self._audience, account.options.get("new_status", "transactional"))

    # ---- reading ----

    def scan(self, object: str, paths: Sequence[str], *, resume: str | None = None) -> Iterator[Page]:
        """Oldest change first. Proven when the counts of all pages agree, see `walk`."""
        place = decode(resume, Place) if resume else Place()
        for items, following, steady, _ in self._walk(place):
            yield Page(items=items, resume=_token(following), proven=following is None and steady)

    def poll(
        self, object: str, paths: Sequence[str], *, cursor: str, resume: str | None = None
    ) -> Iterator[Page]:
        """`cursor` is in Unix seconds of the vendor's clock."""
        place = decode(resume, Place) if resume else Place(since=int(cursor))
        for items, following, _, begun in self._walk(place):
            if following:
                yield Page(items=items, resume=_token(following))
                continue
            stamps = [one.stamp for one in items if one.stamp is not None]
            newest = max(stamps) // SECOND - OVERLAP if stamps else 0
            # in a quiet audience this machine's clock moves the cursor on, or the last change were read for ever
            yield Page(items=items, cursor=str(max(int(cursor), newest, begun // SECOND - SKEW)))

    def start_cursor(self, object: str, began: Micros) -> str | None:
        return str(began // SECOND - SKEW)

    def _walk(self, start: Place) -> Iterator[tuple[list[Item], Place | None, bool, Micros]]:
        """Per page: the members, the next place, whether everybody was seen so far, when the request began."""
        place: Place | None = start
        while place is not None:
            answer = self._audience.page(place)
            found = answer.json.members
            rows = [Row(one.id, (micros(one.last_changed) or 0) // SECOND) for one in found]
            fresh = found[1:] if found and found[0].id == place.last else found
            place, steady = advance(place, rows, answer.json.total_items)
            yield [item(one) for one in fresh], place, steady, answer.begun

    def read(self, object: str, ids: Sequence[str], paths: Sequence[str]) -> list[Item]:
        """One GET per id. A 404 counts only when the audience itself is seen to exist."""
        members = {id: self._audience.member(id) for id in ids}
        if None in members.values():
            self._audience.check()
        return [
            item(member) if member else Item(id=id, fields={}, deleted=True) for id, member in members.items()
        ]

    def find(self, object: str, keys: Mapping[str, Any], paths: Sequence[str]) -> list[Item]:
        """By address only. An archived member counts as none: creating it again brings it back."""
        address = keys.get("email_address")
        member = self._audience.member(subscriber_hash(str(address))) if address else None
        return [item(member)] if member and member.status != "archived" else []

    def history(self, object: str, id: str, path: str) -> list[Change]:
        """Mailchimp keeps no history of fields."""
        return []

    # ---- writing ----

    def write(self, object: str, writes: Sequence[Write], paths: Sequence[str]) -> list[Receipt]:
        """One call for all creates or updates, see `writing` for what needs more."""
        by_op: Mapping[str, Callable[[Sequence[Write]], list[Receipt]]] = {
            "create": self._writer.create,
            "update": self._writer.update,
            "delete": self._writer.delete,
        }
        return by_op[writes[0].op](writes) if writes else []

    def job(
        self, object: str, job: str, writes: Sequence[Write], paths: Sequence[str]
    ) -> list[Receipt] | None:
        """No write of this connector is asynchronous."""
        raise errors.Refused("Mailchimp has no such job", system=self._system)

    # ---- webhooks ----

    def answer_check(self, delivery: Delivery) -> str | None:
        """Mailchimp asks a new URL with a GET and expects any 200."""
        known = [webhook.same(delivery.secret, secret) for secret in self._secrets if secret]
        return "ok" if delivery.method == "GET" and any(known) else None

    def authenticate(self, delivery: Delivery) -> None:
        """The secret URL; and the signature where a signing secret is set."""
        if delivery.method != "POST":
            raise errors.BadDelivery("Mailchimp delivers with POST", status=401)
        webhook.check_secret(delivery.secret, self._secrets)
        if not self._signing[0]:
            return
        parts = [
            part.strip().partition("=")
            for part in webhook.header(delivery, "X-Mailchimp-Signature").split(",")
        ]
        time = next((value for name, _, value in parts if name == "t"), "")
        given = [value for name, _, value in parts if name == "v1"]
        webhook.check_signature(given, self._signing, time, ".", delivery.body)
        webhook.check_time(webhook.unix_time(time), delivery.received)

    def hooks(self, url: str, objects: Sequence[str]) -> list[Hook]:
        return hooks.listed(self._audience, url, self._secrets)

    def register(self, url: str, objects: Sequence[str]) -> Hook:
        return hooks.register(self._audience, url, self._secrets, self._system)

    def sample(self, url: str, at: Micros) -> Delivery:
        return hooks.sample(url, at, self._secrets[0], self._signing[0])

    def events(self, delivery: Delivery) -> list[Event]:
        """One event, and always a hint; of another type than those that are known, an event about that type.

        `fired_at` has no zone (the account's own, unknown here): no time.

        There is no delivery id. Two changes may fall into one second, so the key of an event holds the body's digest.
        """
        form = webhook.form_body(delivery)
        type, list_id = form.get("type", ""), form.get("data[list_id]", "")
        digest = hashlib.sha256(delivery.body).hexdigest()[:16]
        if type and type not in hooks.EVENTS:
            return [Event(object=type, id=digest, kind="changed")]
        if list_id != self._audience.list_id:
            raise errors.BadDelivery(
                "the delivery is not about this audience",
                status=400,
                hint="each audience needs a system of its own",
            )
        old = form.get("data[old_email]" if type == "upemail" else "data[email]", "")
        new = form.get("data[new_email]", "")
        if not type or not old or (type == "upemail" and not new):
            raise errors.BadDelivery("the delivery's body is not what Mailchimp sends", status=400)
        id, new_id = subscriber_hash(old), subscriber_hash(new)
        event_id = f"{type}:{form.get('fired_at', '')}:{id}:{digest}"
        if type == "upemail" and new_id != id:
            return [Event(object="members", id=id, kind="rekeyed", event_id=event_id, new_id=new_id)]
        return [Event(object="members", id=id, kind="changed", event_id=event_id)]


def _token(place: Place | None) -> str | None:
    return msgspec.json.encode(place).decode() if place else None


def _address(api_key: str, system: str) -> str:
    """`https://us21.api.mailchimp.com` for a key that ends with `-us21`."""
    centre = api_key.rpartition("-")[2]
    if not (centre.isascii() and centre.isalnum() and "-" in api_key):
        raise errors.BadSetting(
            "the Mailchimp API key does not end with its data centre, such as -us21",
            hint="copy the whole key, with what follows its last dash",
            system=system,
        )
    return f"https://{centre}.api.mailchimp.com"


def _message(status: int, json: Any) -> tuple[str, str]:
    """RFC 7807: `title` is the vendor's code; `errors` name the fields."""
    if "title" not in json:
        return usual_message(status, json)
    fields = "; ".join(f"{one['field']}: {one['message']}" for one in json.get("errors", []))
    text = f"{json['title']}. {json.get('detail', '')}" + (f" ({fields})" if fields else "")
    return text, json["title"]
