"""What a sweep compares: a hash of the raw mapped members of a record, or of its undecoded text.

Nothing is canonicalised here: an unchanged record costs a hash and a probe. A fingerprint is equal only where the
mapped raw members are; where it differs, the record is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
import xxhash

from syncbroker.core.plan import ABSENT, pick
from syncbroker.core.types import Item
from syncbroker.errors import Unavailable

if TYPE_CHECKING:
    from syncbroker.engine import Source

Members = Callable[[Mapping[str, Any]], list[Any] | None]
"""All mapped raw members of an item in a fixed order; None when they are not all where they usually are."""


def fingerprints(source: Source, items: Sequence[Item]) -> list[bytes]:
    """xxh3-128 of each item, salted with the reading rules.

    b"" for an item that is incomplete or gone: it must not be taken for the whole record.
    """
    digest, salt, members = xxhash.xxh3_128_digest, source.salt, source.members
    marks = []
    for item in items:
        fields = item.fields
        if not item.complete or item.deleted or item.merged_into is not None:
            marks.append(b"")
        elif isinstance(fields, bytes):
            marks.append(digest(fields, salt))
        else:  # each text is hashed as it is made; keeping those of a page costs several times as much
            found = members(fields)
            marks.append(digest(_text(source, mapped(source, fields) if found is None else found), salt))
    return marks


def _text(source: Source, found: Any) -> bytes:
    try:
        return orjson.dumps(found)
    except TypeError:  # a number of more than 64 bits
        try:
            return msgspec.json.encode(found)
        except (TypeError, ValueError, RecursionError) as error:
            raise Unavailable("a record holds what is no JSON", system=source.system) from error


def mapped(source: Source, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The mapped raw members of an item by path; absent ones are left out."""
    return {path: raw for path in source.paths if (raw := pick(fields, path)) is not ABSENT}


def make_members(paths: Sequence[str]) -> Members:
    """Members that share a container are taken from it at once, which is several times as quick as path by path."""
    containers: dict[tuple[str, ...], list[str]] = {}
    for path in paths:
        *container, name = path.split(".")
        containers.setdefault(tuple(container), []).append(name)
    takers = [(container, itemgetter(*names)) for container, names in containers.items()]
    dotted = frozenset(path for path in paths if "." in path)

    def members(item: Mapping[str, Any]) -> list[Any] | None:
        if not dotted.isdisjoint(item):  # a key that is the whole path wins
            return None
        found = []
        try:
            for container, take in takers:
                here: Any = item
                for part in container:
                    here = here[part]
                found.append(take(here))
        except (KeyError, TypeError):  # absent, null, or in a list
            return None
        return found

    return members
