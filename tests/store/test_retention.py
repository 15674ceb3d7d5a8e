"""History goes when it is old; what is still to be done, or still needed, stays however old it is."""

from __future__ import annotations

from collections import Counter

import pytest

from syncbroker.store import audit, queues, retention, runs, tables
from syncbroker.store.database import Store, Tx
from syncbroker.store.retention import DAY, Keep

NOW = 1_000 * DAY
OLD, NEW = 10 * DAY, NOW - DAY
ALL = Keep(deliveries=14, runs=14, drift=14, reviews=14, receipts=14, audit=14)


def delivery(tx: Tx, state: str, at: int) -> None:
    number = tx.numbers("deliveries", 1)[0]
    columns = ["id", "system", "dedupe", "received", "request", "body", "state"]
    tx.insert(tables.deliveries, columns, [(number, "crm", str(number), at, "{}", b"x", state)])


def run(tx: Tx, state: str, at: int) -> int:
    number = runs.begin(tx, "pull", "crm", "people", at)
    tx.update(tables.runs, ["id"], ["state"], [(state, number)])
    return number


def drift(tx: Tx, healed: int | None, at: int) -> None:
    row = (tx.numbers("drift", 1)[0], 1, "person", "r", 1, "crm", "people", "f", "created", at, healed, "{}")
    columns = [column.name for column in tables.drift.columns]
    tx.insert(tables.drift, columns, [row])


def review(tx: Tx, kind: str, closed: int | None, at: int) -> None:
    columns = ["id", "kind", "entity", "field", "system", "opened", "closed", "body"]
    row = (tx.numbers("reviews", 1)[0], kind, "person", "", "crm", at, closed, "{}")
    tx.insert(tables.reviews, columns, [row])


def receipt(tx: Tx, at: int) -> None:
    columns = ["id", "record_id", "link", "run", "at", "op", "body"]
    tx.insert(tables.receipts, columns, [(tx.numbers("receipts", 1)[0], "r", 1, 0, at, "update", "{}")])


def left(store: Store, table: str) -> int:
    with store.read() as tx:
        return len(tx.run(tables.metadata.tables[table].select()).all())


def cleaned(store: Store, keep: Keep = ALL, *, only_look: bool = False) -> Counter[str]:
    found = Counter[str]()
    for table, count in retention.clean(store, keep, NOW, only_look=only_look):
        found[table] += count
    return +found


@pytest.mark.parametrize(
    ("state", "goes"), [("done", True), ("rejected", True), ("new", False), ("poison", False)]
)
def test_old_deliveries_go_once_they_are_dealt_with(store: Store, state: str, goes: bool) -> None:
    with store.write() as tx:
        delivery(tx, state, OLD)
        delivery(tx, state, NEW)
    assert cleaned(store) == ({"deliveries": 1} if goes else {})
    assert left(store, "deliveries") == 2 - goes


@pytest.mark.parametrize(
    ("state", "goes"),
    [("done", True), ("failed", True), ("held", False), ("reading", False), ("released", False)],
)
def test_old_runs_go_once_they_have_ended(store: Store, state: str, goes: bool) -> None:
    with store.write() as tx:
        run(tx, state, OLD)
        run(tx, state, NEW)
    assert left(store, "runs") - cleaned(store)["runs"] == left(store, "runs") == 2 - goes


def test_a_run_with_a_decision_or_an_observation_that_waits_stays(store: Store) -> None:
    with store.write() as tx:
        waits, decided, empty = (run(tx, "done", OLD) for _ in range(3))
        queues.stage(tx, waits, "crm", "people", [queues.Sighting(id="1")])
        columns = ["id", "record_id", "entity", "shape", "run", "at", "actor", "mapping", "body"]
        tx.insert(tables.decisions, columns, [(1, "r", "person", 1, decided, OLD, "rules", "m", "[]")])
    cleaned(store)
    with store.read() as tx:
        assert [runs.get(tx, n) is not None for n in (waits, decided, empty)] == [True, True, False]


def test_drift_goes_long_after_it_was_healed(store: Store) -> None:
    with store.write() as tx:
        for healed in (OLD, NEW, None):
            drift(tx, healed, OLD)
    assert cleaned(store) == {"drift": 1}


def test_closed_reviews_go_but_for_those_of_merges(store: Store) -> None:
    with store.write() as tx:
        for kind in ("conflict", "merge"):
            for closed in (OLD, NEW, None):
                review(tx, kind, closed, OLD)
    assert cleaned(store) == {"reviews": 1}


def test_receipts_and_the_audit_go_by_age_alone(store: Store) -> None:
    with store.write() as tx:
        for at in (OLD, NEW):
            receipt(tx, at)
            audit.note(tx, at, "Kim", "pause", "crm", {})
    assert cleaned(store) == {"receipts": 1, "audit": 1}


def test_nothing_goes_where_no_limit_is_set(store: Store) -> None:
    with store.write() as tx:
        delivery(tx, "done", OLD)
        receipt(tx, OLD)
    assert cleaned(store, Keep()) == {}
    assert (left(store, "deliveries"), left(store, "receipts")) == (1, 1)


def test_a_look_counts_the_same_and_deletes_nothing(store: Store) -> None:
    with store.write() as tx:
        for _ in range(5):
            delivery(tx, "done", OLD)
    assert cleaned(store, only_look=True) == cleaned(store, only_look=True) == {"deliveries": 5}


def test_many_rows_go_in_small_transactions(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 10)
    with store.write() as tx:
        for n in range(35):
            delivery(tx, "new" if n % 7 == 0 else "done", OLD)
    steps = list(retention.clean(store, Keep(deliveries=1), NOW))
    assert len(steps) == 4
    assert max(count for _, count in steps) <= 10
    assert left(store, "deliveries") == 5


def test_a_day_is_claimed_by_one_alone(store: Store) -> None:
    assert retention.claim(store, NOW)
    assert not retention.claim(store, NOW + DAY - 1)
    assert retention.claim(store, NOW + DAY)
