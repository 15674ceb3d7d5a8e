"""What the simulated Zendesk tells its webhook, and in which envelope.

Types and members from developer.zendesk.com/api-reference/webhooks/event-types/user-events and .../organization-events.
Each changed attribute is a delivery of its own. An organization's domain names, details and notes have no type, and so
are never told. That a changed telephone number is told as an identity's change is unverified.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from connectors.zendesk.simulator_records import NOUN, Json, differences

_TYPES = {
    "users": {
        "alias": "alias_changed",
        "details": "details_changed",
        "email": "identity_changed",
        "external_id": "external_id_changed",
        "name": "name_changed",
        "notes": "notes_changed",
        "organization_id": "organization_membership_created",
        "phone": "identity_changed",
        "role": "role_changed",
        "suspended": "suspended_changed",
        "tags": "tags_changed",
        "time_zone": "time_zone_changed",
        "user_fields": "custom_field_changed",
    },
    "organizations": {
        "external_id": "external_id_changed",
        "name": "name_changed",
        "organization_fields": "custom_field_changed",
        "tags": "tags_changed",
    },
}
_DETAIL = {
    "users": (
        "created_at",
        "email",
        "external_id",
        "default_group_id",
        "id",
        "organization_id",
        "role",
        "updated_at",
    ),
    "organizations": (
        "created_at",
        "external_id",
        "group_id",
        "id",
        "name",
        "shared_comments",
        "shared_tickets",
        "updated_at",
    ),
}


def changes(object: str, before: Json | None, after: Json | None) -> Iterator[tuple[str, Json]]:
    """(what happened, its `event` member) for one change; None stands for a record not yet or no longer there."""
    if before is None:
        yield "created", {}
    elif after is None:
        if object == "users":
            yield "active_changed", {"current": False, "previous": True}
        yield "deleted", {}
    else:
        for member, inner, was, now in differences(before, after):
            if what := _TYPES[object].get(member):
                field = {"field": {"id": inner, "title": inner, "type": "text"}} if inner else {}
                yield what, {"current": _plain(now), "previous": _plain(was), **field}


def envelope(object: str, record: Json, what: str, event: Json, *, id: str, time: str) -> Json:
    """The body of a delivery. Ids are texts in `detail`, other than in the API."""
    detail = {name: record.get(name) for name in _DETAIL[object]}
    return {
        "type": f"zen:event-type:{NOUN[object]}.{what}",
        "account_id": 10_973_248,
        "id": id,
        "time": time,
        "zendesk_event_version": "2022-06-20",
        "subject": f"zen:{NOUN[object]}:{record['id']}",
        "detail": {name: _text(value) if name.endswith("id") else value for name, value in detail.items()},
        "event": event,
    }


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _plain(value: Any) -> Any:
    return _text(value) if isinstance(value, int) and not isinstance(value, bool) else value
