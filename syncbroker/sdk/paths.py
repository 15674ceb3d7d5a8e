"""Dotted paths into a vendor's nested object: `merge_fields.FNAME`, `address.country`, `items.data.0.price`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def get_path(fields: Any, path: str, default: Any = None) -> Any:
    """The member that `path` names, or `default` where a step of it is missing. A number indexes a list.

    A member whose own name is the whole rest of the path wins, so names with dots in them can be reached.
    """
    if isinstance(fields, Mapping):
        if path in fields:
            return fields[path]
        head, dot, rest = path.partition(".")
        return get_path(fields[head], rest, default) if dot and head in fields else default
    if isinstance(fields, list):
        head, dot, rest = path.partition(".")
        if not head.isdecimal() or int(head) >= len(fields):
            return default
        return get_path(fields[int(head)], rest, default) if dot else fields[int(head)]
    return default


def set_path(fields: dict[str, Any], path: str, value: Any) -> None:
    """Set the member that `path` names, in place, making the objects on the way. A scalar on the way is replaced."""
    here = fields
    *way, last = path.split(".")
    for step in way:
        inner = here.get(step)
        if not isinstance(inner, dict):
            inner = {}
            here[step] = inner
        here = inner
    here[last] = value


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """`{"address.city": "Ulm", "name": "x"}` -> `{"address": {"city": "Ulm"}, "name": "x"}`: a request body."""
    fields: dict[str, Any] = {}
    for path, value in values.items():
        set_path(fields, path, value)
    return fields
