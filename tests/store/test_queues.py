"""Deliveries, the inbox and the outbox as the engine uses them."""

from __future__ import annotations

import threading

import pytest
from msgspec.structs import replace

from syncbroker.store import deliveries, queues, runs
from syncbroker.store.database import Store
from syncbroker.store.deliveries import Request
from syncbroker.store.queues import LIVE, Push, Row, Sighting
from syncbroker.store.records import FAR
from tests.support.deliveries import arrive

REQUEST = Request(
    method="POST", url="https://broker.example/hooks", headers={"x-sign": "1"}, query={"a": "b"}
)


def deliver(store: Store, dedupe: str, system: str = "crm") -> int:
    with store.write() as tx:
        return arrive(tx, system, dedupe, 5, REQUEST, b"\x00raw\xff")


# --------------------------------------------------------------------------------------------- deliveries


def test_a_delivery_is_kept_as_it_came(store: Store) -> None:
    number = deliver(store, "d1")
    with store.read() as tx:
        (kept,) = deliveries.load(tx, [number])
    assert (kept.system, kept.received, kept.request, kept.body) == ("crm", 5, REQUEST, b"\x00raw\xff")


def test_a_delivery_that_came_before_is_not_kept_again(store: Store) -> None:
    number = deliver(store, "d1")
    assert deliver(store, "d1") == number
    assert deliver(store, "d1", system="mkt") != number
    with store.read() as tx:
        assert deliveries.counts(tx) == {"new": 2}


