"""The words of the simulated HubSpot: objects, properties with their checks, records, and the refusals they lead to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

PRIMARY, UNLABELED = 1, 279
"""HubSpot's association types from contact to company; the unlabeled one accompanies every other."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What is particular to one object. `modified`: its property for the time of the last change."""

    singular: str
    type_id: str
    modified: str
    shown: tuple[str, ...]  # the properties of an answer when a request names none


KINDS: Mapping[str, Kind] = {
    "contacts": Kind(
        singular="contact",
        type_id="0-1",
        modified="lastmodifieddate",
        shown=("email", "firstname", "lastname"),
    ),
    "companies": Kind(
        singular="company", type_id="0-2", modified="hs_lastmodifieddate", shown=("name", "domain")
    ),
}


class Property(msgspec.Struct, frozen=True, kw_only=True):
    """`options`: the values of an enumeration. `unique`: usable as `idProperty`."""

    name: str
    type: Literal["string", "number", "enumeration", "datetime"] = "string"
    options: tuple[str, ...] = ()
    unique: bool = False
    read_only: bool = False


def _properties(text: str, *more: Property) -> dict[str, Property]:
    plain = [Property(name=name) for name in text.split()]
    system = [
        Property(name="createdate", type="datetime", read_only=True),
        Property(name="hs_object_id", type="number", read_only=True),
        Property(name="hs_merged_object_ids", read_only=True),
    ]
    return {each.name: each for each in (*plain, *system, *more)}


_STAGES = Property(
    name="lifecyclestage",
    type="enumeration",
    options=(
        "subscriber",
        "lead",
        "marketingqualifiedlead",
        "salesqualifiedlead",
        "opportunity",
        "customer",
        "evangelist",
        "other",
    ),
)
_STAMP = Property(name="syncbroker_id", unique=True)

PROPERTIES: Mapping[str, Mapping[str, Property]] = {
    "contacts": _properties(
        "firstname lastname phone mobilephone company website jobtitle address city state zip country",
        Property(name="email", unique=True),
        Property(name="hs_email_domain", read_only=True),
        Property(name="hs_additional_emails", read_only=True),
        Property(name="lastmodifieddate", type="datetime", read_only=True),
        _STAGES,
        _STAMP,
    ),
    "companies": _properties(
        "name domain website phone description address city state zip country",
        Property(name="numberofemployees", type="number"),
        Property(name="annualrevenue", type="number"),
        Property(name="hs_lastmodifieddate", type="datetime", read_only=True),
        _STAGES,
        _STAMP,
    ),
}


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Who changes something, as histories (`sourceType`) and webhooks (`changeSource`) name it."""

    type: str
    id: str


class Refusal(Exception):
    """A request that HubSpot answers with an error. `policy`: the limit that was reached, for a 429."""

    def __init__(
        self,
        status: int,
        category: str,
        message: str,
        *,
        context: Mapping[str, Sequence[str]] | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
        policy: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.category = category
        self.message = message
        self.context = context or {}
        self.errors = list(errors)
        self.policy = policy


class Record(msgspec.Struct, kw_only=True):
    """Times in ms. `versions`: (since when, all values) for the search index, oldest first."""

    object: str
    id: str
    created: int
    updated: int
    values: dict[str, str] = msgspec.field(default_factory=dict)
    history: dict[str, list[dict[str, Any]]] = msgspec.field(default_factory=dict)
    archived: int | None = None
    merged: list[str] = msgspec.field(default_factory=list)
    versions: list[tuple[int, dict[str, str]]] = msgspec.field(default_factory=list)

    def all_values(self) -> dict[str, str]:
        """The stored values with those that HubSpot keeps itself; an empty property is not among them."""
        own = {
            "createdate": iso(self.created),
            "hs_object_id": self.id,
            KINDS[self.object].modified: iso(self.updated),
        }
        if self.merged:
            own["hs_merged_object_ids"] = ";".join(self.merged)
        return self.values | own


def iso(ms: int) -> str:
    """`2025-11-03T23:36:13.632Z`."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_iso(text: str) -> int:
    """Milliseconds of an ISO 8601 time or of digits that are milliseconds already."""
    return int(text) if text.isdecimal() else round(datetime.fromisoformat(text).timestamp() * 1000)


def issue(name: str, code: str, message: str) -> dict[str, Any]:
    return {"isValid": False, "message": message, "error": code, "name": name}


def invalid(issues: Sequence[Mapping[str, Any]]) -> Refusal:
    return Refusal(
        400,
        "VALIDATION_ERROR",
        f"Property values were not valid: {msgspec.json.encode(issues).decode()}",
        errors=[
            {
                "message": issue["message"],
                "code": issue["error"],
                "context": {"propertyName": [issue["name"]]},
            }
            for issue in issues
        ],
    )


def wrong(known: Property, value: str) -> tuple[str, str] | None:
    """(code, message) of a value that its property cannot take."""
    if not value:
        return None
    if known.name == "email" and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", value.strip()):
        return "INVALID_EMAIL", f"Email address {value} is invalid"
    if known.type == "enumeration" and value not in known.options:
        return "INVALID_OPTION", f"{value} was not one of the allowed options: {list(known.options)}"
    if known.type == "number" and not re.fullmatch(r"-?\d+(\.\d+)?", value):
        return "INVALID_NUMBER", f"{value} was not a valid number."
    return None
