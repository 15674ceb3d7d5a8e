"""The chain of a record's decisions: each row is sealed together with the seal of the one before it.

A seal covers every column of its row. Of the body it covers two things: the *outline* (which outcomes there are, of
which kind and field, when, under which rule) and one keyed, salted *digest* of the whole body. So values can be erased
later: the erased body keeps outline and digest, and its seal is still the one that the original had. The digest is
salted with the decision's number and its record, so that equal values never show as equal digests.

All of it is keyed: without the key nobody makes a seal that holds, nor guesses a value from a digest.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

import msgspec

from syncbroker.core.types import Micros

FORM = 1
"""Of the canonical form below: another one gets another number, so that no old seal can be read as a new one."""

_SIZE = 32
_encode = msgspec.json.Encoder().encode


class Link(NamedTuple):
    """A decision row in its canonical form. `outline` is JSON text, `digest` that of the body as it was stored."""

    number: int
    record_id: str
    entity: str
    shape: int
    run: int
    at: Micros
    actor: str
    mapping: str
    outline: str
    digest: str


def digest(key: bytes, number: int, record_id: str, body: str) -> str:
    """Hex of the body's digest; `key` is 1 to 64 bytes."""
    salted = blake2b(f"{number}\0{record_id}\0".encode(), key=key, digest_size=_SIZE)
    salted.update(body.encode())
    return salted.hexdigest()


def seal(key: bytes, before: str, link: Link) -> str:
    """Hex of the seal that follows on `before`, "" for the first of a chain."""
    return blake2b(_encode((FORM, before, *link)), key=key, digest_size=_SIZE).hexdigest()


def hidden(key: bytes, *parts: str) -> str:
    """Keyed hash of a name, for what leaves the store."""
    return blake2b("\0".join(parts).encode(), key=key, digest_size=_SIZE).hexdigest()
