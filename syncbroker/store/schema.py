"""The store's schema version: upgrading, checking, downgrading with Alembic. Migrations ship with the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from syncbroker.errors import StoreUnusable
from syncbroker.store.database import Store, translated


def _scripts() -> Path:
    """Beside the package in a checkout, inside it in an installation."""
    inside = Path(__file__).parents[1] / "migrations"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "migrations"


def config() -> Config:
    """Where the migrations are."""
    found = Config()
    found.set_main_option("script_location", str(_scripts()))
    return found


def head() -> str:
    return str(ScriptDirectory.from_config(config()).get_current_head())


def current(store: Store) -> str | None:
    """The version of the store, None when it has no tables."""
    with store.read() as tx:
        return MigrationContext.configure(tx.connection).get_current_revision()


def upgrade(store: Store, revision: str = "head") -> None:
    _run(store, command.upgrade, revision)


def downgrade(store: Store, revision: str = "base") -> None:
    _run(store, command.downgrade, revision)


def check(store: Store) -> None:
    """Raises when the tables differ from what the code expects."""
    found = config()
    with translated(store.where), store.write() as tx:
        found.attributes["connection"] = tx.connection
        command.check(found)


def _run(store: Store, action: Callable[[Config, str], None], revision: str) -> None:
    found = config()
    with store.write() as tx:
        found.attributes["connection"] = tx.connection
        action(found, revision)


def require_current(store: Store) -> None:
    """StoreUnusable unless the store is at this release's version."""
    found, wanted = current(store), head()
    if found is None:
        raise StoreUnusable(f"the store {store.where} has no tables", hint="run: syncbroker db upgrade")
    if found != wanted:
        raise StoreUnusable(
            f"the store {store.where} is at version {found}, this release needs {wanted}",
            hint="back it up and run: syncbroker db upgrade; if the store is newer, use the newer release",
        )
