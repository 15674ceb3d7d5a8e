"""References of other records follow when two records become one, and when they are two again.

They are found through `referrals` and looked at in chunks of their own. Until a chunk has had its turn, whoever loads a
record sees its references already as they will be (`Workspace`), so that nothing is decided on an id that is gone.
"""

from __future__ import annotations

from msgspec.structs import replace

from syncbroker.core.plan import Reader
from syncbroker.core.state import LinkState
from syncbroker.core.types import Value
from syncbroker.engine import Engine, sharing
from syncbroker.engine.finish import finish
from syncbroker.engine.judge import look_up_references
from syncbroker.engine.waking import held_sighting
from syncbroker.engine.workspace import Workspace
from syncbroker.store import merges, queues
from syncbroker.store.decisions import Cause, Outcome
from syncbroker.store.merges import Repointing

CHUNK = 200
"""Referring records per transaction."""


def catch_up(engine: Engine) -> None:
    """Every reference that a merge left behind, also one of a process that died."""
    with engine.store.read() as tx:
        work = merges.repointing(tx)
    for one in work:
        left: Repointing | None = one
        while left is not None:
            left = _chunk(engine, left)


def _chunk(engine: Engine, work: Repointing) -> Repointing | None:
    """The next records; what is left to do then, or None."""
    target = work.survivor if work.apart else work.absorbed
    with engine.store.write() as tx:
        tx.serialise(sharing.DECIDE)
        ids = merges.referrers(tx, target, work.after, CHUNK)
        if not ids:
            merges.repointed(tx, work.merge)
            return None
        ws = Workspace(engine, tx, queues.LIVE)
        for id_ in ws.load(ids):
            if work.apart and ws.records[id_].entity in engine.plans:
                _look_again(ws, id_, {work.survivor, work.absorbed})
        finish(ws)
        left = replace(work, after=ids[-1])
        merges.repoint(tx, left)
        return left


def _look_again(ws: Workspace, record_id: str, sides: set[str]) -> None:
    """What a link holds leads to the side whose link it names; golden values follow the link they came from."""
    record, plan = ws.records[record_id], ws.plan(record_id)
    leads: dict[str, dict[str, Value]] = {name: {} for name in plan.referring}
    for link in record.links:
        reader = plan.readers.get(link.system)
        if reader is not None and link.status in ("live", "gone"):
            for name, (was, now) in _read_again(ws, reader, link, sides).items():
                golden = record.golden.get(name)
                if golden is not None and golden.value == was:
                    leads[name][link.system] = now
    for name, found in leads.items():
        golden = record.golden.get(name)
        if golden is None or not found:
            continue
        value = found.get(golden.source, next(iter(found.values())))
        if value == golden.value:
            continue
        ws.put_golden(record_id, name, replace(golden, value=value))
        ws.add(
            record_id,
            Outcome(
                kind="unmerged",
                field=name,
                why="the record that it refers to is two again",
                after=value,
                winner=golden.source,
                cause=Cause("merge", at=ws.now),
            ),
        )


def _read_again(
    ws: Workspace, reader: Reader, link: LinkState, sides: set[str]
) -> dict[str, tuple[Value, Value]]:
    """Field -> (former, present) value of what the link holds, where it leads to one of the sides."""
    source = ws.engine.sources[link.system, link.object]
    names = [name for name in ws.plan(ws.home[link.n]).referring if name in reader.fields]
    sighting = held_sighting(ws.engine, reader, link, names)
    known = look_up_references(ws.tx, ws.engine, source, [sighting])
    seen = reader.read(sighting.fields, complete=False, references=known)
    fields, found = dict(link.fields), {}
    for name in names:
        state, now = link.fields.get(name), seen.get(name)
        if state is None or now is None or now.invalid or state.invalid:
            continue
        members = now.value if isinstance(now.value, tuple) else (now.value,)
        if sides.isdisjoint(map(str, members)):
            continue
        found[name] = (state.value, now.value)
        if now.value != state.value:
            base = now.value if state.base == state.value else state.base
            fields[name] = replace(state, value=now.value, base=base, known=(now.value,), equivalent=None)
    if fields != link.fields:
        ws.put_link(replace(link, fields=fields), ws.home[link.n], ws.records[ws.home[link.n]].entity)
    return found
