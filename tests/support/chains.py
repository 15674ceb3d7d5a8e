"""What is wrong with the chains of decisions of a store."""

from __future__ import annotations

from syncbroker.store import chain
from syncbroker.store.chain import Broken
from syncbroker.store.database import Store


def broken(store: Store) -> list[Broken]:
    return [one.broken for one in chain.walk(store) if one.broken is not None]
