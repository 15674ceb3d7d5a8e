"""Writes to an audience: as many as possible in one call, the rest one by one.

The batch endpoint takes neither a new address nor tags. An update of those is its own call, after the batch: a failure
there is a matter of that one write. Once anything was written in a call of `Writer`, errors no longer leave it; a write
whose outcome they hide has the receipt "unknown".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from connectors.mailchimp.audience import Audience
from connectors.mailchimp.members import Member, item, payload, subscriber_hash, tag_changes
from syncbroker import errors
from syncbroker.core.types import Receipt, Write
from syncbroker.sdk.redact import Redactor

_clean = Redactor([])


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why one member of a batch was not written; names as in the answer of POST /lists/{list_id}."""

    email_address: str = ""
    error: str = ""
    error_code: str = ""
    field: str = ""
    field_message: str = ""

    def __str__(self) -> str:
        detail = f" ({self.field}: {self.field_message})" if self.field else ""
        return _clean(self.error + detail)


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of POST /lists/{list_id}."""

    new_members: list[Member] = []
    updated_members: list[Member] = []
    errors: list[Failure] = []


class Writer:
    """`new_status` is the status of a created member where the mapping gives none."""

    def __init__(self, audience: Audience, new_status: str) -> None:
        self._audience = audience
        self._new_status = new_status

    def create(self, writes: Sequence[Write]) -> list[Receipt]:
        """One call, with the tags. An archived member of that address comes back to life; any other "exists"."""
        receipts: list[Receipt] = []
        bodies: list[dict[str, Any]] = []
        by_id: dict[str, Write] = {}
        for write in writes:
            address = write.values.get("email_address")
            if not address:
                receipts.append(_refused(write, "a member needs an e-mail address"))
                continue
            id = subscriber_hash(str(address))
            if id in by_id:
                receipts.append(Receipt(key=write.key, status="exists", id=id))
                continue
            by_id[id] = write
            tags = {"tags": write.values["tags"] or []} if "tags" in write.values else {}
            bodies.append({"status": self._new_status, **payload(write.values), **tags})
        outcomes = self._batch(bodies, update=False)
        return receipts + [self._created(write, id, outcomes.get(id)) for id, write in by_id.items()]

    def _created(self, write: Write, id: str, outcome: Member | Failure | None) -> Receipt:
        if isinstance(outcome, Member):
            return self._done(write, outcome)
        if outcome is None:
            return Receipt(key=write.key, status="unknown", id=id)
        if outcome.error_code == "ERROR_CONTACT_EXISTS":
            return Receipt(key=write.key, status="exists", id=id)
        return _refused(write, str(outcome))

    def update(self, writes: Sequence[Write]) -> list[Receipt]:
        """One call for all that stay where they are; one more per changed address, two per changed set of tags."""
        receipts: list[Receipt] = []
        known: list[tuple[Write, Member]] = []
        for write in writes:
            before = self._audience.before(str(write.id)) or self._moved(write)
            if before is None:
                receipts.append(Receipt(key=write.key, status="missing", id=write.id))
            else:
                known.append((write, before))
        together = [pair for pair in known if not _moves(*pair) and set(pair[0].values) - {"tags"}]
        outcomes = self._batch(
            [
                {"email_address": held.email_address, **payload(write.values, held)}
                for write, held in together
            ],
            update=True,
        )
        written = bool(together)
        for write, before in known:
            outcome = outcomes.get(before.id) if (write, before) in together else before
            if isinstance(outcome, Member):
                receipts.append(self._rest(write, before, outcome, written=written))
                written = True
            else:
                receipts.append(self._not_updated(write, before.id, outcome))
        return receipts

    def _moved(self, write: Write) -> Member | None:
        """The member at the address to be written, when the one that had the old address is gone: an earlier try of
        the same write did it, and its answer was lost, or the contact did the same."""
        address = write.values.get("email_address")
        return self._audience.before(subscriber_hash(str(address))) if address else None

    def _rest(self, write: Write, before: Member, member: Member, *, written: bool) -> Receipt:
        """What the batch cannot do: a new address, then the tags, then a look at both."""
        try:
            if _moves(write, before):
                body = payload(write.values, before)
                member = self._audience.on_member("PATCH", before.id, json=body, shape=Member).json
                self._audience.forget(before.id)
                written = True
            if "tags" in write.values:
                changes = tag_changes(write.values["tags"], before)
                if changes:
                    self._audience.on_member("POST", member.id, "/tags", json={"tags": changes})
                    written = True
                shown = self._audience.member(member.id)
                if shown is None:
                    return Receipt(key=write.key, status="missing", id=member.id)
                member = shown
        except errors.Missing:
            return Receipt(key=write.key, status="missing", id=write.id)
        except errors.Reject as refused:
            return _refused(write, refused.message)
        except (errors.Retry, errors.FixSetup):
            if not written:
                raise
            return Receipt(key=write.key, status="unknown", id=member.id)
        return self._done(write, member)

    def _not_updated(self, write: Write, id: str, failure: Failure | None) -> Receipt:
        """The batch words a member that is not there like any other failure, so it is looked for."""
        unknown = Receipt(key=write.key, status="unknown", id=id)
        if failure is None:
            return unknown
        try:
            member = self._audience.member(id)
        except (errors.Retry, errors.FixSetup):
            return unknown
        if member is None or member.status == "archived":
            return Receipt(key=write.key, status="missing", id=id)
        return _refused(write, str(failure))

    def delete(self, writes: Sequence[Write]) -> list[Receipt]:
        """Archives one member. One that cannot be archived because it is archived already is done."""
        (write,) = writes
        id = str(write.id)
        try:
            self._audience.on_member("DELETE", id)
        except errors.Missing:
            return [Receipt(key=write.key, status="missing", id=id)]
        except errors.Reject as refused:
            member = self._audience.member(id)
            if member is None or member.status != "archived":
                return [_refused(write, refused.message)]
        self._audience.forget(id)
        return [Receipt(key=write.key, status="done", id=id)]

    def _batch(self, bodies: list[dict[str, Any]], *, update: bool) -> dict[str, Member | Failure]:
        """What became of each member, by id; one that is left out is unknown.

        A single member of an impossible form makes Mailchimp refuse the whole call, so a refused one is halved until
        the culprit stands alone.
        """
        outcomes: dict[str, Member | Failure] = {}
        groups = [bodies] if bodies else []
        written = False
        while groups:
            group = groups.pop()
            body = {"members": group, "update_existing": update}
            try:
                batch: Batch = self._audience.call("POST", "", json=body, shape=Batch).json
            except errors.Reject as refused:
                if len(group) > 1:
                    half = len(group) // 2
                    groups += [group[half:], group[:half]]
                else:
                    id = subscriber_hash(str(group[0]["email_address"]))
                    outcomes[id] = Failure(error=refused.message, error_code=refused.code)
                continue
            except (errors.Retry, errors.FixSetup):
                if not written:
                    raise
                continue
            written = True
            outcomes |= {one.id: one for one in batch.new_members + batch.updated_members}
            outcomes |= {subscriber_hash(one.email_address): one for one in batch.errors}
        return outcomes

    def _done(self, write: Write, member: Member) -> Receipt:
        self._audience.remember(member)
        return Receipt(key=write.key, status="done", id=member.id, item=item(member))


def _moves(write: Write, before: Member) -> bool:
    """Whether the write gives the member another id."""
    address = write.values.get("email_address")
    return address is not None and subscriber_hash(str(address)) != before.id


def _refused(write: Write, message: str) -> Receipt:
    return Receipt(key=write.key, status="refused", id=write.id, message=message)
