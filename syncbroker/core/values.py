"""Canonical values: what a raw value means, apart from how one system writes it.

Two raw values are the same value iff their canonical forms are equal; so reading a value in another format is never an
edit. Reading is pure and idempotent. Writing is its inverse: `canonical(spec, render(spec, v)) == v` for every value
that `canonical(spec, ...)` gives.

This module only leads to the types; each is described in its own: `text`, `contact_points`, `choices`, `countries`,
`numbers`, `money`, `times`, `web_addresses`, `companies`, `people`, `tags`, with `placeholders` and `transforms`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache

from syncbroker.core.choices import boolean_reader, choice_reader
from syncbroker.core.companies import chosen_names, company_key, company_reader
from syncbroker.core.contact_points import email_reader, is_region, phone_reader, phone_text
from syncbroker.core.countries import country_reader
from syncbroker.core.letter_case import capitalised
from syncbroker.core.mapping import ValueSpec
from syncbroker.core.money import currencies, major_units, money_reader
from syncbroker.core.numbers import decimal_reader, integer_reader
from syncbroker.core.people import person_key, person_reader
from syncbroker.core.placeholders import fillers_of
from syncbroker.core.tags import tags_reader
from syncbroker.core.text import Reader, folded, reference_reader, text_reader, tidy
from syncbroker.core.times import date_reader, datetime_reader
from syncbroker.core.transforms import TRANSFORMS
from syncbroker.core.types import Invalid, Type, Value
from syncbroker.core.web_addresses import domain_reader, url_key, url_reader

__all__ = [
    "TRANSFORMS", "best_variant", "canonical", "compare", "compile", "is_placeholder", "key", "problems", "render",
]  # fmt: skip

_READERS: dict[Type, Callable[[frozenset[str]], Reader]] = {
    Type.TEXT: text_reader,
    Type.EMAIL: email_reader,
    Type.COUNTRY: country_reader,
    Type.BOOLEAN: boolean_reader,
    Type.INTEGER: integer_reader,
    Type.DECIMAL: decimal_reader,
    Type.DATE: date_reader,
    Type.DATETIME: datetime_reader,
    Type.URL: url_reader,
    Type.DOMAIN: domain_reader,
    Type.PERSON_NAME: person_reader,
    Type.TAGS: tags_reader,
    Type.REFERENCE: reference_reader,
}
_READERS_BY_SPEC: dict[Type, Callable[[ValueSpec, frozenset[str]], Reader]] = {
    Type.PHONE: phone_reader,  # in a region
    Type.CHOICE: choice_reader,  # of choices
    Type.MONEY: money_reader,  # in a currency
    Type.COMPANY_NAME: company_reader,  # with aliases
}

# Types that are rendered as they are, so that their readers see every placeholder by themselves.
_SENT_AS_IS = frozenset(
    [Type.TEXT, Type.EMAIL, Type.DOMAIN, Type.COMPANY_NAME, Type.PERSON_NAME, Type.REFERENCE, Type.TAGS]
)


def canonical(spec: ValueSpec, raw: object) -> Value | Invalid:
    """The canonical value; None for empty or a placeholder; Invalid for what has no canonical form.

    Raises nothing for any JSON value, given a spec without `problems`. References come out as the other system's id.
    """
    return compile(spec)(raw)


def _reader(spec: ValueSpec, fillers: frozenset[str]) -> Reader:
    plain = _READERS.get(spec.type)
    return plain(fillers) if plain is not None else _READERS_BY_SPEC[spec.type](spec, fillers)


@lru_cache(maxsize=4096)
def compile(spec: ValueSpec) -> Reader:  # noqa: A001 - as in `re`: it is never imported bare
    """`canonical` for one spec, with its tables built: get it once, call it per value."""
    fillers = fillers_of(spec)
    read = _reader(spec, fillers)
    if not spec.transforms and not spec.out and not (spec.placeholders and spec.type not in _SENT_AS_IS):
        return read
    steps = tuple(TRANSFORMS[name].read for name in spec.transforms)
    meant = {folded(raw): value for value, raw in reversed(_words_sent(spec).items())}
    own = frozenset(map(folded, spec.placeholders)) & fillers

    def read_all(raw: object) -> Value | Invalid:
        if type(raw) is str and not raw.isalnum() and folded(raw) in fillers:
            return None
        for step in steps:
            raw = step(raw, spec)
            if isinstance(raw, Invalid):
                return raw
        if meant and isinstance(raw, str | int) and (word := folded(raw)) in meant:
            return meant[word]
        value = read(raw)
        # A value that would be sent as filler cannot be told from filler.
        if (
            own
            and value is not None
            and not isinstance(value, Invalid)
            and folded(render(spec, value)) in own
        ):
            return None
        return value

    return read_all


@lru_cache(maxsize=4096)
def _words_sent(spec: ValueSpec) -> dict[Value, str]:
    """Canonical value -> the word that the system wants for it."""
    read = _reader(spec, frozenset())
    words: dict[Value, str] = {}
    for label, raw in spec.out:
        value = read(label)
        if value is not None and not isinstance(value, Invalid):
            words[value] = raw
    return words


def is_placeholder(spec: ValueSpec, raw: object) -> bool:
    """Whether the raw value has content that stands for nothing."""
    return not _is_bare(raw) and canonical(spec, raw) is None


def _is_bare(raw: object) -> bool:
    if isinstance(raw, list | tuple):
        return all(map(_is_bare, raw))
    if isinstance(raw, dict):
        return _is_bare(raw["amount"]) if "amount" in raw else all(map(_is_bare, raw.values()))
    return tidy(raw) == ""


def render(spec: ValueSpec, value: Value) -> object:
    """The raw JSON value to send for a canonical one; None for empty."""
    if value is None:
        return None
    raw: object = value
    if spec.out:
        raw = _words_sent(spec).get(value, value)
    if raw is value:
        if spec.type == Type.PHONE and isinstance(value, str):
            raw = phone_text(value)
        elif spec.type == Type.TAGS and isinstance(value, tuple):
            raw = list(value)
        elif spec.type == Type.MONEY and isinstance(value, tuple):
            minor, currency = value
            raw = {"amount": major_units(int(str(minor)), str(currency)), "currency": currency}
    for name in reversed(spec.transforms):
        raw = TRANSFORMS[name].write(raw, spec)
    return raw


def key(spec: ValueSpec, value: Value) -> str | None:
    """The text by which a canonical value is matched, or None when there is nothing to match on.

    Texts and choices: casefolded. Company names: without legal form, case and accents; person names: without case and
    accents. URLs: without scheme, `www.` and last slash. Tags match nothing.
    """
    if value is None or isinstance(value, tuple):
        return f"{value[0]} {value[1]}" if isinstance(value, tuple) and spec.type == Type.MONEY else None
    if not isinstance(value, str):
        return str(value).lower()
    match spec.type:
        case Type.COMPANY_NAME:
            return company_key(value)
        case Type.PERSON_NAME:
            return person_key(value)
        case Type.TEXT | Type.CHOICE:
            return value.casefold()
        case Type.URL:
            return url_key(value)
        case _:
            return value


_BY_LENGTH = frozenset([Type.TEXT, Type.URL, Type.COMPANY_NAME, Type.PERSON_NAME])


def compare(spec: ValueSpec, a: Value, b: Value) -> int:
    """Below 0 when `a` is less than `b`, above 0 when it is more, 0 when they are equal or cannot be compared.

    Numbers, truth values (false first), money of one currency, dates and instants by size; texts, names and URLs by
    length; tags by how many there are; choices by their order in the mapping. Empty compares with nothing.
    """
    x, y = _rank(spec, a), _rank(spec, b)
    if type(x) is not type(y) or x is None or y is None:
        return 0
    if isinstance(x, tuple) and isinstance(y, tuple) and x[0] != y[0]:
        return 0
    return (x > y) - (x < y)  # type: ignore[operator] # both are of one comparable type


def _rank(spec: ValueSpec, value: Value) -> int | str | Decimal | tuple[str, int] | None:
    """A comparable stand-in; None where the type has no order."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    if isinstance(value, tuple):
        return (str(value[1]), int(str(value[0]))) if spec.type == Type.MONEY else len(value)
    if isinstance(value, str):
        if spec.type == Type.DECIMAL:
            return Decimal(value)
        if spec.type == Type.DATE:
            return value
        if spec.type == Type.DATETIME:
            return value.removesuffix("Z")
        if spec.type == Type.CHOICE and spec.choices:
            labels = [choice[0] for choice in spec.choices]
            return labels.index(value) if value in labels else None
        if spec.type in _BY_LENGTH:
            return len(value)
    return None


