"""Writes to SendGrid. All are jobs: accepted with a number, done some time later, visible some time after that.

PUT /v3/marketing/contacts creates and updates by e-mail address ("upsert") and knows no ids. So every write first
looks: an update for the address that belongs to the id (a contact that is gone must not be made again), a create for a
contact that has the address already (it would be overwritten). What happens between look and job goes unnoticed.

A job's own report has counts, but says nothing about single contacts: what became of them is read back, and is believed
when it shows what was written, or when it still does not `LAG` after the job's end.

The address is the identity and cannot be changed. A write of another address makes a new contact with all that the old
one holds, lists included, and deletes the old one once the new one is seen; the receipt has the new id. What SendGrid
knows of the old one's past (openings, clicks, automations) and its other identifiers do not move. A crash in between
leaves both, until the job is asked for or the write is tried again. An address that another contact has is refused: the
upsert would overwrite that contact. Ours from an earlier try is known by being young and holding all of it.

The broker's record id is not left on a contact: `external_id` would be the place, but it is an identifier, which every
later upsert by anybody had to repeat. It is not needed for lost answers: a repeated upsert finds its own contact.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from connectors.sendgrid.contacts import (
    LAG,
    SECOND,
    Contact,
    Definition,
    body,
    copied,
    item,
    micros,
    shows,
)
from connectors.sendgrid.lookup import CONTACTS, Lookup
from syncbroker import errors
from syncbroker.core.types import Micros, Receipt, Write
from syncbroker.sdk.http import Http

AGAIN = 86_400  # seconds within which a write whose answer was lost is tried again
TRIES = 3  # how often the deletion of an old contact is asked for, `LAG` apart, before its write counts as unknown


class _Accepted(msgspec.Struct, frozen=True):
    job_id: str


class _Job(msgspec.Struct, frozen=True, kw_only=True):
    status: str
    results: dict[str, Any] | None = None


class _Dropping(msgspec.Struct, frozen=True):
    tries: int
    last: Micros


Call = Callable[[Sequence[Write]], str]
"""Sends some writes in one call; the job's id."""


class _Sending:
    """One call of `Writer`. Once something was accepted, errors no longer leave it: they are receipts."""

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        self._accepted = False

    def refuse(self, write: Write, message: str) -> None:
        self.receipts.append(_receipt(write, "refused", message=message))

    def send(self, writes: Sequence[Write], call: Call) -> None:
        """A single impossible contact makes SendGrid refuse the whole call, so a refused one is halved until the
        culprit stands alone."""
        groups = [writes] if writes else []
        while groups:
            group = groups.pop()
            try:
                job = call(group)
            except errors.Reject as refused:
                if len(group) > 1:
                    half = len(group) // 2
                    groups += [group[half:], group[:half]]
                else:
                    self.refuse(group[0], refused.message)
                continue
            except (errors.Retry, errors.FixSetup):
                if not self._accepted:
                    raise
                self.receipts += [_receipt(write, "unknown") for write in group]
                continue
            self._accepted = True
            self.receipts += [_receipt(write, "pending", job=job) for write in group]


