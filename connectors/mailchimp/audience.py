"""The calls to one audience: its members one by one, its pages, and what was last seen of a member."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any
from urllib.parse import quote

import msgspec

from connectors.mailchimp.members import SHOWN, Member, iso
from connectors.mailchimp.walk import Place
from syncbroker import errors
from syncbroker.sdk.http import Answer, Http

PAGE = 1000
REMEMBERED = 2000  # members kept from reads, for the writes that follow

_FIELDS = ",".join(SHOWN)
_LIST_FIELDS = ",".join(["total_items", *(f"members.{name}" for name in SHOWN)])


class Members(msgspec.Struct, frozen=True):
    """A page of GET /lists/{list_id}/members."""

    members: list[Member]
    total_items: int


class Audience:
    """One list. Used from several threads."""

    def __init__(self, http: Http, list_id: str, system: str) -> None:
        self.list_id = list_id
        self._http = http
        self._system = system
        self._path = f"/3.0/lists/{quote(list_id, safe='')}"
        self._seen: OrderedDict[str, Member] = OrderedDict()
        self._lock = threading.Lock()

    def page(self, place: Place) -> Answer:
        """The page at `place`, as `Members`."""
        since = None if place.since is None else iso(place.since)
        order = {"sort_field": "last_changed", "sort_dir": "ASC", "since_last_changed": since}
        window = {"count": PAGE, "offset": place.offset, "fields": _LIST_FIELDS}
        return self.call("GET", "/members", params={**order, **window}, shape=Members)

    def member(self, id: str) -> Member | None:
        """The member now, remembered for the write that may follow; None on a 404."""
        try:
            answer = self.on_member("GET", id, params={"fields": _FIELDS}, shape=Member)
        except errors.Missing:
            return None
        return self.remember(answer.json)

    def before(self, id: str) -> Member | None:
        """The member as it was last read, else as it is now; None when it is gone or archived.

        The broker reads a member just before it writes it, so nearly always nothing is asked.
        """
        with self._lock:
            seen = self._seen.get(id)
        found = seen or self.member(id)
        return found if found and found.status != "archived" else None

    def remember(self, member: Member) -> Member:
        with self._lock:
            self._seen[member.id] = member
            self._seen.move_to_end(member.id)
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        return member

    def forget(self, id: str) -> None:
        with self._lock:
            self._seen.pop(id, None)

    def check(self) -> None:
        """BadSetting unless the audience exists: a 404 on a member says nothing as long as the list may be wrong."""
        self.call("GET", "", params={"fields": "id"})

    def on_member(self, method: str, id: str, part: str = "", **more: Any) -> Answer:
        return self._http.request(method, f"{self._path}/members/{quote(id, safe='')}{part}", **more)

    def call(self, method: str, part: str, **more: Any) -> Answer:
        """A call whose 404 says that the audience itself is wrong: BadSetting."""
        try:
            return self._http.request(method, self._path + part, **more)
        except errors.Missing:
            raise errors.BadSetting(
                f"there is no audience {self.list_id!r} in this Mailchimp account",
                hint="copy `list_id` from the audience's settings",
                system=self._system,
            ) from None
