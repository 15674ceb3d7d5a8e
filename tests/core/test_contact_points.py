from __future__ import annotations

import phonenumbers
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given
from hypothesis import strategies as st

from syncbroker.core import values
from syncbroker.core.contact_points import (
    IMPOSSIBLE_LENGTH,
    LOCAL_ONLY,
    NO_AT_SIGN,
    NO_EMAIL,
    NO_PHONE,
    SEVERAL_PHONES,
    fast_email,
    fast_phone,
)
from syncbroker.core.mapping import ValueSpec
from syncbroker.core.types import Type

EMAIL = ValueSpec(type=Type.EMAIL)
PHONE = ValueSpec(type=Type.PHONE, region="US")

# ---------------------------------------------------------------------------------------------------------- e-mail


@pytest.mark.parametrize(
    ("raw", "becomes"),
    [
        ("Ann.Smith@Example.COM", "ann.smith@example.com"),
        (" ann+news@example.com\n", "ann+news@example.com"),
        ("mailto:Ann@example.com?subject=Hi", "ann@example.com"),
        ("Ann Smith <ann@example.com>", "ann@example.com"),
        ('"Smith, Ann" <Ann@example.com> ', "ann@example.com"),
        ("jörg@exämple.de", "jörg@xn--exmple-cua.de"),
        ("jörg@xn--exmple-cua.de", "jörg@xn--exmple-cua.de"),
        ("a@b.example", "a@b.example"),
        ("\u200bann@example.com", "ann@example.com"),
        ("none", None),
        ("N/A", None),
        ("", None),
    ],
)
def test_an_address_is_lower_case_and_bare(raw: str, becomes: str | None) -> None:
    assert values.canonical(EMAIL, raw) == becomes


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("ann", NO_AT_SIGN),
        ("ann.example.com", NO_AT_SIGN),
        ("@example.com", NO_EMAIL),
        ("ann@", NO_EMAIL),
        ("ann@example", NO_EMAIL),
        ("ann@exam ple.com", NO_EMAIL),
        ("a..b@example.com", NO_EMAIL),
        ("ann@example.com, bob@example.com", NO_EMAIL),
        ("ann@-example.com", NO_EMAIL),
        ("ann@example.test", NO_EMAIL),
        ("ann@corp.local", NO_EMAIL),
        ("ann@[127.0.0.1]", NO_EMAIL),
        ('"a b"@example.com', NO_EMAIL),
        ("a" * 250 + "@example.com", NO_EMAIL),
    ],
)
def test_what_no_mail_reaches_is_refused(raw: str, reason: object) -> None:
    assert values.canonical(EMAIL, raw) == reason


def _library_email(text: str) -> str | None:
    try:
        found = validate_email(
            text,
            check_deliverability=False,
            allow_smtputf8=True,
            test_environment=False,
            globally_deliverable=True,
        )
    except EmailNotValidError:
        return None
    return f"{found.local_part}@{found.ascii_domain}"


ATOMS = st.text(alphabet="abz09._+-'!#=@ \u00e9", min_size=1, max_size=8)
LABELS = st.text(alphabet="abzx09-_", min_size=1, max_size=6) | st.sampled_from(
    ["xn--", "xn--a", "a" * 63, "a" * 64, "b--c"]
)
ENDINGS = st.sampled_from(
    ["com", "test", "local", "arpa", "x", "c0m", "museum", "123", "xn--p1ai", "de.", "onion", "a" * 63]
)
ADDRESSES = st.builds(
    lambda local, labels, ending: f"{local}@{'.'.join([*labels, ending])}",
    ATOMS | st.just("a" * 240),
    st.lists(LABELS, max_size=4),
    ENDINGS,
)


@given(st.emails().map(str.lower) | ADDRESSES | st.text(alphabet="ab@.-", max_size=12))
@example("a@" + "b" * 63 + ".com")
@example("a@" + "b" * 64 + ".com")
@example("a" * 249 + "@b.co")
@example("a" * 250 + "@b.co")
def test_the_fast_path_for_addresses_says_what_the_library_says(text: str) -> None:
    assert fast_email(text) in (None, _library_email(text))


@pytest.mark.parametrize("text", ["ann@example.com", "a.b-c+d@mail.sub-1.example.museum", "o'neil_1@x.co"])
def test_the_fast_path_answers_for_usual_addresses(text: str) -> None:
    assert fast_email(text) == text


# ----------------------------------------------------------------------------------------------------------- phone


