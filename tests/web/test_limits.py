from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.web.limits import Bucket, Seldom
from syncbroker.web.trace import trace_of


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_as_many_as_the_bucket_holds_pass_at_once_and_then_one_after_the_other() -> None:
    clock = Clock()
    bucket = Bucket(2, 1.0, clock)
    assert [bucket.take() for _ in range(3)] == [0.0, 0.0, 0.5]
    clock.at += 0.5
    assert [bucket.take(), bucket.take()] == [0.0, 0.5]


def test_what_is_not_used_is_not_saved_up() -> None:
    clock = Clock()
    bucket = Bucket(2, 1.0, clock)
    clock.at += 1000
    assert [bool(bucket.take()) for _ in range(3)] == [False, False, True]


def test_a_flood_is_told_once_a_while_for_each_system_and_outcome() -> None:
    clock = Clock()
    seldom = Seldom(60.0, clock)
    assert [seldom.now("crm", "full"), seldom.now("crm", "full"), seldom.now("crm", "limited")] == [
        True,
        False,
        True,
    ]
    clock.at += 60
    assert seldom.now("crm", "full")


GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_senders_trace_is_gone_on_with() -> None:
    assert trace_of(GOOD) == "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    "given_",
    [
        "",
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        GOOD.replace("00-", "ff-", 1),
        GOOD.upper(),
        GOOD + "x",
        GOOD + "\n",
        GOOD + "-" + "x" * 1000,
    ],
)
def test_what_is_no_trace_gets_one_of_ours(given_: str) -> None:
    found = trace_of(given_)
    assert len(found) == 32
    assert found != "4bf92f3577b34da6a3ce929d0e0e4736"


@given(st.text(max_size=200))
def test_a_trace_is_always_32_hex_digits(given_: str) -> None:
    assert set(trace_of(given_)) <= set("0123456789abcdef")
    assert len(trace_of(given_)) == 32
