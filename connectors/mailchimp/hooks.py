"""Mailchimp's webhooks: registered through its API, and a sample of what they send.

Source: `mailchimp-marketing` 3.0.80, GET and POST /lists/{list_id}/webhooks and PATCH .../webhooks/{webhook_id}:
`url`, `events` and `sources` as truth values. The URL is checked with a GET, so the broker must be reachable. There is
no way to disable a webhook other than to delete it.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, urlencode

import msgspec

from connectors.mailchimp.audience import Audience
from syncbroker.core.types import Micros
from syncbroker.errors import BadSetting
from syncbroker.sdk.connector import Delivery, Hook
from syncbroker.sdk.webhook import sign

EVENTS = ("subscribe", "unsubscribe", "profile", "upemail", "cleaned")
SOURCES = ("user", "admin", "api")
"""Changes by API too: other programs make them. The broker knows its own when they come back."""


class _Hook(msgspec.Struct):
    id: str
    url: str
    events: dict[str, bool] = {}
    sources: dict[str, bool] = {}


class _Listed(msgspec.Struct):
    webhooks: list[_Hook]


def listed(audience: Audience, url: str, secrets: Sequence[str]) -> list[Hook]:
    return [_shown(one, url, secrets) for one in _all(audience)]


def register(audience: Audience, url: str, secrets: Sequence[str], system: str) -> Hook:
    """The URL has the newest secret at its end. One with the secret before is moved to the newest."""
    if not secrets[0]:
        raise BadSetting(
            "the webhook secret is empty", hint="choose a long random text as webhook_secret", system=system
        )
    ours = [_full(url, secret) for secret in secrets]
    held = next((one for one in _all(audience) if one.url in ours), None)
    events, sources = dict.fromkeys(EVENTS, True), dict.fromkeys(SOURCES, True)
    if held is None:
        given = {"url": ours[0], "events": events, "sources": sources}
        held = audience.call("POST", "/webhooks", json=given, shape=_Hook).json
    elif held.url != ours[0] or _missing(held):
        given = {"url": ours[0], "events": {**held.events, **events}, "sources": {**held.sources, **sources}}
        part = f"/webhooks/{quote(held.id, safe='')}"
        held = audience.call("PATCH", part, json=given, repeatable=True, shape=_Hook).json
    return _shown(held, url, secrets)


def _all(audience: Audience) -> list[_Hook]:
    found: list[_Hook] = audience.call("GET", "/webhooks", shape=_Listed).json.webhooks
    return found


def _full(url: str, secret: str) -> str:
    return f"{url}/{quote(secret, safe='')}"


def _missing(one: _Hook) -> tuple[str, ...]:
    events = [name for name in EVENTS if not one.events.get(name)]
    return (*events, *(f"source {name}" for name in SOURCES if not one.sources.get(name)))


def _shown(one: _Hook, url: str, secrets: Sequence[str]) -> Hook:
    """The last part of any URL may be a secret, somebody else's too: it is not shown."""
    ours = one.url in [_full(url, secret) for secret in secrets if secret]
    return Hook(id=one.id, url=url if ours else _bare(one.url), ours=ours, missing=_missing(one))


def _bare(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[0] + "/-"


def sample(url: str, at: Micros, secret: str, signing: str) -> Delivery:
    """To the secret URL, and signed where a signing secret is set; of a type that there is not."""
    body = urlencode({"type": "syncbroker", "fired_at": "2000-01-01 00:00:00", "data[id]": at}).encode()
    sent = str(at // 1_000_000)
    proof = {"x-mailchimp-signature": f"t={sent},v1={sign(signing, sent, '.', body)}"} if signing else {}
    headers = {"content-type": "application/x-www-form-urlencoded", **proof}
    full = _full(url, secret)
    return Delivery(method="POST", url=full, headers=headers, query={}, body=body, received=at, secret=secret)
