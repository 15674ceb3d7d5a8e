"""Dates and instants. A text that could be read in two ways, or that names no zone, is not guessed at.

A date is ISO 8601's calendar date. An instant is UTC, to the second, with a fraction only where there is one.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

from whenever import Instant

from syncbroker.core.text import Reader, tidy_line
from syncbroker.core.types import Invalid, Value

NO_DATE = Invalid("not a date; YYYY-MM-DD was expected (other orders need a transform such as date_us)")
NO_SUCH_DATE = Invalid("no such day in the calendar")
NO_INSTANT = Invalid("not a time; RFC 3339 was expected, such as 2024-05-01T10:00:00Z")
NO_ZONE = Invalid("the time has no zone; a transform such as naive_utc says which is meant")
BARE_NUMBER = Invalid("a bare number is no time; a transform such as epoch_millis says its unit")

_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch
_ISO_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z").fullmatch
_CLOCK = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?"
_ZONE = r"Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?"
_ANY_DATE = re.compile(
    rf"([0-9]{{4}})([-/])([0-9]{{1,2}})\2([0-9]{{1,2}})(?:[T ]{_CLOCK} ?(?:{_ZONE})?)?",
    re.IGNORECASE | re.ASCII,
).fullmatch
_ANY_INSTANT = re.compile(
    rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})[T ]({_CLOCK}) ?({_ZONE})?", re.IGNORECASE | re.ASCII
).fullmatch
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?").fullmatch


_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - all here is UTC
_BILLION = 1_000_000_000


def instant_at(nanoseconds: int) -> str | None:
    """The canonical instant so many nanoseconds after 1970 (UTC); None beyond the calendar."""
    seconds, fraction = divmod(nanoseconds, _BILLION)
    try:
        whole = (_EPOCH + timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        return None
    return f"{whole}.{fraction:09d}".rstrip("0") + "Z" if fraction else f"{whole}Z"


def nanoseconds_of(instant: str) -> int:
    """The inverse of `instant_at`."""
    whole, _, fraction = instant.removesuffix("Z").partition(".")
    since = datetime.fromisoformat(whole) - _EPOCH
    return (since.days * 86_400 + since.seconds) * _BILLION + int(f"{fraction:0<9}")


def date_reader(fillers: frozenset[str]) -> Reader:
    """date: YYYY-MM-DD. The date part of a time counts as it is written; it is not moved to another zone."""

    def read(raw: object) -> Value | Invalid:
        text: str | Invalid
        if type(raw) is str and _ISO_DATE(raw):
            text = raw
        else:
            text = tidy_line(raw)
            if type(text) is not str:
                return text
            match = _ANY_DATE(text)
            if match is None:
                if not text or text.casefold() in fillers:
                    return None
                return BARE_NUMBER if _NUMBER(text) else NO_DATE
            text = f"{match[1]}-{match[3]:0>2}-{match[4]:0>2}"
        try:
            date.fromisoformat(text)
        except ValueError:
            return None if text in fillers else NO_SUCH_DATE
        return text

    return read


def datetime_reader(fillers: frozenset[str]) -> Reader:
    """datetime: an instant with its zone, in UTC; at most nine decimals of a second."""

    def read(raw: object) -> Value | Invalid:
        if type(raw) is str and _ISO_INSTANT(raw):
            try:
                datetime.fromisoformat(raw)
            except ValueError:
                pass  # a leap second, or no such time: judged below
            else:
                return raw
        text = tidy_line(raw)
        if type(text) is not str:
            return text
        if not text or text.casefold() in fillers:
            return None
        match = _ANY_INSTANT(text)
        if match is None:
            return BARE_NUMBER if _NUMBER(text) else NO_INSTANT
        day, clock, zone = match.groups()
        if zone is None:
            return NO_ZONE
        zone = "Z" if zone.upper() in ("Z", "UTC", "GMT") else zone
        try:
            return Instant.parse_iso(f"{day}T{clock}{zone}").format_iso()
        except ValueError:
            return NO_INSTANT

    return read
