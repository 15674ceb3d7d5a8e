"""The records that an unlinked observation is like, where a match rule of likeness has its turn.

Costs a probe per block and the loading of those that share most of them; entities without such rules pay nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from syncbroker.core import similar
from syncbroker.core.mapping import MatchRule
from syncbroker.core.plan import Plan
from syncbroker.core.similar import COMPARED, CROWD, Likeness
from syncbroker.core.types import Value
from syncbroker.engine import Source
from syncbroker.engine.reading import variants
from syncbroker.engine.workspace import Workspace
from syncbroker.store import records


def alike(
    ws: Workspace, source: Source, plan: Plan, values: Mapping[str, Value], rule: MatchRule
) -> list[Likeness]:
    """The most alike records that reach the rule's every likeness. `values` by member field.

    What cannot be compared because too many records share every piece of a name is counted.
    """
    if not all(values.get(name) is not None for name, _ in rule.similar):
        return []
    entity = plan.entity.name
    blocks = similar.blocks(plan, values, [name for name, _ in rule.similar])
    stored = records.in_blocks(ws.tx, entity, blocks, CROWD + 1)
    shared: Counter[str] = Counter()
    crowded = 0
    for block in blocks:
        members = {*stored.get(block, ()), *ws.local_keys.get((entity, block), ())}
        if len(members) > CROWD:
            crowded += 1
        else:
            shared.update(members)
    if crowded and (crowded == len(blocks) or len(shared) > COMPARED):
        ws.count("likeness_crowded", source.system, source.object)
    ids = sorted(shared, key=lambda id_: (-shared[id_], id_))[:COMPARED]
    others = records.load(ws.tx, [id_ for id_ in ids if id_ not in ws.records])
    others |= {id_: ws.records[id_] for id_ in ids if id_ in ws.records}
    return similar.alike(plan, rule, values, {id_: variants(plan, one) for id_, one in others.items()})
