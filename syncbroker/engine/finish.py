"""How every deciding transaction ends: authority that passed on decides, deletions whose grace is over take effect,
bases move, records that seem to be one are asked about, what is owed is derived, drift that is in order is healed, all
is written, what waited is woken."""

from __future__ import annotations

from syncbroker.engine import collisions, held, ledger, owing, removal, takeover, waking
from syncbroker.engine.workspace import Workspace
from syncbroker.store import runs


def finish(ws: Workspace) -> dict[str, int]:
    """Returns outcomes by kind."""
    takeover.follow(ws)
    removal.expire(ws)
    ws.step()
    collisions.propose(ws)
    owing.derive(ws)
    ledger.close(ws)
    kinds = ws.write()
    held.count_waiting(ws.tx, ws.held)
    waking.wake(ws)
    runs.count(ws.tx, ws.counts)  # at the very end: who counts the same waits for us from here on
    return kinds
