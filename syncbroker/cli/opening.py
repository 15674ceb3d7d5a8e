"""What a command works with: the settings, the store, and the engine on it, closed when the command ends."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from syncbroker.errors import StoreUnusable

if TYPE_CHECKING:
    from syncbroker.bootstrap import CallWatch
    from syncbroker.engine import Engine, Tell
    from syncbroker.settings import Settings
    from syncbroker.store.database import Store


@contextmanager
def opened_store(settings: Settings, *, make: bool = False) -> Iterator[Store]:
    """The store. A SQLite file is only made where `make` says so: a look from a wrong folder leaves nothing behind."""
    from syncbroker.store.database import open_store

    store = open_store(settings.database_url)
    try:
        path = store.engine.url.database if store.single else None
        if path and path != ":memory:" and not make and not Path(path).exists():
            raise StoreUnusable(f"the store {store.where} does not exist", hint="run: syncbroker db upgrade")
        yield store
    finally:
        store.close()


@contextmanager
def opened(
    *, works: bool = False, calls: CallWatch | None = None, tell: Tell | None = None
) -> Iterator[Engine]:
    """An engine. `works`: this process is going to read, decide or write; on SQLite only one may."""
    from syncbroker.bootstrap import build
    from syncbroker.engine import untold
    from syncbroker.settings import read_settings

    settings = read_settings()
    with opened_store(settings) as store:
        engine = build(settings, store=store, calls=calls, tell=tell or untold)
        try:
            if works:
                store.claim_process()
            gc.freeze()  # what is there by now stays: looking through it again and again stops everything for 0.1 s
            yield engine
        finally:
            gc.unfreeze()
            engine.close()
