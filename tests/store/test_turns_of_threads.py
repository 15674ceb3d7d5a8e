from __future__ import annotations

import threading

import pytest

from syncbroker.store.database import Turns


def test_whoever_waited_longest_has_the_next_turn() -> None:
    turns, done = Turns(), list[int]()
    threads = []

    def work(n: int) -> None:
        with turns:
            done.append(n)

    with turns:
        for n in range(5):
            thread = threading.Thread(target=work, args=(n,))
            thread.start()
            threads.append(thread)
            while len(turns._waiting) <= n:
                pass
    for thread in threads:
        thread.join()
    assert done == [0, 1, 2, 3, 4]


def test_who_comes_back_at_once_stands_behind_those_who_wait() -> None:
    turns, order = Turns(), list[str]()
    waits = threading.Event()

    def other() -> None:
        waits.set()
        with turns:
            order.append("other")

    thread = threading.Thread(target=other)
    with turns:
        thread.start()
        while not turns._waiting:
            waits.wait()
        order.append("first")
    with turns:
        order.append("again")
    thread.join()
    assert order == ["first", "other", "again"]


def test_a_body_that_fails_hands_its_turn_on() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns:
        raise ZeroDivisionError
    with turns:
        assert not turns._waiting
