"""HubSpot's deliveries: proven by the v3 signature, read as hints.

A delivery is a JSON array of at most 100 events, each about one property, one association or one step in a record's
life, without a version of the record and in no guaranteed order: the broker reads the record by its id.

Sources: developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation,
/docs/api-reference/webhooks-webhooks-v3/guide, and deliveries that others recorded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from syncbroker.core.types import Actor, Event, Micros
from syncbroker.errors import Refused
from syncbroker.sdk.connector import Delivery
from syncbroker.sdk.webhook import check_signature, check_time, header, json_body, sign, unix_time

SUBSCRIBED = (
    "creation",
    "deletion",
    "privacyDeletion",
    "merge",
    "restore",
    "associationChange",
    "propertyChange",
)
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


def authenticate(delivery: Delivery, secrets: Sequence[str]) -> None:
    """BadDelivery unless signed with a secret of the app within 300 s of now, before or after: the vendor's page asks
    for requests older than 5 minutes to be refused."""
    given = header(delivery, "X-HubSpot-Signature-v3")
    sent = header(delivery, "X-HubSpot-Request-Timestamp")
    check_time(unix_time(sent, "ms"), delivery.received)
    parts = (delivery.method, signed_url(delivery.url), delivery.body, sent)
    check_signature(given, secrets, *parts, encoding="base64")


def delivery_id(delivery: Delivery) -> str:
    """Of all that is told but the number of the attempt. `eventId` alone is "not guaranteed to be unique" (webhooks v3
    guide), and an event that comes again is in another body, because `attemptNumber` counts."""
    told: list[dict[str, Any]] = json_body(delivery, list[dict[str, Any]])
    if not told or not all(one.get("eventId") for one in told):
        return ""
    rest = [{name: value for name, value in one.items() if name != "attemptNumber"} for one in told]
    return hashlib.sha256(msgspec.json.encode(rest, order="sorted")).hexdigest()


def signed_url(url: str) -> str:
    """HubSpot signs the URL with these characters of its query decoded, and no others."""
    path, mark, query = url.partition("?")
    return path + mark + re.sub("%([0-9A-Fa-f]{2})", lambda m: _DECODED.get(m[1].upper(), m[0]), query)


def events(delivery: Delivery) -> list[Event]:
    """Repeated ones come once. What is about other objects, or of a kind that is not known, is an event about its
    subscription."""
    found = [event for notice in json_body(delivery, list[Notice]) for event in _events(notice)]
    return list({event.event_id: event for event in found}.values())


def no_api(url: str, objects: Sequence[str], system: str) -> Refused:
    """What a person has to do, since "managing your private app's webhook subscriptions via API is not currently
    supported" (developers.hubspot.com/docs/api/create-and-edit-webhook-subscriptions-in-private-apps).

    The webhooks API proper asks for the app's own developer credentials, which a private app has none of.
    """
    nouns = [noun for noun, object in PREFIXES.items() if object in objects]
    wanted = ", ".join(f"{noun}.{change}" for noun in nouns for change in SUBSCRIBED)
    return Refused(
        "HubSpot has no API for the webhooks of a private app, with these credentials or any others",
        hint=f"in the app's settings, under Webhooks, enter {url} and subscribe to {wanted} (of each mapped property)",
        system=system,
    )


def sample(url: str, at: Micros, secret: str) -> Delivery:
    """Signed as the vendor does, about nothing that is known here."""
    sent = str(at // 1000)
    told = [
        {"eventId": at, "subscriptionType": "syncbroker.test", "occurredAt": at // 1000, "attemptNumber": 0}
    ]
    body = msgspec.json.encode(told)
    headers = {
        "content-type": "application/json",
        "x-hubspot-request-timestamp": sent,
        "x-hubspot-signature-v3": sign(secret, "POST", signed_url(url), body, sent, encoding="base64"),
    }
    return Delivery(method="POST", url=url, headers=headers, query={}, body=body, received=at)


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
    else:
        yield _event(notice, notice.subscription_type or "unnamed", notice.object_id or 0, "changed")


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
