"""A contact of SendGrid Marketing Campaigns: what the vendor shows, what the broker sees, and what is sent.

Pure translation. Shapes from the vendor's OpenAPI document of 2026-01 (tsg_mc_contacts_v3). Three things are known from
users' reports only: an export has one JSON object per line, with `contact_id` for `id` (sendgrid/sendgrid-csharp#1024);
custom fields are read by name but written by id (sendgrid/sendgrid-nodejs#953); a custom field is not cleared with null
(sendgrid/docs#6323: "cannot be null"). `phone_number` is shown but, other than in earlier documents, not listed in the
request; that it is still taken is unverified.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from syncbroker.core.types import Item, Micros
from syncbroker.errors import Refused
from syncbroker.sdk.connector import FieldSpec, ObjectSpec
from syncbroker.sdk.paths import get_path

SECOND = 1_000_000
LAG = 30.0
"""Seconds; the vendor names none. Users report from seconds to minutes (unverified)."""

IDENTIFIERS = ("email", "phone_number_id", "external_id", "anonymous_id")
"""An update must repeat all of these that the contact has (PUT /v3/marketing/contacts)."""

_TEXTS = (
    "first_name",
    "last_name",
    "phone_number",
    "address_line_1",
    "address_line_2",
    "city",
    "state_province_region",
    "postal_code",
    "country",
)

CONTACTS = ObjectSpec(
    name="contacts",
    fields={
        "email": FieldSpec(clearable=False, required=True),
        **{name: FieldSpec() for name in _TEXTS},
        "alternate_emails": FieldSpec(),
        "created_at": FieldSpec(writable=False),
        "updated_at": FieldSpec(writable=False),
    },
    open_fields=True,
    stamp=SECOND,
    lag=LAG,
    # the vendor takes 30,000 contacts or 6 MB; this keeps a call small enough to read its contacts back
    batch={"create": 1000, "update": 1000, "delete": 100},
    read_batch=100,
    shows=False,
    keys=("email",),
    id_path="email",
)


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a contact's payload that the broker uses; an export says `contact_id` for `id`."""

    id: str = ""
    contact_id: str = ""
    email: str | None = ""
    first_name: str | None = ""
    last_name: str | None = ""
    phone_number: str | None = ""
    address_line_1: str | None = ""
    address_line_2: str | None = ""
    city: str | None = ""
    state_province_region: str | None = ""
    postal_code: str | None = ""
    country: str | None = ""
    alternate_emails: list[str] | None = None
    phone_number_id: str | None = ""
    external_id: str | None = ""
    anonymous_id: str | None = ""
    list_ids: list[str] | None = None
    custom_fields: dict[str, Any] | None = None
    created_at: str = ""
    updated_at: str = ""

    def __post_init__(self) -> None:
        if not self.key:
            raise ValueError("a contact without an id")

    @property
    def key(self) -> str:
        return self.id or self.contact_id


class Definition(msgspec.Struct, frozen=True):
    """A custom field: members of GET /v3/marketing/field_definitions."""

    id: str
    name: str
    field_type: str


def item(contact: Contact) -> Item:
    """A contact as the broker sees it. Whatever is not shown was never set.

    Lists and the other identifiers are left out: an export does not show them, so a scan and a read would disagree.
    """
    fields = {name: getattr(contact, name) or "" for name in ("email", *_TEXTS)}
    more = {"alternate_emails": contact.alternate_emails or [], "custom_fields": contact.custom_fields or {}}
    times = {"created_at": contact.created_at, "updated_at": contact.updated_at}
    return Item(id=contact.key, fields={**fields, **more, **times}, stamp=micros(contact.updated_at))


def body(values: Mapping[str, Any], held: Contact | None, ids: Mapping[str, Definition]) -> dict[str, Any]:
    """One member of `contacts` of PUT /v3/marketing/contacts; what is left out stays as it is.

    `held` gives the identifiers, `ids` the definitions of custom fields by name. None becomes empty text. Refused for
    what SendGrid cannot be asked for.
    """
    sent = {name: value for name in IDENTIFIERS if held and (value := getattr(held, name))}
    custom: dict[str, Any] = {}
    for path, value in values.items():
        head, _, name = path.partition(".")
        if head != "custom_fields":
            empty: Any = [] if path == "alternate_emails" else ""
            sent[path] = empty if value is None else value
            continue
        if name not in ids:
            raise Refused(f"SendGrid has no custom field {name!r}: create it there first")
        if value is None and ids[name].field_type != "Text":
            raise Refused(f"SendGrid cannot clear the {ids[name].field_type} field {name!r}")
        custom[ids[name].id] = "" if value is None else value
    return {**sent, "custom_fields": custom} if custom else sent


def copied(held: Contact) -> dict[str, Any]:
    """All that a contact holds, as values of a write: for the contact that takes its place."""
    plain = {name: value for name in _TEXTS if (value := getattr(held, name))}
    custom = {f"custom_fields.{name}": value for name, value in (held.custom_fields or {}).items()}
    more = {"alternate_emails": held.alternate_emails} if held.alternate_emails else {}
    return {**plain, **more, **custom}


def shows(contact: Contact, values: Mapping[str, Any]) -> bool:
    """Whether the contact holds what was written. SendGrid makes addresses lower-case; numbers may come as text."""
    fields = msgspec.to_builtins(contact)
    return all(_plain(path, get_path(fields, path)) == _plain(path, value) for path, value in values.items())


def _plain(path: str, value: Any) -> Any:
    if value in (None, "", []):
        return None
    if path == "email":
        return str(value).lower()
    if path == "alternate_emails":
        return sorted(str(one).lower() for one in value)
    return str(value) if isinstance(value, int | float) else value


def micros(text: str) -> Micros | None:
    """µs of "2021-03-30T15:26:16Z"; None for anything else."""
    try:
        return int(datetime.fromisoformat(text).timestamp()) * SECOND
    except ValueError:
        return None
