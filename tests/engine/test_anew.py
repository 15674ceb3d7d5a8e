"""What a whole entity is owed is derived in pieces, and between two of them others have their turn."""

from __future__ import annotations

import threading

from syncbroker.engine import anew, sharing
from tests.engine.conftest import Worlds

FIELDS = "  email: {type: email, systems: {crm: email, mkt: email}}\n"
ANN = {"email": "ann@x.example"}
PATIENCE = 10.0


def test_who_is_told_of_a_piece_may_decide_then(any_world: Worlds) -> None:
    """A piece that held its locks until it was told of would wait for itself."""
    here = any_world(FIELDS, {"crm": [ANN], "mkt": [ANN]})
    here.sync()
    done: list[bool] = []

    def other() -> None:
        with here.engine.store.write() as tx:
            tx.serialise(sharing.DECIDE)

    def between(_count: int) -> None:
        thread = threading.Thread(target=other, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        done.append(not thread.is_alive())

    anew.rederive(here.engine, "person", between)
    assert done == [True]
