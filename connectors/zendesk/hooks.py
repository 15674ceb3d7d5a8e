"""Zendesk's webhooks: registered through its API, and a sample of what they send.

Sources: developer.zendesk.com/api-reference/webhooks/webhooks-api/webhooks (members of a webhook; one that subscribes
to events must have the method POST and the format json; allowed values of `status`) and the operations of that page as
the client package python-zendesk carries them (paths, PATCH for part of a webhook, the signing secret).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from syncbroker.core.types import Micros
from syncbroker.errors import Unavailable
from syncbroker.sdk.connector import Delivery, Hook
from syncbroker.sdk.http import Http
from syncbroker.sdk.webhook import sign

PATH = "/api/v2/webhooks"
EVENTS = {
    "users": (
        "active_changed",
        "alias_changed",
        "created",
        "custom_field_changed",
        "deleted",
        "details_changed",
        "external_id_changed",
        "identity_changed",
        "identity_created",
        "identity_deleted",
        "merged",
        "name_changed",
        "notes_changed",
        "organization_membership_created",
        "organization_membership_deleted",
        "role_changed",
        "suspended_changed",
        "tags_changed",
        "time_zone_changed",
    ),
    "organizations": (
        "created",
        "custom_field_changed",
        "deleted",
        "external_id_changed",
        "name_changed",
        "tags_changed",
    ),
}
"""What touches a field, by object (api-reference/webhooks/event-types)."""

_NOUNS = {"users": "user", "organizations": "organization"}
_PAGES = 50


class _Hook(msgspec.Struct):
    id: str
    endpoint: str = ""
    status: str = "inactive"
    subscriptions: list[str] = []


class _Listed(msgspec.Struct):
    webhooks: list[_Hook]
    meta: dict[str, Any] = {}


class _One(msgspec.Struct):
    webhook: _Hook


class _Secret(msgspec.Struct):
    secret: str


class _Told(msgspec.Struct):
    signing_secret: _Secret


def wanted(objects: Sequence[str]) -> list[str]:
    """The event types that these objects need."""
    return [f"zen:event-type:{_NOUNS[o]}.{what}" for o in objects if o in EVENTS for what in EVENTS[o]]


def listed(http: Http, url: str, objects: Sequence[str]) -> list[Hook]:
    return [_shown(one, url, objects) for one in _all(http)]


def register(http: Http, url: str, objects: Sequence[str]) -> Hook:
    """Subscriptions that are there already are kept: they may be somebody's."""
    types = wanted(objects)
    held = next((one for one in _all(http) if one.endpoint == url), None)
    if held is None:
        given = {
            "name": "syncbroker",
            "endpoint": url,
            "http_method": "POST",
            "request_format": "json",
            "status": "active",
            "subscriptions": types,
        }
        held = http.request("POST", PATH, json={"webhook": given}, shape=_One).json.webhook
    elif held.status != "active" or set(types) - set(held.subscriptions):
        every = list(dict.fromkeys([*held.subscriptions, *types]))
        given = {"status": "active", "subscriptions": every}
        http.request("PATCH", f"{PATH}/{held.id}", json={"webhook": given}, shape=bytes)
        held.status, held.subscriptions = "active", every
    told = http.request("GET", f"{PATH}/{held.id}/signing_secret", shape=_Told).json
    return msgspec.structs.replace(_shown(held, url, objects), secret=told.signing_secret.secret)


def _all(http: Http) -> list[_Hook]:
    found: list[_Hook] = []
    after: str | None = None
    for _ in range(_PAGES):
        page = http.request("GET", PATH, params={"page[size]": 100, "page[after]": after}, shape=_Listed).json
        found += page.webhooks
        after = page.meta.get("after_cursor")
        if not page.meta.get("has_more") or not isinstance(after, str):
            return found
    raise Unavailable("Zendesk's list of webhooks does not end")


def _shown(one: _Hook, url: str, objects: Sequence[str]) -> Hook:
    missing = sorted(set(wanted(objects)) - set(one.subscriptions))
    return Hook(
        id=one.id,
        url=one.endpoint,
        ours=one.endpoint == url,
        enabled=one.status == "active",
        missing=tuple(missing),
    )


def sample(url: str, at: Micros, secret: str) -> Delivery:
    """Signed as the vendor does, about nothing that is known here."""
    time = datetime.fromtimestamp(at // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    told = {
        "type": "zen:event-type:syncbroker.test",
        "id": f"syncbroker-{at}",
        "subject": "zen:syncbroker:test",
    }
    body = msgspec.json.encode({**told, "time": time, "event": {}})
    headers = {
        "content-type": "application/json; charset=utf-8",
        "x-zendesk-webhook-signature": sign(secret, time, body, encoding="base64"),
        "x-zendesk-webhook-signature-timestamp": time,
    }
    return Delivery(method="POST", url=url, headers=headers, query={}, body=body, received=at)
