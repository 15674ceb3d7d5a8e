"""SendGrid Marketing Campaigns: contacts are read and written.

How SendGrid is spoken to, and where that is known from (the vendor's OpenAPI document of 2026-01 unless named):

- `Authorization: Bearer <key>`; 429 with `X-RateLimit-Reset` (Unix seconds) and no Retry-After
  (twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/rate-limits).
- All contacts can be read through an export only, see `exports`. There is no list of what changed: the search endpoint
  filters by `updated_at` but shows no more than 50 contacts, so `poll` is refused and the broker scans.
- Contacts are read by 100 ids or 100 addresses a call. `updated_at` is to the second.
- Writes are asynchronous, see `writing`. They have no condition and no version: the last one wins.
- There are no webhooks about contacts. The (signed) event webhook tells of e-mails, so every delivery is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from connectors.sendgrid.contacts import CONTACTS, item
from connectors.sendgrid.exports import Exports
from connectors.sendgrid.lookup import Lookup
from connectors.sendgrid.writing import Writer
from syncbroker import errors
from syncbroker.core.types import Event, Item, Micros, Receipt, Write
from syncbroker.sdk.connector import Account, Change, Delivery, ObjectSpec, Page
from syncbroker.sdk.http import usual_message


class SendGrid:
    """One account. Options: `export_hosts`, hosts besides SendGrid's and Amazon's that export files may come from."""

    kind: ClassVar[str] = "sendgrid"
    credentials_schema: ClassVar[Mapping[str, Any]] = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "required": ["api_key"],
        "additionalProperties": False,
        "properties": {
            "api_key": {"type": "string", "minLength": 1, "description": "with full access to Marketing"},
        },
    }
    options_schema: ClassVar[Mapping[str, Any]] = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "export_hosts": {
                "type": "array",
                "items": {"type": "string", "pattern": r"^[A-Za-z0-9.-]+\.[A-Za-z]+$"},
                "description": "host names, without scheme and port",
            },
        },
    }
    objects: ClassVar[Mapping[str, ObjectSpec]] = {"contacts": CONTACTS}

    def __init__(self, account: Account) -> None:
        self._system = account.system
        base_url = account.url or "https://api.sendgrid.com"
        http = account.http(
            base_url,
            headers={"Authorization": f"Bearer {account.credentials['api_key']}"},
            message=_message,
        )
        self._exports = Exports(account, http, base_url)
        self._lookup = Lookup(http)
        self._writer = Writer(http, self._lookup, account.now)

    def scan(self, object: str, paths: Sequence[str], *, resume: str | None = None) -> Iterator[Page]:
        """Through an export job; contacts as they were some seconds before it."""
        return self._exports.pages(resume)

    def poll(
        self, object: str, paths: Sequence[str], *, cursor: str, resume: str | None = None
    ) -> Iterator[Page]:
        """Always Refused."""
        raise errors.Refused(
            "SendGrid has no list of changed contacts", hint="sweep instead", system=self._system
        )

    def start_cursor(self, object: str, began: Micros) -> str | None:
        """There is nothing to poll."""
        return None

    def read(self, object: str, ids: Sequence[str], paths: Sequence[str]) -> list[Item]:
        found = self._lookup.by_id(ids)
        return [item(found[id]) if id in found else Item(id=id, fields={}, deleted=True) for id in ids]

    def find(self, object: str, keys: Mapping[str, Any], paths: Sequence[str]) -> list[Item]:
        """By address only."""
        address = keys.get("email")
        return [item(one) for one in self._lookup.by_email([str(address)]).values()] if address else []

    def write(self, object: str, writes: Sequence[Write], paths: Sequence[str]) -> list[Receipt]:
        """One call, and one more for each changed address; `job` tells what became of it."""
        by_op: Mapping[str, Callable[[Sequence[Write]], list[Receipt]]] = {
            "create": self._writer.create,
            "update": self._writer.update,
            "delete": self._writer.delete,
        }
        return by_op[writes[0].op](writes) if writes else []

    def job(
        self, object: str, job: str, writes: Sequence[Write], paths: Sequence[str]
    ) -> list[Receipt] | None:
        return self._writer.job(job, writes) if writes else []

    def history(self, object: str, id: str, path: str) -> list[Change]:
        """SendGrid keeps no history of fields."""
        return []

    def answer_check(self, delivery: Delivery) -> str | None:
        """SendGrid checks no URL."""
        return None

    def authenticate(self, delivery: Delivery) -> None:
        """Always BadDelivery: SendGrid tells of e-mails, never of contacts."""
        raise errors.BadDelivery("SendGrid has no webhooks about contacts", status=401)

    def events(self, delivery: Delivery) -> list[Event]:
        """Always BadDelivery, see `authenticate`."""
        raise errors.BadDelivery("SendGrid has no webhooks about contacts", status=400)


def _message(status: int, json: Any) -> tuple[str, str]:
    """`errors`: one or more of field (may be null) and message."""
    told = json.get("errors")
    if not told:
        return usual_message(status, json)
    texts = [f"{one['field']}: {one['message']}" if one.get("field") else one["message"] for one in told]
    return "; ".join(texts), told[0].get("error_id", "")