def test_one_delivery_at_two_doors_at_once_is_kept_once(store: Store) -> None:
    start = threading.Barrier(4)

    def knock() -> None:
        start.wait()
        deliver(store, "d1")

    threads = [threading.Thread(target=knock) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    with store.read() as tx:
        assert deliveries.counts(tx) == {"new": 1}


def test_a_delivery_that_was_dealt_with_is_new_no_more_until_it_comes_again(store: Store) -> None:
    number = deliver(store, "d1")
    with store.write() as tx:
        deliveries.done(tx, [number])
        assert deliveries.load(tx, [number]) == []
        assert deliveries.new(tx, 10) == []
    assert deliver(store, "d1") == number
    with store.read() as tx:
        assert deliveries.new(tx, 10) == [(number, "crm")]


# --------------------------------------------------------------------------------------------------- inbox


def sight(id_: str) -> Sighting:
    return Sighting(id=id_, fields={"name": "Ann", "n": [1, None, {"a": True}]}, stamp=7, aliases=("x",))


def waiting(store: Store, run: int = LIVE, now: int = 0) -> list[str]:
    with store.read() as tx:
        return [one.sighting.id for one in queues.take(tx, run, now, 100)]


def test_observations_are_taken_oldest_first_and_whole(store: Store) -> None:
    with store.write() as tx:
        queues.stage(tx, LIVE, "crm", "people", [sight("b"), sight("a")])
        queues.stage(tx, 3, "crm", "people", [sight("c")])
        taken = queues.take(tx, LIVE, 0, 100)
    assert [one.sighting for one in taken] == [sight("b"), sight("a")]
    assert waiting(store, 3) == ["c"]


def test_an_observation_that_is_put_off_waits_for_its_time_or_to_be_woken(store: Store) -> None:
    with store.write() as tx:
        queues.stage(tx, LIVE, "crm", "people", [sight("a"), sight("b")])
        first, second = queues.take(tx, LIVE, 0, 100)
        queues.put_off(tx, [(first.number, 50), (second.number, FAR)])
    assert waiting(store, now=49) == []
    assert waiting(store, now=50) == ["a"]
    assert waiting(store, now=10**17) == ["a"]
    with store.write() as tx:
        queues.wake(tx, "crm", "people", ["b"])
        queues.wake(tx, "mkt", "people", ["a"])
    assert waiting(store) == ["b"]


def test_what_a_run_put_off_or_left_undecided_is_found_when_it_is_due(store: Store) -> None:
    with store.write() as tx:
        done = [runs.begin(tx, "pull", "crm", "people", 1) for _ in range(4)]
        for run in done[:3]:
            queues.stage(tx, run, "crm", "people", [sight(str(run))])
            runs.move(tx, run, "done", {})
        queues.stage(tx, done[3], "crm", "people", [sight("of a run that is read")])
        broken_off = runs.begin(tx, "pull", "crm", "people", 1)
        queues.stage(tx, broken_off, "crm", "people", [sight("of a run that was not decided to the end")])
        runs.move(tx, broken_off, "released", {})
        queues.put_off(tx, [(queues.take(tx, done[1], 0, 1)[0].number, 50)])
    with store.read() as tx:
        assert queues.late_runs(tx, 0) == {done[0]: False, done[2]: False, broken_off: True}
        assert list(queues.late_runs(tx, 50)) == [*done[:3], broken_off]


# -------------------------------------------------------------------------------------------------- outbox


def row(link: int, **given: object) -> Row:
    usual = Row(
        link=link,
        system="crm",
        object="people",
        op="update",
        state="due",
        due=0,
        attempts=0,
        run=0,
        push=Push(),
    )
    return replace(usual, **given)  # type: ignore[arg-type]  # fields of a row


def test_a_row_comes_back_as_it_was_saved(store: Store) -> None:
    push = Push(
        values={"tags": ("a", "b"), "money": (5, "USD"), "none": None, "yes": True}, key="k", refused={"x": 1}
    )
    saved = row(1, push=push, state="refused", error="no")
    with store.write() as tx:
        queues.save_outbox(tx, [row(1), row(2)])
        queues.save_outbox(tx, [saved])
        assert queues.outbox_rows(tx, [1, 3]) == {1: saved}
        queues.drop_outbox(tx, [1])
        assert queues.outbox_rows(tx, [1, 2]) == {2: row(2)}


def test_rows_are_due_by_system_state_and_time_oldest_first(store: Store) -> None:
    rows = [
        row(1, due=9),
        row(2),
        row(3, due=11),
        row(4, system="mkt"),
        row(5, state="claimed"),
        row(6, state="waiting"),
    ]
    with store.write() as tx:
        queues.save_outbox(tx, rows)
        assert [one.link for one in queues.outbox_due(tx, "crm", ["due"], 10, 100)] == [2, 1]
        assert [one.link for one in queues.outbox_due(tx, "crm", ["due", "claimed"], 10, 2)] == [2, 5]
        assert queues.next_due(tx, "mkt") == 0
        assert queues.next_due(tx, "sup") is None


def test_two_workers_never_claim_the_same_row(ready_postgres_url: str) -> None:
    from tests.support.rig import open_ready

    store = open_ready(ready_postgres_url)
    with store.write() as tx:
        queues.save_outbox(tx, [row(n) for n in range(1, 5)])
    with store.write() as one, store.write() as other:
        first = {r.link for r in queues.outbox_due(one, "crm", ["due"], 0, 2)}
        second = {r.link for r in queues.outbox_due(other, "crm", ["due"], 0, 10)}
    assert (len(first), first & second, first | second) == (2, set(), {1, 2, 3, 4})
    store.close()


def test_claims_of_a_dead_worker_are_unknown(store: Store) -> None:
    with store.write() as tx:
        queues.save_outbox(tx, [row(1, state="claimed", due=99), row(2, state="pending", due=99), row(3)])
        queues.expire_claims(tx, ["crm", "mkt"])
        rows = queues.outbox_rows(tx, [1, 2, 3])
    assert {n: (one.state, one.due) for n, one in rows.items()} == {
        1: ("unknown", 0),
        2: ("pending", 99),
        3: ("due", 0),
    }


@pytest.mark.parametrize("op", ["create", "update"])
def test_writes_that_wait_to_refer_to_something_are_woken_by_system(store: Store, op: str) -> None:
    with store.write() as tx:
        queues.save_outbox(
            tx, [row(1, state="waiting", due=FAR, op=op), row(2, state="waiting", due=FAR, system="mkt")]
        )
        queues.wake_waiting(tx, "crm")
        states = {n: one.state for n, one in queues.outbox_rows(tx, [1, 2]).items()}
    assert states == {1: "due", 2: "waiting"}
