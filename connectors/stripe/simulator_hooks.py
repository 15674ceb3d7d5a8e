"""The webhook endpoints of a simulated Stripe account (specification of API 2022-11-15, /v1/webhook_endpoints).

`secret` is in the answer to the creation alone. All endpoints sign with the account's one secret here; events go to the
endpoint that was registered last.
"""

from __future__ import annotations

from collections.abc import Mapping

from connectors.stripe.simulator_objects import Json
from connectors.stripe.simulator_query import RefusedError


class Endpoints:
    """Not thread-safe: the simulator's lock guards it."""

    def __init__(self) -> None:
        self._made: dict[str, Json] = {}

    def create(self, given: Mapping[str, object], at: int, secret: str) -> Json:
        events = _names(given.get("enabled_events"))
        url = given.get("url")
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise RefusedError(400, "Invalid URL", param="url")
        if not events:
            raise RefusedError(400, "Missing required param: enabled_events.", param="enabled_events")
        id = f"we_{len(self._made) + 1:014d}"
        self._made[id] = {
            "id": id,
            "object": "webhook_endpoint",
            "api_version": given.get("api_version"),
            "application": None,
            "created": at,
            "description": given.get("description"),
            "enabled_events": events,
            "livemode": False,
            "metadata": {},
            "status": "enabled",
            "url": url,
        }
        return {**self._made[id], "secret": secret}

    def update(self, id: str, given: Mapping[str, object]) -> Json:
        held = self._made.get(id)
        if held is None:
            raise RefusedError(404, f"No such webhook endpoint: '{id}'", code="resource_missing", param="id")
        if "disabled" in given:
            held["status"] = "disabled" if given["disabled"] == "true" else "enabled"
        if "enabled_events" in given:
            held["enabled_events"] = _names(given["enabled_events"])
        return held

    def newest_first(self) -> list[Json]:
        return list(self._made.values())[::-1]

    def sends(self, url: str, type: str) -> bool:
        """Whether an event goes to the URL. One that was not registered gets everything."""
        held = [one for one in self._made.values() if one["url"] == url]
        return not held or any(
            one["status"] == "enabled" and ("*" in one["enabled_events"] or type in one["enabled_events"])
            for one in held
        )


def _names(given: object) -> list[str]:
    """`enabled_events[0]=...` as the form reader gives it."""
    return [str(one) for one in given.values()] if isinstance(given, dict) else []
