from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.core import values
from syncbroker.core.mapping import ValueSpec
from syncbroker.core.numbers import NOT_WHOLE
from syncbroker.core.types import Invalid, Type, Value

HOUR = "2024-05-01T10:00:00Z"


@pytest.mark.parametrize(
    ("kind", "transform", "raw", "value"),
    [
        (Type.COUNTRY, "country_name", "United States", "US"),
        (Type.COUNTRY, "country_alpha2", "US", "US"),
        (Type.COUNTRY, "country_alpha3", "USA", "US"),
        (Type.DATETIME, "epoch_seconds", 1714557600, HOUR),
        (Type.DATETIME, "epoch_seconds", 1714557600.5, "2024-05-01T10:00:00.5Z"),
        (Type.DATETIME, "epoch_millis", 1714557600000, HOUR),
        (Type.DATETIME, "epoch_millis", 1714557600123, "2024-05-01T10:00:00.123Z"),
        (Type.DATE, "epoch_millis", 1714521600000, "2024-05-01"),
        (Type.DATE, "epoch_seconds", -86400, "1969-12-31"),
        (Type.DATETIME, "naive_utc", "2024-05-01 10:00:00", HOUR),
        (Type.DATE, "date_us", "05/31/2024", "2024-05-31"),
        (Type.DATE, "date_eu", "31/05/2024", "2024-05-31"),
        (Type.BOOLEAN, "yes_no", "Yes", True),
        (Type.BOOLEAN, "yes_no", "No", False),
        (Type.BOOLEAN, "one_zero", "1", True),
        (Type.BOOLEAN, "on_off", "off", False),
        (Type.BOOLEAN, "true_false_text", "true", True),
        (Type.MONEY, "minor_units", 1250, (1250, "USD")),
        (Type.MONEY, "minor_units", "12.50 EUR", (1250, "EUR")),
        (Type.MONEY, "major_units", "12.50", (1250, "USD")),
        (Type.MONEY, "major_units", "12.50 EUR", (1250, "EUR")),
        (Type.DECIMAL, "json_number", 12.5, "12.5"),
        (Type.DECIMAL, "json_number", 12, "12"),
        (Type.TAGS, "comma_list", "beta,vip", ("beta", "vip")),
        (Type.TAGS, "semicolon_list", "beta;vip", ("beta", "vip")),
        (Type.EMAIL, "upper", "ANN@EXAMPLE.COM", "ann@example.com"),
        (Type.TAGS, "upper", ["BETA", "VIP"], ("beta", "vip")),
        (Type.COUNTRY, "lower", "us", "US"),
        (Type.TEXT, "trim", "a", "a"),
        (Type.PHONE, "national_phone", "(555) 123-4567", "+15551234567"),
        (Type.DOMAIN, "domain_url", "https://example.com", "example.com"),
    ],
)
def test_a_transform_reads_what_it_writes(kind: Type, transform: str, raw: object, value: Value) -> None:
    spec = ValueSpec(type=kind, transforms=(transform,))
    assert values.canonical(spec, raw) == value
    assert values.render(spec, value) == raw


@pytest.mark.parametrize(
    ("kind", "transform", "raw", "value"),
    [
        (Type.DATETIME, "epoch_seconds", "1714557600", HOUR),
        (Type.DATETIME, "epoch_seconds", HOUR, HOUR),
        (Type.DATE, "epoch_millis", 1714557600000, "2024-05-01"),
        (Type.DATE, "epoch_millis", "2024-05-01", "2024-05-01"),
        (Type.DATE, "date_us", "5/1/2024", "2024-05-01"),
        (Type.COUNTRY, "country_alpha3", "Germany", "DE"),
        (Type.MONEY, "minor_units", "1250", (1250, "USD")),
        (Type.MONEY, "minor_units", 1250.0, (1250, "USD")),
        (Type.MONEY, "minor_units", {"amount": "12.50", "currency": "USD"}, (1250, "USD")),
        (Type.MONEY, "minor_units", 12.5, NOT_WHOLE),
        (Type.MONEY, "minor_units", "12.50", NOT_WHOLE),
        (Type.TAGS, "comma_list", ["a"], ("a",)),
        (Type.BOOLEAN, "yes_no", "n/a", None),
        (Type.DATETIME, "epoch_millis", "n/a", None),
        (Type.DATETIME, "epoch_millis", "", None),
    ],
)
def test_a_transform_reads_more_than_it_writes(
    kind: Type, transform: str, raw: object, value: object
) -> None:
    assert values.canonical(ValueSpec(type=kind, transforms=(transform,)), raw) == value


@pytest.mark.parametrize(
    ("kind", "transform", "raw"),
    [
        (Type.DATE, "date_us", "31/05/2024"),
        (Type.DATE, "date_eu", "05/31/2024"),
        (Type.DATE, "epoch_millis", True),
        (Type.DATETIME, "epoch_seconds", 10**17),
        (Type.DATETIME, "naive_utc", "2024-13-01 10:00:00"),
    ],
)
def test_what_a_transform_cannot_read_is_left_for_the_type_to_refuse(
    kind: Type, transform: str, raw: object
) -> None:
    assert isinstance(values.canonical(ValueSpec(type=kind, transforms=(transform,)), raw), Invalid)


def test_transforms_are_read_in_order_and_written_in_reverse() -> None:
    spec = ValueSpec(type=Type.TAGS, transforms=("semicolon_list", "upper"))
    assert values.canonical(spec, "VIP;BETA") == ("beta", "vip")
    assert values.render(spec, ("beta", "vip")) == "BETA;VIP"


INSTANTS = st.integers(-62_135_596_800 * 10**9, 253_402_300_799 * 10**9)


@given(nanoseconds=INSTANTS, unit=st.sampled_from([1, 1000, 10**6, 10**9, 86400 * 10**9]))
def test_every_instant_and_date_survives_every_transform(nanoseconds: int, unit: int) -> None:
    for name, transform in values.TRANSFORMS.items():
        for kind in transform.fits & {Type.DATE, Type.DATETIME}:
            counted = ValueSpec(type=kind, transforms=("epoch_seconds",))
            spec = ValueSpec(type=kind, transforms=(name,))
            value = values.canonical(counted, nanoseconds // unit * unit // 10**9)
            if not isinstance(value, Invalid):
                assert values.canonical(spec, values.render(spec, value)) == value


@pytest.mark.parametrize("name", values.TRANSFORMS)
def test_every_transform_is_described_in_one_line_and_fits_something(name: str) -> None:
    transform = values.TRANSFORMS[name]
    assert transform.description
    assert "\n" not in transform.description
    assert transform.fits


def test_no_transform_changes_the_letter_case_of_text_or_names() -> None:
    for name in ("upper", "lower"):
        assert not values.TRANSFORMS[name].fits & {
            Type.TEXT,
            Type.COMPANY_NAME,
            Type.PERSON_NAME,
            Type.REFERENCE,
        }
