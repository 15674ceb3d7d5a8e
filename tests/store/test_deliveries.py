from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from syncbroker.store import deliveries, schema
from syncbroker.store.database import Store, open_store
from syncbroker.store.deliveries import Arrival, Placed

REQUEST = deliveries.Request(method="POST", url="https://broker.example/webhooks/crm")


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    opened = open_store(store_url)
    schema.upgrade(opened)
    yield opened
    opened.close()


def arrival(key: str, system: str = "crm", *, certain: bool = False, trace: str = "") -> Arrival:
    return Arrival(
        system=system,
        dedupe=key,
        received=5,
        request=REQUEST,
        body=b"\0raw\xff",
        trace=trace,
        certain=certain,
    )


def put(store: Store, *arrivals: Arrival) -> list[Placed]:
    with store.write() as tx:
        return deliveries.store(tx, arrivals)


def closed(store: Store, number: int, state: str) -> None:
    with store.write() as tx:
        if state == "done":
            deliveries.done(tx, [number])
        else:
            deliveries.reject(tx, number, "no JSON")


def new(store: Store) -> list[tuple[int, str]]:
    with store.read() as tx:
        return deliveries.new(tx, 10)


def test_a_group_is_kept_in_order_under_consecutive_numbers(store: Store) -> None:
    placed = put(store, arrival("a"), arrival("b"), arrival("a", "billing"))
    numbers = [one.number for one in placed]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    assert all(one.new and one.wakes for one in placed)
    with store.read() as tx:
        (found,) = deliveries.load(tx, numbers[:1])
    assert (found.body, found.request, found.received) == (b"\0raw\xff", REQUEST, 5)


def test_two_alike_in_one_group_are_one_row(store: Store) -> None:
    first, second = put(store, arrival("a"), arrival("a"))
    assert second == Placed(first.number, new=False, wakes=False)
    assert new(store) == [(first.number, "crm")]


def test_one_that_waits_already_is_known_and_nobody_is_woken(store: Store) -> None:
    (first,) = put(store, arrival("a"))
    assert put(store, arrival("a"), arrival("b"))[0] == Placed(first.number, new=False, wakes=False)


@pytest.mark.parametrize(
    ("state", "certain", "wakes"),
    [("done", True, False), ("done", False, True), ("rejected", True, True), ("rejected", False, True)],
)
def test_one_that_was_dealt_with_is_dealt_with_again_unless_its_id_is_certain(
    store: Store, state: str, certain: bool, wakes: bool
) -> None:
    (first,) = put(store, arrival("a", certain=certain))
    closed(store, first.number, state)
    assert put(store, arrival("a", certain=certain)) == [Placed(first.number, new=False, wakes=wakes)]
    assert bool(new(store)) is wakes


def test_the_trace_is_kept_with_the_delivery(store: Store) -> None:
    put(store, arrival("a", trace="ab" * 16))
    with store.read() as tx:
        assert tx.rows("SELECT trace FROM deliveries", ()) == [("ab" * 16,)]


def test_what_waits_is_counted_by_system(store: Store) -> None:
    placed = put(store, arrival("a"), arrival("b"), arrival("c", "billing"))
    closed(store, placed[0].number, "done")
    with store.read() as tx:
        assert deliveries.waiting(tx) == {"crm": 1, "billing": 1}


def test_thousands_of_one_system_hide_no_other(store: Store) -> None:
    put(store, *(arrival(f"k{n}") for n in range(1000)))
    (other,) = put(store, arrival("x", "support"))
    assert (other.number, "support") in new(store)
    assert len(new(store)) == 11


def test_the_oldest_of_each_system_come_first_and_none_before_its_time(store: Store) -> None:
    placed = put(store, *(arrival(f"k{n}") for n in range(4)))
    with store.write() as tx:
        tx.connection.exec_driver_sql(f"UPDATE deliveries SET due = 50 WHERE id = {placed[0].number}")
    with store.read() as tx:
        soon = [number for number, _ in deliveries.new(tx, 2, now=49)]
        later = [number for number, _ in deliveries.new(tx, 9, now=50)]
    assert soon == [placed[1].number, placed[2].number]
    assert later == [placed[n].number for n in (1, 2, 3, 0)]


def test_a_system_that_rests_is_left_out(store: Store) -> None:
    put(store, arrival("a"), arrival("b", "billing"))
    with store.read() as tx:
        assert [system for _, system in deliveries.new(tx, 9, ["crm"])] == ["billing"]


@pytest.mark.parametrize(
    "ask",
    [lambda tx: deliveries.new(tx, 10), deliveries.waiting],
    ids=["new_deliveries", "waiting"],
)
def test_what_waits_is_found_in_the_index_in_order(sqlite_url: str, ask: Callable[[object], object]) -> None:
    """Neither a scan of the table nor a sort: the plans that SQLite makes for what was asked."""
    opened = open_store(sqlite_url)
    schema.upgrade(opened)
    asked: list[tuple[str, object]] = []
    put(opened, arrival("a"), arrival("b", "billing"))
    with opened.read() as tx:
        tx.connection.connection.driver_connection.set_trace_callback(lambda sql: asked.append((sql, None)))  # type: ignore[union-attr]
        ask(tx)
        tx.connection.connection.driver_connection.set_trace_callback(None)  # type: ignore[union-attr]
        plans = [
            row[3]
            for sql, _ in asked
            if sql.startswith("SELECT")
            for row in tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql.replace('%', '%%')}")
        ]
    opened.close()
    assert plans
    assert [plan for plan in plans if "deliveries_by_state" not in plan] == []
