from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.sdk.redact import Redactor


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("key sk_live_1234 is wrong", "key <secret> is wrong"),
        ("key sk%2Flive is wrong", "key <secret> is wrong"),
        ("ann.lee+x@person.example exists", "<e-mail> exists"),
        ("<ann@person.example>", "<<e-mail>>"),
        ("user=ann@person.example&x=1", "user=<e-mail>&x=1"),
        ("ännä@pérson.example exists", "<e-mail> exists"),
        ("call +1 (555) 123-4567 now", "call <number> now"),
        ("call 555-1234 now", "call <number> now"),
        ("call 030/1234567", "call <number>"),
        ("at 2026-11-23 04:59", "at 2026-11-23 04:59"),
        ("at 2026-11-23T04:59:10Z", "at 2026-11-23T04:59:10Z"),
        ("limit is 100 per 10 seconds", "limit is 100 per 10 seconds"),
        ("id 1b4e28ba-2fa1-11d2-883f-0016d3cca427", "id 1b4e28ba-2fa1-11d2-883f-0016d3cca427"),
        ("two\n lines\x00", "two lines"),
    ],
)
def test_secrets_and_personal_data_are_taken_out(text: str, clean: str) -> None:
    assert Redactor(["sk_live_1234", "sk/live"])(text) == clean


def test_a_secret_that_holds_another_is_taken_out_whole() -> None:
    assert Redactor(["abcd", "abcdefgh"])("x abcdefgh y") == "x <secret> y"


def test_a_secret_too_short_to_be_one_tears_no_words_apart() -> None:
    assert Redactor(["a", ""])("a banana") == "a banana"


def test_a_path_keeps_its_ids_and_loses_its_query_and_addresses() -> None:
    clean = Redactor([]).path("/lists/1234567890/members/ann%40person.example?email=ann%40person.example")
    assert clean == "/lists/1234567890/members/<e-mail>"


@given(st.text(max_size=400), st.text(min_size=4, max_size=30), st.text(max_size=400))
def test_whatever_surrounds_a_secret_it_is_not_shown(before: str, secret: str, after: str) -> None:
    marked = f"\u0394{secret}\u0394"  # a letter of its own, so that no other text can hold it by chance
    clean = Redactor([marked])(f"{before}{marked}{after}", limit=10_000)
    assert marked not in clean
    assert clean.isprintable()
