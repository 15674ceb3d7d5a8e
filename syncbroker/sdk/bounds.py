"""How deep JSON from outside may be nested. How long it may be is said where it is read."""

from __future__ import annotations

import re

MAX_DEPTH = 64

_OTHERS = bytes(n for n in range(256) if n not in b"[]{}")
_ALIKE = bytes.maketrans(b"{}", b"[]")
_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)


def too_deep(body: bytes, most: int = MAX_DEPTH) -> bool:
    """Whether collections are nested deeper than this, told without decoding. Of what is no JSON it says nothing.

    Brackets alone are kept, and pairs of them taken away from inside out: as often as the text is deep. Only where
    texts hold brackets, too, everything is looked at one by one.
    """
    left = body.translate(_ALIKE, _OTHERS)
    for _ in range(most):
        if not left:
            return False
        shorter = left.replace(b"[]", b"")
        if len(shorter) == len(left):
            break
        left = shorter
    return bool(left) and _depth(_TEXTS.sub(b"", body).translate(_ALIKE, _OTHERS)) > most


def _depth(brackets: bytes) -> int:
    deep = deepest = 0
    for one in brackets:
        deep += 1 if one == ord("[") else -1
        deepest = max(deepest, deep)
    return deepest
