"""What a vendor says, made fit to be shown: without this system's secrets, e-mail addresses and phone-like numbers.

A vendor's error text may quote the request back. It is cleaned here before it becomes part of an error, a log line or a
review, and it is kept to one short line of printable characters.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

_EMAIL = re.compile(r"[^\s@\"'<>,;:()\[\]{}=/?&|]+@[^\s@\"'<>,;:()\[\]{}=/?&|]+\.[^\W\d_]{2,}", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w-])\+?\(?\d[\d ()./-]{4,}\d(?![\w-])")
_TIME = re.compile(r"\d{4}-\d\d-\d\d( \d\d)?")
_SHORTEST_SECRET = 4


class Redactor:
    """Removes `secrets` in every form in which a request carries them: as they are, percent-encoded, base64."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = set()
        for secret in secrets:
            if len(secret) >= _SHORTEST_SECRET:  # a shorter one would only tear words apart
                forms |= {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()}
        # longest first: a secret may be a part of another
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str, limit: int = 300, *, numbers: bool = False) -> str:
        """One printable line of at most `limit` characters. `numbers`: keep them, where only ids are expected."""
        for form in self._forms:
            text = text.replace(form, "<secret>")
        text = _EMAIL.sub("<e-mail>", text)
        if not numbers:
            text = _NUMBER.sub(_number, text)
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return text if len(text) <= limit else text[: limit - 1] + "…"

    def path(self, path: str) -> str:
        """A URL's path without its query, cleaned: ids may be e-mail addresses."""
        return self(unquote(path.partition("?")[0]), numbers=True)


def _number(found: re.Match[str]) -> str:
    text = found.group()
    digits = sum(c.isdigit() for c in text)
    return text if digits < 7 or _TIME.fullmatch(text) else "<number>"