class Writer:
    """Used from several threads. What it remembers of jobs only saves waiting twice: a crash loses nothing."""

    def __init__(self, http: Http, lookup: Lookup, now: Callable[[], Micros]) -> None:
        self._http = http
        self._lookup = lookup
        self._now = now
        self._lock = threading.Lock()
        self._ended: dict[str, Micros] = {}
        self._dropping: dict[str, _Dropping] = {}

    # ---- sending ----

    def create(self, writes: Sequence[Write]) -> list[Receipt]:
        """One upsert. The address of another contact "exists"; of two writes with one address the second is unknown."""
        sending = _Sending()
        names = self._lookup.definitions({path for write in writes for path in write.values})
        by_address: dict[str, Write] = {}
        for write in writes:
            address = str(write.values.get("email") or "").lower()
            if not address:
                sending.refuse(write, "a contact needs an e-mail address")
            elif by_address.setdefault(address, write) is not write:
                sending.receipts.append(_receipt(write, "unknown"))
        taken = self._lookup.by_email(list(by_address))
        sending.receipts += [
            _receipt(by_address.pop(address), "exists", one) for address, one in taken.items()
        ]
        bodies = {
            write.key: _body(sending, write, write.values, None, names) for write in by_address.values()
        }
        self._put(sending, [write for write in by_address.values() if bodies[write.key]], bodies)
        return sending.receipts

    def update(self, writes: Sequence[Write]) -> list[Receipt]:
        """One upsert for all that keep their address, one for each that does not."""
        sending = _Sending()
        held = self._lookup.by_id([str(write.id) for write in writes])
        sending.receipts += [_receipt(write, "missing") for write in writes if write.id not in held]
        there = [(write, held[str(write.id)]) for write in writes if write.id in held]
        moving = {write.key for write, old in there if _moves(write, old)}
        values = {
            write.key: {**copied(old), **write.values} if write.key in moving else dict(write.values)
            for write, old in there
        }
        names = self._lookup.definitions({path for given in values.values() for path in given})
        taken = self._lookup.by_email([str(values[key]["email"]) for key in moving])
        bodies: dict[str, dict[str, Any]] = {}
        addresses: set[str] = set()
        for write, old in there:
            if write.key in moving:
                address = str(write.values["email"]).lower()
                other = taken.get(address)
                if address in addresses or (other and not self._half_moved(other, values[write.key])):
                    sending.refuse(write, "another contact has this e-mail address")
                    continue
                addresses.add(address)
            keeps = None if write.key in moving else old
            if sent := _body(sending, write, values[write.key], keeps, names):
                bodies[write.key] = sent
        self._put(sending, [w for w, _ in there if w.key in bodies and w.key not in moving], bodies)
        for write, old in there:
            if write.key in bodies and write.key in moving:
                self._put(sending, [write], bodies, old.list_ids or [])
        return sending.receipts

    def _half_moved(self, other: Contact, values: Mapping[str, Any]) -> bool:
        """Whether this is the new contact of an earlier try of the same write, whose answer was lost."""
        made = micros(other.created_at)
        return made is not None and self._now() - made < AGAIN * SECOND and shows(other, values)

    def delete(self, writes: Sequence[Write]) -> list[Receipt]:
        sending = _Sending()
        sending.send(writes, lambda group: self._drop([str(write.id) for write in group]))
        return sending.receipts

    def _put(
        self,
        sending: _Sending,
        writes: Sequence[Write],
        bodies: Mapping[str, dict[str, Any]],
        lists: Sequence[str] = (),
    ) -> None:
        def call(group: Sequence[Write]) -> str:
            contacts = [bodies[write.key] for write in group]
            sent = {"contacts": contacts} | ({"list_ids": list(lists)} if lists else {})
            accepted: _Accepted = self._http.request("PUT", CONTACTS, json=sent, shape=_Accepted).json
            return accepted.job_id

        sending.send(writes, call)

    def _drop(self, ids: Sequence[str]) -> str:
        asked = {"ids": ",".join(ids)}
        accepted: _Accepted = self._http.request("DELETE", CONTACTS, params=asked, shape=_Accepted).json
        return accepted.job_id

    # ---- what became of it ----

    def job(self, job: str, writes: Sequence[Write]) -> list[Receipt] | None:
        """None while the job runs, and after it while contacts may not show it yet."""
        status, told = self._status(job)
        if status == "pending":
            return None
        with self._lock:
            ended = self._ended.setdefault(job, self._now())
        waits = status != "failed" and self._now() - ended < LAG * SECOND
        if writes[0].op == "delete":
            receipts = self._deleted(writes, told, waits=waits)
        else:
            receipts = self._upserted(writes, "" if status == "completed" else told, waits=waits)
        if receipts is not None:
            with self._lock:
                self._ended.pop(job, None)
        return receipts

    def _status(self, job: str) -> tuple[str, str]:
        """The job's status and, for people, what it said. One that SendGrid has forgotten counts as completed."""
        try:
            found: _Job = self._http.request(
                "GET", f"{CONTACTS}/imports/{quote(job, safe='')}", shape=_Job
            ).json
        except errors.Missing:
            return "completed", ""
        results = found.results or {}
        failed, asked = results.get("errored_count", "some"), results.get("requested_count", "its")
        return found.status, f"SendGrid's job ended as {found.status}: {failed} of {asked} contacts failed"

    def _deleted(self, writes: Sequence[Write], told: str, *, waits: bool) -> list[Receipt] | None:
        there = self._lookup.by_id([str(write.id) for write in writes], prove=False)
        if there and waits:
            return None
        return [
            _receipt(write, "refused", message=told) if write.id in there else _receipt(write, "done")
            for write in writes
        ]

    def _upserted(self, writes: Sequence[Write], failure: str, *, waits: bool) -> list[Receipt] | None:
        by_id = self._lookup.by_id([write.id for write in writes if write.id])
        by_email = self._lookup.by_email(
            [str(write.values["email"]) for write in writes if "email" in write.values]
        )
        receipts: list[Receipt] = []
        for write in writes:
            old = by_id.get(str(write.id))
            moves = old is None or _moves(write, old)
            contact = by_email.get(str(write.values.get("email", "")).lower()) if moves else old
            if old is None and write.op == "update" and "email" not in write.values:
                receipts.append(_receipt(write, "missing"))
                continue
            shown = contact is not None and shows(contact, write.values)
            if not shown and waits:
                return None
            if contact is None:
                receipts.append(_receipt(write, "refused" if failure else "unknown", message=failure))
            elif not shown and failure:
                receipts.append(_receipt(write, "refused", message=failure))
            elif moves and old:
                if not self._dropped(old.key):
                    return None
                receipts.append(_receipt(write, "unknown"))
            else:
                receipts.append(_receipt(write, "done", contact))
        with self._lock:
            for write in writes:
                self._dropping.pop(str(write.id), None)
        return receipts

    def _dropped(self, id: str) -> bool:
        """Asks for the deletion of an old contact that is still there; True when that was to no avail."""
        with self._lock:
            before = self._dropping.get(id, _Dropping(0, 0))
            if before.tries and self._now() - before.last < LAG * SECOND:
                return False
            if before.tries == TRIES:
                return True
            self._dropping[id] = _Dropping(before.tries + 1, self._now())
        self._drop([id])
        return False


def _body(
    sending: _Sending,
    write: Write,
    values: Mapping[str, Any],
    held: Contact | None,
    names: Mapping[str, Definition],
) -> dict[str, Any]:
    try:
        return body(values, held, names)
    except errors.Refused as why:
        sending.refuse(write, why.message)
        return {}


def _moves(write: Write, held: Contact) -> bool:
    """Whether the write asks for another address than the contact has."""
    address = write.values.get("email")
    return address is not None and str(address).lower() != (held.email or "").lower()


def _receipt(
    write: Write,
    status: Literal["done", "pending", "exists", "missing", "refused", "unknown"],
    contact: Contact | None = None,
    *,
    job: str | None = None,
    message: str = "",
) -> Receipt:
    id = contact.key if contact else write.id
    shown = item(contact) if contact else None
    return Receipt(key=write.key, status=status, id=id, item=shown, job=job, message=message)
