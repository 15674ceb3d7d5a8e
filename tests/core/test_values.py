"""The laws that hold for every type, and the table a person would try first."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncbroker.core import values
from syncbroker.core.mapping import ValueSpec
from syncbroker.core.types import Invalid, Type, Value

SOURCES = (
    ("Website", "web", "online form"),
    ("Referral", "word of mouth"),
    ("None of these", "none", "n/a"),
)
SPECS: dict[str, ValueSpec] = {
    **{kind.value: ValueSpec(type=kind) for kind in Type},
    "choice with choices": ValueSpec(type=Type.CHOICE, choices=SOURCES),
    "choice with out": ValueSpec(
        type=Type.CHOICE, choices=SOURCES, out=(("Website", "WEB_1"), ("None of these", "unknown"))
    ),
    "choice in capitals": ValueSpec(type=Type.CHOICE, choices=SOURCES, transforms=("trim", "upper")),
    "boolean with out": ValueSpec(type=Type.BOOLEAN, out=(("true", "subscribed"), ("false", "none"))),
    "phone in Britain": ValueSpec(type=Type.PHONE, region="GB"),
    "phone written nationally": ValueSpec(type=Type.PHONE, region="DE", transforms=("national_phone",)),
    "money in yen": ValueSpec(type=Type.MONEY, currency="JPY"),
    "money in dinars": ValueSpec(type=Type.MONEY, currency="KWD", transforms=("minor_units",)),
    "money in cents": ValueSpec(type=Type.MONEY, transforms=("minor_units",)),
    "money as text": ValueSpec(type=Type.MONEY, currency="EUR", transforms=("major_units",)),
    "company with aliases": ValueSpec(
        type=Type.COMPANY_NAME,
        aliases=(("acme", "ACME Holdings"), ("ACME Holdings", "Apex"), ("x", "Acme Ltd")),
    ),
    **{
        f"{kind.value} through {name}": ValueSpec(
            type=kind, transforms=(name,), choices=SOURCES if kind is Type.CHOICE else ()
        )
        for name, transform in values.TRANSFORMS.items()
        for kind in sorted(transform.fits)
    },
    **{
        f"{kind.value} with placeholders": ValueSpec(
            type=kind, placeholders=("0", "xxx", "none@none.com", "1970-01-01", "acme.com", "99999", "ann")
        )
        for kind in Type
    },
}

# What people and systems put into fields of each type, good and bad.
SAMPLES: list[Any] = [
    "", " ", "N/A", "none", "-", "0", 0, "1", 1, -1, 1.5, 1e300, 2**80, True, "yes", "off", "a\0b", "\ud800", "ann",
    "Ann@Example.com", "Ann <ann@example.com>", "mailto:ann@example.com?subject=x", "jörg@exämple.de", "a@b@c", "@",
    "none@none.com", "(555) 123-4567", "+1 555 123 4567 ext. 89", "+442079460958", "030 1234567", "555-1234",
    "0000000000", "US", "U.S.A.", "Türkiye", "Côte d\u2019Ivoire", "840", 840, "web", "ONLINE  form", "n/a",
    "WEB_1", "unknown",
    "1,234", "1.234", "1,234.50", "1.234,50", "12,50", "1e5", "-0.0", "$12.50", "12.50 EUR", "EUR 5", "kr 5",
    {"amount": "12.50", "currency": "usd"}, {"amount": None, "currency": "EUR"}, [1250, "USD"], [1, 2, 3],
    "2024-05-01", "2024-5-1", "05/13/2024", "2024-02-30", "2024-05-01T10:00:00Z", "2024-05-01 10:00:00.120 +0200",
    "2024-06-30T23:59:60Z", "0001-01-01T00:00:00+05:00", "9999-12-31", 1714521600, 1714521600000, "1714521600.5",
    "example.com", "HTTP://WWW.Example.com:80/?a=%c3#x", "münchen.de/straße", "https://[::1]:8443/", "http://",
    "javascript:alert(1)", "acme corp", "ACME", "Acme Inc; Ltd", "The Limited", "Smith & Co", "O\u2019BRIEN",
    "VAN DER BERG", "ǆ", "İstanbul ltd", "ΟΔΥΣΣΕΥΣ", "straße gmbh", ["VIP", " vip ", {"name": "Beta"}],
    ["a,b", 'c"d', "e;f"], 'x, "y,z"', [], {}, [[]], [None], {"name": "x"},
]  # fmt: skip

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
MONEY_LIKE = st.fixed_dictionaries(
    {"amount": JSON, "currency": st.sampled_from(["USD", "jpy", "KWD", "€", "XXX"]) | JSON}
)
PEOPLE_WRITE = st.lists(
    st.sampled_from([str(sample) for sample in SAMPLES if isinstance(sample, str | int)])
    | st.text(alphabet="aAbB zZ.,;:&/-'()@+0123456789éßİǆΣ\u0301\u2019\u00a0\n", max_size=12),
    min_size=1,
    max_size=3,
).map(" ".join)
RAW = st.sampled_from(SAMPLES) | PEOPLE_WRITE | JSON | MONEY_LIKE | st.lists(PEOPLE_WRITE, max_size=4)
NAME = st.sampled_from(sorted(SPECS))


@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
def test_the_specs_used_here_would_pass_a_mapping_check(spec: ValueSpec) -> None:
    assert values.problems(spec) == ()


@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
def test_what_is_sent_of_the_samples_reads_back_as_the_same_value(spec: ValueSpec) -> None:
    for raw in SAMPLES:
        value = values.canonical(spec, raw)
        if not isinstance(value, Invalid):
            assert values.canonical(spec, values.render(spec, value)) == value


@given(name=NAME, raw=RAW)
def test_whatever_is_sent_reads_back_as_the_same_value(name: str, raw: object) -> None:
    spec = SPECS[name]
    value = values.canonical(spec, raw)
    if not isinstance(value, Invalid):
        assert values.canonical(spec, values.render(spec, value)) == value


@given(kind=st.sampled_from(Type), raw=RAW)
def test_a_canonical_value_is_its_own_canonical_value(kind: Type, raw: object) -> None:
    spec = ValueSpec(type=kind)
    value = values.canonical(spec, raw)
    if not isinstance(value, Invalid):
        assert values.canonical(spec, value) == value
        assert values.canonical(spec, list(value) if isinstance(value, tuple) else value) == value


@given(name=NAME, raw=JSON | RAW)
@example(name="text", raw=10**5000)
@example(name="integer", raw="9" * 5000)
@example(name="domain", raw="ß" * 5000)
@example(name="decimal", raw=float("nan"))
@example(name="url", raw="https://a.b:" + "9" * 5000)
@example(name="phone", raw="+" + "٣" * 300)
def test_no_json_value_raises(name: str, raw: object) -> None:
    spec = SPECS[name]
    value = values.canonical(spec, raw)
    values.is_placeholder(spec, raw)
    if not isinstance(value, Invalid):
        values.key(spec, value)
        values.compare(spec, value, value)


@given(name=NAME, raw=RAW)
def test_a_canonical_value_is_of_the_documented_kind(name: str, raw: object) -> None:
    spec = SPECS[name]
    value = values.canonical(spec, raw)
    if value is None or isinstance(value, Invalid):
        return
    match spec.type:
        case Type.BOOLEAN:
            assert type(value) is bool
        case Type.INTEGER:
            assert type(value) is int
        case Type.MONEY:
            assert isinstance(value, tuple)
            assert [type(part) for part in value] == [int, str]
        case Type.TAGS:
            assert isinstance(value, tuple)
            assert value
            assert list(value) == sorted(set(map(str, value)))
        case _:
            assert type(value) is str
            assert value.strip()


@given(name=NAME, raw=RAW)
def test_a_reason_never_quotes_the_value(name: str, raw: object) -> None:
    spec = SPECS[name]
    value = values.canonical(spec, "qzqz" + raw if isinstance(raw, str) else raw)
    if isinstance(value, Invalid):
        assert "qzqz" not in value.reason
        assert value.reason


@pytest.mark.parametrize(
    ("spec", "raws", "becomes"),
    [
        (
            ValueSpec(type=Type.COMPANY_NAME),
            ["acme corp", "Acme Corporation", "ACME CORPORATION"],
            "Acme Corporation",
        ),
        (
            ValueSpec(type=Type.PHONE, region="US"),
            ["(555) 123-4567", "5551234567", "+1-555-123-4567", 5551234567, "1 555 123 4567", "555.123.4567"],
            "+15551234567",
        ),
        (
            ValueSpec(type=Type.CHOICE, choices=SOURCES),
            ["Website", "website", "web", "online form", "WEB", " online  form "],
            "Website",
        ),
        (ValueSpec(type=Type.COUNTRY), ["US", "USA", "United States", "U.S.A.", "us", "united states"], "US"),
    ],
    ids=["company", "phone", "lead source", "country"],
)
def test_what_a_person_would_try_becomes_one_value(spec: ValueSpec, raws: list[object], becomes: str) -> None:
    assert {values.canonical(spec, raw) for raw in raws} == {becomes}


def test_a_local_phone_number_is_refused() -> None:
    assert isinstance(values.canonical(ValueSpec(type=Type.PHONE, region="US"), "555-1234"), Invalid)


def test_an_unknown_choice_is_not_guessed() -> None:
    spec = ValueSpec(type=Type.CHOICE, choices=SOURCES)
    assert values.canonical(spec, "websites") == Invalid("unknown choice")


def test_the_country_is_shown_by_its_english_name() -> None:
    spec = ValueSpec(type=Type.COUNTRY, transforms=("country_name",))
    assert values.render(spec, "US") == "United States"


def test_a_company_in_capitals_matches_its_full_name_by_key() -> None:
    spec = ValueSpec(type=Type.COMPANY_NAME)
    short, full = values.canonical(spec, "ACME"), values.canonical(spec, "Acme Corporation")
    assert not isinstance(short, Invalid)
    assert not isinstance(full, Invalid)
    assert values.key(spec, short) == values.key(spec, full) == "acme"
    assert values.best_variant(spec, short, full) == "Acme Corporation"


def test_empty_renders_to_null_on_every_type() -> None:
    assert {values.render(spec, None) for spec in SPECS.values()} == {None}


@pytest.mark.parametrize(
    "raw", [None, "", "  ", "\u200b", [], {}, [None, ""], {"amount": "", "currency": "USD"}], ids=ascii
)
def test_what_is_bare_is_empty_and_no_placeholder(raw: object) -> None:
    kind = Type.MONEY if isinstance(raw, dict) else Type.TAGS if isinstance(raw, list) else Type.TEXT
    spec = ValueSpec(type=kind)
    assert values.is_placeholder(spec, raw) is False


@pytest.mark.parametrize(
    ("kind", "a", "b"),
    [
        (Type.INTEGER, 2, 10),
        (Type.DECIMAL, "9.5", "10"),
        (Type.BOOLEAN, False, True),
        (Type.MONEY, (900, "USD"), (1000, "USD")),
        (Type.DATE, "0999-12-31", "2024-01-01"),
        (Type.DATETIME, "2024-05-01T10:00:00Z", "2024-05-01T10:00:00.5Z"),
        (Type.DATETIME, "2024-05-01T10:00:00.5Z", "2024-05-01T10:00:01Z"),
        (Type.TEXT, "zz", "aaa"),
        (Type.COMPANY_NAME, "Acme", "Acme Corporation"),
        (Type.TAGS, ("z",), ("a", "b")),
    ],
)
def test_the_larger_value_compares_as_larger(kind: Type, a: Value, b: Value) -> None:
    spec = ValueSpec(type=kind)
    assert values.compare(spec, a, b) < 0 < values.compare(spec, b, a)


def test_choices_compare_in_the_order_of_the_mapping() -> None:
    spec = ValueSpec(type=Type.CHOICE, choices=(("Lead",), ("Customer",), ("Advocate",)))
    assert values.compare(spec, "Lead", "Customer") < 0 < values.compare(spec, "Advocate", "Customer")


@pytest.mark.parametrize(
    ("kind", "a", "b"),
    [
        (Type.MONEY, (1, "USD"), (2, "EUR")),
        (Type.EMAIL, "a@example.com", "ab@example.com"),
        (Type.COUNTRY, "DE", "US"),
        (Type.INTEGER, 1, None),
        (Type.TEXT, None, "a"),
        (Type.TEXT, "a", 1),
    ],
)
def test_what_has_no_order_compares_as_equal(kind: Type, a: Value, b: Value) -> None:
    assert values.compare(ValueSpec(type=kind), a, b) == 0


@given(name=NAME, first=RAW, second=RAW)
def test_comparing_is_antisymmetric(name: str, first: object, second: object) -> None:
    spec = SPECS[name]
    a, b = values.canonical(spec, first), values.canonical(spec, second)
    if not isinstance(a, Invalid) and not isinstance(b, Invalid):
        assert values.compare(spec, a, b) == -values.compare(spec, b, a)


@given(name=NAME, first=RAW, second=RAW)
def test_the_best_variant_does_not_depend_on_who_came_first(name: str, first: object, second: object) -> None:
    spec = SPECS[name]
    a, b = values.canonical(spec, first), values.canonical(spec, second)
    if not isinstance(a, Invalid) and not isinstance(b, Invalid):
        assert values.best_variant(spec, a, b) == values.best_variant(spec, b, a)


def test_of_two_spellings_the_deliberate_one_stands() -> None:
    assert values.best_variant(ValueSpec(type=Type.COMPANY_NAME), "Ebay", "eBay") == "eBay"


def test_the_alias_table_names_a_company_before_the_longest_variant() -> None:
    spec = ValueSpec(type=Type.COMPANY_NAME, aliases=(("acme", "ACME"),))
    assert values.best_variant(spec, "Acme Corporation", "Acme") == "ACME"


@pytest.mark.parametrize(
    ("kind", "value", "key"),
    [
        (Type.TEXT, "Straße", "strasse"),
        (Type.EMAIL, "ann@example.com", "ann@example.com"),
        (Type.PERSON_NAME, "Jörg O'Brien", "jorg obrien"),
        (Type.COMPANY_NAME, "Müller GmbH & Co. KG", "muller"),
        (Type.URL, "https://www.example.com/a/", "example.com/a"),
        (Type.MONEY, (1250, "USD"), "1250 USD"),
        (Type.BOOLEAN, True, "true"),
        (Type.INTEGER, 7, "7"),
        (Type.TAGS, ("a",), None),
        (Type.TEXT, None, None),
    ],
)
def test_the_match_key_leaves_out_what_spellings_differ_in(kind: Type, value: Value, key: str | None) -> None:
    assert values.key(ValueSpec(type=kind), value) == key


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (ValueSpec(type=Type.TEXT, transforms=("rot13",)), "unknown transform `rot13`"),
        (ValueSpec(type=Type.TEXT, transforms=("upper",)), "does not fit the type text"),
        (ValueSpec(type=Type.CHOICE, transforms=("upper",)), "needs choices"),
        (ValueSpec(type=Type.CHOICE, choices=(("A", "x"), ("B", "X"))), "`X` stands for both `A` and `B`"),
        (ValueSpec(type=Type.CHOICE, choices=(("A",), ("B",)), out=(("C", "c"),)), "`C`, which is no choice"),
        (ValueSpec(type=Type.CHOICE, choices=(("A",), ("B",)), out=(("A", "B"),)), "does not read back"),
        (ValueSpec(type=Type.BOOLEAN, out=(("true", "x"), ("false", "x"))), "does not read back"),
        (ValueSpec(type=Type.BOOLEAN, transforms=("one_zero",), placeholders=("0",)), "does not read back"),
        (ValueSpec(type=Type.TEXT, out=(("A", "B"),)), "for choices and booleans"),
        (ValueSpec(type=Type.PHONE, region="UK"), "region"),
        (ValueSpec(type=Type.MONEY, currency="EURO"), "currency"),
    ],
)
def test_a_spec_that_does_not_work_two_ways_is_reported(spec: ValueSpec, says: str) -> None:
    assert any(says in problem for problem in values.problems(spec))


def test_compiling_twice_gives_the_same_reader() -> None:
    first, second = (values.compile(ValueSpec(type=Type.EMAIL)) for _ in range(2))
    assert first is second
