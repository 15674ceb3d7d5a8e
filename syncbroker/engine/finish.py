"""How every deciding transaction ends: bases move, records that seem to be one are asked about, what is owed is
derived, all is written, what waited is woken."""

from __future__ import annotations

from syncbroker.engine import collisions, owing, waking
from syncbroker.engine.workspace import Workspace


def finish(ws: Workspace) -> dict[str, int]:
    """Returns outcomes by kind."""
    ws.step()
    collisions.propose(ws)
    owing.derive(ws)
    kinds = ws.write()
    waking.wake(ws)
    return kinds