def best_variant(spec: ValueSpec, a: Value, b: Value) -> Value:
    """Which of two canonical values with one match key stands: the alias table's name, else the longer one.

    Of two equally long ones it is the one whose letter case somebody chose, then the first in the alphabet.
    """
    if a is None or b is None or a == b:
        return a if b is None else b
    if spec.type == Type.COMPANY_NAME and spec.aliases and isinstance(a, str):
        chosen = chosen_names(spec).get(company_key(a))
        if chosen is not None:
            return chosen
    order = compare(spec, a, b) if spec.type != Type.CHOICE else 0
    if order:
        return a if order > 0 else b
    return min(a, b, key=lambda value: (_is_routine(value), -len(str(value)), str(value)))


def _is_routine(value: Value) -> bool:
    text = str(value)
    return text == capitalised(text, known={}, small=frozenset(), consonants=range(0))


def problems(spec: ValueSpec) -> tuple[str, ...]:
    """What a mapping check must refuse in a spec, as sentences. A spec without problems reads and writes two ways."""
    found = [f"unknown transform `{name}`" for name in spec.transforms if name not in TRANSFORMS]
    found += [
        f"the transform `{name}` does not fit the type {spec.type}"
        for name in spec.transforms
        if name in TRANSFORMS and spec.type not in TRANSFORMS[name].fits
    ]
    if spec.type == Type.CHOICE and not spec.choices:
        found += [
            f"the transform `{name}` needs choices" for name in spec.transforms if name in ("upper", "lower")
        ]
    labels: dict[str, str] = {}
    for choice in spec.choices:
        for word in choice:
            other = labels.setdefault(folded(word), choice[0])
            if other != choice[0]:
                found.append(f"`{word}` stands for both `{other}` and `{choice[0]}`")
    if spec.type == Type.PHONE and not is_region(spec.region):
        found.append(f"unknown region `{spec.region}`; a two-letter country code is meant, such as US or GB")
    if spec.type == Type.MONEY and spec.currency not in currencies():
        found.append(f"unknown currency `{spec.currency}`; an ISO 4217 code is meant, such as USD")
    if spec.out and spec.type not in (Type.CHOICE, Type.BOOLEAN):
        found.append(f"`out` is for choices and booleans, not for the type {spec.type}")
    if found:
        return tuple(found)
    closed: tuple[Value, ...] = tuple(choice[0] for choice in spec.choices)
    if spec.type == Type.BOOLEAN:
        closed = (True, False)
    reader = _reader(spec, frozenset())
    found += [
        f"`out` names `{label}`, which is no choice" for label, _ in spec.out if reader(label) not in closed
    ]
    found += [
        f"`{value}` is sent as `{render(spec, value)}`, which does not read back as `{value}`"
        for value in closed
        if canonical(spec, render(spec, value)) != value
    ]
    return tuple(found)
