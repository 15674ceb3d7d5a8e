"""How every deciding transaction ends: bases move, what is owed is derived, all is written, what waited is woken."""

from __future__ import annotations

from syncbroker.engine import held, owing, waking
from syncbroker.engine.workspace import Workspace


def finish(ws: Workspace) -> dict[str, int]:
    """Returns outcomes by kind."""
    ws.step()
    owing.derive(ws)
    kinds = ws.write()
    held.count_waiting(ws.tx, ws.held)
    waking.wake(ws)
    return kinds
