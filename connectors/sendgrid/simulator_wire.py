"""How the simulated SendGrid reads requests and writes answers: errors, files, times.

Errors are `{"errors": [{"field", "message"}]}`; the texts about custom fields as users report them
(sendgrid/sendgrid-nodejs#953, sendgrid/docs#6323), the others are unverified.
"""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from typing import Any

from syncbroker.sdk.simulator import Request, Response, Wire

Payload = dict[str, Any]


class RefusalError(Exception):
    """An answer that says why not. `field` names the part of the request that is meant, None for none."""

    def __init__(self, status: int, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field

    def response(self) -> Response:
        told = {"message": self.message}
        # one part of the specification allows null here, another does not
        if self.field is not None or self.status in (401, 403, 429):
            told |= {"field": self.field}  # type: ignore[dict-item]
        return Response(status=self.status, json={"errors": [told]})


class File(Response, frozen=True, kw_only=True):
    """A compressed download."""

    content: bytes = b""

    def encode(self) -> Wire:
        # the same bytes for the same content: no time of packing inside
        packed = gzip.compress(self.content, mtime=0)
        return Wire(status=self.status, headers={"Content-Type": "application/gzip"}, body=packed)


def body(request: Request) -> Payload:
    try:
        given = request.json()
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise RefusalError(400, "invalid input", "")
    return given


def strings(given: Payload, name: str, most: int) -> list[str]:
    found = given.get(name)
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise RefusalError(400, f"{name} must be a list of strings", name)
    if len(found) > most:
        raise RefusalError(400, f"{name} must have at most {most} entries", name)
    return found


def stamp(micros: int) -> str:
    return datetime.fromtimestamp(micros // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
