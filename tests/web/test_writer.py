from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from syncbroker.errors import Retry, StoreUnusable
from syncbroker.store import deliveries, schema
from syncbroker.store.database import Store, open_store
from syncbroker.store.deliveries import Arrival, Placed
from syncbroker.web import writer as writing_module
from syncbroker.web.writer import Writer, writing

REQUEST = deliveries.Request(method="POST", url="https://broker.example/webhooks/crm")


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    opened = open_store(store_url)
    schema.upgrade(opened)
    yield opened
    opened.close()


def arrival(key: str, system: str = "crm") -> Arrival:
    return Arrival(system=system, dedupe=key, received=5, request=REQUEST, body=b"x")


def nobody(_number: int, _system: str) -> None:
    """Nothing is to be woken."""


async def all_of(writer: Writer, *keys: str) -> list[Any]:
    return await asyncio.gather(*(writer.put(arrival(key)) for key in keys), return_exceptions=True)


def stored(store: Store) -> int:
    with store.read() as tx:
        return len(deliveries.new(tx, 10_000))


class Transactions:
    """How many arrivals each transaction stored; may hold the first one up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.go_on = threading.Event()
        self.go_on.set()
        real = deliveries.store

        def noted(tx: Any, arrivals: Any) -> list[Placed]:
            self.sizes.append(len(arrivals))
            self.go_on.wait(10)
            return real(tx, arrivals)

        monkeypatch.setattr(deliveries, "store", noted)


def test_what_waits_is_stored_in_one_transaction(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Transactions(monkeypatch)
    with writing(store, nobody, 1000) as writer:
        placed = asyncio.run(all_of(writer, *(f"k{n}" for n in range(50))))
    assert seen.sizes == [50]
    assert len({one.number for one in placed}) == 50
    assert stored(store) == 50


def test_an_answer_is_given_only_when_the_row_is_durable(store: Store) -> None:
    async def one(writer: Writer) -> int:
        placed = await writer.put(arrival("a"))
        with store.read() as tx:  # another connection sees it
            assert deliveries.load(tx, [placed.number])
        return placed.number

    nudges: list[tuple[int, str]] = []
    with writing(store, lambda number, system: nudges.append((number, system)), 1000) as writer:
        number = asyncio.run(one(writer))
    assert nudges == [(number, "crm")]


def test_an_error_fails_the_whole_group_and_the_next_one_is_stored(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, broken = deliveries.store, [True]

    def failing(tx: Any, arrivals: Any) -> list[Placed]:
        found = real(tx, arrivals)
        if broken.pop() if broken else False:
            raise StoreUnusable("the disk is full")
        return found

    monkeypatch.setattr(deliveries, "store", failing)
    with writing(store, nobody, 1000) as writer:
        told = asyncio.run(all_of(writer, "a", "b", "c"))
        assert [type(one) for one in told] == [StoreUnusable] * 3
        assert stored(store) == 0
        assert all(one.new for one in asyncio.run(all_of(writer, "a", "b")))


def test_a_fault_in_one_group_does_not_end_the_writer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real, broken = deliveries.store, [True]

    def failing(tx: Any, arrivals: Any) -> list[Placed]:
        if broken.pop() if broken else False:
            raise ValueError("ann@x.example")
        return real(tx, arrivals)

    monkeypatch.setattr(deliveries, "store", failing)
    with writing(store, nobody, 1000) as writer:
        assert [type(one) for one in asyncio.run(all_of(writer, "a"))] == [Retry]
        assert asyncio.run(all_of(writer, "a"))[0].new


def test_what_is_queued_is_stored_before_the_writer_ends(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Transactions(monkeypatch)
    seen.go_on.clear()

    async def leave(writer: Writer) -> None:
        asking = [asyncio.create_task(writer.put(arrival(f"k{n}"))) for n in range(20)]
        await asyncio.sleep(0.05)
        for one in asking:  # whoever asked is gone
            one.cancel()

    with writing(store, nobody, 1000) as writer:
        asyncio.run(leave(writer))
        seen.go_on.set()
    assert stored(store) == 20


def test_a_queue_that_is_full_turns_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing_module, "QUEUED", 3)
    with writing(store, nobody, 1000) as writer:
        told = asyncio.run(all_of(writer, *"abcde"))
    assert [isinstance(one, Placed) for one in told] == [True, True, True, False, False]


def test_a_nudge_that_fails_costs_no_delivery(store: Store) -> None:
    def unreachable(_number: int, _system: str) -> None:
        raise ConnectionError

    with writing(store, unreachable, 1000) as writer:
        assert asyncio.run(all_of(writer, "a"))[0].new


def test_a_system_may_fill_half_of_the_room_and_all_of_them_the_whole(store: Store) -> None:
    with writing(store, nobody, 8) as writer:
        asyncio.run(all_of(writer, "a", "b", "c"))
        assert not writer.full("crm")
        asyncio.run(all_of(writer, "d"))
        assert writer.full("crm")
        assert not writer.full("billing")


def test_what_waited_before_the_start_counts(store: Store) -> None:
    with store.write() as tx:
        deliveries.store(tx, [arrival(f"k{n}") for n in range(4)])
    with writing(store, nobody, 8) as writer:
        assert writer.full("crm")


def test_room_is_found_again_once_workers_have_dealt_with_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing_module, "LOOK_SECONDS", 0.02)
    with writing(store, nobody, 4) as writer:
        placed = asyncio.run(all_of(writer, "a", "b"))
        assert writer.full("crm")
        with store.write() as tx:
            for one in placed:
                deliveries.done(tx, [one.number])
        seen = threading.Event()
        for _ in range(500):
            if not writer.full("crm"):
                break
            seen.wait(0.02)
        assert not writer.full("crm")


def test_it_is_written_down_that_a_system_delivers(store: Store) -> None:
    from syncbroker.store import hearing

    with writing(store, nobody, 8) as writer:
        asyncio.run(all_of(writer, "a"))
    with store.read() as tx:
        assert hearing.heard(tx) == {"crm": 5}


class Heavy(Arrival, frozen=True, kw_only=True):
    """Something is done while its body is looked at."""

    meanwhile: Callable[[], None]

    def __getattribute__(self, name: str) -> Any:
        if name == "body":
            super().__getattribute__("meanwhile")()
        return super().__getattribute__(name)


def test_what_comes_while_a_group_is_gathered_is_stored_too(store: Store) -> None:
    async def run(writer: Writer) -> list[Placed]:
        loop, first, more = asyncio.get_running_loop(), threading.Event(), list[asyncio.Task[Placed]]()

        async def another() -> None:
            more.append(asyncio.create_task(writer.put(arrival("b"))))
            await asyncio.sleep(0)  # it is queued then
            first.set()

        def meanwhile() -> None:
            if not first.is_set():
                asyncio.run_coroutine_threadsafe(another(), loop)
                assert first.wait(10)

        heavy = Heavy(system="crm", dedupe="a", received=5, request=REQUEST, body=b"x", meanwhile=meanwhile)
        return [await writer.put(heavy), await more[0]]

    with writing(store, nobody, 100) as writer:
        placed = asyncio.run(asyncio.wait_for(run(writer), 20))
    assert [one.new for one in placed] == [True, True]
