"""The store's schema version: upgrading, checking, downgrading with Alembic. Migrations ship with the package.

A store may be newer than the release that works on it, for as long as an upgrade rolls through several processes: each
migration says in `works_with` the oldest version whose release still can work with the store after it (its own, when
it says nothing). It may say an older one only when it adds what that release need not know: tables, columns that may
be empty or have a default, indexes. What becomes superfluous is removed by a later migration, when no release that
still runs uses it. The store keeps the answer, because an older release has never seen the newer migration.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from syncbroker.errors import StoreUnusable
from syncbroker.store import tables
from syncbroker.store.database import Store, translated

_WORKS_WITH = "works_with"


def _scripts() -> Path:
    """Beside the package in a checkout, inside it in an installation."""
    inside = Path(__file__).parents[1] / "migrations"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "migrations"


def config() -> Config:
    """Where the migrations are."""
    found = Config()
    found.set_main_option("script_location", str(_scripts()))
    return found


@cache
def head() -> str:
    """The newest version that this release knows; it does not change while the process runs."""
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
        reached = MigrationContext.configure(tx.connection).get_current_revision()
        if reached is not None:
            module = ScriptDirectory.from_config(found).get_revision(reached).module
            oldest = getattr(module, "works_with", reached)
            tx.insert(
                tables.meta, ["key", "value"], [(_WORKS_WITH, f"{reached} {oldest}")], conflict="replace"
            )


def _works_with(store: Store, version: str) -> str:
    """The oldest version whose release can work with the store at this one; the same where nothing else is known."""
    with store.read() as tx:
        rows = tx.lookup(tables.meta, ["value"], "key", [_WORKS_WITH])
    told, _, oldest = str(rows[0][0]).partition(" ") if rows else ("", "", "")
    return oldest if told == version else version


def require_current(store: Store) -> None:
    """StoreUnusable unless the store is at this release's version, or at a newer one that works with it."""
    found, wanted = current(store), head()
    if found is None:
        raise StoreUnusable(f"the store {store.where} has no tables", hint="run: syncbroker db upgrade")
    if found > wanted and _works_with(store, found) <= wanted:
        return
    if found != wanted:
        raise StoreUnusable(
            f"the store {store.where} is at version {found}, this release needs {wanted}",
            hint="back it up and run: syncbroker db upgrade; if the store is newer, use the newer release",
        )
