"""Guards: what observations would do to what links hold, counted, and which limits that passes.

A guard stands before decisions (input: what was read) and before writes (output: what is owed). Both count records, not
fields, into a `Tally`, and both ask the same question of it: `tripped`. Nothing here knows where the numbers come from.

A share is counted against the number of links of the object, taken as at least `LEAST`, so that in a small source one
edit is no landslide. Where a limit is not written there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from syncbroker.core.mapping import Guard
from syncbroker.core.plan import Seen
from syncbroker.core.state import FieldState, LinkState
from syncbroker.core.types import Micros, Value

What = Literal["changed", "emptied", "deleted", "collapse", "created"]

LEAST = 100
"""The fewest links that a share is counted against."""

SAMPLES = 10
"""How many examples a question to a person shows at most."""

GROUPS = 100_000
"""How many different new values are remembered while looking for a collapse; those that nobody shares go first."""


class Change(msgspec.Struct, frozen=True):
    """What one observation would do to one link. `fields`: name -> (held, observed)."""

    fields: dict[str, tuple[Value, Value]] = {}
    deleted: bool = False
    new: bool = False

    @property
    def emptied(self) -> tuple[str, ...]:
        return tuple(name for name, (held, seen) in self.fields.items() if seen is None and held is not None)


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """One limit that is passed: `found` is more than `limit`, which is a share of `of` links where `of` is not 0.

    `field` and `value`: those of a collapse. `system` and `object`: where the records are.
    """

    what: What
    found: int
    limit: float
    of: int = 0
    entity: str = ""
    system: str = ""
    object: str = ""
    field: str = ""
    value: Value = None
    place: str = ""

    @property
    def text(self) -> str:
        """In words, without the value itself."""
        where = f"{self.system} {self.object}"
        if self.what == "collapse":
            return (
                f"{self.found:,} different values of {self.field} in {where} would become one and the same; "
                f"the limit is {self.limit:g}"
            )
        if self.of:
            return (
                f"{self.found:,} of {self.of:,} records of {where} would be {self.what}; "
                f"the limit is {self.limit * 100:g}%"
            )
        records = "record" if self.found == 1 else "records"
        return f"{self.found:,} {records} of {where} would be {self.what}; the limit is {self.limit:g}"


class Collapses:
    """How many different values of a field became one and the same value.

    Values are remembered by their hash. Beyond `bound` groups those of one former value are forgotten: a collapse large
    enough to matter is met again and again.
    """

    def __init__(self, bound: int = GROUPS) -> None:
        self._bound = bound
        self._groups: dict[tuple[str, Value], set[Value]] = {}

    def add(self, fields: Mapping[str, tuple[Value, Value]]) -> None:
        for name, (held, seen) in fields.items():
            if held is not None and seen is not None and held != seen:
                self._groups.setdefault((name, seen), set()).add(held)
        if len(self._groups) > self._bound:
            self._groups = {key: olds for key, olds in self._groups.items() if len(olds) > 1}

    def largest(self) -> tuple[int, str, Value]:
        """(how many different values, field, the value that they became)."""
        found = max(self._groups.items(), key=lambda pair: len(pair[1]), default=None)
        return (0, "", None) if found is None else (len(found[1]), found[0][0], found[0][1])


@dataclass
class Tally:
    """Records by what would happen to them. `seen`: all that were weighed."""

    seen: int = 0
    new: int = 0
    changed: int = 0
    emptied: int = 0
    deleted: int = 0
    created: int = 0
    collapses: Collapses = field(default_factory=Collapses)

    def add(self, change: Change) -> tuple[What, ...]:
        """Count one record; what it was counted as."""
        self.seen += 1
        self.new += change.new
        kinds: list[What] = []
        if change.deleted:
            self.deleted += 1
            kinds.append("deleted")
        elif change.fields:
            self.changed += 1
            kinds.append("changed")
            if change.emptied:
                self.emptied += 1
                kinds.append("emptied")
            self.collapses.add(change.fields)
        return tuple(kinds)

    @property
    def counts(self) -> dict[str, int]:
        """By word, those that are not 0."""
        names = ("seen", "new", "changed", "emptied", "deleted", "created")
        return {name: getattr(self, name) for name in names if getattr(self, name)}


def weigh(
    link: LinkState | None, seen: Mapping[str, Seen], *, deleted: bool = False, order: Micros | None = None
) -> Change:
    """What an observation would do to a link. `order`: its stamp, where the object has one.

    A first sight of a field, a reference that is not linked yet, our own write coming back and a state older than the
    last one change nothing.
    """
    if link is None:
        return Change(new=not deleted)
    if deleted:
        return Change(deleted=link.status == "live")
    if order is not None and order < link.order:
        return Change()
    changed: dict[str, tuple[Value, Value]] = {}
    for name, one in seen.items():
        state = link.fields.get(name)
        if state is not None and _differs(link, state, one):
            held = str(state.raw) if state.invalid else state.value
            changed[name] = (held, str(one.raw) if one.invalid else one.value)
    return Change(changed)


def _differs(link: LinkState, state: FieldState, one: Seen) -> bool:
    if one.pending or one.raw == state.raw:
        return False
    if one.invalid or state.invalid:
        return True
    if one.value == state.value or any(one.value == value for value, _ in state.sent):
        return False
    return not (link.open and one.value in state.known)


def harmless(guard: Guard, many: int) -> bool:
    """Whether so few observations can pass no input limit, whatever they say."""
    return many <= min(_least(guard), default=many)


def _least(guard: Guard) -> Iterable[float]:
    for share in (guard.changed, guard.emptied):
        if share is not None:
            yield share * LEAST
    for count in (guard.deleted, guard.collapse):
        if count is not None:
            yield count


def tripped(guard: Guard, tally: Tally, links: int) -> list[Limit]:
    """The limits that the tally passes, in the order changed, emptied, deleted, collapse, created. At a limit is not
    past it. `links`: how many the object has."""
    found: list[Limit] = []
    base = max(links, LEAST)
    shares: tuple[tuple[What, int, float | None], ...] = (
        ("changed", tally.changed, guard.changed),
        ("emptied", tally.emptied, guard.emptied),
    )
    for what, many, share in shares:
        if share is not None and many > _exact(share * base):
            found.append(Limit(what=what, found=many, limit=share, of=base))
    if guard.deleted is not None and tally.deleted > guard.deleted:
        found.append(Limit(what="deleted", found=tally.deleted, limit=guard.deleted))
    if guard.collapse is not None:
        many, name, value = tally.collapses.largest()
        if many > guard.collapse:
            found.append(Limit(what="collapse", found=many, limit=guard.collapse, field=name, value=value))
    if guard.created is not None and tally.created > guard.created:
        found.append(Limit(what="created", found=tally.created, limit=guard.created))
    return found


def _exact(amount: float) -> float:
    """Without the last bits, in which 7% of 100 is more than 7."""
    return round(amount, 9)


def sample(change: Change) -> dict[str, Any]:
    """A change as a question shows it: field -> [held, observed]."""
    return {name: [held, seen] for name, (held, seen) in change.fields.items()}
