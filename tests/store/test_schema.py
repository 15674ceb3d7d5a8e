"""Migrations, up and down and up again, on both kinds of store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from syncbroker.errors import StoreUnusable
from syncbroker.store import database, schema, tables
from syncbroker.store.database import Store, create_all, open_store


@pytest.fixture
def empty(store_url: str) -> Iterator[Store]:
    opened = open_store(store_url)
    yield opened
    opened.close()


def names(store: Store) -> set[str]:
    with store.read() as tx:
        return set(inspect(tx.connection).get_table_names()) - {"alembic_version"}


def indexes(store: Store) -> set[tuple[str, str, tuple[str | None, ...]]]:
    with store.read() as tx:
        found = inspect(tx.connection)
        return {
            (table, str(index["name"]), tuple(index["column_names"]))
            for table in found.get_table_names()
            for index in found.get_indexes(table)
        }


def test_migrations_lead_up_down_and_up_again_and_agree_with_the_code(empty: Store) -> None:
    assert schema.current(empty) is None
    schema.upgrade(empty)
    schema.check(empty)
    assert schema.current(empty) == schema.head()
    assert names(empty) == set(tables.metadata.tables)
    schema.downgrade(empty)
    assert names(empty) == set()
    assert schema.current(empty) is None
    schema.upgrade(empty)
    schema.check(empty)


def test_migrations_make_the_indexes_that_the_code_names(empty: Store, store_url: str) -> None:
    schema.upgrade(empty)
    migrated = indexes(empty)
    schema.downgrade(empty)
    create_all(empty)
    assert indexes(empty) == migrated
    assert ("aliases", "aliases_by_now", ("system", "object", "now")) in migrated


def last_numbers(store: Store) -> tuple[int, int]:
    with store.write() as tx:
        return tx.numbers("links", 7)[-1], tx.numbers("audit", 1)[0]


def test_numbers_go_on_over_a_migration_and_back(store_url: str, empty: Store) -> None:
    schema.upgrade(empty, "0002")
    with empty.write() as tx:
        tx.run(tables.sequences.insert().values(name="links", last=41))
    schema.upgrade(empty)
    assert last_numbers(empty) == (48, 1)
    schema.downgrade(empty, "0002")
    with empty.read() as tx:
        assert {row.name: row.last for row in tx.run(tables.sequences.select())} == {"links": 48, "audit": 1}
    schema.upgrade(empty)
    assert last_numbers(empty) == (55, 2)


def test_everything_that_is_numbered_has_its_numbers(empty: Store) -> None:
    """Whatever the code numbers is named in `NUMBERED`, or PostgreSQL would not know it."""
    code = Path(database.__file__).parents[1].rglob("*.py")
    asked = {
        name
        for file in code
        for name in re.findall(r'(?:numbers|new_number|reserve)\("(\w+)"', file.read_text())
    }
    assert asked <= set(tables.NUMBERED)
    create_all(empty)
    with empty.write() as tx:
        assert {tx.numbers(name, 1)[0] for name in tables.NUMBERED} == {1}


def test_a_store_without_tables_is_not_worked_on(empty: Store) -> None:
    with pytest.raises(StoreUnusable, match="has no tables") as told:
        schema.require_current(empty)
    assert "db upgrade" in told.value.hint


def test_a_store_of_another_release_is_not_worked_on(empty: Store) -> None:
    schema.upgrade(empty)
    schema.require_current(empty)
    with empty.write() as tx:
        tx.run(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreUnusable, match="is at version 9999"):
        schema.require_current(empty)


def test_a_check_tells_what_differs(empty: Store) -> None:
    schema.upgrade(empty)
    with empty.write() as tx:
        tx.run(text("DROP INDEX outbox_by_due"))
    with pytest.raises(Exception, match="outbox_by_due"):
        schema.check(empty)
