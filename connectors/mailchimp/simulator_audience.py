"""The state of a simulated Mailchimp audience: its members, the rules of consent, and what its webhooks say.

Payloads have the members that a recorded answer of the real API shows (grouparoo/grouparoo, nock fixtures of 2021 and
2022). Webhooks are as in the vendor's guide "About Webhooks" and its examples of each type: `data[id]` and
`data[new_id]` are the `unique_email_id`; a change of address sends "upemail" and "profile"; only what really changed
sends anything. Unverified: that tags, VIP and a change to pending or transactional send nothing, that archiving sends
an "unsubscribe" with the action "delete", that `contact_id` survives a change of address, that merge fields which the
audience does not have are ignored without a word.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from connectors.mailchimp.simulator_wire import Payload, Problem, invalid, moment, not_allowed, stamp

STATUSES = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")
MERGE_FIELDS = ("FNAME", "LNAME", "ADDRESS", "PHONE", "COMPANY", "SOURCE")
_PLAIN = ("email_address", "language", "vip", "email_type")
_TOLD = ("email_address", "merge_fields", "language", "email_type")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")


def hash_of(address: str) -> str:
    return hashlib.md5(address.lower().encode(), usedforsecurity=False).hexdigest()


class Audience:
    """Members by their hash. Every change is made by a `source`: "user" (the contact), "admin" (the app) or "api", and
    returns the data of the webhooks it fires, each with its "type" and "source"."""

    def __init__(self, list_id: str, merge_fields: tuple[str, ...] = ()) -> None:
        self.list_id = list_id
        self.merge_fields = list(dict.fromkeys([*MERGE_FIELDS, *merge_fields]))
        self.members: dict[str, Payload] = {}
        self.opted_out: set[str] = set()
        """Hashes of contacts that left by themselves or bounced: only they themselves can come back."""
        self.forgotten: set[str] = set()
        """Hashes of addresses that were deleted for good."""
        self._tag_ids: dict[str, int] = {}
        self._made = 0

    # ---- reading ----

    def find(self, id: str) -> Payload | None:
        """By hash, address or contact_id, as the member endpoints take them."""
        found = self.members.get(id) or self.members.get(hash_of(id))
        return found or next((one for one in self.members.values() if one["contact_id"] == id), None)

    def active(self, id: str) -> Payload | None:
        """By hash, archived ones left out: for a write they are not there."""
        found = self.members.get(id)
        return found if found and found["status"] != "archived" else None

    def listed(self, query: Mapping[str, str]) -> list[Payload]:
        """Filtered and sorted as GET .../members says; without `status`, archived members are left out."""
        found = [one for one in self.members.values() if _matches(one, query)]
        field = query.get("sort_field", "timestamp_signup")
        if field not in ("last_changed", "timestamp_opt", "timestamp_signup"):
            raise invalid(errors={"sort_field": "Data presented is not one of the accepted values"})
        return sorted(found, key=lambda one: str(one[field]), reverse=query.get("sort_dir") == "DESC")

    # ---- changing ----

    def add(self, given: Mapping[str, Any], now: int, source: str) -> list[Payload]:
        """A new member, or an archived one that comes back. `status_if_new` stands in for `status`."""
        id = self.address(given)
        if self.active(id):
            detail = f"{given['email_address']} is already a list member. Use PUT to insert or update list members."
            raise Problem(400, "Member Exists", detail)
        if id in self.forgotten and source != "user":
            detail = f"{given['email_address']} was permanently deleted and cannot be re-imported."
            raise Problem(400, "Forgotten Email Not Subscribed", detail)
        status = given.get("status", given.get("status_if_new"))
        if not status:
            raise invalid(errors={"status": "Required"})
        member = self.members.get(id) or self._blank(id, given["email_address"], now)
        before = {**member, "status": "archived"}
        self._apply(member, {**given, "status": status}, now, source)
        self.forgotten.discard(id)
        self.members[id] = member
        return list(self._told(before, member, source))

    def change(self, member: Payload, given: Mapping[str, Any], now: int, source: str) -> list[Payload]:
        """Change a member in place; a new address gives it a new id."""
        before = {**member, "merge_fields": dict(member["merge_fields"])}
        if "email_address" in given:
            id = self.address(given)
            if id != member["id"] and id in self.members:
                raise Problem(400, "Member Exists", f"{given['email_address']} is already a list member.")
        self._apply(member, given, now, source)
        if member["id"] != before["id"]:
            del self.members[before["id"]]
            self.members[member["id"]] = member
            if before["id"] in self.opted_out:
                self.opted_out.remove(before["id"])
                self.opted_out.add(member["id"])
        return list(self._told(before, member, source))

    def set_tags(self, member: Payload, wanted: Mapping[str, bool], now: int) -> None:
        """`wanted`: name -> active. A tag that no member had yet comes into being."""
        names = [tag["name"] for tag in member["tags"]]
        after = [name for name in names if wanted.get(name, True)]
        after += [name for name, active in wanted.items() if active and name not in names]
        if after != names:
            self._tag(member, after)
            member["last_changed"] = stamp(now)

    def archive(self, member: Payload, now: int, source: str) -> list[Payload]:
        """What DELETE does."""
        if member["status"] in ("archived", "cleaned", "pending"):
            why = "Can not archive a contact that is bounced, pending or archived"
            raise not_allowed(f"This list member cannot be removed. {why}")
        told = self._gone(member, source)
        member["status"] = "archived"
        member["last_changed"] = stamp(now)
        return told

    def forget(self, member: Payload, source: str) -> list[Payload]:
        """What "delete permanently" does."""
        del self.members[member["id"]]
        self.forgotten.add(member["id"])
        return self._gone(member, source)

    def restore(self, given: Mapping[str, Any], now: int) -> None:
        """A member that was there before the simulation began, with whatever of its payload is given."""
        member = self._blank(self.address(given), given["email_address"], now)
        fields = given.get("merge_fields", {})
        self.merge_fields = list(dict.fromkeys([*self.merge_fields, *fields]))
        self._tag(member, [tag["name"] if isinstance(tag, dict) else tag for tag in given.get("tags", ())])
        plain = {name: value for name, value in given.items() if name not in ("id", "tags", "opted_out")}
        member |= {**plain, "merge_fields": {**dict.fromkeys(self.merge_fields, ""), **fields}}
        member["full_name"] = _full_name(member)
        member["status"] = given.get("status", "subscribed")
        if member["status"] in ("unsubscribed", "cleaned") and given.get("opted_out", True):
            self.opted_out.add(member["id"])
        self.members[member["id"]] = member

    def address(self, given: Mapping[str, Any]) -> str:
        """The hash of a well-formed address."""
        address = given.get("email_address")
        if not isinstance(address, str) or not _EMAIL.fullmatch(address):
            raise invalid("Please provide a valid email address.", {"email_address": "Not an email address"})
        return hash_of(address)

    def _blank(self, id: str, address: str, now: int) -> Payload:
        self._made += 1
        contact = f"{self.list_id}:{self._made}:{address}"
        return {
            "id": id,
            "email_address": address,
            "unique_email_id": _unique(address),
            "contact_id": hash_of(contact),
            "full_name": "",
            "web_id": 440_000_000 + self._made,
            "email_type": "html",
            "status": "archived",
            "consents_to_one_to_one_messaging": True,
            "merge_fields": dict.fromkeys(self.merge_fields, ""),
            "stats": {"avg_open_rate": 0, "avg_click_rate": 0},
            "ip_signup": "",
            "timestamp_signup": "",
            "ip_opt": "",
            "timestamp_opt": "",
            "member_rating": 2,
            "last_changed": stamp(now),
            "language": "",
            "vip": False,
            "email_client": "",
            "location": {"latitude": 0, "longitude": 0, "country_code": "", "timezone": "", "region": ""},
            "source": "API - Generic",
            "tags_count": 0,
            "tags": [],
            "list_id": self.list_id,
        }

    def _apply(self, member: Payload, given: Mapping[str, Any], now: int, source: str) -> None:
        status = given.get("status", member["status"])
        self._check(member, given, status, source)
        old = {**member, "merge_fields": dict(member["merge_fields"])}
        member |= {name: given[name] for name in _PLAIN if name in given}
        member["id"] = hash_of(member["email_address"])
        member["unique_email_id"] = _unique(member["email_address"])
        fields = given.get("merge_fields", {})
        member["merge_fields"] |= {
            name: "" if value is None else value
            for name, value in fields.items()
            if name in self.merge_fields
        }
        member["full_name"] = _full_name(member)
        if status == "subscribed" and member["status"] != "subscribed":
            member["timestamp_opt"] = stamp(now)
            member["ip_opt"] = "198.51.100.7" if source == "user" else "127.0.0.1"
            self.opted_out.discard(member["id"])
        if status != member["status"] and (
            status == "cleaned" or (status == "unsubscribed" and source == "user")
        ):
            self.opted_out.add(member["id"])
        member["status"] = status
        if member != old:
            member["last_changed"] = stamp(now)
        if given.get("tags"):
            self.set_tags(member, dict.fromkeys(given["tags"], True), now)

    def _check(self, member: Payload, given: Mapping[str, Any], status: str, source: str) -> None:
        if status not in (*STATUSES, "archived"):
            accepted = ", ".join(STATUSES)
            raise invalid(errors={"status": f"Data presented is not one of the accepted values: {accepted}"})
        if status == "subscribed" and source != "user" and member["id"] in self.opted_out:
            why = "is in a compliance state due to unsubscribe, bounce, or compliance review"
            detail = f"{member['email_address']} {why} and cannot be subscribed."
            raise Problem(400, "Member In Compliance State", detail)
        fields = given.get("merge_fields", {})
        if not isinstance(fields, Mapping):
            raise invalid("Your merge fields were invalid.", {"merge_fields": "Schema describes object"})
        address = fields.get("ADDRESS")
        if isinstance(address, Mapping) and not all(address.get(part) for part in ("addr1", "city", "zip")):
            raise invalid("Your merge fields were invalid.", {"ADDRESS": "Please enter a complete address"})

    def _tag(self, member: Payload, names: list[str]) -> None:
        ids = self._tag_ids
        member["tags"] = [{"id": ids.setdefault(name, 5_000_000 + len(ids)), "name": name} for name in names]
        member["tags_count"] = len(names)

    # ---- webhooks ----

    def _told(self, before: Payload, after: Payload, source: str) -> Iterator[Payload]:
        if after["id"] != before["id"]:
            yield {
                "type": "upemail",
                "source": source,
                "list_id": self.list_id,
                "new_id": after["unique_email_id"],
                "new_email": after["email_address"],
                "old_email": before["email_address"],
            }
        if after["status"] != before["status"]:
            if after["status"] == "subscribed":
                yield {"type": "subscribe", "source": source, **self._profile(after)}
            elif after["status"] == "unsubscribed" and before["status"] == "subscribed":
                why = {"action": "unsub", "reason": "manual", "campaign_id": ""}
                yield {"type": "unsubscribe", "source": source, **why, **self._profile(after)}
            elif after["status"] == "cleaned":
                why = {"reason": "hard", "campaign_id": "4fjk2ma9xd", "email": after["email_address"]}
                yield {"type": "cleaned", "source": source, "list_id": self.list_id, **why}
        if before["status"] != "archived" and any(before[name] != after[name] for name in _TOLD):
            yield {"type": "profile", "source": source, **self._profile(after)}

    def _gone(self, member: Payload, source: str) -> list[Payload]:
        if member["status"] == "archived":
            return []
        why = {"action": "delete", "reason": "manual", "campaign_id": ""}
        return [{"type": "unsubscribe", "source": source, **why, **self._profile(member)}]

    def _profile(self, member: Payload) -> Payload:
        return {
            "id": member["unique_email_id"],
            "list_id": self.list_id,
            "email": member["email_address"],
            "email_type": member["email_type"],
            "ip_opt": member["ip_opt"],
            "ip_signup": member["ip_signup"],
            "web_id": member["web_id"],
            "merges": {"EMAIL": member["email_address"], **member["merge_fields"]},
        }


def _unique(address: str) -> str:
    return hashlib.sha256(address.lower().encode()).hexdigest()[:10]


def _full_name(member: Payload) -> str:
    names = (str(member["merge_fields"].get(name, "")) for name in ("FNAME", "LNAME"))
    return " ".join(filter(None, names))


def _matches(member: Payload, query: Mapping[str, str]) -> bool:
    status = query.get("status")
    if member["status"] != status if status else member["status"] == "archived":
        return False
    changed = moment(member["last_changed"])
    since, before = query.get("since_last_changed"), query.get("before_last_changed")
    if (since and changed <= moment(since)) or (before and changed >= moment(before)):
        return False
    wanted = query.get("unique_email_id")
    return not wanted or wanted == member["unique_email_id"]
