"""What passes between a simulator and its callers: requests, answers, faults, the log; and how a path finds a handler.

Values only; nothing here has state or does I/O.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import parse_qs, parse_qsl, unquote

import msgspec

from syncbroker.decoding import decode

T = TypeVar("T")

Json = dict[str, Any]
"""A decoded JSON object."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """`path` is as sent (still percent-encoded, no query). Header names are lower-case; `query` has the last value
    per name, `query_all` all of them."""

    method: str
    path: str
    query: Mapping[str, str]
    query_all: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The decoded body; ValueError when it is no JSON."""
        try:
            return decode(self.body)
        except msgspec.DecodeError as error:
            raise ValueError(f"the request body is not JSON: {error}") from error

    def form(self) -> dict[str, list[str]]:
        """The body as `application/x-www-form-urlencoded`, all values per name in the order sent."""
        return parse_qs(self.body.decode("utf-8", "replace"), keep_blank_values=True)


def request(
    method: str, target: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Request:
    """A `Request` from a request line's target (`/v3/contacts?limit=2`) and headers in any case."""
    path, _, query = target.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    every: dict[str, list[str]] = {}
    for name, value in pairs:
        every.setdefault(name, []).append(value)
    lower = {name.lower(): value for name, value in (headers or {}).items()}
    return Request(method=method, path=path, query=dict(pairs), query_all=every, headers=lower, body=body)


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as bytes; header names as they go out."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """`text` wins over `json`; neither gives an empty body. A content type in `headers` wins over the usual one."""

    status: int = 200
    json: Any = None
    headers: Mapping[str, str] = {}
    text: str | None = None

    def encode(self) -> Wire:
        """The answer as bytes, with the content type of what it carries."""
        headers = dict(self.headers)
        body = b""
        if self.text is not None:
            body, usual = self.text.encode(), "text/plain; charset=utf-8"
        elif self.json is not None:
            body, usual = msgspec.json.encode(self.json), "application/json;charset=utf-8"
        else:
            usual = ""
        if usual and "content-type" not in {name.lower() for name in headers}:
            headers["Content-Type"] = usual
        return Wire(status=self.status, headers=headers, body=body)


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One request of the vendor's API. `n` counts from 1; `at` is the simulator's clock, µs; `count`: how many records
    the request carries. `status` is what the vendor decided even when the answer was lost, 0 when the request was
    never handled; `fault` names the kind of fault that was played on it."""

    n: int
    at: int
    method: str
    path: str
    operation: str
    write: bool
    count: int
    status: int
    fault: str = ""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to deliver webhook number `n`. `status` 0: no answer. `attempt` counts from 1."""

    n: int
    at: int
    method: str
    path: str
    attempt: int
    status: int


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """A change by a person at the vendor, to be made by an `edit_before` fault."""

    object: str
    id: str
    changes: dict[str, Any]
    actor: str = "person"


FaultKind = Literal[
    "status",
    "drop_answer",
    "drop_request",
    "delay",
    "edit_before",
    "hang_after",
    "drop",
    "duplicate",
]


class Fault(msgspec.Struct, kw_only=True):
    """Something that goes wrong, once or several times. One request meets at most one fault: the first that matches.

    `operation`: a name or pattern (`*`, `contacts.*`); the name "webhook" is meant for deliveries and matched by no
    pattern. `write`: only writes (True), only reads (False). The first `skip` matches pass; then it is played `times`
    times (0: until cleared).

    status: answer `status`, `headers`, `json` or `text`, nothing is handled; drop_request: close the connection,
    nothing is handled; drop_answer: handle, then close; delay: wait `seconds`, then handle; edit_before: make `edit`,
    then handle, with nothing in between; hang_after: handle, then hold the answer for `seconds`.
    For "webhook": drop (never delivered), duplicate (delivered twice), delay (`seconds` later, others overtake it).
    """

    kind: FaultKind
    operation: str = "*"
    write: bool | None = None
    times: int = 1
    skip: int = 0
    seconds: float = 1.0
    status: int = 500
    headers: dict[str, str] = {}
    json: Any = None
    text: str | None = None
    edit: Edit | None = None

    def matches(self, operation: str, write: bool) -> bool:
        if "webhook" in (operation, self.operation):
            return operation == self.operation
        return fnmatchcase(operation, self.operation) and self.write in (None, write)


class Router(Generic[T]):
    """Finds what belongs to a method and a path. Routes are tried in the order given; the first that fits wins.

    A pattern such as `/3.0/lists/{list}/members/{hash}` matches whole segments; `{id}.json` matches part of one.
    """

    def __init__(self, routes: Iterable[tuple[str, str, T]]) -> None:
        self._routes = [(method, _pattern(path), target) for method, path, target in routes]

    def match(self, method: str, path: str) -> tuple[T, dict[str, str]] | None:
        """The target and the decoded named parts of the path, or None."""
        for known, pattern, target in self._routes:
            found = pattern.fullmatch(path) if known == method else None
            if found:
                return target, {name: unquote(part) for name, part in found.groupdict().items()}
        return None

    def methods(self, path: str) -> list[str]:
        """The methods that this path knows, for a 405; empty for a 404."""
        return sorted({method for method, pattern, _ in self._routes if pattern.fullmatch(path)})


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)
    literal, names = map(re.escape, parts[::2]), parts[1::2]
    named = (f"(?P<{name}>[^/]+?)" for name in names)
    return re.compile("".join(piece for pair in zip(literal, [*named, ""], strict=True) for piece in pair))


def bearer(request: Request) -> str:
    """The token of `Authorization: Bearer ...`, or "" when there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def basic(request: Request) -> tuple[str, str] | None:
    """User and password of `Authorization: Basic ...`, or None when there are none to read."""
    scheme, _, coded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(coded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if colon else None
