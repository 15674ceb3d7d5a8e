"""Writes in batches of at most 100, and what became of each of them.

Every input carries its key as `objectWriteTraceId`, so that one bad record is an error of a 207 instead of the refusal
of its whole batch (developers.hubspot.com/docs/api-reference/error-handling documents this for create, others saw it
for upsert; for update it is unverified). Where HubSpot refuses a batch all the same, nothing of it was written and each
write is tried alone.

The answer to an update holds what was sent and little more (recorded in github.com/amp-labs/connectors,
providers/hubspot/test/batch), so an item of a receipt is incomplete.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from connectors.hubspot.api import COMPANY, OBJECTS, PRIMARY, Api, Batch, Failure, Record, item
from connectors.hubspot.associations import Associations
from syncbroker.core.types import Item, Receipt, Write
from syncbroker.errors import FixSetup, Missing, Reject, Retry

TRANSIENT = {"RATE_LIMITS", "INTERNAL_ERROR"}

Call = Callable[[str, Sequence[Write]], list[Receipt]]


class Writer:
    """`stamp`: the property that the broker's id is left in, "" for none. `lookup(object, values)`: the id of the
    record that a create met, "" when it cannot be told."""

    def __init__(
        self,
        api: Api,
        associations: Associations,
        *,
        stamp: str,
        lookup: Callable[[str, Mapping[str, Any]], str],
    ) -> None:
        self._api = api
        self._associations = associations
        self._stamp = stamp
        self._lookup = lookup

    def write(self, object: str, writes: Sequence[Write]) -> list[Receipt]:
        """One call for the properties; for updates that name `company_id` one more to set and two to clear it."""
        if not writes:
            return []
        match writes[0].op:
            case "create":
                return self._isolated(object, self._create, writes)
            case "delete":
                return self._isolated(object, self._archive, writes)
            case "update":
                return self._update_all(object, writes)

    def _isolated(
        self, object: str, call: Call, writes: Sequence[Write], *, begun: bool = False
    ) -> list[Receipt]:
        """The receipts of one call, or of one call per write when all of them were refused at once.

        `begun`: something was written before, so an error no longer means that nothing was: it becomes receipts.
        """
        try:
            return call(object, writes)
        except Reject as error:
            if len(writes) == 1:
                return [self._rejected(object, writes[0], error)]
        except (Retry, FixSetup) as error:
            if not begun:
                raise
            return [
                Receipt(key=write.key, status="unknown", id=write.id, message=error.message)
                for write in writes
            ]
        receipts: list[Receipt] = []
        for n, write in enumerate(writes):
            receipts += self._isolated(object, call, [write], begun=begun or n > 0)
            if receipts[-1].status == "unknown":  # HubSpot does not answer any more: leave the rest
                rest = writes[n + 1 :]
                return receipts + [Receipt(key=each.key, status="unknown", id=each.id) for each in rest]
        return receipts

    def _rejected(self, object: str, write: Write, error: Reject) -> Receipt:
        """A refusal of a whole call that carried one write."""
        if write.op == "create" and error.code == "CONFLICT":
            return self._existing(object, write, Failure(category=error.code, message=error.message))
        status: Literal["missing", "refused"] = "refused"
        if write.op != "create" and isinstance(error, Missing):
            status = "missing"
        return Receipt(key=write.key, status=status, id=write.id, message=error.message)

    # ---- create ----

    def _create(self, object: str, writes: Sequence[Write]) -> list[Receipt]:
        inputs = [self._new(object, write) for write in writes]
        answer = self._api.call("POST", f"{OBJECTS}/{object}/batch/create", Batch, json={"inputs": inputs})
        failures = _by_trace(answer.errors)
        records = self._matched(answer.results, [write for write in writes if write.key not in failures])
        receipts = []
        for write in writes:
            if write.key in records:
                receipts.append(_done(write, records[write.key]))
            elif write.key not in failures:
                receipts.append(
                    Receipt(key=write.key, status="unknown", message="the answer does not name it")
                )
            elif failures[write.key].category == "CONFLICT":
                receipts.append(self._existing(object, write, failures[write.key]))
            else:
                receipts.append(_failed(write, failures[write.key]))
        return receipts

    def _new(self, object: str, write: Write) -> dict[str, Any]:
        properties = {name: value for name, value in _properties(object, write).items() if value}
        if write.stamp_id and self._stamp:
            properties[self._stamp] = write.stamp_id
        given: dict[str, Any] = {"properties": properties, "objectWriteTraceId": write.key}
        if object == "contacts" and (company := write.values.get(COMPANY)):
            types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": PRIMARY}]
            given["associations"] = [{"to": {"id": text(company)}, "types": types}]
        return given

    def _matched(self, records: Sequence[Record], writes: Sequence[Write]) -> dict[str, Record]:
        """Write key -> its new record: by trace id, else by the broker's id, else because only one is left."""
        traced = {record.object_write_trace_id: record for record in records}
        stamped = {record.properties.get(self._stamp): record for record in records if self._stamp}
        found = {}
        for write in writes:
            record = traced.get(write.key) or (stamped.get(write.stamp_id) if write.stamp_id else None)
            if record:
                found[write.key] = record
        known = {record.id for record in found.values()}
        left = [record for record in records if record.id not in known]
        open_ = [write for write in writes if write.key not in found]
        if len(left) == len(open_) == 1:
            found[open_[0].key] = left[0]
        return found

    def _existing(self, object: str, write: Write, failure: Failure) -> Receipt:
        """The record that the create met; HubSpot names it in the context, in the text, or not at all."""
        named = failure.named("existingId") or re.findall(r"Existing ID: (\d+)", failure.message)
        try:
            id = named[0] if named else self._lookup(object, write.values)
        except (Retry, FixSetup) as error:
            return Receipt(key=write.key, status="unknown", message=error.message)
        if not id:
            return _failed(write, failure)
        return Receipt(key=write.key, status="exists", id=id, message=failure.reason())

    # ---- update ----

    def _update_all(self, object: str, writes: Sequence[Write]) -> list[Receipt]:
        receipts = {each.key: each for each in self._isolated(object, self._update, writes)}
        linked = [
            write
            for write in writes
            if object == "contacts" and COMPANY in write.values and receipts[write.key].status == "done"
        ]
        for some, call in (
            ([write for write in linked if write.values[COMPANY]], self._set_companies),
            ([write for write in linked if not write.values[COMPANY]], self._clear_companies),
        ):
            for receipt in self._isolated(object, call, some, begun=True) if some else []:
                receipts[receipt.key] = _joined(receipts[receipt.key], receipt)
        return list(receipts.values())

    def _update(self, object: str, writes: Sequence[Write]) -> list[Receipt]:
        """Without properties it writes nothing (seen in github.com/HubSpot/hubspot-api-php/issues/104), but it shows
        whether the record is there, and its time: a contact of which only the company changes goes this way too."""
        inputs = [
            {
                "id": write.id,
                "properties": _properties(object, write),
                "objectWriteTraceId": write.key,
            }
            for write in writes
        ]
        answer = self._api.call("POST", f"{OBJECTS}/{object}/batch/update", Batch, json={"inputs": inputs})
        records = {record.id: record for record in answer.results}
        failures = _by_trace(answer.errors)
        gone = {
            id for each in answer.errors if each.category == "OBJECT_NOT_FOUND" for id in each.named("ids")
        }
        receipts = []
        for write in writes:
            if write.id in records:
                receipts.append(_done(write, records[write.id]))
            elif write.id in gone:
                receipts.append(Receipt(key=write.key, status="missing", id=write.id))
            elif write.key in failures:
                receipts.append(_failed(write, failures[write.key]))
            else:
                receipts.append(
                    Receipt(
                        key=write.key, status="unknown", id=write.id, message="the answer does not name it"
                    )
                )
        return receipts

    def _set_companies(self, object: str, writes: Sequence[Write]) -> list[Receipt]:
        refused = self._associations.set({str(write.id): text(write.values[COMPANY]) for write in writes})
        return [
            Receipt(
                key=write.key, status="refused", id=write.id, message=f"{COMPANY}: {refused[str(write.id)]}"
            )
            if write.id in refused
            else _linked(write, text(write.values[COMPANY]))
            for write in writes
        ]

    def _clear_companies(self, object: str, writes: Sequence[Write]) -> list[Receipt]:
        self._associations.clear([str(write.id) for write in writes])
        return [_linked(write, None) for write in writes]

    # ---- delete ----

    def _archive(self, object: str, writes: Sequence[Write]) -> list[Receipt]:
        """Into the recycle bin; 204 whether or not the records were there (unverified)."""
        inputs = [{"id": write.id} for write in writes]
        self._api.call("POST", f"{OBJECTS}/{object}/batch/archive", Any, json={"inputs": inputs})
        return [
            Receipt(
                key=write.key,
                status="done",
                id=write.id,
                item=Item(id=str(write.id), fields={}, deleted=True, complete=False),
            )
            for write in writes
        ]