@pytest.mark.parametrize(
    ("region", "raw", "becomes"),
    [
        ("US", "(555) 123-4567", "+15551234567"),
        ("US", "+1 (555) 123-4567", "+15551234567"),
        ("US", "1-800-FLOWERS", "+18003569377"),
        ("US", "tel:+1-555-123-4567", "+15551234567"),
        ("US", "Phone: 555 123 4567", "+15551234567"),
        ("US", "\u202a+1 555 123 4567\u202c", "+15551234567"),
        ("US", "011 44 20 7946 0958", "+442079460958"),
        ("US", 5551234567, "+15551234567"),
        ("US", 5551234567.0, "+15551234567"),
        ("us", "5551234567", "+15551234567"),
        ("CA", "5551234567", "+15551234567"),
        ("GB", "020 7946 0958", "+442079460958"),
        ("GB", "+44 (0)20 7946 0958", "+442079460958"),
        ("GB", "00 1 555 123 4567", "+15551234567"),
        ("DE", "030 1234567", "+49301234567"),
        ("DE", "02102/123456", "+492102123456"),
        ("FR", "01 23 45 67 89", "+33123456789"),
        ("IT", "06 1234 5678", "+390612345678"),
        ("US", "555-123-4567 x89", "+15551234567;ext=89"),
        ("US", "+15551234567 ext. 89", "+15551234567;ext=89"),
        ("US", "+15551234567;ext=89", "+15551234567;ext=89"),
        ("US", "000-000-0000", None),
        ("US", "unknown", None),
    ],
)
def test_a_number_becomes_e164(region: str, raw: object, becomes: str | None) -> None:
    assert values.canonical(ValueSpec(type=Type.PHONE, region=region), raw) == becomes


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("555-1234", LOCAL_ONLY),
        ("call me", NO_PHONE),
        ("1", NO_PHONE),
        ("12", IMPOSSIBLE_LENGTH),
        ("+999 123 4567", NO_PHONE),
        ("555 123 456", IMPOSSIBLE_LENGTH),
        ("555 123 45678", IMPOSSIBLE_LENGTH),
        ("555 123 4567 / 555 123 4568", SEVERAL_PHONES),
        ("5551234567 or 5551234568", SEVERAL_PHONES),
        ("5" * 300, NO_PHONE),
    ],
)
def test_what_rings_nowhere_is_refused(raw: str, reason: object) -> None:
    assert values.canonical(PHONE, raw) == reason


def test_an_extension_is_written_out_when_sent() -> None:
    assert values.render(PHONE, "+15551234567;ext=89") == "+15551234567 ext. 89"


def _library_phone(text: str, region: str) -> str | None:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    if number.extension:
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


def _examples(region: str) -> list[str]:
    """The library's example number of each region, as it is written abroad and at home."""
    number = phonenumbers.example_number(region)
    return (
        [str(phonenumbers.format_number(number, form)) for form in (0, 1, 2)] if number else ["+15551234567"]
    )


EXAMPLES = st.sampled_from(REGIONS).flatmap(lambda region: st.sampled_from(_examples(region)))
DIGITS = st.text(alphabet="0123456789", min_size=3, max_size=14)
PUNCTUATED = st.lists(st.text(alphabet="0123456789", min_size=1, max_size=5), min_size=1, max_size=5).flatmap(
    lambda groups: st.sampled_from([" ", "-", ".", ") ", "", " ("]).map(lambda between: between.join(groups))
)
PREFIXES = st.sampled_from(["", "+", "00", "0", "1", "+1", "+44", "+49", "+390", "011", "8", "(", "+("])


@given(
    text=EXAMPLES | st.builds(str.__add__, PREFIXES, DIGITS | PUNCTUATED),
    region=st.sampled_from(["US", "GB", "DE", "FR", "IT", "CA", "AU", "BR"]) | st.sampled_from(REGIONS),
)
@example(text="+15551234567", region="GB")
@example(text="15551234567", region="US")
@example(text="0180020", region="GB")
@example(text="0", region="US")
def test_the_fast_path_for_numbers_says_what_the_library_says(text: str, region: str) -> None:
    assert fast_phone(text, region) in (None, _library_phone(text, region))


@pytest.mark.parametrize("region", REGIONS)
def test_the_fast_path_agrees_on_the_examples_of_every_region(region: str) -> None:
    for text in _examples(region):
        assert fast_phone(text, region) in (None, _library_phone(text, region))


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("+15551234567", "DE"),
        ("+442079460958", "US"),
        ("(555) 123-4567", "US"),
        ("555.123.4567", "CA"),
        ("1 555 123 4567", "US"),
        ("020 7946 0958", "GB"),
        ("030 1234567", "DE"),
    ],
)
def test_the_fast_path_answers_for_usual_numbers(text: str, region: str) -> None:
    assert fast_phone(text, region) is not None


@pytest.mark.parametrize(
    ("region", "value", "sent"),
    [
        ("US", "+15551234567", "(555) 123-4567"),
        ("GB", "+442079460958", "020 7946 0958"),
        ("US", "+15551234567;ext=89", "(555) 123-4567 ext. 89"),
    ],
)
def test_a_number_of_the_region_is_sent_as_people_there_write_it(region: str, value: str, sent: str) -> None:
    spec = ValueSpec(type=Type.PHONE, region=region, transforms=("national_phone",))
    assert values.render(spec, value) == sent


def test_a_number_from_abroad_is_sent_as_it_is() -> None:
    spec = ValueSpec(type=Type.PHONE, region="US", transforms=("national_phone",))
    assert values.render(spec, "+442079460958") == "+442079460958"
