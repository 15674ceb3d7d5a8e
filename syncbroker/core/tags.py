"""Tags: a set of words, kept as a sorted tuple of lower-case texts.

Lower case, because some systems fold tags themselves and people type both `VIP` and `vip`: letter case would make
edits, and a union would hold both. A tag that a system already has keeps the spelling it has there, since equal
canonical values owe no push; only a tag that is new to a system arrives in lower case.
"""

from __future__ import annotations

import csv
import io
import unicodedata

from syncbroker.core.text import NOT_TEXT, Reader, tidy_line
from syncbroker.core.types import Invalid, Value

NOT_TAGS = Invalid("a list of tags was expected; a text needs the transform comma_list or semicolon_list")


def tags_reader(fillers: frozenset[str]) -> Reader:
    """tags: from a list of texts, or of objects with a `name`. No tags at all is empty."""

    def read(raw: object) -> Value | Invalid:
        if raw is None:
            return None
        if not isinstance(raw, list | tuple):
            text = tidy_line(raw)
            return None if type(text) is str and (not text or text.casefold() in fillers) else NOT_TAGS
        found: set[str] = set()
        for each in raw:
            if type(each) is str and each.isascii() and each.isalnum():
                tag = each.lower()
            else:
                text = tidy_line(each.get("name") if isinstance(each, dict) else each)
                if type(text) is not str:
                    return text if text is not NOT_TEXT else NOT_TAGS
                tag = unicodedata.normalize("NFC", text.lower())
            if tag and tag not in fillers:
                found.add(tag)
        return tuple(sorted(found)) or None

    return read


def split_tags(text: str, separator: str) -> list[str]:
    """The tags in one text. A tag that contains the separator or begins with a quote is quoted as in CSV."""
    if '"' not in text:
        return text.split(separator)
    line = " ".join(text.split())
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return line.split(separator)


def join_tags(tags: list[object], separator: str) -> str:
    """The inverse of `split_tags`."""
    if not any(separator in str(tag) or '"' in str(tag) for tag in tags):
        return separator.join(map(str, tags))
    line = io.StringIO()
    csv.writer(line, delimiter=separator, lineterminator="").writerow(tags)
    return line.getvalue()
