"""What a request to the simulated Zendesk asks for, how it is refused, and the two kinds of pages it may be given."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.zendesk.simulator_records import Json, MissingError
from syncbroker.sdk.simulator import Request, Response

MANY = 100
"""The most records that a page or a call takes."""


class RefusedError(Exception):
    """Any other answer than 2xx."""

    def __init__(
        self, status: int, error: str, description: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(description)
        self.answer = Response(
            status=status, json={"error": error, "description": description}, headers=headers or {}
        )


# ---- reading a request ----


def object_in(request: Request, name: str) -> Json:
    """The object under `name` in the body."""
    given = body_of(request).get(name)
    if not isinstance(given, dict):
        raise RefusedError(400, "BadRequest", f"the body has no object {name}")
    return given


def objects_in(request: Request, name: str) -> list[Json]:
    given = body_of(request).get(name)
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise RefusedError(400, "BadRequest", f"the body has no array {name} of objects")
    return given


def body_of(request: Request) -> Json:
    try:
        body = request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RefusedError(400, "BadRequest", "the body is no JSON object")
    return body


def carried(request: Request) -> int:
    """How many records a write carries, for the log."""
    if "ids" in request.query:
        return len(split_ids(request.query["ids"]))
    try:
        lists = [value for value in body_of(request).values() if isinstance(value, list)]
    except RefusedError:
        return 1
    return len(lists[0]) if lists else 1


def id_in(names: Mapping[str, str], name: str = "id") -> int:
    if not names[name].isdecimal():
        raise MissingError
    return int(names[name])


def split_ids(text: str) -> list[str]:
    return [id.strip() for id in text.split(",") if id.strip()]


def same(one: Any, other: str) -> bool:
    return str(one or "").casefold() == other.casefold()


# ---- pages ----


def cursor_page(object: str, found: Sequence[Json], request: Request) -> Json:
    size = min(int(request.query.get("page[size]", str(MANY))), MANY)
    after = place_of(request.query["page[after]"])[0] if "page[after]" in request.query else 0
    rest = [one for one in found if one["id"] > after]
    page = rest[:size]
    end = cursor_of(page[-1]["id"], 0) if page else None
    more = len(rest) > size
    following = (
        f"https://example.zendesk.com{request.path}?page[after]={end}&page[size]={size}" if more else None
    )
    meta = {"has_more": more, "after_cursor": end, "before_cursor": None}
    return {object: page, "meta": meta, "links": {"next": following, "prev": None}}


def offset_page(object: str, found: Sequence[Json], request: Request) -> Json:
    size = min(int(request.query.get("per_page", str(MANY))), MANY)
    page = int(request.query.get("page", "1"))
    end = page * size
    host = request.headers.get("host", "example.zendesk.com")
    more = end < len(found)
    following = f"http://{host}{request.path}?page={page + 1}&per_page={size}" if more else None
    told = {"next_page": following, "previous_page": None, "count": len(found)}
    return {object: found[end - size : end], **told}


def cursor_of(at: int, order: int) -> str:
    return base64.urlsafe_b64encode(f"{at}|{order}".encode()).decode()


def place_of(cursor: str) -> tuple[int, int]:
    try:
        at, _, order = base64.urlsafe_b64decode(cursor).decode().partition("|")
        return int(at), int(order)
    except (ValueError, binascii.Error):
        raise RefusedError(400, "InvalidCursor", "the cursor is none of ours") from None
