"""The webhooks of a simulated Zendesk account (developer.zendesk.com/api-reference/webhooks/webhooks-api/webhooks).

All of them sign with the account's one secret here; events go to the webhook that was registered last.
"""

from __future__ import annotations

from typing import Any

from connectors.zendesk.simulator_records import InvalidError, Json, MissingError, text_of

FIELDS = ("name", "endpoint", "http_method", "request_format", "status")


class Hooks:
    """Not thread-safe: the simulator's lock guards it."""

    def __init__(self) -> None:
        self._made: dict[str, Json] = {}

    def create(self, given: Json, at: int) -> Json:
        missing = [name for name in FIELDS if not given.get(name)]
        if missing:
            raise InvalidError(missing[0], f"{missing[0]}: cannot be blank", "BlankValue")
        kinds = (given["http_method"], given["request_format"])
        if given.get("subscriptions") and kinds != ("POST", "json"):
            raise InvalidError("subscriptions", "need POST and json", "InvalidValue")
        id = f"01SIM{len(self._made) + 1:021d}"
        times = {"created_at": text_of(at), "updated_at": text_of(at)}
        self._made[id] = {"id": id, "subscriptions": [], **given, **times}
        return self._made[id]

    def change(self, id: str, given: Json) -> None:
        self.get(id).update(given)

    def get(self, id: str) -> Json:
        if id not in self._made:
            raise MissingError
        return self._made[id]

    def page(self) -> Json:
        """Everything: fewer than fill a page."""
        return {"webhooks": list(self._made.values()), "meta": {"has_more": False, "after_cursor": None}}

    def sends(self, url: str, type: str) -> bool:
        """Whether an event goes to the URL. One that was not registered gets everything."""
        held: list[dict[str, Any]] = [one for one in self._made.values() if one["endpoint"] == url]
        return not held or any(one["status"] == "active" and type in one["subscriptions"] for one in held)
