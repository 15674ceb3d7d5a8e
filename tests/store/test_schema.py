"""Migrations, up and down and up again, on both kinds of store."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from syncbroker.errors import Retry, StoreUnusable
from syncbroker.store import database, runs, schema, tables
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


NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "0999"
down_revision = "{head}"
branch_labels = None
depends_on = None
{says}


def upgrade():
    op.add_column("runs", sa.Column("colour", sa.Text(), nullable=True))


def downgrade():
    op.drop_column("runs", "colour")
"""


def upgraded_by_the_next_release(store: Store, folder: Path, says: str) -> None:
    shutil.copytree(schema._scripts(), folder / "migrations")
    text_ = NEXT.format(head=schema.head(), says=says)
    (folder / "migrations" / "versions" / "0999_next.py").write_text(text_)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "_scripts", lambda: folder / "migrations")
        schema.upgrade(store)
    assert schema.current(store) == "0999"


def test_a_newer_store_that_works_with_this_release_is_worked_on(empty: Store, tmp_path: Path) -> None:
    upgraded_by_the_next_release(empty, tmp_path, f'works_with = "{schema.head()}"')
    schema.require_current(empty)
    with empty.write() as tx:
        run = runs.begin(tx, "pull", "crm", "people", 1)
    with empty.read() as tx:
        assert runs.get(tx, run) is not None


@pytest.mark.parametrize("says", ["", 'works_with = "0999"'])
def test_a_newer_store_that_does_not_is_refused(empty: Store, tmp_path: Path, says: str) -> None:
    upgraded_by_the_next_release(empty, tmp_path, says)
    with pytest.raises(StoreUnusable, match="at version 0999"):
        schema.require_current(empty)


def test_two_upgrades_at_once_end_as_one(postgres_url: str) -> None:
    command = [sys.executable, "-m", "syncbroker.cli.main", "db", "upgrade"]
    environment = {**os.environ, "SYNCBROKER_DATABASE_URL": postgres_url}
    children = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    told = sorted(child.communicate()[0].partition(" ")[2] for child in children)
    assert [child.returncode for child in children] == [0, 0]
    store = open_store(postgres_url)
    assert schema.current(store) == schema.head()
    store.close()
    assert told[0].endswith(f"to {schema.head()}\n") or told[1].endswith(f"to {schema.head()}\n"), told


def test_an_upgrade_does_not_wait_long_for_a_table_in_use(postgres_url: str, tmp_path: Path) -> None:
    store, user = open_store(postgres_url), open_store(postgres_url)
    schema.upgrade(store)
    with user.read() as tx:
        tx.run(text("SELECT * FROM runs")).all()
        with pytest.raises(Retry, match="is busy"):
            upgraded_by_the_next_release(store, tmp_path, "")
    assert schema.current(store) == schema.head()
    store.close()
    user.close()


def test_a_check_tells_what_differs(empty: Store) -> None:
    schema.upgrade(empty)
    with empty.write() as tx:
        tx.run(text("DROP INDEX outbox_by_due"))
    with pytest.raises(Exception, match="outbox_by_due"):
        schema.check(empty)
