"""Money: an integer of the currency's smallest unit, and the currency. Never a float, never rounded.

The number of decimals is ISO 4217's, which is what payment vendors count in. CLDR's (Babel's) is for showing amounts
and differs: it gives the Serbian dinar none.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache

from babel.numbers import list_currencies

from syncbroker.core.mapping import ValueSpec
from syncbroker.core.numbers import LIMIT, NO_NUMBER, parse_number
from syncbroker.core.text import TOO_LARGE, Reader, tidy_line
from syncbroker.core.types import Invalid, Value

UNKNOWN_CURRENCY = Invalid("unknown currency")
SHARED_SIGN = Invalid("several currencies share this sign; a currency code is needed")
TWO_CURRENCIES = Invalid("the amount and its currency name different currencies")
TOO_PRECISE = Invalid("more precise than the currency allows")

# ISO 4217, list one: minor units other than 2.
_DIGITS: dict[str, int] = (
    dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0)
    | dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3)
    | dict.fromkeys("CLF UYW".split(), 4)
)

_SIGNS: dict[str, str] = {
    "€": "EUR", "₹": "INR", "₽": "RUB", "₩": "KRW", "₪": "ILS", "₫": "VND", "₴": "UAH", "₺": "TRY", "₦": "NGN",
    "₱": "PHP", "฿": "THB", "zł": "PLN", "kč": "CZK", "r$": "BRL", "us$": "USD", "ca$": "CAD", "c$": "CAD",
    "a$": "AUD", "au$": "AUD", "nz$": "NZD", "hk$": "HKD", "s$": "SGD", "mx$": "MXN", "nt$": "TWD", "cn¥": "CNY",
}  # fmt: skip
_SHARED: dict[str, frozenset[str]] = {
    "$": frozenset(
        "USD CAD AUD NZD SGD HKD TWD MXN ARS CLP COP UYU BMD BSD BBD BZD FJD JMD KYD TTD XCD".split()
    ),
    "£": frozenset("GBP EGP FKP GIP SHP SDG SSP SYP LBP".split()),
    "¥": frozenset("JPY CNY".split()),
    "kr": frozenset("SEK NOK DKK ISK".split()),
}

_AMOUNT = re.compile(
    r"(?P<sign>[+\-\u2212]?) ?(?P<before>[^\d\s.,+\-\u2212']{1,4})? ?"
    r"(?P<number>[+\-\u2212]?[\d.][\d.,' _\u2019]*?) ?(?P<after>[^\d\s.,+\-\u2212']{1,4})?"
).fullmatch
_THREE_DECIMALS = re.compile(r"[+\-\u2212]?[1-9][0-9]{0,2}\.[0-9]{3}").fullmatch


@cache
def currencies() -> frozenset[str]:
    """Every ISO 4217 code in use or once in use."""
    return frozenset(list_currencies())


def minor_digits(currency: str) -> int:
    """How many decimals the smallest unit has: 2 for USD, 0 for JPY, 3 for KWD."""
    return _DIGITS.get(currency, 2)


def _currency(word: str, default: str) -> str | Invalid:
    """The code that a code or sign means, where `default` is the field's currency."""
    if word.upper() in currencies():
        return word.upper()
    sign = word.casefold()
    if sign in _SIGNS:
        return _SIGNS[sign]
    if sign in _SHARED:
        return default if default in _SHARED[sign] else "GBP" if sign == "£" else SHARED_SIGN
    return UNKNOWN_CURRENCY


def _minor_units(text: str, currency: str) -> Value | Invalid:
    digits = minor_digits(currency)
    if digits < 3 and _THREE_DECIMALS(text):
        return TOO_PRECISE  # or a thousand: not guessed at
    number = parse_number(text, comma_groups=digits < 3)
    if isinstance(number, Invalid):
        return number
    sign, figures, exponent = number.as_tuple()
    shift = int(exponent) + digits
    value = int("".join(map(str, figures)))
    if shift >= 0:
        value *= 10**shift
    else:
        value, rest = divmod(value, 10**-shift)
        if rest:
            return TOO_PRECISE
    return (-value if sign else value, currency) if value < LIMIT else TOO_LARGE


def _parse(text: str, default: str, named: str) -> Value | Invalid:
    """An amount with or without its currency. `named`: the currency that stood beside it, or ""."""
    match = _AMOUNT(text)
    if match is None:
        return NO_NUMBER
    currency = named or default
    for word in (match["before"], match["after"]):
        if word:
            found = _currency(word, currency)
            if isinstance(found, Invalid):
                return found
            if named and found != named:
                return TWO_CURRENCIES
            currency = named = found
    return _minor_units(match["sign"] + match["number"], currency)


def money_reader(spec: ValueSpec, fillers: frozenset[str]) -> Reader:
    """money: from a number, a text such as "12.50 EUR" or "$12.50", or {"amount", "currency"}, all in major units.

    A pair (minor units, currency) is the canonical value itself. Without a currency, the field's counts.
    """

    def read(raw: object) -> Value | Invalid:
        named = ""
        if isinstance(raw, list | tuple):
            return _pair(raw)
        if isinstance(raw, dict):
            word = tidy_line(raw.get("currency"))
            raw = raw.get("amount")
            if type(word) is not str:
                return UNKNOWN_CURRENCY
            if word:
                found = _currency(word, spec.currency)
                if isinstance(found, Invalid):
                    return found
                named = found
        if isinstance(raw, bool):
            return NO_NUMBER
        text = tidy_line(raw)
        if type(text) is not str:
            return text
        if not text or text.casefold() in fillers:
            return None
        return _parse(text, spec.currency, named)

    return read


def _pair(raw: list[object] | tuple[object, ...]) -> Value | Invalid:
    if len(raw) != 2:
        return NO_NUMBER
    amount, currency = raw
    if type(amount) is not int or type(currency) is not str or currency not in currencies():
        return NO_NUMBER
    return (amount, currency) if -LIMIT < amount < LIMIT else TOO_LARGE


def major_units(minor: int, currency: str) -> str:
    """The amount as people write it, with all its decimals: (1250, "USD") -> "12.50"."""
    digits = minor_digits(currency)
    return format(Decimal(minor).scaleb(-digits), f".{digits}f")
