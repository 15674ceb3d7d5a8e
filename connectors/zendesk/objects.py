"""What Zendesk keeps, in Zendesk's words: the collections, their fields, and how values travel.

Members and their rules: the descriptions in the vendor's published API document, as the client package python-zendesk
carries them (developer.zendesk.com/api-reference/ticketing/users/users and .../organizations/organizations).
`updated_at` has whole seconds, so two states of one record may share a stamp.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from syncbroker.core.types import Item, Micros, Write
from syncbroker.sdk.connector import FieldSpec, ObjectSpec
from syncbroker.sdk.paths import nested

STAMP_PATH = "external_id"
"""Where the broker's record id is left on a created record. Unique in the account; letter case does not matter."""

CREDENTIALS: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["email", "api_token"],
    "additionalProperties": False,
    "properties": {
        "email": {"type": "string", "minLength": 1, "description": "the admin that the token acts for"},
        "api_token": {"type": "string", "minLength": 1, "description": "an API token, not a password"},
        "webhook_secret": {
            "type": "string",
            "minLength": 1,
            "description": "the webhook's signing secret, as text",
        },
        "webhook_secret_previous": {"type": "string", "description": "the one before, while it is rotated"},
    },
}
OPTIONS: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "subdomain": {
            "type": "string",
            "pattern": "^[A-Za-z0-9-]+$",
            "description": "acme for acme.zendesk.com",
        },
    },
}

_READ_ONLY = FieldSpec(writable=False, clearable=False)
_MANY = {"create": 100, "update": 100, "delete": 100}

USERS = ObjectSpec(
    name="users",
    stamp_path=STAMP_PATH,
    fields={
        "name": FieldSpec(required=True, clearable=False),
        "email": FieldSpec(
            clearable=False
        ),  # the address of an identity; a user keeps at least the primary one
        "phone": FieldSpec(),
        "organization_id": FieldSpec(refers_to="organizations"),
        "role": FieldSpec(clearable=False),
        "tags": FieldSpec(),
        "notes": FieldSpec(),
        "details": FieldSpec(),
        "alias": FieldSpec(),
        "external_id": FieldSpec(),
        "suspended": FieldSpec(clearable=False),
        "time_zone": FieldSpec(clearable=False),
        "locale": FieldSpec(clearable=False),
        "verified": _READ_ONLY,
        "active": _READ_ONLY,
        "created_at": _READ_ONLY,
        "updated_at": _READ_ONLY,
        "last_login_at": _READ_ONLY,
    },
    open_fields=True,  # user_fields.*
    stamp=1_000_000,
    batch=_MANY,
    shows=False,  # the jobs of the *_many endpoints tell ids only
    events=True,
    keys=("email", "external_id"),
)

ORGANIZATIONS = ObjectSpec(
    name="organizations",
    stamp_path=STAMP_PATH,
    fields={
        "name": FieldSpec(required=True, clearable=False),
        "domain_names": FieldSpec(),
        "tags": FieldSpec(),
        "notes": FieldSpec(),
        "details": FieldSpec(),
        "external_id": FieldSpec(),
        "created_at": _READ_ONLY,
        "updated_at": _READ_ONLY,
    },
    open_fields=True,  # organization_fields.*
    stamp=1_000_000,
    batch=_MANY,
    shows=False,
    events=True,
    keys=("name", "external_id"),
)

OBJECTS: Mapping[str, ObjectSpec] = {spec.name: spec for spec in (USERS, ORGANIZATIONS)}
SINGULAR: Mapping[str, str] = {"users": "user", "organizations": "organization"}
_LISTS = ("tags", "domain_names")


def item(payload: Mapping[str, Any]) -> Item:
    """A decoded user or organization.

    A deleted user can still be read and says `active: false`; a deleted organization answers 404, and carries
    `deleted_at` where an export still lists it (unverified).
    """
    deleted = payload.get("active") is False or bool(payload.get("deleted_at"))
    return Item(
        id=str(payload["id"]),
        fields={} if deleted else dict(payload),
        stamp=micros(payload.get("updated_at")),
        deleted=deleted,
    )


def micros(text: Any) -> Micros | None:
    """`"2011-05-05T10:38:52Z"` -> µs, None for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return None if moment.tzinfo is None else int(moment.timestamp()) * 1_000_000 + moment.microsecond


def body(object: str, write: Write) -> dict[str, Any]:
    """The request body of a create or update. A list is cleared by an empty one, everything else by null."""
    values = {path: _sent(path, value) for path, value in write.values.items()}
    if write.op == "create":
        values = {path: value for path, value in values.items() if value is not None}
        if write.stamp_id:
            values.setdefault(STAMP_PATH, write.stamp_id)
        if object == "users":
            # or Zendesk writes an e-mail to the person (Create or Update User, `skip_verify_email`)
            values["skip_verify_email"] = True
    return nested(values)


def _sent(path: str, value: Any) -> Any:
    if path in _LISTS:
        return list(value or ())
    if path == "organization_id" and isinstance(value, str) and value.isdecimal():
        return int(value)
    return value


def message(_status: int, payload: Any) -> tuple[str, str]:
    """`{"error": "RecordInvalid", "description": "...", "details": {"email": [{"description", "error"}]}}` -> text and
    code (422 quoted in cloudbees-oss/zendesk-java-client#91). `error` may also be `{"title", "message"}`."""
    error = payload["error"]
    if isinstance(error, dict):
        return error.get("message", ""), error.get("title", "")
    details = [one for many in (payload.get("details") or {}).values() for one in many]
    text = "; ".join(one["description"] for one in details) or payload.get("description", "")
    return text, next((one["error"] for one in details if one.get("error")), error)
