"""HubSpot's deliveries: proven by the v3 signature, read as hints.

A delivery is a JSON array of at most 100 events, each about one property, one association or one step in a record's
life, without a version of the record and in no guaranteed order: the broker reads the record by its id.

Sources: developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation,
/docs/api-reference/webhooks-webhooks-v3/guide, and deliveries that others recorded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from syncbroker.core.types import Actor, Event
from syncbroker.sdk.connector import Delivery
from syncbroker.sdk.webhook import check_signature, check_time, header, json_body, unix_time

PREFIXES = {"contact": "contacts", "company": "companies"}
TYPE_IDS = {"0-1": "contacts", "0-2": "companies"}
KINDS: Mapping[str, Literal["created", "changed", "deleted"]] = {
    "creation": "created",
    "restore": "created",
    "propertyChange": "changed",
    "deletion": "deleted",
    "privacyDeletion": "deleted",
}

# Sources that are not listed stay "unknown": HubSpot publishes no full list, and new ones appear.
PERSON = {
    "CRM",
    "CRM_UI",
    "CRM_UI_BULK_ACTION",
    "USER",
    "CONTACTS",
    "CONTACTS_WEB",
    "MOBILE_IOS",
    "MOBILE_ANDROID",
    "FORM",
}
INTEGRATION = {"INTEGRATION", "API", "INTEGRATIONS_PLATFORM", "INTEGRATIONS_SYNC", "EXTENSION"}
AUTOMATION = {"AUTOMATION_PLATFORM", "AUTOMATION", "WORKFLOW", "WORKFLOWS", "CALCULATED"}

_DECODED = {"3A": ":", "2F": "/", "3F": "?", "40": "@", "21": "!", "24": "$", "27": "'", "28": "(", "29": ")"}
_DECODED |= {"2A": "*", "2C": ",", "3B": ";"}


class Notice(msgspec.Struct, frozen=True, rename="camel"):
    """One event. `event_id` is not guaranteed to be unique."""

    subscription_type: str
    occurred_at: int
    event_id: int | str = ""
    subscription_id: int | str = ""
    object_id: int | None = None
    object_type_id: str = ""
    change_source: str = ""
    source_id: str | None = None
    primary_object_id: int | None = None
    merged_object_ids: list[int] = []
    new_object_id: int | None = None
    from_object_id: int | None = None
    to_object_id: int | None = None
    from_object_type_id: str = ""
    to_object_type_id: str = ""
    association_type: str = ""


def authenticate(delivery: Delivery, secret: str) -> None:
    """BadDelivery unless signed with the app's secret within 300 s of now, before or after."""
    given = header(delivery, "X-HubSpot-Signature-v3")
    sent = header(delivery, "X-HubSpot-Request-Timestamp")
    check_time(unix_time(sent, "ms"), delivery.received)
    parts = (delivery.method, signed_url(delivery.url), delivery.body, sent)
    check_signature(given, secret, *parts, encoding="base64")


def signed_url(url: str) -> str:
    """HubSpot signs the URL with these characters of its query decoded, and no others."""
    path, mark, query = url.partition("?")
    return path + mark + re.sub("%([0-9A-Fa-f]{2})", lambda m: _DECODED.get(m[1].upper(), m[0]), query)


def events(delivery: Delivery) -> list[Event]:
    """Events about contacts and companies; those of other objects are none. Repeated ones come once."""
    found = [event for notice in json_body(delivery, list[Notice]) for event in _events(notice)]
    return list({event.event_id: event for event in found}.values())


def _events(notice: Notice) -> Iterator[Event]:
    prefix, _, change = notice.subscription_type.partition(".")
    object = PREFIXES.get(prefix) or (TYPE_IDS.get(notice.object_type_id) if prefix == "object" else None)
    if change == "associationChange":
        contact = _contact(notice)
        if contact is not None:
            yield _event(notice, "contacts", contact, "changed")
    elif object and change == "merge":
        yield from _merged(notice, object)
    elif object and change in KINDS and notice.object_id is not None:
        yield _event(notice, object, notice.object_id, KINDS[change])


def _merged(notice: Notice, object: str) -> Iterator[Event]:
    """The primary record survives, or a new one does that replaces both."""
    survivor = notice.new_object_id or notice.primary_object_id or notice.object_id
    for id in dict.fromkeys([*notice.merged_object_ids, notice.primary_object_id]):
        if id is not None and survivor is not None and id != survivor:
            yield _event(notice, object, id, "merged", str(survivor))


def _contact(notice: Notice) -> int | None:
    """The contact's end of an association with a company; HubSpot sends one event for each end."""
    ends = notice.association_type.upper(), (notice.from_object_type_id, notice.to_object_type_id)
    if ends[0] == "CONTACT_TO_COMPANY" or ends[1] == ("0-1", "0-2"):
        return notice.from_object_id
    if ends[0] == "COMPANY_TO_CONTACT" or ends[1] == ("0-2", "0-1"):
        return notice.to_object_id
    return None


def _event(
    notice: Notice,
    object: str,
    id: int,
    kind: Literal["created", "changed", "deleted", "merged"],
    new_id: str | None = None,
) -> Event:
    return Event(
        object=object,
        id=str(id),
        kind=kind,
        event_id=f"{notice.event_id}-{notice.subscription_id}-{notice.occurred_at}-{id}",
        at=notice.occurred_at * 1000,
        new_id=new_id,
        actor=actor(notice.change_source, notice.source_id),
    )


def actor(source: str, id: str | None) -> Actor:
    """Who made a change, by HubSpot's source and its id (`userId:123`, an app's id). Old ids may be e-mail addresses:
    those are left out."""
    name = id if id and "@" not in id else ""
    if source in PERSON:
        return Actor(origin="person", name=name)
    if source in INTEGRATION:
        return Actor(origin="integration", name=name)
    if source in AUTOMATION:
        return Actor(origin="automation", name=name)
    return Actor(name=name)
