"""How HubSpot tells an app what happened: events collected for a moment, posted as one signed JSON array.

Sources: developers.hubspot.com/docs/api-reference/webhooks-webhooks-v3/guide (at most 100 events a request; event ids
are not guaranteed to be unique), /docs/apps/developer-platform/build-apps/authentication/request-validation (v3
signature), and deliveries that others recorded (an app's own writes come back to it with `changeSource` INTEGRATION).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

MOST_EVENTS = 100


class Outbox:
    """Events that wait for the next delivery. Not thread-safe: the simulator's lock guards it."""

    def __init__(self, *, portal_id: int, app_id: int) -> None:
        self._portal_id = portal_id
        self._app_id = app_id
        self._waiting: list[dict[str, Any]] = []
        self._events = 3_400_564_480
        self._subscriptions: dict[str, int] = {}

    def add(self, subscription: str, body: Mapping[str, Any], *, at: int, source: tuple[str, str]) -> bool:
        """`at`: ms. True when this is the first one to wait."""
        self._events += 1
        self._waiting.append(
            {
                "eventId": self._events,
                "subscriptionId": self._subscriptions.setdefault(
                    subscription, 2_538_662 + len(self._subscriptions)
                ),
                "portalId": self._portal_id,
                "appId": self._app_id,
                "occurredAt": at,
                "subscriptionType": subscription,
                "attemptNumber": 0,
                "changeSource": source[0],
                "sourceId": source[1],
                **body,
            }
        )
        return len(self._waiting) == 1

    def deliveries(self) -> Iterator[bytes]:
        """The bodies to post now; nothing waits afterwards."""
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), MOST_EVENTS):
            yield msgspec.json.encode(waiting[start : start + MOST_EVENTS])


def signed_headers(secret: str, method: str, url: str, body: bytes, at: int) -> dict[str, str]:
    """The headers of a delivery posted at `at` (ms)."""
    text = method.encode() + url.encode() + body + str(at).encode()
    digest = hmac.new(secret.encode(), text, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "X-HubSpot-Request-Timestamp": str(at),
        "X-HubSpot-Signature-v3": base64.b64encode(digest).decode(),
    }
