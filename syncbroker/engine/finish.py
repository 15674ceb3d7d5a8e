"""How every deciding transaction ends: authority that passed on decides, deletions whose grace is over take effect,
bases move, records that seem to be one are asked about, what is owed is derived, drift that is in order is healed, all
is written, what waited is woken."""

from __future__ import annotations

from msgspec.structs import replace

from syncbroker.core import fanout
from syncbroker.core.state import NOTHING, LinkState, Record
from syncbroker.engine import collisions, held, ledger, owing, removal, saving, takeover, waking
from syncbroker.engine.workspace import Workspace
from syncbroker.store import runs


def finish(ws: Workspace) -> dict[str, int]:
    """Returns outcomes by kind."""
    takeover.follow(ws)
    removal.expire(ws)
    _step(ws)
    collisions.propose(ws)
    owing.derive(ws)
    ledger.close(ws)
    kinds = saving.save(ws)
    held.count_waiting(ws.tx, ws.held)
    waking.wake(ws)
    runs.count(ws.tx, ws.counts)  # at the very end: who counts the same waits for us from here on
    return kinds


def _step(ws: Workspace) -> None:
    """Let the bases of links that are in step move with the golden values."""
    for id_ in ws.touched:
        record = ws.records[id_]
        for link in fanout.step(record):
            record.by_number[link.n] = _agreed(ws, link, record)
            ws.dirty.add(link.n)


def _agreed(ws: Workspace, link: LinkState, record: Record) -> LinkState:
    """Questions about fields that came to be in step meanwhile are closed."""
    asked = {
        name: replace(state, review=0)
        for name, state in link.fields.items()
        if state.review and fanout.in_step(state, record.golden.get(name, NOTHING).value)
    }
    for name in asked:
        ws.close(link.fields[name].review, "agreed")
    return replace(link, fields={**link.fields, **asked}) if asked else link
