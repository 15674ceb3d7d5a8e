"""Numbers as people and systems write them, read only where there is one way to read them.

`1,234.50`, `1.234,50`, `1 234,5` and `12,50` have one meaning; `1,234` has two (a thousand or one and a bit) unless the
type settles it: an integer, or money whose currency has no third decimal.
"""

from __future__ import annotations

import re
from decimal import Decimal

from syncbroker.core.text import TOO_LARGE, Reader, plain_decimal, tidy_line
from syncbroker.core.types import Invalid, Value

NO_NUMBER = Invalid("not a number")
NOT_WHOLE = Invalid("not a whole number")
AMBIGUOUS = Invalid("ambiguous number: it reads as thousands or as decimals")

LIMIT = 2**63
"""Integers and minor units fit a signed 64-bit column and every JSON library."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}").fullmatch
_POINT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?").fullmatch
_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+").fullmatch
_ONE_COMMA_GROUP = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}").fullmatch
_COMMA_GROUPS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?").fullmatch
_OTHER_GROUPS = re.compile(r"[+-]?[0-9]{1,3}(?:([ '_])[0-9]{3})(?:\1[0-9]{3})*(?:[.,][0-9]+)?").fullmatch
_POINT_GROUPS = re.compile(r"[+-]?[0-9]{1,3}(?:\.[0-9]{3})+(?:,[0-9]+|\.[0-9]{3})").fullmatch
_ONE_POINT_GROUP = re.compile(r"[+-]?[1-9][0-9]{0,2}\.[0-9]{3}").fullmatch
_LONGEST = 64


def parse_number(text: str, *, comma_groups: bool) -> Decimal | Invalid:
    """The one number that a tidy text stands for. `comma_groups`: a single `1,234` is a thousand."""
    if len(text) > _LONGEST:
        return TOO_LARGE
    text = text.replace("\u2019", "'").replace("\u2212", "-")
    if _POINT(text):
        plain = text
    elif _ONE_COMMA_GROUP(text):
        if not comma_groups:
            return AMBIGUOUS
        plain = text.replace(",", "")
    elif _COMMA_GROUPS(text):
        # "0,234" is no grouping, and "0,234.5" is nothing at all.
        if text.lstrip("+-").startswith("0"):
            return _comma_decimal(text)
        plain = text.replace(",", "")
    elif _COMMA(text):
        return _comma_decimal(text)
    elif _OTHER_GROUPS(text):
        plain = re.sub("[ '_]", "", text).replace(",", ".")
    elif _POINT_GROUPS(text):
        plain = text.replace(".", "").replace(",", ".")
    else:
        return NO_NUMBER
    number = Decimal(plain)
    return number if abs(number.adjusted()) <= _LONGEST else TOO_LARGE


def _comma_decimal(text: str) -> Decimal | Invalid:
    return Decimal(text.replace(",", ".")) if _COMMA(text) else NO_NUMBER


def integer_reader(fillers: frozenset[str]) -> Reader:
    """integer: whole numbers of 64 bits. In a whole-number field a comma can only group; a point is not guessed at."""

    def read(raw: object) -> Value | Invalid:
        if type(raw) is int:
            return raw if -LIMIT <= raw < LIMIT else TOO_LARGE
        if isinstance(raw, bool):
            return NO_NUMBER
        text = tidy_line(raw)
        if type(text) is not str:
            return text
        if _INTEGER(text):
            return int(text)
        if not text or text.casefold() in fillers:
            return None
        if type(raw) is str and _ONE_POINT_GROUP(text):
            return AMBIGUOUS
        number = parse_number(text, comma_groups=True)
        if isinstance(number, Invalid):
            return number
        if number != number.to_integral_value():
            return NOT_WHOLE
        whole = int(number)
        return whole if -LIMIT <= whole < LIMIT else TOO_LARGE

    return read


def decimal_reader(fillers: frozenset[str]) -> Reader:
    """decimal: exact decimal text, such as "12.5". JSON numbers count with the digits they are written with."""

    def read(raw: object) -> Value | Invalid:
        if isinstance(raw, bool):
            return NO_NUMBER
        text = tidy_line(raw)
        if type(text) is not str:
            return text
        if not text or text.casefold() in fillers:
            return None
        number = parse_number(text, comma_groups=False)
        return number if isinstance(number, Invalid) else plain_decimal(number)

    return read
