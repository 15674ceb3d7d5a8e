"""Named two-way transforms: how one system writes a value, where that is not how the type is usually read.

Each is a pair. `read` turns the system's raw value into one that the type can read, and leaves alone what it does not
know, for the type to judge. `write` is its inverse for every canonical value: what it sends must read back as the same
value, so that sending never makes an edit. Where a value does not fit the form (money in another currency), it is sent
in one that still reads back, and that the system can refuse aloud.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType

import msgspec

from syncbroker.core.contact_points import national_phone
from syncbroker.core.countries import country_codes3, country_names
from syncbroker.core.mapping import ValueSpec
from syncbroker.core.money import minor_digits
from syncbroker.core.numbers import LIMIT, NOT_WHOLE
from syncbroker.core.tags import join_tags, split_tags
from syncbroker.core.text import plain_decimal, tidy
from syncbroker.core.times import instant_at, nanoseconds_of
from syncbroker.core.types import Invalid, Type

Step = Callable[[object, ValueSpec], object]


class Transform(msgspec.Struct, frozen=True, kw_only=True):
    """`fits`: the types it makes sense for; a mapping check refuses it elsewhere."""

    description: str
    fits: frozenset[Type]
    read: Step
    write: Step


def _as_it_is(raw: object, _spec: ValueSpec) -> object:
    return raw


def _on_text(change: Callable[[str], object]) -> Step:
    """A step that changes texts and leaves everything else alone."""
    return lambda raw, _spec: change(raw) if isinstance(raw, str) else raw


# ----------------------------------------------------------------------------------------------------------- times

_COUNT = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,9})?").fullmatch
_SLASHED = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})").fullmatch
_NAIVE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?"
).fullmatch


def _epoch(unit: int) -> tuple[Step, Step]:
    """Counts of `unit` nanoseconds since 1970-01-01T00:00:00Z; a date counts to its midnight in UTC."""

    def read(raw: object, spec: ValueSpec) -> object:
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            return raw
        count = tidy(raw)
        if isinstance(count, Invalid) or not _COUNT(count):
            return raw
        instant = instant_at(int(Decimal(count) * unit))
        if instant is None:
            return raw
        return instant[:10] if spec.type == Type.DATE else instant

    def write(raw: object, spec: ValueSpec) -> object:
        if not isinstance(raw, str):
            return raw
        nanos = nanoseconds_of(f"{raw}T00:00:00Z" if spec.type == Type.DATE else raw)
        count, rest = divmod(nanos, unit)
        return count if not rest else _exact_number(Decimal(nanos) / unit)

    return read, write


def _exact_number(exact: Decimal) -> object:
    """As a JSON number if that says the same, else as text."""
    rounded = float(exact)
    return rounded if Decimal(repr(rounded)) == exact else plain_decimal(exact)


def _slashed(*, month_first: bool) -> tuple[Step, Step]:
    def read(text: str) -> object:
        match = _SLASHED(text.strip())
        if match is None:
            return text
        month, day = (match[1], match[2]) if month_first else (match[2], match[1])
        return f"{match[3]}-{month:0>2}-{day:0>2}"

    def write(text: str) -> object:
        year, month, day = text.split("-")
        return f"{month}/{day}/{year}" if month_first else f"{day}/{month}/{year}"

    return _on_text(read), _on_text(write)


def _naive_read(text: str) -> object:
    return text.strip() + "Z" if _NAIVE(text.strip()) else text


def _naive_write(text: str) -> object:
    return text.removesuffix("Z").replace("T", " ")


# ----------------------------------------------------------------------------------------------- money and numbers


def _minor_read(raw: object, spec: ValueSpec) -> object:
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return raw
    text = tidy(raw)
    if isinstance(text, str) and re.fullmatch(r"-?[0-9]{1,19}", text):
        return [int(text), spec.currency]
    # Never read as major units: that would be a hundred times too much. An amount with its currency is no mix-up.
    return raw if isinstance(text, str) and not re.search(r"[0-9.,]$", text) else NOT_WHOLE


def _minor_write(raw: object, spec: ValueSpec) -> object:
    major = _major_write(raw, spec)
    if not isinstance(major, str) or " " in major:
        return major
    return int(Decimal(major).scaleb(minor_digits(spec.currency)))


def _major_write(raw: object, spec: ValueSpec) -> object:
    if not isinstance(raw, dict):
        return raw
    amount, currency = raw["amount"], raw["currency"]
    return str(amount) if currency == spec.currency else f"{amount} {currency}"


def _number_write(text: str) -> object:
    exact = Decimal(text)
    if exact == exact.to_integral_value():
        return int(exact) if abs(exact) < LIMIT else text
    return _exact_number(exact)


# ----------------------------------------------------------------------------------------------- words and letters


def _words(yes: str, no: str) -> Step:
    return lambda raw, _spec: (yes if raw else no) if isinstance(raw, bool) else raw


def _looked_up(table: Callable[[], Mapping[str, str]]) -> Step:
    return _on_text(lambda word: table().get(word, word))


def _separated(separator: str) -> tuple[Step, Step]:
    return (
        _on_text(lambda text: split_tags(text, separator)),
        lambda raw, _spec: join_tags(raw, separator) if isinstance(raw, list) else raw,
    )


def _lettered(change: Callable[[str], str]) -> Step:
    def changed(text: str) -> str:
        # Letters whose other case is several letters ("ß") would not find their way back.
        return change(text) if change(text).lower() == text.lower() else text

    return lambda raw, _spec: (
        [changed(str(each)) for each in raw]
        if isinstance(raw, list)
        else changed(raw)
        if isinstance(raw, str)
        else raw
    )


def _national_write(raw: object, spec: ValueSpec) -> object:
    return national_phone(raw.replace(" ext. ", ";ext="), spec.region) if isinstance(raw, str) else raw


def _transform(description: str, *fits: Type, write: Step, read: Step = _as_it_is) -> Transform:
    return Transform(description=description, fits=frozenset(fits), read=read, write=write)


def _pair(description: str, *fits: Type, steps: tuple[Step, Step]) -> Transform:
    return _transform(description, *fits, read=steps[0], write=steps[1])


# Types whose canonical form does not depend on letter case. For text and names another case is another value: sending
# it would make an edit, so no transform does.
_CASELESS = (Type.EMAIL, Type.DOMAIN, Type.COUNTRY, Type.CHOICE, Type.TAGS)

TRANSFORMS: Mapping[str, Transform] = MappingProxyType(
    {
        "country_name": _transform(
            "the country's English name: United States", Type.COUNTRY, write=_looked_up(country_names)
        ),
        "country_alpha2": _transform("the country's two-letter code: US", Type.COUNTRY, write=_as_it_is),
        "country_alpha3": _transform(
            "the country's three-letter code: USA", Type.COUNTRY, write=_looked_up(country_codes3)
        ),
        "epoch_seconds": _pair(
            "seconds since 1970 in UTC: 1714521600", Type.DATETIME, Type.DATE, steps=_epoch(1_000_000_000)
        ),
        "epoch_millis": _pair(
            "milliseconds since 1970 in UTC, a date as its midnight: 1714521600000",
            Type.DATETIME,
            Type.DATE,
            steps=_epoch(1_000_000),
        ),
        "naive_utc": _transform(
            "a time without zone that is meant as UTC: 2024-05-01 10:00:00",
            Type.DATETIME,
            read=_on_text(_naive_read),
            write=_on_text(_naive_write),
        ),
        "date_us": _pair("month first: 05/31/2024", Type.DATE, steps=_slashed(month_first=True)),
        "date_eu": _pair("day first: 31/05/2024", Type.DATE, steps=_slashed(month_first=False)),
        "yes_no": _transform("Yes or No", Type.BOOLEAN, write=_words("Yes", "No")),
        "one_zero": _transform("the text 1 or 0", Type.BOOLEAN, write=_words("1", "0")),
        "on_off": _transform("on or off", Type.BOOLEAN, write=_words("on", "off")),
        "true_false_text": _transform("the text true or false", Type.BOOLEAN, write=_words("true", "false")),
        "minor_units": _transform(
            "a whole number of the field's currency's smallest unit: 1250",
            Type.MONEY,
            read=_minor_read,
            write=_minor_write,
        ),
        "major_units": _transform(
            "an amount in the field's currency as text: 12.50", Type.MONEY, write=_major_write
        ),
        "json_number": _transform(
            "a JSON number, where it is exact: 12.5", Type.DECIMAL, write=_on_text(_number_write)
        ),
        "comma_list": _pair("tags in one text: vip,beta", Type.TAGS, steps=_separated(",")),
        "semicolon_list": _pair("tags in one text: vip;beta", Type.TAGS, steps=_separated(";")),
        "upper": _transform("in capitals", *_CASELESS, write=_lettered(str.upper)),
        "lower": _transform("in small letters", *_CASELESS, write=_lettered(str.lower)),
        "trim": _transform(
            "without blanks around it", *Type, read=_on_text(str.strip), write=_on_text(str.strip)
        ),
        "national_phone": _transform(
            "as written in the field's region: (555) 123-4567", Type.PHONE, write=_national_write
        ),
        "domain_url": _transform(
            "a domain as a web address: https://example.com", Type.DOMAIN, write=_on_text("https://{}".format)
        ),
    }
)
