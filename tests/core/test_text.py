from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.core import values
from syncbroker.core.mapping import ValueSpec
from syncbroker.core.text import BROKEN, NOT_A_NUMBER, NOT_TEXT, TOO_LARGE, ZERO_BYTE, skeleton, tidy
from syncbroker.core.types import Type

TEXT = ValueSpec(type=Type.TEXT)


@pytest.mark.parametrize(
    ("raw", "becomes"),
    [
        ("  Hello   world ", "Hello world"),
        ("a\u00a0\u2003b", "a b"),
        ("a\tb", "a b"),
        ("one \r\n two\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("one\n\n two", "one\n\ntwo"),
        ("e\u0301", "é"),
        ("zero\u200bwidth\ufeff so\u00adft", "zerowidth soft"),
        ("bell\x07", "bell"),
        ("👩\u200d💻", "👩\u200d💻"),
        (12, "12"),
        (12.0, "12"),
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (-0.0, "0"),
        (True, "true"),
        (None, None),
        ("   ", None),
    ],
    ids=ascii,
)
def test_text_is_tidied(raw: object, becomes: object) -> None:
    assert values.canonical(TEXT, raw) == becomes


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("a\0", ZERO_BYTE),
        ("\ud83d", BROKEN),
        (["a"], NOT_TEXT),
        ({}, NOT_TEXT),
        (float("inf"), NOT_A_NUMBER),
        (10**400, TOO_LARGE),
    ],
    ids=ascii,
)
def test_what_is_no_text_is_refused(raw: object, reason: object) -> None:
    assert values.canonical(TEXT, raw) == reason


@given(st.text())
def test_tidying_is_idempotent(raw: str) -> None:
    once = tidy(raw)
    assert tidy(once) == once or not isinstance(once, str)


@given(st.text(alphabet=" aé\u0301\t\n\r\u00a0\u200b\u2028\u0338", max_size=12))
def test_tidying_blanks_and_marks_is_idempotent(raw: str) -> None:
    once = tidy(raw)
    assert tidy(once) == once


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("U.S.A.", "usa"),
        ("C\u00f4te d\u2019Ivoire", "cote divoire"),
        ("A & B", "a and b"),
        ("Łódź", "lodz"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("!?", ""),
    ],
)
def test_the_skeleton_of_a_name_is_its_letters(text: str, letters: str) -> None:
    assert skeleton(text) == letters


@given(st.text())
def test_the_skeleton_of_a_skeleton_is_itself(text: str) -> None:
    assert skeleton(skeleton(text)) == skeleton(text)


@pytest.mark.parametrize(
    ("raw", "becomes"), [(" cus_1 ", "cus_1"), (17, "17"), ("", None), ("n/a", "n/a"), ("0", "0")]
)
def test_a_reference_is_the_other_systems_id_as_text(raw: object, becomes: object) -> None:
    assert values.canonical(ValueSpec(type=Type.REFERENCE), raw) == becomes