def text(value: Any) -> str:
    """A property's value as HubSpot takes it: always text; "" clears; several values of a choice joined by ";"."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return ";".join(map(text, value))
        case _:
            return str(value)


def _properties(object: str, write: Write) -> dict[str, str]:
    linked = COMPANY if object == "contacts" else ""
    return {name: text(value) for name, value in write.values.items() if name != linked}


def _done(write: Write, record: Record) -> Receipt:
    """The item shows what the answer shows, and as empty what was cleared and is not shown."""
    cleared = {name: None for name, value in write.values.items() if value is None and name != COMPANY}
    shown = item(record)
    linked = (
        {COMPANY: text(write.values[COMPANY])} if write.op == "create" and write.values.get(COMPANY) else {}
    )
    fields = {**cleared, **record.properties, **linked}
    return Receipt(
        key=write.key,
        status="done",
        id=record.id,
        item=msgspec.structs.replace(shown, fields=fields, complete=False),
    )


def _linked(write: Write, company: str | None) -> Receipt:
    shown = Item(id=str(write.id), fields={COMPANY: company}, complete=False)
    return Receipt(key=write.key, status="done", id=write.id, item=shown)


def _joined(first: Receipt, second: Receipt) -> Receipt:
    """The second step decides the status; the item shows what both steps did. The record was there in the first step,
    so what the second one misses is the company."""
    shown = first.item and msgspec.structs.replace(first.item, fields=_shown(first) | _shown(second))
    status = "refused" if second.status == "missing" else second.status
    return msgspec.structs.replace(second, status=status, item=shown)


def _shown(receipt: Receipt) -> dict[str, Any]:
    fields = receipt.item.fields if receipt.item else {}
    return fields if isinstance(fields, dict) else {}


def _failed(write: Write, failure: Failure) -> Receipt:
    status: Literal["missing", "unknown", "refused"] = "refused"
    if failure.category in TRANSIENT:
        status = "unknown"
    elif failure.category == "OBJECT_NOT_FOUND" and write.op == "update":
        status = "missing"
    return Receipt(key=write.key, status=status, id=write.id, message=failure.reason())


def _by_trace(failures: Sequence[Failure]) -> dict[str, Failure]:
    return {trace: each for each in failures for trace in each.named("objectWriteTraceId")}
