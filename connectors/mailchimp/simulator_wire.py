"""How the simulated Mailchimp reads requests and writes answers: problems, field selection, times, forms.

Error bodies are RFC 7807, with titles and texts as public reports of real ones show them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from syncbroker.sdk.paths import get_path, set_path
from syncbroker.sdk.simulator import Request, Response

Payload = dict[str, Any]


class Problem(Exception):
    """An answer of RFC 7807. `errors`: field -> message."""

    def __init__(self, status: int, title: str, detail: str, errors: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = dict(errors or {})

    def response(self, number: int) -> Response:
        """`number` makes the `instance`, which is different in every answer."""
        body: Payload = {
            "type": "https://mailchimp.com/developer/marketing/docs/errors/",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": f"{number:08x}-0000-4000-8000-000000000000",
        }
        if self.errors:
            body["errors"] = [{"field": field, "message": text} for field, text in self.errors.items()]
        headers = {"Content-Type": "application/problem+json; charset=utf-8"}
        return Response(status=self.status, json=body, headers=headers)


def invalid(detail: str = "", errors: Mapping[str, str] | None = None) -> Problem:
    return Problem(
        400, "Invalid Resource", detail or "The resource submitted could not be validated.", errors
    )


def not_found() -> Problem:
    return Problem(404, "Resource Not Found", "The requested resource could not be found.")


def not_allowed(detail: str) -> Problem:
    return Problem(405, "Method Not Allowed", detail)


def body(request: Request) -> Payload:
    try:
        given = request.json()
    except ValueError:
        detail = "We encountered an unspecified JSON parsing error."
        raise Problem(400, "JSON Parse Error", detail) from None
    if not isinstance(given, dict):
        raise invalid("Schema describes object, other type found instead.")
    return given


def number(request: Request, name: str, usual: int, most: int) -> int:
    text = request.query.get(name, str(usual))
    if not text.isdecimal() or int(text) > most:
        raise invalid(errors={name: f"At most {most}"})
    return int(text)


def selected(payload: Payload, request: Request) -> Payload:
    """What `fields` names, dotted into objects and into the members of a list; without it everything."""
    fields = [name for name in request.query.get("fields", "").split(",") if name]
    return _only(payload, fields) if fields else payload


def _only(payload: Payload, fields: list[str]) -> Payload:
    shown: Payload = {}
    for name in fields:
        head, dot, _ = name.partition(".")
        held = payload.get(head)
        if dot and isinstance(held, list):
            inner = [each.partition(".")[2] for each in fields if each.startswith(f"{head}.")]
            shown[head] = [_only(one, inner) for one in held]
        elif (value := get_path(payload, name, ...)) is not ...:
            set_path(shown, name, value)
    return shown


def form(name: str, value: Any) -> list[tuple[str, str]]:
    """`{"merges": {"FNAME": "A"}}` under "data" -> `data[merges][FNAME]=A`."""
    if isinstance(value, Mapping):
        return [pair for key, inner in value.items() for pair in form(f"{name}[{key}]", inner)]
    return [(name, "" if value is None else str(value))]


def stamp(micros: int) -> str:
    return datetime.fromtimestamp(micros // 1_000_000, UTC).isoformat()


def moment(text: str) -> float:
    """Unix seconds of an ISO 8601 time; without a zone it counts as UTC (unverified)."""
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise invalid() from None
    return given.replace(tzinfo=given.tzinfo or UTC).timestamp()
