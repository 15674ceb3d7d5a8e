"""A lease is one holder's until it ends, by the clock of the database."""

from __future__ import annotations

import time

import pytest

from syncbroker.store import leases, tables
from syncbroker.store.database import Store


def test_a_lease_that_somebody_holds_is_nobody_elses(store: Store) -> None:
    with store.write() as tx:
        assert leases.take(tx, "write:crm:0", "one")
        assert leases.take(tx, "write:crm:0", "one")
        assert not leases.take(tx, "write:crm:0", "other")
        assert leases.held(tx, ["write:crm:0", "write:crm:1"]) == {"write:crm:0"}


def test_a_lease_that_is_over_is_anybodys(store: Store) -> None:
    with store.write() as tx:
        assert leases.take(tx, "write:crm:0", "one", term=-1)
        assert leases.held(tx, ["write:crm:0"]) == set()
        assert leases.take(tx, "write:crm:0", "other")


def test_a_lease_ends_a_term_from_now(store: Store) -> None:
    with store.write() as tx:
        leases.take(tx, "write:crm:0", "one")
        (until,) = tx.run(tables.leases.select().with_only_columns(tables.leases.c.until)).one()
    assert until == pytest.approx(time.time_ns() // 1000 + leases.TERM, abs=60_000_000)
