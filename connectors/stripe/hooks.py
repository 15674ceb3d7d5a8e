"""Stripe's webhook endpoints: registered through its API, and a sample of what they send.

Source: the specification of API 2022-11-15, /v1/webhook_endpoints: `url` and `enabled_events` ("*" for all) at the
creation, whose answer alone has `secret`; an update takes `enabled_events` and `disabled`; `status` is "enabled" or
"disabled". At most 16 endpoints an account (unverified).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from connectors.stripe.objects import EVENT_TYPES
from syncbroker.core.types import Micros
from syncbroker.errors import Unavailable
from syncbroker.sdk.connector import Delivery, Hook
from syncbroker.sdk.http import Http
from syncbroker.sdk.webhook import sign

PATH = "/v1/webhook_endpoints"
_PAGES = 50


class _Endpoint(msgspec.Struct):
    id: str
    url: str
    enabled_events: list[str]
    status: str
    secret: str = ""


class _Listed(msgspec.Struct):
    data: list[_Endpoint]
    has_more: bool


def wanted(objects: Sequence[str]) -> list[str]:
    """The event types that these objects need."""
    return [name for object in objects if object in EVENT_TYPES for name in EVENT_TYPES[object]]


def listed(http: Http, url: str, objects: Sequence[str]) -> list[Hook]:
    return [_shown(one, url, objects) for one in _all(http)]


def register(http: Http, url: str, objects: Sequence[str], version: str) -> Hook:
    """Events that an endpoint sends already are kept: they may be somebody's. `version`: what it renders events in."""
    types = wanted(objects)
    held = next((one for one in _all(http) if one.url == url), None)
    if held is None:
        given = {"url": url, "description": "syncbroker", "api_version": version, **_events(types)}
        held = http.request("POST", PATH, form=given, shape=_Endpoint).json
    elif held.status != "enabled" or _missing(held, types):
        every = [name for name in held.enabled_events if name == "*"] or [*held.enabled_events, *types]
        given = {"disabled": "false", **_events(list(dict.fromkeys(every)))}
        path = f"{PATH}/{quote(held.id, safe='')}"
        held = http.request("POST", path, form=given, repeatable=True, shape=_Endpoint).json
    return msgspec.structs.replace(_shown(held, url, objects), secret=held.secret)


def _events(types: Sequence[str]) -> dict[str, str]:
    return {f"enabled_events[{n}]": name for n, name in enumerate(types)}


def _all(http: Http) -> list[_Endpoint]:
    found: list[_Endpoint] = []
    for _ in range(_PAGES):
        after = {"starting_after": found[-1].id} if found else {}
        params: dict[str, Any] = {"limit": 100, **after}
        page: _Listed = http.request("GET", PATH, params=params, shape=_Listed).json
        found += page.data
        if not page.has_more or not page.data:
            return found
    raise Unavailable("Stripe's list of webhook endpoints does not end")


def _missing(one: _Endpoint, types: Sequence[str]) -> tuple[str, ...]:
    return () if "*" in one.enabled_events else tuple(t for t in types if t not in one.enabled_events)


def _shown(one: _Endpoint, url: str, objects: Sequence[str]) -> Hook:
    return Hook(
        id=one.id,
        url=one.url,
        ours=one.url == url,
        enabled=one.status == "enabled",
        missing=_missing(one, wanted(objects)),
    )


def sample(url: str, at: Micros, secret: str) -> Delivery:
    """Signed as the vendor does, about nothing that is known here."""
    sent = str(at // 1_000_000)
    told = {"id": f"evt_syncbroker_{at}", "object": "event", "type": "syncbroker.test", "created": int(sent)}
    body = msgspec.json.encode({**told, "data": {"object": {"id": "syncbroker"}}})
    signature = f"t={sent},v1={sign(secret, sent, '.', body)}"
    headers = {"content-type": "application/json", "stripe-signature": signature}
    return Delivery(method="POST", url=url, headers=headers, query={}, body=body, received=at)
