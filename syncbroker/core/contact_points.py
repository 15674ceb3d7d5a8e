"""E-mail addresses and phone numbers: what reaches a person, in the one form that compares.

Both have a library that knows the rules and takes 40 to 75 µs a value. So each has a fast path that answers only for
common shapes, and then exactly as the library would (a property test holds them equal); `None` from a fast path means
that it has no opinion. The tables of the phone fast path are read from the library's own metadata.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import phonenumbers
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    PhoneMetadata,
    PhoneNumberDesc,
    PhoneNumberFormat,
    ValidationResult,
)

from syncbroker.core.mapping import ValueSpec
from syncbroker.core.text import Reader, tidy_line
from syncbroker.core.types import Invalid, Value

NO_EMAIL = Invalid("not a valid e-mail address")
NO_AT_SIGN = Invalid("not an e-mail address: it has no @")
NO_PHONE = Invalid("not a phone number")
LOCAL_ONLY = Invalid("a local phone number: the area code is missing")
IMPOSSIBLE_LENGTH = Invalid("no phone number of that country has this length")
SEVERAL_PHONES = Invalid("more than one phone number")

# ---------------------------------------------------------------------------------------------------------- e-mail

_LONGEST_EMAIL = 254  # RFC 5321 4.5.3.1.3
_ATOM = r"[a-z0-9_!#$%&'*+\-/=?^`{|}~]+"
_PLAIN_EMAIL = re.compile(
    rf"{_ATOM}(?:\.{_ATOM})*@((?:[a-z0-9]+(?:-[a-z0-9]+)*\.)+([a-z]{{2,63}}))"
).fullmatch
_SPECIAL_ENDINGS = frozenset(name.rpartition(".")[2] for name in SPECIAL_USE_DOMAIN_NAMES)


def fast_email(text: str) -> str | None:
    """The canonical form of a lower-case ASCII address of the usual shape; None: ask the library."""
    match = _PLAIN_EMAIL(text)
    if match is None or len(text) > _LONGEST_EMAIL or match[2] in _SPECIAL_ENDINGS:
        return None
    # A domain of 64 characters cannot have a label of more than 63.
    return text if len(match[1]) <= 64 else None


def slow_email(text: str) -> str | Invalid:
    """The canonical form of any lower-case address, by the library."""
    if "@" not in text:
        return NO_AT_SIGN
    if len(text) > _LONGEST_EMAIL:
        return NO_EMAIL
    try:
        found = validate_email(
            text,
            allow_smtputf8=True,
            allow_empty_local=False,
            allow_quoted_local=False,
            allow_domain_literal=False,
            allow_display_name=False,
            strict=False,
            check_deliverability=False,
            test_environment=False,
            globally_deliverable=True,
        )
    except (EmailNotValidError, UnicodeError):
        return NO_EMAIL
    return f"{found.local_part}@{found.ascii_domain}"


def email_reader(fillers: frozenset[str]) -> Reader:
    """email: the whole address in lower case, its domain in ASCII (IDNA). `mailto:` and `Name <address>` are taken off.

    Lower case goes for the part before the @ too: no provider of note tells `Ann@` from `ann@`, Mailchimp's member id
    is the MD5 of the lower-case address, and letter case must not make edits or a second person. Letters beyond ASCII
    are allowed there (RFC 6531); reserved endings such as `.test` and `.local` are refused.
    """
    addresses = frozenset(word for word in fillers if "@" in word)

    def read(raw: object) -> Value | Invalid:
        if type(raw) is str:
            found = fast_email(raw.lower())
            if found is not None:
                return None if found in addresses else found
        text = tidy_line(raw)
        if type(text) is not str:
            return text
        if not text or text.casefold() in fillers:
            return None
        address = slow_email(_bare_address(text))
        return None if address in addresses else address

    return read


def _bare_address(text: str) -> str:
    if text.endswith(">") and "<" in text:
        text = text[text.rindex("<") + 1 : -1].strip()
    text = unicodedata.normalize("NFC", text.lower())
    return text.removeprefix("mailto:").partition("?")[0] if text.startswith("mailto:") else text


# ----------------------------------------------------------------------------------------------------------- phone

_INTERNATIONAL = re.compile(r"\+[1-9][0-9]{6,14}").fullmatch
_PLAIN_PHONE = re.compile(r"\+?[0-9(][0-9 ().\-]{4,24}", re.ASCII).fullmatch
_NO_DIGIT = re.compile(r"[^0-9]+")
_SEVERAL = re.compile(r"[/,;|&\n]|\b(?:or|and|oder|und|ou|et)\b", re.IGNORECASE)
_LONGEST_PHONE = 250  # the library's own limit


class _Plan(NamedTuple):
    """The numbering of one region. `prefixes`: its national prefixes in order; None where they are no fixed texts."""

    code: str
    lengths: frozenset[int]
    longest: int
    prefixes: tuple[str, ...] | None
    starts_prefix: Callable[[str], Any] | None
    idd: Callable[[str], Any]
    general: Callable[[str], Any]


def _plan(metadata: PhoneMetadata) -> _Plan:
    desc = metadata.general_desc or PhoneNumberDesc()
    pattern = metadata.national_prefix_for_parsing or ""
    possible = tuple(desc.possible_length or ())
    return _Plan(
        code=str(metadata.country_code),
        lengths=frozenset(possible),
        longest=max((*possible, *(desc.possible_length_local_only or ()))),
        prefixes=tuple(pattern.split("|")) if pattern.replace("|", "").isdigit() else None if pattern else (),
        starts_prefix=re.compile(pattern).match if pattern else None,
        idd=re.compile(metadata.international_prefix or "NonMatch").match,
        general=re.compile(desc.national_number_pattern or "NonMatch").fullmatch,
    )


@cache
def _plan_of_code(code: str) -> _Plan | None:
    """The numbering behind a calling code, as the library sees it (that of the code's main region)."""
    regions = COUNTRY_CODE_TO_REGION_CODE.get(int(code))
    if not regions:
        return None
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(int(code), regions[0])
    return None if metadata is None else _plan(metadata)


@cache
def _plan_of_region(region: str) -> _Plan | None:
    """The numbering inside a region; its lengths are those that the calling code's main region knows too."""
    metadata = PhoneMetadata.metadata_for_region(region, None)
    if metadata is None:
        return None
    plan = _plan(metadata)
    main = _plan_of_code(plan.code)
    return None if main is None else plan._replace(lengths=plan.lengths & main.lengths)


def _fast_international(text: str) -> str | None:
    """E.164 text that the library returns unchanged."""
    for width in (2, 3, 4):
        plan = _plan_of_code(text[1:width])
        if plan is not None:
            national = text[width:]
            plain = len(national) in plan.lengths and national[0] != "0"
            return text if plain and not (plan.starts_prefix and plan.starts_prefix(national)) else None
    return None


def fast_phone(text: str, region: str) -> str | None:
    """E.164 for digits with usual punctuation, written internationally or as in `region`; None: ask the library."""
    if _INTERNATIONAL(text):
        return _fast_international(text)
    if text.isascii() and text.isdigit():
        digits = text
    elif _PLAIN_PHONE(text):
        digits = _NO_DIGIT.sub("", text)
    else:
        return None
    if text[0] == "+":
        return _fast_international("+" + digits) if _INTERNATIONAL("+" + digits) else None
    plan = _plan_of_region(region)
    if plan is None or plan.prefixes is None or plan.idd(digits):
        return None
    if digits.startswith(plan.code):
        # Too long for a national number, so the library takes the calling code off.
        return _fast_international("+" + digits) if len(digits) > plan.longest and len(digits) <= 15 else None
    national = digits
    for prefix in plan.prefixes:
        if digits.startswith(prefix):
            national = digits[len(prefix) :]
            if plan.general(digits) and not plan.general(national):
                return None
            break
    if len(national) not in plan.lengths or national.startswith("0"):
        return None
    return f"+{plan.code}{national}"


def slow_phone(text: str, region: str) -> str | Invalid:
    """E.164 (and `;ext=`) of any text, by the library."""
    if len(text) > _LONGEST_PHONE:
        return NO_PHONE
    if sum(sum(c.isdigit() for c in part) >= 7 for part in _SEVERAL.split(text)) > 1:
        return SEVERAL_PHONES
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException:
        return NO_PHONE
    possible = phonenumbers.is_possible_number_with_reason(number)
    if possible != ValidationResult.IS_POSSIBLE:
        return LOCAL_ONLY if possible == ValidationResult.IS_POSSIBLE_LOCAL_ONLY else IMPOSSIBLE_LENGTH
    plain = str(phonenumbers.format_number(number, PhoneNumberFormat.E164))
    # Where a national prefix can be read into the national number, what was read must at least read back the same.
    if (
        fast_phone(plain, region) != plain
        and phonenumbers.parse(plain, region).national_number != number.national_number
    ):
        return NO_PHONE
    return f"{plain};ext={number.extension}" if number.extension else plain


def read_phone(text: str, region: str) -> str | Invalid:
    """The canonical number in a tidy text; `region` in capitals."""
    return fast_phone(text, region) or slow_phone(text, region)


def phone_reader(spec: ValueSpec, fillers: frozenset[str]) -> Reader:
    """phone: E.164, read as in the field's region when no calling code is given.

    An extension, which E.164 has no place for, follows as RFC 3966 writes it: `+15551234567;ext=89`. It stays, since
    without it the number reaches a switchboard. Possible numbers are taken (length and prefix), not only those in
    service: numbering plans change faster than any table, and `+1 555` is in every example.
    """
    region = spec.region.upper()
    numbers = frozenset(word for word in fillers if any(c.isdigit() for c in word))

    def read(raw: object) -> Value | Invalid:
        if type(raw) is str:
            found = fast_phone(raw, region)
            if found is not None:
                return None if found in numbers or raw in numbers else found
        text = tidy_line(raw)
        if type(text) is not str:
            return text
        if not text or text.casefold() in fillers:
            return None
        number = read_phone(text, region)
        return None if number in numbers else number

    return read


def phone_text(value: str) -> str:
    """How a canonical number is sent: an extension is written out, since few systems read `;ext=`."""
    return value.replace(";ext=", " ext. ")


def is_region(region: str) -> bool:
    """Whether numbers can be read as in that region (its alpha-2 code)."""
    return region.upper() in phonenumbers.SUPPORTED_REGIONS


def national_phone(value: str, region: str) -> str:
    """The number as the people of `region` write it when it is one of theirs, else as it is."""
    try:
        number = phonenumbers.parse(value, region.upper())
    except NumberParseException:
        return value
    local = str(phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL))
    return local if read_phone(local, region.upper()) == value else value
