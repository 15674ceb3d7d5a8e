from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.errors import BadSetting, RateLimited
from syncbroker.sdk.limits import RateBudget


class Clock:
    """Seconds that pass only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


def budget(
    clock: Clock, calls: int, seconds: float, reserve: float = 0.0, patience: float = 60.0
) -> RateBudget:
    return RateBudget(
        calls, seconds, reserve=reserve, patience=patience, system="crm", clock=clock, sleep=clock.sleep
    )


def test_calls_within_the_rate_do_not_wait() -> None:
    clock = Clock()
    limit = budget(clock, 10, 10.0)
    for _ in range(10):
        limit.acquire()
    assert clock.slept == 0.0


def test_a_call_above_the_rate_waits_until_the_window_has_moved_on() -> None:
    clock = Clock()
    limit = budget(clock, 10, 10.0)
    for _ in range(11):
        limit.acquire()
    assert 10.0 <= clock.slept <= 10.1


@pytest.mark.parametrize(
    ("calls", "reserve", "left"),
    [(100, 0.0, 100), (100, 0.2, 80), (190, 0.2, 152), (10, 0.25, 7), (1, 0.9, 1)],
)
def test_the_reserve_is_left_to_others(calls: int, reserve: float, left: int) -> None:
    assert budget(Clock(), calls, 10.0, reserve).calls == left


def test_a_wait_beyond_patience_is_given_to_the_caller() -> None:
    clock = Clock()
    limit = budget(clock, 1, 3600.0, patience=60.0)
    limit.acquire()
    with pytest.raises(RateLimited, match="rate budget of 1 calls per 3600 s") as caught:
        limit.acquire()
    assert 3599 <= caught.value.delay <= 3601
    assert clock.slept == 0.0


@pytest.mark.parametrize(
    ("calls", "seconds", "reserve"), [(0, 1.0, 0.0), (-1, 1.0, 0.0), (1, 0.0, 0.0), (5, 1.0, 1.0)]
)
def test_a_rate_that_leaves_nothing_is_a_bad_setting(calls: int, seconds: float, reserve: float) -> None:
    with pytest.raises(BadSetting, match="leaves nothing to use"):
        budget(Clock(), calls, seconds, reserve)


@given(
    calls=st.integers(1, 20),
    seconds=st.floats(0.1, 20.0),
    pauses=st.lists(st.floats(0.0, 5.0), min_size=1, max_size=60),
)
def test_no_window_ever_holds_more_calls_than_the_rate(
    calls: int, seconds: float, pauses: list[float]
) -> None:
    clock = Clock()
    limit = budget(clock, calls, seconds, patience=1e9)
    times = []
    for pause in pauses:
        clock.now += pause
        limit.acquire()
        times.append(clock.now)
    for first, beyond in zip(times, times[calls:], strict=False):
        assert beyond - first >= seconds - 0.002  # the bucket counts milliseconds


def test_threads_share_one_budget() -> None:
    limit = RateBudget(50, 3600.0, patience=0.0)
    taken: list[int] = []

    def work() -> None:
        for _ in range(20):
            try:
                limit.acquire()
            except RateLimited:
                return
            taken.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 50
