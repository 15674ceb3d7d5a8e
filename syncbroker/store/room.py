"""Whether the store can be written at all, and how much room there is for it. Asked by probes: it waits for nobody."""

from __future__ import annotations

import shutil
from pathlib import Path

from sqlalchemy.exc import OperationalError

from syncbroker.errors import StoreUnusable
from syncbroker.store.database import BUSY_MS, Store, translated

LEAST = 4 * 1024 * 1024
"""Bytes below which a disk counts as full: a commit needs some for its log."""


def free(store: Store) -> int | None:
    """Bytes left on the disk of a SQLite file; None where the database is somewhere else."""
    path = store.engine.url.database if store.single else None
    return shutil.disk_usage(Path(path).absolute().parent).free if path and path != ":memory:" else None


def require_writable(store: Store) -> None:
    """StoreUnusable unless a transaction could be written now. Writes nothing; a store that is busy can be written."""
    left = free(store)
    if left is not None and left < LEAST:
        raise StoreUnusable(f"the disk under {store.where} is full", hint="free some space; nothing is lost")
    if store.single:
        _begin(store)
        return
    with store.read() as tx:
        if tx.connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "on":
            raise StoreUnusable(
                f"the store {store.where} is read-only", hint="name the primary, not a standby"
            )


def _begin(store: Store) -> None:
    with translated(store.where), store.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None  # noqa: S101  # only a connection that was closed has none
        cursor = driver.cursor()
        try:
            cursor.execute("PRAGMA busy_timeout=0")
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("ROLLBACK")
        except connection.dialect.loaded_dbapi.OperationalError as error:
            if "locked" not in str(error):
                raise OperationalError("", None, error) from error
        finally:
            cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
            cursor.close()
