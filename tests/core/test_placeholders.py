from __future__ import annotations

import pytest

from syncbroker.core import values
from syncbroker.core.mapping import ValueSpec
from syncbroker.core.types import Type


@pytest.mark.parametrize(
    "raw", ["N/A", "unknown", " Not  Provided ", "-", "--", "?", "#N/A", "(none)", "undefined", "\u2014"]
)
@pytest.mark.parametrize("kind", [kind for kind in Type if kind is not Type.REFERENCE])
def test_filler_is_empty_on_every_type_but_references(kind: Type, raw: str) -> None:
    spec = ValueSpec(type=kind)
    assert values.canonical(spec, raw) is None
    assert values.is_placeholder(spec, raw)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (Type.PERSON_NAME, "Null"),
        (Type.PERSON_NAME, "None"),
        (Type.PERSON_NAME, "Na"),
        (Type.PERSON_NAME, "Tba"),
        (Type.COUNTRY, "NA"),
        (Type.TEXT, "no"),
        (Type.TEXT, "0"),
        (Type.TEXT, "test"),
        (Type.BOOLEAN, "no"),
        (Type.REFERENCE, "unknown"),
        (Type.INTEGER, 0),
    ],
)
def test_what_may_be_meant_is_no_filler(kind: Type, raw: object) -> None:
    spec = ValueSpec(type=kind)
    assert values.canonical(spec, raw) is not None
    assert not values.is_placeholder(spec, raw)


@pytest.mark.parametrize(
    ("kind", "placeholder", "raw"),
    [
        (Type.TEXT, "XXX", "xxx"),
        (Type.EMAIL, "none@example.com", "None@Example.com"),
        (Type.PHONE, "+15555555555", "(555) 555-5555"),
        (Type.PHONE, "555-555-5555", "555-555-5555"),
        (Type.INTEGER, "99999", 99999),
        (Type.DECIMAL, "0", 0.0),
        (Type.DATE, "1970-01-01", "1970-01-01"),
        (Type.DATE, "1970-01-01", "1970-01-01T00:00:00Z"),
        (Type.URL, "https://Example.com", "https://example.com"),
        (Type.DOMAIN, "example.com", "www.example.com"),
        (Type.COMPANY_NAME, "self", "Self"),
        (Type.PERSON_NAME, "customer", "CUSTOMER"),
        (Type.TAGS, "imported", ["Imported"]),
        (Type.REFERENCE, "0", 0),
        (Type.CHOICE, "select one", "Select  one"),
    ],
)
def test_a_mapping_adds_its_own_filler(kind: Type, placeholder: str, raw: object) -> None:
    choices = (("A",),) if kind is Type.CHOICE else ()
    spec = ValueSpec(type=kind, placeholders=(placeholder,), choices=choices)
    assert values.canonical(spec, raw) is None
    assert values.is_placeholder(spec, raw)


def test_filler_is_seen_before_a_transform_reads_the_value() -> None:
    spec = ValueSpec(type=Type.DATE, transforms=("epoch_millis",), placeholders=("0",))
    assert values.canonical(spec, "0") is None


def test_a_choice_is_never_filler() -> None:
    spec = ValueSpec(type=Type.CHOICE, choices=(("Unknown",), ("A", "none")), placeholders=("unknown",))
    assert [values.canonical(spec, raw) for raw in ("unknown", "None", "n/a")] == ["Unknown", "A", None]
