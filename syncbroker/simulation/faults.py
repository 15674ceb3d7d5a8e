"""Everything that goes wrong in a simulated world, by name. Each fault can be left out or asked for by itself.

Three kinds: *traits* belong to a world from its beginning (clocks that differ), *strikes* are armed by a step of the
history and hit the next fitting event or call, *deaths* hit the broker's own process.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

Kind = Literal["trait", "event", "read", "call", "write", "process"]


class Fault(NamedTuple):
    """`kind`: what it hits. `text`: what happens."""

    kind: Kind
    text: str


FAULTS: dict[str, Fault] = {
    "webhook_duplicated": Fault("event", "a webhook is delivered twice"),
    "webhook_reordered": Fault("event", "a webhook overtakes the one before it"),
    "webhook_delayed": Fault("event", "a webhook comes up to two hours late"),
    "webhook_dropped": Fault("event", "a webhook is never delivered"),
    "webhook_bare": Fault("event", "a webhook names the record and has no body"),
    "page_repeated": Fault("read", "a page of a poll or scan comes twice"),
    "page_short": Fault("read", "a page of a poll or scan lacks a record"),
    "stale_read": Fault("read", "a read shows a state from before, within the declared lag"),
    "rate_limited": Fault("call", "429 with Retry-After"),
    "rate_limited_blindly": Fault("call", "429 without Retry-After"),
    "server_error": Fault("call", "5xx; of a write nobody knows whether it was made, and it was not"),
    "outage": Fault("call", "a system is down for hours"),
    "answer_lost": Fault("write", "a write is made, and its answer never comes"),
    "landed_late": Fault("write", "a write gets no answer, and is made minutes later"),
    "write_dropped": Fault("write", "a write is confirmed, and was not made"),
    "batch_half": Fault("write", "half of a batch is made, and the answer never comes"),
    "edit_meanwhile": Fault("call", "somebody edits between two calls of the broker"),
    "clock_skew": Fault("trait", "the systems' clocks are minutes apart"),
    "coarse_stamps": Fault("trait", "stamps are rounded down to the minute"),
    "rewriting": Fault("trait", "a system keeps only the first letters of what it is given"),
    "automation": Fault("trait", "an automation puts its own value back after our write"),
    "killed": Fault("process", "the process dies between any two steps"),
    "second_worker": Fault("process", "another worker delivers while the first is about to write"),
}


def chosen(names: Iterable[str] = ()) -> frozenset[str]:
    """These faults, all of them when none is named."""
    return frozenset(names) or frozenset(FAULTS)


def of_kind(active: Iterable[str], *kinds: Kind) -> list[str]:
    """The active faults of these kinds, in the table's order."""
    there = set(active)
    return [name for name, fault in FAULTS.items() if name in there and fault.kind in kinds]
