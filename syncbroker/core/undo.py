"""What goes back when decisions are undone: of each field the trailing run of them, and nothing before it.

A golden value names the decision that set it, and that decision's question holds the golden value from before, which
names its own: the way back is followed from the value that stands, never searched for. It ends at the first decision
that is not to be undone, and at the first value ever seen; when that is the one that stands, the field is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from syncbroker.core.mapping import FieldRule
from syncbroker.core.state import Golden
from syncbroker.core.types import Value

FAR_BACK = 200
"""How many decisions of others the newest one to be undone is looked for behind."""


class Change(msgspec.Struct, frozen=True, gc=False):
    """One outcome about a field: the golden value `before` it and the value `after`. `within`: it is to be undone.

    `system`, `link`: where the edit was seen; `first`: the system was never seen before to hold anything.
    """

    decision: int
    system: str
    link: int
    before: Golden
    after: Value
    within: bool
    first: bool = False

    @property
    def moved(self) -> bool:
        return self.before.value != self.after


class Back(msgspec.Struct, frozen=True):
    """The field goes back to the golden value `to`. `undone`: the changes that this undoes, newest first."""

    to: Golden
    undone: tuple[Change, ...]


class Stays(msgspec.Struct, frozen=True):
    """The field is left as it is. `decision` set the standing value, or froze it. `newest`: the newest decision that
    was to be undone, 0 when it lies too far back."""

    why: str
    decision: int
    newest: int


class Needs(msgspec.Struct, frozen=True):
    """The changes of this decision must be known first."""

    decision: int


Known = Mapping[int, Sequence[Change]]
"""Decision -> what it said about the field, in order; nothing for a decision that said nothing."""


def way_back(golden: Golden, known: Known) -> Back | Stays | Needs:
    """Where a field goes. Total: every standing value has an answer, once what it `Needs` is known."""
    undone: list[Change] = []
    n, value, why = golden.decision, golden.value, "changed since"
    while n:
        if n not in known:
            return Needs(n)
        found = known[n]
        step = _take(found, value, undone)
        if step:
            why = step
            break
        value = undone[-1].before.value if undone else value
        before = found[0].before.decision
        if before >= n:
            break
        n = before
    if golden.frozen is None and undone:
        return Back(undone[-1].before, tuple(undone))
    newest = _newest(golden.decision, known)
    if isinstance(newest, Needs):
        return newest
    return Stays("in review" if golden.frozen is not None else why, golden.decision, newest)


def _take(found: Sequence[Change], value: Value, undone: list[Change]) -> str:
    """Add what one decision changed to `undone`, from its end. Returns why the way ends here, "" when it goes on."""
    moved = [change for change in found if change.moved]
    if not moved:  # it froze the field, or a person confirmed the value
        return "" if any(change.within for change in found) else "confirmed since"
    for change in reversed(moved):
        if not change.within:
            return "changed since"
        if change.first and change.before.value is None:  # it was so before anybody looked
            return f"the first value that {change.system} was seen to hold; there was none before"
        if change.after != (undone[-1].before.value if undone else value):
            return "holds another value than the decision gave"
        undone.append(change)
    return ""


def _newest(n: int, known: Known) -> int | Needs:
    """The newest decision that was to be undone and changed the value, looked for along the way back."""
    for _ in range(FAR_BACK):
        if not n:
            return 0
        if n not in known:
            return Needs(n)
        if any(change.within and change.moved for change in known[n]):
            return n
        before = known[n][0].before.decision if known[n] else 0
        if before >= n:
            return 0
        n = before
    return 0


def obstacle(rule: FieldRule, golden: Golden, back: Back) -> str:
    """Why the mapping does not let a field go back, "" when it does."""
    if back.to.value == golden.value:
        return "the value from before is the one that stands"
    if rule.policy == "most_restrictive" and _looser(rule, back.to.value, golden.value):
        return "it would loosen a restriction without fresh consent"
    if back.to.value is not None:
        return ""
    if rule.required:
        return "there was no value before, and the field is required"
    if rule.empty != "clear":
        return "there was no value before, and the mapping never empties the field"
    return ""


def _looser(rule: FieldRule, now: Value, standing: Value) -> bool:
    order = {value: n for n, value in enumerate(rule.order)}
    return order.get(str(now), -1) < order.get(str(standing), -1)
