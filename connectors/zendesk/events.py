"""What Zendesk's event webhooks tell.

One delivery per changed attribute, with ids but not all fields and no version of the whole record, so an event names
what to read (developer.zendesk.com/api-reference/webhooks/event-types/user-events and .../organization-events). There
is none for an organization's domain names, details and notes, and for a telephone number only where it is an identity
of the user (unverified): a poll finds those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from connectors.zendesk.objects import SINGULAR, micros
from syncbroker.core.types import Event
from syncbroker.sdk.connector import Delivery
from syncbroker.sdk.webhook import json_body

_KINDS: Mapping[str, Literal["created", "changed", "deleted", "merged"]] = {
    "created": "created",
    "deleted": "deleted",
    "merged": "merged",
}
_UNSEEN = frozenset(
    {
        "group_membership_created",
        "group_membership_deleted",
        "last_login_changed",
        "only_private_comments_changed",
        "password_changed",
        "photo_changed",
    }
)


class _Named(msgspec.Struct):
    id: str = ""


class _Told(msgspec.Struct):
    """The envelope. `type`: "zen:event-type:user.name_changed"; `subject`: "zen:user:123"."""

    type: str
    id: str
    subject: str
    time: str
    event: dict[str, Any] = {}


def delivery_id(delivery: Delivery) -> str:
    """The event's own id, which is in what is signed. The invocation's, in a header, is not, and another when it is
    tried again (developer.zendesk.com/documentation/webhooks/anatomy-of-a-webhook-request)."""
    told: _Named = json_body(delivery, _Named)
    return told.id


def told_by(delivery: Delivery) -> list[Event]:
    """One event per delivery; none for what touches no field, such as a login. BadDelivery(400) for anything else.

    What is about neither users nor organizations is an event about whatever it is about.
    user.merged: the subject is the user that was merged away, `event.user.id` the one that stays (unverified).
    """
    told: _Told = json_body(delivery, _Told)
    # the vendor's own table of types has both "zen:event-type:user.x" and "zen:event-type/user.x"
    noun, _, what = told.type.replace("/", ":").rpartition(":")[2].partition(".")
    object = next((object for object, singular in SINGULAR.items() if singular == noun), None)
    id = told.subject.rpartition(":")[2]
    if object is None or not id:
        return [Event(object=noun or "unnamed", id=id or "unnamed", kind="changed", event_id=told.id)]
    if what in _UNSEEN:
        return []
    kind = _KINDS.get(what, "changed")
    user = told.event.get("user")
    stays = str(user.get("id") or "") if isinstance(user, dict) else ""
    if kind == "merged" and not stays:
        kind = "changed"  # the read that this causes shows that the user is gone
    new_id = stays if kind == "merged" else None
    return [Event(object=object, id=id, kind=kind, event_id=told.id, at=micros(told.time), new_id=new_id)]
