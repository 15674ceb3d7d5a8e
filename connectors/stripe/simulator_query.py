"""What a request to the simulated Stripe asks for: bracketed names, numbers, filters, search; and how it is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

from syncbroker.sdk.simulator import Request

Json = dict[str, Any]

_TERM = re.compile(r"\s*(?:(\w+)|metadata\[(['\"])(.+?)\2\])\s*:\s*(['\"])((?:\\.|(?!\4).)*)\4\s*")


class RefusedError(Exception):
    """An answer `{"error": {...}}` with this status."""

    def __init__(self, status: int, message: str, **more: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"type": "invalid_request_error", "message": message} | more


def tree(pairs: Iterable[tuple[str, str]]) -> Json:
    """`[("address[city]", "Ulm"), ("types[]", "a")]` -> `{"address": {"city": "Ulm"}, "types": {"0": "a"}}`.

    RefusedError(400) when a name is both a value and a hash.
    """
    found: Json = {}
    for name, value in pairs:
        head, *steps = re.findall(r"[^\[\]]+|(?<=\[)(?=\])", name) or [name]
        here, key = found, head
        for step in steps:
            here = here.setdefault(key, {})
            if not isinstance(here, dict):
                raise RefusedError(400, f"Invalid parameter: {name}", param=name)
            key = step or str(len(here))
        here[key] = value
    return found


def read_query(request: Request) -> Json:
    """The query string as a tree."""
    return tree((name, text) for name, texts in request.query_all.items() for text in texts)


def read_form(request: Request) -> Json:
    """The form body as a tree."""
    return tree((name, text) for name, texts in request.form().items() for text in texts)


def number(name: str, text: Any) -> int:
    try:
        return int(text)
    except (TypeError, ValueError):
        raise RefusedError(
            400, f"Invalid integer: {text}", code="parameter_invalid_integer", param=name
        ) from None


def created_between(given: Any) -> tuple[float, float]:
    """The first and last second that `created`, a second or its `gt`, `gte`, `lt`, `lte`, lets through."""
    bounds = given if isinstance(given, dict) else {"gte": given, "lte": given}
    first, last = -math.inf, math.inf
    for name, text in bounds.items():
        second = number(f"created[{name}]", text)
        if name in ("gt", "gte"):
            first = max(first, second + (name == "gt"))
        elif name in ("lt", "lte"):
            last = min(last, second - (name == "lt"))
        else:
            param = f"created[{name}]"
            raise RefusedError(
                400, f"Received unknown parameter: {param}", code="parameter_unknown", param=param
            )
    return first, last


def type_fits(type: str, wanted: str) -> bool:
    return type.startswith(wanted[:-1]) if wanted.endswith("*") else type == wanted


def search_terms(text: str) -> list[tuple[tuple[str, ...], str]]:
    """`email:'a' AND metadata['k']:'b'` -> [(("email",), "a"), (("metadata", "k"), "b")]; only equality, only AND."""
    found: list[tuple[tuple[str, ...], str]] = []
    for part in re.split(r"\s+AND\s+", text):
        term = _TERM.fullmatch(part)
        if not term:
            raise RefusedError(400, "We were unable to parse your search query.", param="query")
        field, _, key, _, wanted = term.groups()
        found.append(((field,) if field else ("metadata", key), re.sub(r"\\(.)", r"\1", wanted)))
    return found


def member_text(record: Json, name: str, key: str = "") -> str:
    member = record.get(name)
    return str((member or {}).get(key, "") if key else member or "")
