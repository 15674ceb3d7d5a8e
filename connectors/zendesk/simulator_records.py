"""What the simulated Zendesk keeps: users with their identities, organizations, and the rules for what may be written.

Payload members from the vendor's published API document, as the client package python-zendesk carries it; the 422 body
from cloudbees-oss/zendesk-java-client#91 and blakmatrix/node-zendesk#3. Unverified: that addresses and tags are put in
lower case, other validation texts, and that unknown members are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

_USER: Json = {
    "name": "",
    "active": True,
    "alias": None,
    "custom_role_id": None,
    "default_group_id": None,
    "details": None,
    "external_id": None,
    "iana_time_zone": "Etc/UTC",
    "last_login_at": None,
    "locale": "en-US",
    "locale_id": 1,
    "moderator": False,
    "notes": None,
    "only_private_comments": False,
    "organization_id": None,
    "phone": None,
    "photo": None,
    "report_csv": False,
    "restricted_agent": True,
    "role": "end-user",
    "role_type": None,
    "shared": False,
    "shared_agent": False,
    "shared_phone_number": None,
    "signature": None,
    "suspended": False,
    "tags": [],
    "ticket_restriction": "requested",
    "time_zone": "UTC",
    "two_factor_auth_enabled": False,
    "user_fields": {},
}
_ORGANIZATION: Json = {
    "name": "",
    "details": None,
    "domain_names": [],
    "external_id": None,
    "group_id": None,
    "notes": None,
    "organization_fields": {},
    "shared_comments": False,
    "shared_tickets": False,
    "tags": [],
}
_READ_ONLY = frozenset(
    {"id", "url", "active", "created_at", "updated_at", "last_login_at", "email", "verified"}
)
NOUN = {"users": "user", "organizations": "organization"}


class InvalidError(ValueError):
    """422 RecordInvalid: what is wrong with which member."""

    def __init__(self, member: str, description: str, error: str) -> None:
        super().__init__(description)
        self.details = {member: [{"description": description, "error": error}]}


class MissingError(LookupError):
    """404 RecordNotFound."""


class Records:
    """Users and organizations by id. Every change is told to `changed(object, before, after)`; None: made or gone."""

    def __init__(
        self, now: Callable[[], int], changed: Callable[[str, Json | None, Json | None], None], *, strip: bool
    ) -> None:
        """`strip`: telephone numbers lose their formatting, as in a system that rewrites what it is given."""
        self._now = now
        self._told = changed
        self._strip = strip
        self._count = 360_000_000_000
        self._stored: dict[str, dict[int, Json]] = {"users": {}, "organizations": {}}
        self.identities: dict[int, list[Json]] = {}
        self.known_since: dict[int, int] = {}  # identity -> µs, for a search index that lags

    # ---- reading ----

    def all(self, object: str, *, deleted: bool = False) -> list[Json]:
        """The payloads in ascending order of ids; deleted users only on request."""
        found = [self.shown(object, id) for id in sorted(self._stored[object])]
        return [one for one in found if deleted or one.get("active", True)]

    def named(self, object: str, name: str, wanted: Container[str], *, deleted: bool = False) -> list[Json]:
        """Of all those whose field `name` (`id`, `external_id`), casefolded, is wanted."""
        there = sorted(self._stored[object].items())
        ids = [id for id, one in there if str(one[name]).casefold() in wanted]
        return [one for id in ids if (one := self.shown(object, id)).get("active", True) or deleted]

    def shown(self, object: str, id: int) -> Json:
        """The payload. A user's `email` is the primary address, or the first verified one while that is not (user
        properties, `email`)."""
        record = self._stored[object].get(id)
        if record is None:
            raise MissingError
        if object == "organizations":
            return deepcopy(record)
        emails = [one for one in self.identities[id] if one["type"] == "email"]
        emails.sort(key=lambda one: (not one["verified"], not one["primary"]))
        verified = any(one["verified"] for one in self.identities[id])
        return deepcopy(record) | {"email": emails[0]["value"] if emails else None, "verified": verified}

    def live(self, object: str, id: int) -> Json:
        """The payload of what is not deleted."""
        found = self.shown(object, id)
        if not found.get("active", True):
            raise MissingError
        return found

    # ---- writing ----

    def create(self, object: str, given: Mapping[str, Any], *, quiet: bool = False) -> Json:
        """A new record; InvalidError leaves nothing behind. `quiet`: initial state, told to nobody, and maybe with an
        organization that is gone."""
        id = self._next() if given.get("id") is None else int(given["id"])
        if id in self._stored[object]:
            raise ValueError(f"{object}: {id} exists")
        at = text_of(self._now())
        blank = _USER if object == "users" else _ORGANIZATION
        url = f"https://example.zendesk.com/api/v2/{object}/{id}.json"
        record = {"id": id, "url": url, "created_at": at, "updated_at": at} | deepcopy(blank)
        record = self._written(object, record, {"name": "", **given}, references=not quiet)
        if quiet:
            stamps = ("created_at", "updated_at", "last_login_at", "active")
            record |= {name: given[name] for name in stamps if given.get(name) is not None}
        address = self._address(id, given.get("email")) if object == "users" and given.get("email") else None
        self._stored[object][id] = record
        if object == "users":
            self.identities[id] = []
            if address:
                verified = bool(given.get("verified", quiet))
                self._add_identity(id, "email", address, primary=True, verified=verified)
        if not quiet:
            self._told(object, None, self.shown(object, id))
        return self.shown(object, id)

    def update(self, object: str, id: int, given: Mapping[str, Any]) -> Json:
        """An `email` becomes one more address of the user and changes no field (facetoe/zenpy#237)."""
        before = self.live(object, id)
        after = self._written(object, self._stored[object][id], given)
        address = given.get("email") if object == "users" else None
        if address and not any(one["value"] == str(address).casefold() for one in self.identities[id]):
            checked = self._address(id, address)
            self._add_identity(id, "email", checked, primary=False, verified=bool(given.get("verified")))
        self._stored[object][id] = after
        return self._touch(object, id, before)

    def delete(self, object: str, id: int) -> Json:
        """A deleted user stays readable and gives its addresses free; a deleted organization is gone and its users
        have none."""
        before = self.live(object, id)
        if object == "organizations":
            del self._stored[object][id]
            for user in self.all("users"):
                if user["organization_id"] == id:
                    self.update("users", user["id"], {"organization_id": None})
            self._told(object, before, None)
            return before
        self._stored[object][id] |= {"active": False, "updated_at": text_of(self._now())}
        after = self.shown(object, id)
        self.identities[id] = []
        self._told(object, before, None)
        return after

    def merge(self, loser: int, winner: int) -> tuple[Json, Json]:
        """The loser's addresses become secondary ones of the winner, the loser is gone (404: unverified)."""
        gone, kept = self.live("users", loser), self.live("users", winner)
        if loser == winner or {gone["role"], kept["role"]} != {"end-user"}:
            raise InvalidError("base", "Only two different end users can be merged", "InvalidValue")
        moved = [one | {"primary": False, "user_id": winner} for one in self.identities.pop(loser)]
        del self._stored["users"][loser]
        self.identities[winner] += moved
        self._stored["users"][winner]["updated_at"] = text_of(self._now())
        return gone, self.shown("users", winner)

    # ---- identities ----

    def add_identity(self, id: int, given: Mapping[str, Any]) -> Json:
        """One more identity of a user. Only a new one can be given as the primary one."""
        before = self.live("users", id)
        kind, value = str(given.get("type", "")), str(given.get("value", ""))
        if kind not in ("email", "phone_number", "twitter", "facebook", "google"):
            raise InvalidError("type", "Type: is invalid", "InvalidValue")
        checked = self._address(id, value, twice=True) if kind == "email" else value
        primary, verified = given.get("primary") is True, given.get("verified") is True
        made = self._add_identity(id, kind, checked, primary=primary, verified=verified)
        self._touch("users", id, before)
        return deepcopy(made)

    def change_identity(self, id: int, identity: int, given: Mapping[str, Any]) -> Json:
        """`verified` and `value` may change, `primary` may not."""
        before, found = self.live("users", id), self._identity(id, identity)
        if "value" in given:
            found["value"] = self._address(id, given["value"])
            self.known_since[identity] = self._now()
        found["verified"] = bool(given.get("verified", found["verified"]))
        self._touch("users", id, before)
        return deepcopy(found)

    def make_primary(self, id: int, identity: int) -> list[Json]:
        before, chosen = self.live("users", id), self._identity(id, identity)
        for one in self.identities[id]:
            if one["type"] == chosen["type"]:
                one["primary"] = one is chosen
        self._touch("users", id, before)
        return deepcopy(self.identities[id])

    def set_address(self, id: int, address: str) -> None:
        """What an agent does in the profile: the address there is replaced."""
        primary = [one for one in self.identities[id] if one["type"] == "email" and one["primary"]]
        if primary:
            self.change_identity(id, primary[0]["id"], {"value": address})
        else:
            self.add_identity(id, {"type": "email", "value": address, "primary": True, "verified": True})

    # ---- inside ----

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _identity(self, id: int, identity: int) -> Json:
        for one in self.identities[id]:
            if one["id"] == identity:
                return one
        raise MissingError

    def _add_identity(self, id: int, kind: str, value: str, *, primary: bool, verified: bool) -> Json:
        at = text_of(self._now())
        first = not any(one["type"] == kind for one in self.identities[id])
        made: Json = {
            "id": self._next(),
            "user_id": id,
            "type": kind,
            "value": value,
            "verified": verified,
            "primary": primary or first,
            "created_at": at,
            "updated_at": at,
        }
        made["url"] = f"https://example.zendesk.com/api/v2/users/{id}/identities/{made['id']}.json"
        for one in self.identities[id]:
            one["primary"] = one["primary"] and not (primary and one["type"] == kind)
        self.identities[id].append(made)
        self.known_since[made["id"]] = self._now()
        return made

    def _address(self, id: int, given: Any, *, twice: bool = False) -> str:
        """The address in lower case, if it is one and nobody else's; with `twice` not the user's own either."""
        address = str(given).casefold()
        if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", address):
            raise InvalidError("email", f"Email: {given} is not properly formatted", "InvalidValue")
        holders = (user for user, many in self.identities.items() for one in many if one["value"] == address)
        if any(twice or user != id for user in holders):
            raise InvalidError(
                "email", f"Email: {given} is already being used by another user", "DuplicateValue"
            )
        return address

    def _touch(self, object: str, id: int, before: Json) -> Json:
        """Tell what has changed, if anything has."""
        if self.shown(object, id) != before:
            self._stored[object][id]["updated_at"] = text_of(self._now())
            self._told(object, before, self.shown(object, id))
        return self.shown(object, id)

    def _written(
        self, object: str, record: Json, given: Mapping[str, Any], *, references: bool = True
    ) -> Json:
        after = deepcopy(record)
        for name, value in given.items():
            if name not in after or name in _READ_ONLY:
                continue
            if isinstance(after[name], dict):
                after[name] = after[name] | dict(value or {})
            elif name == "tags":
                after[name] = [str(tag).strip().lower().replace(" ", "_") for tag in value or ()]
            elif name == "domain_names":
                after[name] = [str(domain).lower() for domain in value or ()]
            elif name == "phone":
                after[name] = self._phone(value)
            else:
                after[name] = value
        if not str(after["name"] or "").strip():
            raise InvalidError("name", "Name: is too short (minimum is 1 characters)", "BlankValue")
        self._check(object, after)
        organization = after.get("organization_id")
        if references and organization is not None and organization not in self._stored["organizations"]:
            raise InvalidError("organization", "Organization: is invalid", "InvalidValue")
        return after

    def _phone(self, value: Any) -> str | None:
        text = str(value) if value else ""
        return (re.sub(r"(?!^\+)\D", "", text) if self._strip else text) or None

    def _check(self, object: str, record: Json) -> None:
        for name in ("external_id", "name") if object == "organizations" else ("external_id",):
            taken = str(record[name] or "").casefold()
            for other in self._stored[object].values():
                if taken and other["id"] != record["id"] and str(other[name] or "").casefold() == taken:
                    word = name.replace("_id", "").capitalize()
                    told = f"{word}: {record[name]} has already been taken"
                    raise InvalidError(name, told, "DuplicateValue")
        if record.get("role", "end-user") not in ("end-user", "agent", "admin"):
            raise InvalidError("role", "Role: is invalid", "InvalidValue")


def text_of(micros: int) -> str:
    """`2011-05-05T10:38:52Z`: whole seconds, as Zendesk shows every time."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, Any]]:
    """(member, its inner member or "", old, new) of all that differs but the time of the change."""
    for name in sorted(set(after) - {"updated_at"}):
        was, now = before.get(name), after[name]
        if isinstance(was, dict) and isinstance(now, dict):
            inner = sorted(was.keys() | now.keys())
            yield from (
                (name, key, was.get(key), now.get(key)) for key in inner if was.get(key) != now.get(key)
            )
        elif was != now:
            yield name, "", was, now
