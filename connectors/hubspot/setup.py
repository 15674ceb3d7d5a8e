"""What must be known to connect to a HubSpot account: credentials and options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STAMP = "syncbroker_id"
"""The property that the broker's record id is left in, unless an option names another."""

CREDENTIALS: Mapping[str, Any] = {
    "type": "object",
    "required": ["access_token"],
    "additionalProperties": False,
    "properties": {
        "access_token": {"type": "string", "minLength": 1, "description": "token of a private app"},
        "webhook_secret": {"type": "string", "minLength": 1, "description": "the app's client secret"},
        "webhook_secret_previous": {"type": "string", "description": "the one before, while it is rotated"},
    },
}
OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "app_id": {
            "type": ["integer", "string"],
            "description": "the app's id; asked of HubSpot when missing",
        },
        "stamp_property": {
            "type": "string",
            "description": f"unique text property for the broker's id; usual {STAMP}, empty for none",
        },
    },
}
