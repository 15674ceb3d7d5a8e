"""What HubSpot answers, as shapes, and the one way to call it.

Sources: the models of hubspot-api-client 12.0.0; developers.hubspot.com/docs/api-reference/error-handling ("all fields
of an error should be treated as optional"); answers recorded in github.com/amp-labs/connectors, providers/hubspot/test.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import msgspec

from syncbroker.core.types import Item, Micros
from syncbroker.decoding import decode
from syncbroker.errors import RateLimited, Refused, Unavailable
from syncbroker.sdk.http import Http

BASE = "https://api.hubapi.com"
OBJECTS = "/crm/v3/objects"
MERGED = "hs_merged_object_ids"
COMPANY = "company_id"
"""The contact's primary company, an association shown as a field."""
PRIMARY, UNLABELED = 1, 279
"""Association types from contact to company (developers.hubspot.com/docs/api-reference/crm-associations-v4/guide)."""

STATUSES: Mapping[int, type[Exception]] = {
    409: Refused,  # HubSpot has no conditional writes: a conflict is an address that is taken, never a newer state
    423: Unavailable,  # the record is locked for 2 s; nothing was done
    477: Unavailable,  # the account moves to another data centre; Retry-After says for how long
}
WAITS: Mapping[str, float] = {"ten_secondly_rolling": 10.0, "secondly": 1.0, "daily": 3600.0}
"""Seconds to wait after a 429 without Retry-After, by the limit that its text names. The daily one ends at midnight in
the account's time zone, which is not told."""

T = TypeVar("T")
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Entry(msgspec.Struct, frozen=True, rename="camel"):
    """One value of a property's history, newest first."""

    value: str | None
    timestamp: Moment
    source_type: str = ""
    source_id: str | None = None


class Link(msgspec.Struct, frozen=True):
    id: str
    type: str = ""


class Links(msgspec.Struct, frozen=True):
    results: list[Link] = []


class Record(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    properties: dict[str, Any]
    updated_at: Moment
    archived: bool = False
    archived_at: Moment | None = None
    associations: dict[str, Links] = {}
    properties_with_history: dict[str, list[Entry]] = {}
    object_write_trace_id: str | None = None


class Next(msgspec.Struct, frozen=True):
    after: str


class Paging(msgspec.Struct, frozen=True):
    next: Next | None = None


class Records(msgspec.Struct, frozen=True):
    """A page of a list or search. `after` of the last page is None."""

    results: list[Record]
    paging: Paging | None = None

    @property
    def after(self) -> str | None:
        return self.paging.next.after if self.paging and self.paging.next else None


class Failure(msgspec.Struct, frozen=True):
    """One error of a 207."""

    category: str = ""
    message: str = ""
    context: dict[str, Any] = {}
    errors: list[dict[str, Any]] = []

    def reason(self) -> str:
        return reason(self.message, self.errors)

    def named(self, member: str) -> list[str]:
        """The ids that a member of the context lists, if it does."""
        listed = self.context.get(member)
        return [str(each) for each in listed] if isinstance(listed, list) else []


class Batch(msgspec.Struct, frozen=True):
    """The answer of a batch, in no particular order."""

    results: list[Record]
    errors: list[Failure] = []


class Api:
    """`Http` with HubSpot's limits understood."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def call(
        self,
        method: str,
        path: str,
        shape: type[T],
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        repeatable: bool | None = None,
    ) -> T:
        """The decoded answer. Raises what `Http.request` raises."""
        try:
            answer = self._http.request(
                method, path, json=json, params=params, repeatable=repeatable, shape=shape
            )
        except RateLimited as error:
            named = (seconds for limit, seconds in WAITS.items() if limit in error.message)
            error.delay = error.delay or next(named, WAITS["ten_secondly_rolling"])
            raise
        decoded: T = answer.json
        return decoded


def message(_status: int, json: Any) -> tuple[str, str]:
    """For `Http`: HubSpot's words and its error category."""
    return reason(str(json.get("message", "")), json.get("errors") or []), str(json.get("category", ""))


def reason(text: str, details: Sequence[Mapping[str, Any]]) -> str:
    """Why HubSpot refused: "email: INVALID_EMAIL" where it names properties (its own text quotes the values), else its
    text."""
    named = [
        (str(name), str(detail.get("code", "")))
        for detail in details
        for name in (detail.get("context") or {}).get("propertyName", [])
    ]
    listed = re.search(r"Property values were not valid: (\[.*\])", text, re.DOTALL)
    if listed and not named:
        try:
            issues = decode(listed[1], list[dict[str, Any]])
        except msgspec.DecodeError:
            issues = []
        named = [(str(issue.get("name", "")), str(issue.get("error", ""))) for issue in issues]
    return "; ".join(dict.fromkeys(f"{name}: {code}" for name, code in named)) or text


def micros(moment: datetime) -> Micros:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def item(record: Record, company: str | msgspec.UnsetType | None = msgspec.UNSET) -> Item:
    """A record as it was read, all asked properties known. `company`: the primary company, where it was asked for."""
    linked = {} if company is msgspec.UNSET else {COMPANY: company}
    return Item(
        id=record.id,
        fields={**record.properties, **linked},
        stamp=micros(record.archived_at or record.updated_at),
        deleted=record.archived,
        aliases=tuple(each for each in (record.properties.get(MERGED) or "").split(";") if each),
    )
