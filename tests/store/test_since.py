"""Where a time begins in a table whose ids rise with it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncbroker.store import receipts, since, tables
from syncbroker.store.database import Store, create_all, open_store
from syncbroker.store.receipts import Body, Kept

STEP = since.SLACK


@pytest.fixture
def store(sqlite_url: str) -> Store:
    made = open_store(sqlite_url)
    create_all(made)
    return made


def filled(store: Store, times: list[int]) -> None:
    body = Body(system="s", object="o", external_id=None, status="done")
    with store.write() as tx:
        tx.run(tables.receipts.delete())
        receipts.append(
            tx, [Kept(record_id="r", link=1, run=0, at=at, op="update", body=body) for at in times]
        )


def test_an_empty_table_begins_at_one(store: Store) -> None:
    with store.read() as tx:
        assert since.first_since(tx, tables.receipts, 5) == 1


@given(
    times=st.lists(st.integers(0, 40), min_size=1, max_size=60).map(sorted),
    wanted=st.integers(-2, 42),
    gone=st.sets(st.integers(0, 59)),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_no_row_of_that_time_or_later_comes_before_it_and_few_earlier_ones_after(
    store: Store, times: list[int], wanted: int, gone: set[int]
) -> None:
    filled(store, [at * STEP for at in times])
    with store.write() as tx:
        rows = [(row.id, row.at) for row in tx.run(tables.receipts.select().order_by(tables.receipts.c.id))]
        tx.delete(tables.receipts, ["id"], [(rows[n][0],) for n in gone if n < len(rows)])
        left = [row for n, row in enumerate(rows) if n not in gone]
        first = since.first_since(tx, tables.receipts, wanted * STEP)
    assert all(id_ >= first for id_, at in left if at >= wanted * STEP)
    assert all(at >= (wanted - 1) * STEP for id_, at in left if id_ >= first)
