from __future__ import annotations

import threading
import time

import pytest
from redis import Redis
from structlog.testing import capture_logs

from syncbroker.errors import RateLimited
from syncbroker.sdk import shared_limits
from syncbroker.sdk.limits import RateBudget
from syncbroker.sdk.shared_limits import connect
from tests.support import redis


def budget(url: str, calls: int = 10, seconds: float = 3600.0, *, patience: float = 0.0) -> RateBudget:
    return RateBudget(calls, seconds, patience=patience, system="crm", redis=connect(url))


def taken(*budgets: RateBudget) -> int:
    """How many calls may leave, taken in turn."""
    count = 0
    try:
        while True:
            for one in budgets:
                one.acquire()
                count += 1
    except RateLimited:
        return count


def test_all_processes_together_make_no_more_calls_than_the_vendor_allows(redis_url: str) -> None:
    assert taken(budget(redis_url), budget(redis_url), budget(redis_url)) == 10


def test_systems_do_not_share_a_budget(redis_url: str) -> None:
    one = RateBudget(5, 3600.0, patience=0.0, system="crm", redis=connect(redis_url))
    other = RateBudget(5, 3600.0, patience=0.0, system="billing", redis=connect(redis_url))
    assert (taken(one), taken(other)) == (5, 5)


def test_a_place_that_is_free_again_is_taken_by_whoever_waits(redis_url: str) -> None:
    one, other = budget(redis_url, 2, 0.2, patience=30.0), budget(redis_url, 2, 0.2, patience=30.0)
    begun = time.monotonic()
    for _ in range(3):
        one.acquire()
        other.acquire()
    assert time.monotonic() - begun >= 0.4


@pytest.mark.parametrize("attempt", range(10))
def test_those_that_call_at_once_never_pass_the_rate(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, attempt: int
) -> None:
    monkeypatch.setattr(shared_limits, "TIMEOUT", 60.0)  # a slow machine's Redis is not away
    budgets, done = [budget(redis_url, 5) for _ in range(8)], list[int]()
    threads = [threading.Thread(target=lambda one=one: done.append(taken(one))) for one in budgets]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sum(done) == 5


def test_without_redis_a_process_keeps_to_its_own_share_and_says_so_once(redis_server: redis.Server) -> None:
    one, other = budget(redis_server.url, 12), budget(redis_server.url, 12)
    for each in (one, other, one):  # the first knows of the second from its next note on
        each.acquire()
    assert one._shared is not None
    one._shared._noted = 0.0
    one.acquire()
    redis_server.kill()
    with capture_logs() as logs:
        assert taken(one) == 6
    assert [line["event"] for line in logs] == ["redis away"]


def test_a_redis_that_comes_back_empty_is_used_again(redis_server: redis.Server) -> None:
    one = budget(redis_server.url, 4)
    one.acquire()
    redis_server.kill()
    one.acquire()
    redis_server.start()
    assert one._shared is not None
    one._shared._away_until = 0.0
    assert taken(one) == 4


@pytest.mark.parametrize("commands", [["flushall"], ["script flush"]])
def test_a_redis_that_was_emptied_is_used_again(redis_url: str, commands: list[str]) -> None:
    one = budget(redis_url, 4)
    one.acquire()
    with Redis.from_url(redis_url) as client:
        for command in commands:
            client.execute_command(*command.split())
    assert one._shared is not None
    one._try()
    one._shared._away_until = 0.0
    one.acquire()
    assert one._shared.take() is not None
