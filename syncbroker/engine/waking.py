"""What a transaction sets going: observations that waited for a write to end; references to what is newly linked, which
waited on other links, and writes that waited to refer to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from syncbroker.core.plan import Reader
from syncbroker.core.state import LinkState
from syncbroker.engine import Engine
from syncbroker.engine.workspace import Workspace
from syncbroker.store import queues, records
from syncbroker.store.queues import Sighting


def wake(ws: Workspace) -> None:
    """For everything settled and linked in this transaction. Links that referred to it see their
    reference as if for the first time."""
    for where, ids in sorted(ws.woken.items()):
        queues.wake(ws.tx, *where, sorted(ids))
    by_target: dict[tuple[str, str], list[str]] = {}
    for system, entity, external_id in ws.linked:
        by_target.setdefault((system, entity), []).append(external_id)
    for system in sorted({system for system, _ in by_target}):
        queues.wake_waiting(ws.tx, system)
    for target, external_ids in _wait(ws, set(by_target)).items():
        by_target.setdefault(target, []).extend(external_ids)
    for (system, entity), external_ids in by_target.items():
        waiting = records.take_pending(ws.tx, system, entity, external_ids)
        for link, _, owner in records.link_states(ws.tx, waiting).values():
            reader = ws.engine.plans[owner].readers[system]
            names = [
                name
                for name, members in reader.fields.items()
                if any(m.spec.entity == entity for m in members)
            ]
            s = held_sighting(ws.engine, reader, link, names)
            if s.fields and link.external_id is not None:
                queues.stage(ws.tx, queues.LIVE, system, link.object, [s])


def _wait(ws: Workspace, linked: set[tuple[str, str]]) -> dict[tuple[str, str], list[str]]:
    """References to what is not linked yet wait for it; (system, entity) -> external ids of what was linked meanwhile.

    Who links something and who begins to wait for it hold one lock, so that one of them sees the other.
    """
    waiting: dict[tuple[str, str], set[str]] = {}
    pending = [one for one in ws.pending if one[3] in ws.home]
    for system, entity, external_id, _ in pending:
        waiting.setdefault((system, entity), set()).add(external_id)
    ws.tx.serialise_all(f"references {system} {entity}" for system, entity in linked | waiting.keys())
    records.pend(ws.tx, pending)
    found = {}
    for (system, entity), ids in sorted(waiting.items()):
        object_ = ws.engine.plans[entity].readers[system].rule.object
        found[system, entity] = sorted(records.references(ws.tx, system, object_, entity, sorted(ids)))
    return {target: ids for target, ids in found.items() if ids}


def held_sighting(engine: Engine, reader: Reader, link: LinkState, names: Iterable[str]) -> Sighting:
    """What a link is known to hold, as if it were observed just now: for looking at it anew."""
    fields: dict[str, Any] = {}
    for name in names:
        state = link.fields.get(name)
        if state is not None:
            members = reader.fields[name]
            raws = [state.raw] if len(members) == 1 else state.raw or [None] * len(members)
            fields.update({one.path: raw for one, raw in zip(members, raws, strict=True)})
    stamp = link.order if engine.sources[link.system, link.object].spec.stamp else None
    return Sighting(
        id=link.external_id or "",
        fields=fields,
        complete=False,
        stamp=stamp,
        begun=link.seen,
        ended=link.seen,
        via="reference",
        consent=link.consent,
    )
