"""Closed sets: one of the choices that the mapping names, and the two truth values."""

from __future__ import annotations

from syncbroker.core.mapping import ValueSpec
from syncbroker.core.text import Reader, folded, text_reader, tidy_line
from syncbroker.core.types import Invalid, Value

UNKNOWN_CHOICE = Invalid("unknown choice")
NOT_BOOLEAN = Invalid("neither true nor false")


def choice_reader(spec: ValueSpec, fillers: frozenset[str]) -> Reader:
    """choice: the label, found by label or alias without regard to case and blanks. An unknown value is no guess.

    A field without choices is open: it reads as text.
    """
    if not spec.choices:
        return text_reader(fillers)
    by_word: dict[str, str] = {}
    for label, *aliases in spec.choices:
        for word in (label, *aliases):
            by_word.setdefault(folded(word), label)
    as_written = {word: by_word[folded(word)] for choice in spec.choices for word in choice} | by_word

    def read(raw: object) -> Value | Invalid:
        if type(raw) is str and raw in as_written:
            return as_written[raw]
        text = tidy_line(raw)
        if type(text) is not str:
            return text
        word = text.casefold()
        if word in by_word:
            return by_word[word]
        return None if not word or word in fillers else UNKNOWN_CHOICE

    return read


_BOOLEANS: dict[str, bool] = dict.fromkeys(["true", "yes", "y", "t", "1", "on"], True) | dict.fromkeys(
    ["false", "no", "n", "f", "0", "off"], False
)


def boolean_reader(fillers: frozenset[str]) -> Reader:
    """boolean: true and false, 1 and 0, and the usual English words for them."""

    def read(raw: object) -> Value | Invalid:
        if isinstance(raw, bool):
            return raw
        text = tidy_line(raw)
        if type(text) is not str:
            return text
        word = text.casefold()
        if word in _BOOLEANS:
            return _BOOLEANS[word]
        return None if not word or word in fillers else NOT_BOOLEAN

    return read
