"""A member of a Mailchimp audience: what the vendor shows, what the broker sees of it, and what is sent back.

Pure translation. The external id is the "subscriber hash", the MD5 of the lower-case address (documented for
`subscriber_hash` of GET /lists/{list_id}/members/{subscriber_hash}), so it changes with the address. `contact_id` does
not; the member endpoints take it as well, so it is given as an alias: a member whose change of address was never
reported is found again by it (that it survives a change of address is unverified).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from syncbroker.core.types import Item, Micros
from syncbroker.sdk.connector import FieldSpec, ObjectSpec
from syncbroker.sdk.paths import nested

SECOND = 1_000_000
BATCH = 500
"""Members per call of POST /lists/{list_id}, documented there."""

MEMBERS = ObjectSpec(
    name="members",
    fields={
        "email_address": FieldSpec(clearable=False, required=True),
        "status": FieldSpec(clearable=False),
        "merge_fields.FNAME": FieldSpec(),
        "merge_fields.LNAME": FieldSpec(),
        "merge_fields.PHONE": FieldSpec(),
        "merge_fields.ADDRESS": FieldSpec(),
        "tags": FieldSpec(),
        "language": FieldSpec(),
        "email_type": FieldSpec(clearable=False),
        "vip": FieldSpec(clearable=False),
        "contact_id": FieldSpec(writable=False),
        "last_changed": FieldSpec(writable=False),
        "timestamp_opt": FieldSpec(writable=False),
        "ip_opt": FieldSpec(writable=False),
    },
    open_fields=True,
    stamp=SECOND,
    batch={"create": BATCH, "update": BATCH, "delete": 1},
    read_batch=1,
    events=True,
    keys=("email_address",),
    id_path="email_address",
    consent_path="status",
)

_EMPTY_ADDRESS = {"addr1": "", "addr2": "", "city": "", "state": "", "zip": "", "country": ""}


class Tag(msgspec.Struct, frozen=True):
    name: str


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a member's payload that the broker uses. Empty text is Mailchimp's "never set"."""

    id: str
    email_address: str
    status: str
    contact_id: str = ""
    merge_fields: dict[str, Any] = {}
    tags: tuple[Tag, ...] = ()
    language: str = ""
    email_type: str = ""
    vip: bool = False
    interests: dict[str, bool] = {}
    location: dict[str, Any] = {}
    source: str = ""
    last_changed: str = ""
    timestamp_opt: str | None = ""
    ip_opt: str | None = ""


SHOWN = Member.__struct_fields__
"""What is asked for with `fields=`: the rest, above all `_links`, is most of a member's payload."""


def subscriber_hash(address: str) -> str:
    """MD5 hex of the lower-case address. Not a secret and no protection: the vendor's name for the member."""
    return hashlib.md5(address.strip().lower().encode(), usedforsecurity=False).hexdigest()


def item(member: Member) -> Item:
    """A member as the broker sees it: tags are a list of names, an archived member counts as deleted."""
    fields = msgspec.to_builtins(member)
    del fields["id"]
    fields["tags"] = [tag.name for tag in member.tags]
    return Item(
        id=member.id,
        fields=fields,
        stamp=micros(member.last_changed),
        deleted=member.status == "archived",
        aliases=(member.contact_id,) if member.contact_id else (),
        consent=_consent(member),
    )


def _consent(member: Member) -> str | None:
    """When and from where the contact confirmed. Mailchimp fills both for subscriptions through its API too."""
    if member.status != "subscribed" or not member.timestamp_opt:
        return None
    return f"opted in {member.timestamp_opt}" + (f" from {member.ip_opt}" if member.ip_opt else "")


def payload(values: Mapping[str, Any], before: Member | None = None) -> dict[str, Any]:
    """The body of a write, tags left out (they have an endpoint of their own). None becomes Mailchimp's empty text.

    A part of a compound merge field (`merge_fields.ADDRESS.city`) is sent together with the parts that `before` shows:
    Mailchimp takes an address whole ("Please enter a complete address").
    """
    body = nested({path: _rendered(path, value) for path, value in values.items() if path != "tags"})
    shown = before.merge_fields if before else {}
    for name, value in body.get("merge_fields", {}).items():
        if isinstance(value, dict):
            held = shown.get(name)
            whole = {**_EMPTY_ADDRESS, **(held if isinstance(held, dict) else {}), **value}
            body["merge_fields"][name] = whole if any(whole.values()) else ""
    return body


def _rendered(path: str, value: Any) -> Any:
    if value is None:
        return False if path == "vip" else ""
    return value


def tag_changes(wanted: Sequence[str] | None, before: Member) -> list[dict[str, str]]:
    """`tags` for POST .../tags: all wanted ones active, and inactive only those that were seen before.

    A tag that a person added since is not seen, so it stays; `sync_tags` of the batch endpoint would remove it.
    """
    names = list(wanted or ())
    gone = [tag.name for tag in before.tags if tag.name not in names]
    return [{"name": name, "status": "active"} for name in names] + [
        {"name": name, "status": "inactive"} for name in gone
    ]


def micros(text: str) -> Micros | None:
    """µs of "2022-02-23T19:31:55+00:00"; None for empty text or anything else."""
    try:
        return int(datetime.fromisoformat(text).timestamp()) * SECOND
    except ValueError:
        return None


def iso(seconds: int) -> str:
    """The form that Mailchimp documents for time filters."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
