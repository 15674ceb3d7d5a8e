from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.core import values
from syncbroker.core.mapping import ValueSpec
from syncbroker.core.money import (
    SHARED_SIGN,
    TOO_PRECISE,
    TWO_CURRENCIES,
    UNKNOWN_CURRENCY,
    currencies,
    major_units,
    minor_digits,
)
from syncbroker.core.numbers import AMBIGUOUS, NO_NUMBER, NOT_WHOLE
from syncbroker.core.text import TOO_LARGE
from syncbroker.core.types import Type

INTEGER = ValueSpec(type=Type.INTEGER)
DECIMAL = ValueSpec(type=Type.DECIMAL)


@pytest.mark.parametrize(
    ("raw", "becomes"),
    [
        (5, 5),
        (5.0, 5),
        ("5", 5),
        (" +5 ", 5),
        ("-5", -5),
        ("\u22125", -5),
        ("5.0", 5),
        ("1,234", 1234),
        ("1,234,567", 1234567),
        ("1.234.567", 1234567),
        ("1 234", 1234),
        ("1\u202f234", 1234),
        ("1'234", 1234),
        ("007", 7),
        (2**63 - 1, 2**63 - 1),
        ("", None),
        ("n/a", None),
        ("1.234", AMBIGUOUS),
        ("1.5", NOT_WHOLE),
        (1.5, NOT_WHOLE),
        (1.234, NOT_WHOLE),
        (True, NO_NUMBER),
        ("five", NO_NUMBER),
        ("1,23", NOT_WHOLE),
        ("1,2,3", NO_NUMBER),
        ("0x10", NO_NUMBER),
        ("٣", NO_NUMBER),
        (2**63, TOO_LARGE),
        ("9" * 30, TOO_LARGE),
        ("9" * 5000, TOO_LARGE),
    ],
    ids=lambda raw: ascii(raw)[:20],
)
def test_an_integer_is_read_where_there_is_one_way_to_read_it(raw: object, becomes: object) -> None:
    assert values.canonical(INTEGER, raw) == becomes


@pytest.mark.parametrize(
    ("raw", "becomes"),
    [
        (12.5, "12.5"),
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (1e22, "10000000000000000000000"),
        (-0.0, "0"),
        (12, "12"),
        ("12.50", "12.5"),
        ("1e5", "100000"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-0.00", "0"),
        ("1,234.50", "1234.5"),
        ("1.234,50", "1234.5"),
        ("1 234,5", "1234.5"),
        ("12,50", "12.5"),
        ("0,125", "0.125"),
        ("1234,125", "1234.125"),
        ("1.234", "1.234"),
        ("1,234,567", "1234567"),
        ("1,234", AMBIGUOUS),
        ("0,234.5", NO_NUMBER),
        ("12%", NO_NUMBER),
        ("NaN", None),
        ("Infinity", NO_NUMBER),
        ("1e999", TOO_LARGE),
        (True, NO_NUMBER),
        ([1], values.canonical(ValueSpec(type=Type.TEXT), [1])),
    ],
    ids=ascii,
)
def test_a_decimal_is_exact(raw: object, becomes: object) -> None:
    assert values.canonical(DECIMAL, raw) == becomes


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=6))
def test_a_decimal_keeps_its_value(number: Decimal) -> None:
    text = values.canonical(DECIMAL, str(number))
    assert isinstance(text, str)
    assert Decimal(text) == number


@pytest.mark.parametrize(
    ("currency", "raw", "becomes"),
    [
        ("USD", 12.5, (1250, "USD")),
        ("USD", 12, (1200, "USD")),
        ("USD", "12.50", (1250, "USD")),
        ("USD", "12.50 EUR", (1250, "EUR")),
        ("USD", "EUR 12.50", (1250, "EUR")),
        ("USD", "12.50eur", (1250, "EUR")),
        ("USD", "$12.50", (1250, "USD")),
        ("CAD", "$12.50", (1250, "CAD")),
        ("USD", "US$ 12", (1200, "USD")),
        ("EUR", "US$12", (1200, "USD")),
        ("USD", "€12,50", (1250, "EUR")),
        ("USD", "12,50 €", (1250, "EUR")),
        ("EUR", "£3", (300, "GBP")),
        ("SEK", "100 kr", (10000, "SEK")),
        ("USD", "-$5", (-500, "USD")),
        ("USD", "$-5", (-500, "USD")),
        ("USD", "$1,234", (123400, "USD")),
        ("USD", "1,234,567.89", (123456789, "USD")),
        ("USD", {"amount": "12.5", "currency": "eur"}, (1250, "EUR")),
        ("USD", {"amount": 12}, (1200, "USD")),
        ("USD", {"amount": "12 EUR", "currency": "EUR"}, (1200, "EUR")),
        ("USD", [1250, "EUR"], (1250, "EUR")),
        ("JPY", 500, (500, "JPY")),
        ("USD", "500 JPY", (500, "JPY")),
        ("KWD", "1.234", (1234, "KWD")),
        ("USD", "12.5000", (1250, "USD")),
        ("RSD", "12.50", (1250, "RSD")),
        ("USD", {"amount": None, "currency": "USD"}, None),
        ("USD", "", None),
        ("USD", "12.345", TOO_PRECISE),
        ("USD", 12.345, TOO_PRECISE),
        ("EUR", "1.234", TOO_PRECISE),
        ("JPY", "1.5", TOO_PRECISE),
        ("KWD", "1,234", AMBIGUOUS),
        ("EUR", "$12", SHARED_SIGN),
        ("USD", "kr 12", SHARED_SIGN),
        ("USD", "12 ABC", UNKNOWN_CURRENCY),
        ("USD", {"amount": 1, "currency": "ABC"}, UNKNOWN_CURRENCY),
        ("USD", {"amount": 1, "currency": ["EUR"]}, UNKNOWN_CURRENCY),
        ("USD", {"amount": "1 USD", "currency": "EUR"}, TWO_CURRENCIES),
        ("USD", "EUR 1 USD", TWO_CURRENCIES),
        ("USD", "twelve", NO_NUMBER),
        ("USD", True, NO_NUMBER),
        ("USD", [1, 2], NO_NUMBER),
        ("USD", 10**20, TOO_LARGE),
    ],
    ids=ascii,
)
def test_money_is_counted_in_the_smallest_unit(currency: str, raw: object, becomes: object) -> None:
    assert values.canonical(ValueSpec(type=Type.MONEY, currency=currency), raw) == becomes


@pytest.mark.parametrize(
    ("minor", "currency", "major"),
    [(1250, "USD", "12.50"), (-5, "USD", "-0.05"), (500, "JPY", "500"), (1, "KWD", "0.001")],
)
def test_an_amount_is_written_with_all_its_decimals(minor: int, currency: str, major: str) -> None:
    assert major_units(minor, currency) == major


@given(minor=st.integers(-(2**63) + 1, 2**63 - 1), currency=st.sampled_from(sorted(currencies())))
def test_every_amount_reads_back_as_it_was_written(minor: int, currency: str) -> None:
    for transforms in [(), ("minor_units",), ("major_units",)]:
        for own in (currency, "USD"):
            spec = ValueSpec(type=Type.MONEY, currency=own, transforms=transforms)
            assert values.canonical(spec, values.render(spec, (minor, currency))) == (minor, currency)


def test_decimals_follow_iso_4217() -> None:
    assert [minor_digits(code) for code in ("USD", "JPY", "KWD", "RSD", "CLF")] == [2, 0, 3, 2, 4]
