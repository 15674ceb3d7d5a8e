"""The contacts of a simulated SendGrid: what is stored, what reads already show, and the rules of the upsert.

From the vendor's OpenAPI document of 2026-01: identifiers, lengths, "all of its existing identifiers must be present",
addresses become lower-case, what is left out stays as it was. Unverified: that an upsert which changes nothing still
moves `updated_at`, and that empty text clears a field.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from connectors.sendgrid.simulator_wire import Payload, RefusalError, stamp

LENGTHS = {
    "address_line_1": 100,
    "address_line_2": 100,
    "city": 60,
    "country": 50,
    "email": 254,
    "external_id": 254,
    "anonymous_id": 254,
    "first_name": 50,
    "last_name": 50,
    "state_province_region": 50,
    "postal_code": 100,
    "phone_number": 100,
    "phone_number_id": 100,
}
IDENTIFIERS = ("email", "phone_number_id", "external_id", "anonymous_id")
_TEXTS = (*LENGTHS, "whatsapp", "line", "facebook", "unique_name")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_LETTERS = {"Text": "T", "Number": "N", "Date": "D"}


class FailedError(Exception):
    """One contact of a job cannot be written."""


class Store:
    """`stored` is the truth; `shown` is what reads see of it."""

    def __init__(self) -> None:
        self.stored: dict[str, Payload] = {}
        self.shown: dict[str, Payload] = {}
        self.definitions: list[Payload] = []
        self._made = 0

    def make_id(self, kind: str) -> str:
        self._made += 1
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}:{self._made}"))

    # ---- custom fields ----

    def define(self, name: str, field_type: str) -> Payload:
        """The definition of this name, made where there is none."""
        known = next((one for one in self.definitions if one["name"] == name), None)
        if known is None:
            id = f"e{len(self.definitions) + 1}_{_LETTERS[field_type]}"
            known = {"id": id, "name": name, "field_type": field_type}
            self.definitions.append(known)
        return known

    # ---- the upsert ----

    def check(self, contacts: Any) -> list[Payload]:
        """What the request itself is refused for."""
        if not isinstance(contacts, list) or not 1 <= len(contacts) <= 30_000:
            raise RefusalError(400, "contacts must have 1 to 30000 entries", "contacts")
        for n, contact in enumerate(contacts):
            self._check_one(contact, f"contacts[{n}]")
        return contacts

    def _check_one(self, contact: Any, where: str) -> None:
        if not isinstance(contact, dict):
            raise RefusalError(400, "invalid input", where)
        if not any(contact.get(name) for name in IDENTIFIERS):
            raise RefusalError(400, "at least one identifier is required", where)
        for name, longest in LENGTHS.items():
            value = contact.get(name, "")
            if not isinstance(value, str) or len(value) > longest:
                raise RefusalError(
                    400, f"{name} must be text of at most {longest} characters", f"{where}.{name}"
                )
        if contact.get("email") and not _EMAIL.fullmatch(contact["email"]):
            raise RefusalError(400, "email is not valid", f"{where}.email")
        others = contact.get("alternate_emails", [])
        if not isinstance(others, list) or len(others) > 5:
            raise RefusalError(
                400, "alternate_emails must have at most 5 entries", f"{where}.alternate_emails"
            )
        self._check_custom(contact.get("custom_fields", {}), where)

    def _check_custom(self, given: Any, where: str) -> None:
        if not isinstance(given, dict):
            raise RefusalError(400, "invalid input", f"{where}.custom_fields")
        types = {one["id"]: one["field_type"] for one in self.definitions}
        unknown = [id for id in given if id not in types]
        if unknown:
            raise RefusalError(400, f"invalid custom field ids supplied - {','.join(unknown)}", where)
        for id, value in given.items():
            if value is None:
                raise RefusalError(400, f'custom field "{id}" cannot be null', where)
            if types[id] == "Number" and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise RefusalError(400, f'custom field "{id}" must be a number', where)

    def by_identifier(self) -> dict[tuple[str, str], Payload]:
        return {(name, one[name]): one for one in self.stored.values() for name in IDENTIFIERS if one[name]}

    def upsert(
        self,
        given: Mapping[str, Any],
        lists: Iterable[str],
        now: int,
        known: dict[tuple[str, str], Payload],
    ) -> tuple[Payload, bool]:
        """The stored contact and whether it is new. FailedError when its identifiers contradict each other."""
        names = {name: given[name] for name in IDENTIFIERS if given.get(name)}
        if "email" in names:
            names["email"] = names["email"].lower()
        matches = {known[pair]["id"]: known[pair] for pair in names.items() if pair in known}
        if len(matches) > 1:
            raise FailedError("the identifiers belong to different contacts")
        held = next(iter(matches.values()), None)
        if held and any(held[name] and held[name] != names.get(name) for name in IDENTIFIERS):
            raise FailedError("all existing identifiers of a contact must be present")
        contact = held or self.blank(now)
        contact |= {name: value for name, value in given.items() if name in _TEXTS} | names
        if "alternate_emails" in given:
            contact["alternate_emails"] = [one.lower() for one in given["alternate_emails"]]
        by_id = {one["id"]: one["name"] for one in self.definitions}
        custom = {by_id[id]: value for id, value in given.get("custom_fields", {}).items()}
        kept = {name: value for name, value in (contact["custom_fields"] | custom).items() if value != ""}
        contact["custom_fields"] = kept
        contact["list_ids"] = list(dict.fromkeys([*contact["list_ids"], *lists]))
        contact["updated_at"] = stamp(now)
        self.stored[contact["id"]] = contact
        known |= dict.fromkeys(names.items(), contact)
        return contact, held is None

    # ---- people ----

    def restore(self, given: Mapping[str, Any], now: int) -> str:
        """A contact as it was before the simulation began, or as a person makes it; seen by reads at once."""
        contact = self.blank(now)
        for name, value in given.get("custom_fields", {}).items():
            self.define(name, "Text" if isinstance(value, str) else "Number")
        contact |= given
        contact["email"] = str(contact["email"]).lower()
        self.stored[contact["id"]] = contact
        self.show(contact["id"])
        return str(contact["id"])

    def show(self, id: str) -> None:
        """Let reads see a contact as it is stored now, or that it is gone."""
        if id in self.stored:
            held = self.stored[id]
            self.shown[id] = {**held, "custom_fields": dict(held["custom_fields"])}
        else:
            self.shown.pop(id, None)

    def blank(self, now: int) -> Payload:
        id = self.make_id("contact")
        return {
            "id": id,
            **dict.fromkeys(_TEXTS, ""),
            "alternate_emails": [],
            "list_ids": [],
            "segment_ids": [],
            "custom_fields": {},
            "created_at": stamp(now),
            "updated_at": stamp(now),
            "_metadata": {"self": f"https://api.sendgrid.com/v3/marketing/contacts/{id}"},
        }
