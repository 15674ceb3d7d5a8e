"""What is kept of a write once it is known what became of it: see `store.receipts`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from syncbroker.core.plan import Seen
from syncbroker.core.types import Value
from syncbroker.engine.workspace import Workspace
from syncbroker.store.receipts import Body, Kept, Status

if TYPE_CHECKING:
    from syncbroker.engine.settle import Claim


def keep(
    ws: Workspace,
    one: Claim,
    status: Status,
    *,
    values: Mapping[str, Value],
    external_id: str | None = None,
    shown: Mapping[str, Seen] | None = None,
    message: str = "",
) -> None:
    """Note what became of a claimed write of `values`; stored with everything else that the transaction settles."""
    push = one.row.push
    body = Body(
        system=one.source.system,
        object=one.source.object,
        external_id=external_id or one.link.external_id,
        status=status,
        values=dict(values),
        decisions={name: n for name, n in push.decisions.items() if name in values or not values},
        sent=_sent(one, values),
        shown={
            name: seen.raw if seen.invalid else seen.value
            for name, seen in (shown or {}).items()
            if name in values and (seen.invalid or seen.value != values[name])
        },
        message=message,
        key=push.key,
        attempts=one.row.attempts + 1,
        mapping=ws.engine.mapping.version,
    )
    ws.receipts.append(
        Kept(
            record_id=one.record_id,
            link=one.row.link,
            run=one.row.run,
            at=ws.now,
            op=one.write.op,
            body=body,
        )
    )


def _sent(one: Claim, values: Mapping[str, Value]) -> dict[str, object]:
    """Raw values by path, of fields that were not sent as their canonical value."""
    found: dict[str, object] = {}
    for name, value in values.items():
        members = one.reader.fields.get(name, ())
        raws = {link.path: one.write.values[link.path] for link in members if link.path in one.write.values}
        if len(members) > 1 or any(raw != value for raw in raws.values()):
            found.update(raws)
    return found
