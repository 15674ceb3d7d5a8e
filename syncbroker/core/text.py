"""Plain text: what two systems must agree on before anything else can be said about a value.

Tidy text is in Unicode's composed form (NFC), without control and invisible characters, without blanks at the ends of
the text or of a line, and with single blanks inside. How a system stores blanks and accents is never an edit.
Every other type starts from tidy text.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal

from syncbroker.core.types import Invalid, Value

Reader = Callable[[object], Value | Invalid]
"""Turns a raw value into a canonical one. Raises nothing."""

NOT_TEXT = Invalid("a text was expected, not a list or an object")
ZERO_BYTE = Invalid("the text contains a zero byte")
BROKEN = Invalid("the text contains broken Unicode (half of a surrogate pair)")
NOT_A_NUMBER = Invalid("the number is not finite")
TOO_LARGE = Invalid("the number is too large")

_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
# Controls, and characters that only ever hide: soft hyphen, zero-width space, word joiner, byte order mark. Joiners
# and direction marks stay: emoji, Persian and Hebrew need them.
_HIDDEN = re.compile("[\x01-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u2060\ufeff]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")
_BLANKS = re.compile(r"[^\S\n]+")
_AROUND_LINE_ENDS = re.compile(r" ?\n ?")
_LINES = re.compile(r"\n+")
_HUGE = 10**300


def tidy(raw: object) -> str | Invalid:
    """The tidy text of a text, number or truth value; "" for None. Line ends become a newline and stay."""
    if type(raw) is str:
        if (
            raw.isprintable()
            and "  " not in raw
            and raw[:1] != " "
            and raw[-1:] != " "
            and (raw.isascii() or unicodedata.is_normalized("NFC", raw))
        ):
            return raw
        return _tidy(raw)
    return _tidy_other(raw)


def tidy_line(raw: object) -> str | Invalid:
    """Tidy text on one line: line ends count as blanks."""
    text = tidy(raw)
    return _LINES.sub(" ", text) if type(text) is str and "\n" in text else text


def _tidy(raw: str) -> str | Invalid:
    if "\0" in raw:
        return ZERO_BYTE
    if _SURROGATES.search(raw):
        return BROKEN
    text = _LINE_ENDS.sub("\n", raw)
    text = unicodedata.normalize("NFC", _HIDDEN.sub("", text))
    return _AROUND_LINE_ENDS.sub("\n", _BLANKS.sub(" ", text)).strip()


def _tidy_other(raw: object) -> str | Invalid:
    if raw is None:
        return ""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, int):
        return str(raw) if -_HUGE < raw < _HUGE else TOO_LARGE
    if isinstance(raw, float):
        return plain_decimal(Decimal(repr(raw))) if math.isfinite(raw) else NOT_A_NUMBER
    if isinstance(raw, str):
        return _tidy(str(raw))
    return NOT_TEXT


def plain_decimal(number: Decimal) -> str:
    """A finite number without exponent, trailing zeros or negative zero: "12.5", "0"."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def folded(raw: object) -> str:
    """The form in which words of choices, placeholders and tables are compared; "" for what is no text."""
    text = tidy_line(raw)
    return text.casefold() if type(text) is str else ""


# Letters that Unicode does not split into a base letter and a mark.
_BASE_LETTERS = str.maketrans(
    {"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "\u0131": "i", "&": " and "}
)
_DROPPED = re.compile(r"[.'\u2019`\u00b4\u02bc]")
_OTHER_SIGNS = re.compile(r"[\W_]+")


def skeleton(text: str) -> str:
    """The letters and digits of a name: "U.S.A." -> "usa", "Côte d'Ivoire" -> "cote divoire", "A & B" -> "a and b".

    Empty only when the text has no letter or digit at all.
    """
    text = text.casefold()
    if not text.isascii():
        marked = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in marked if not unicodedata.combining(c)).casefold()
    text = _DROPPED.sub("", text.translate(_BASE_LETTERS))
    return _OTHER_SIGNS.sub(" ", text).strip()


def text_reader(fillers: frozenset[str]) -> Reader:
    """text: tidy text; numbers and truth values arrive as their text."""

    def read(raw: object) -> Value | Invalid:
        text = tidy(raw)
        if type(text) is not str:
            return text
        return text if text and text.casefold() not in fillers else None

    return read


def reference_reader(fillers: frozenset[str]) -> Reader:
    """reference: the other system's id as text, untouched but for blanks around it."""

    def read(raw: object) -> Value | Invalid:
        if type(raw) is str and raw.isascii() and raw.isprintable():
            text: str | Invalid = raw.strip()
        else:
            text = tidy_line(raw)
        if type(text) is not str:
            return text
        return text if text and text.casefold() not in fillers else None

    return read
