"""Finding and taking out what belongs to one person in texts and bodies that are about others, too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

ERASED = "(erased)"

SHORT = 4
"""A value with fewer characters is in too many texts to be searched for."""


class Needles:
    """What to look for: `ids`, which count only where they stand alone, and `values`, which count anywhere."""

    def __init__(self, ids: Iterable[str], values: Iterable[str]) -> None:
        self.ids = {id_ for id_ in ids if id_}
        self.values = {value for value in values if len(value) >= SHORT}
        forms = {form for value in self.values for form in _forms(value)}
        parts = [rf"(?<![A-Za-z0-9]){re.escape(id_)}(?![A-Za-z0-9])" for id_ in sorted(self.ids)]
        parts += [re.escape(form) for form in sorted(forms)]
        self._pattern = re.compile("|".join(parts) or r"(?!)", re.IGNORECASE)

    def within(self, text: str) -> bool:
        return self._pattern.search(text) is not None

    def scrub(self, body: Any) -> Any:
        """JSON data without what is looked for: a list loses the elements that hold it, a text becomes `ERASED`."""
        if isinstance(body, dict):
            return {key: self.scrub(one) for key, one in body.items() if not self.within(key)}
        if isinstance(body, list):
            return [one for one in body if not self._deep(one)]
        return ERASED if isinstance(body, str) and self.within(body) else body

    def _deep(self, body: Any) -> bool:
        if isinstance(body, dict):
            return any(self.within(key) or self._deep(one) for key, one in body.items())
        if isinstance(body, list):
            return any(map(self._deep, body))
        return isinstance(body, str) and self.within(body)


def _forms(value: str) -> set[str]:
    """A value as it stands in plain text, in JSON and in a form or URL."""
    return {value, json.dumps(value)[1:-1], quote(value, safe=""), quote_plus(value)}


def texts(value: Any) -> set[str]:
    """Every text in a value or body, however deep."""
    if isinstance(value, dict):
        return {found for one in value.values() for found in texts(one)}
    if isinstance(value, list | tuple):
        return {found for one in value for found in texts(one)}
    return {value} if isinstance(value, str) else set()
