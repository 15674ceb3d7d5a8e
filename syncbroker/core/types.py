"""The words of the product as data. Every other module speaks in these.

Canonical values are plain and hashable, so that equality is `==` and storage is JSON:

    text, email, phone, country, choice, date, datetime, url, domain, company_name, person_name -> str
    boolean -> bool      integer -> int      decimal -> str without exponent or trailing zeros ("12.5")
    money -> (minor units, currency), e.g. (1999, "USD")      tags -> sorted tuple of str
    reference -> the broker's record id, str                  empty -> None

All times are integer microseconds since the Unix epoch, UTC ("µs").
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import msgspec

Scalar = str | int | bool | None
Value = Scalar | tuple[Scalar | tuple[Scalar, ...], ...]
"""A canonical value; None is empty. A field group is the tuple of its members' values."""

Micros = int
"""Microseconds since the Unix epoch, UTC."""


class Type(StrEnum):
    """The canonical types a field may have."""

    TEXT = "text"
    EMAIL = "email"
    PHONE = "phone"
    COUNTRY = "country"
    CHOICE = "choice"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    DECIMAL = "decimal"
    MONEY = "money"
    DATE = "date"
    DATETIME = "datetime"
    URL = "url"
    DOMAIN = "domain"
    COMPANY_NAME = "company_name"
    PERSON_NAME = "person_name"
    TAGS = "tags"
    REFERENCE = "reference"


class Empty(StrEnum):
    """The five kinds of nothing (design: "the null algebra")."""

    ABSENT = "absent"  # not in the payload of an incomplete read
    UNREADABLE = "unreadable"  # no permission, or a reference to something not yet linked
    NEVER_SET = "never_set"  # read, and it never had a value
    CLEARED = "cleared"  # had a value, now empty
    PLACEHOLDER = "placeholder"  # "Unknown", "N/A": filler that stands for nothing


class Invalid(msgspec.Struct, frozen=True):
    """A raw value that has no canonical form. `reason` is for people and never quotes the value."""

    reason: str


class Actor(msgspec.Struct, frozen=True):
    """Who made a change, as the vendor tells it. `name` is the vendor's id for the actor, never an e-mail address."""

    origin: Literal["person", "automation", "integration", "unknown"] = "unknown"
    name: str = ""


class Item(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One vendor record as it was read, in the vendor's own words.

    `fields` is the vendor's (nested) object; mapping files name its members by dotted path. A connector may give the
    undecoded JSON object (`bytes`) instead: it is decoded only when its fingerprint changed.
    `stamp` is the record-level version or modification time that orders two states of this record, or None.
    `complete`: every mapped field is in `fields`, so a missing member is empty; otherwise it is absent.
    `consent`: the vendor's evidence for an opt-in (a stamp, an address), or None.
    """

    id: str
    fields: dict[str, Any] | bytes
    stamp: Micros | None = None
    deleted: bool = False
    complete: bool = True
    merged_into: str | None = None
    aliases: tuple[str, ...] = ()
    consent: str | None = None
    actor: Actor | None = None
    field_times: dict[str, Micros] | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What one webhook delivery says about one record. A hint, unless it carries an `item` with its own version.

    `new_id`: the survivor of a merge, or the new external id after a rekey.
    """

    object: str
    id: str
    kind: Literal["created", "changed", "deleted", "merged", "rekeyed"]
    event_id: str | None = None
    at: Micros | None = None
    item: Item | None = None
    new_id: str | None = None
    actor: Actor | None = None


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One write of a batch. `values`: vendor's dotted path -> rendered raw value (None clears).

    `version`: for a conditional write, the stamp the record must still have. `stamp_id`: the broker's record id, to be
    left on a created record where the vendor has a place for it. `key` comes back in the receipt and is a safe
    idempotency key: the same key is never used for two different writes.
    """

    key: str
    op: Literal["create", "update", "delete"]
    id: str | None = None
    values: dict[str, Any] = {}
    version: Micros | None = None
    stamp_id: str | None = None


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one write.

    done: applied, `item` shows the record afterwards (None where the answer does not show it);
    pending: accepted, `job` says where to ask; exists: a create met an existing record (`item` or `id` names it);
    missing: no such record any more; stale: the precondition failed; refused: permanent, in the vendor's words;
    unknown: nothing tells. `id` is the external id after the write.
    """

    key: str
    status: Literal["done", "pending", "exists", "missing", "stale", "refused", "unknown"]
    id: str | None = None
    item: Item | None = None
    job: str | None = None
    message: str = ""
