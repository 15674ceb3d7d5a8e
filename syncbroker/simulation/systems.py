"""One simulated system: its records with all their states, as flat vendor fields. Nothing fails here.

A record keeps every state that it ever had, so that a read can show an older one, and for each path who set it last,
which only the oracle looks at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

from syncbroker.core.types import Micros
from syncbroker.sdk.connector import ObjectSpec

MINUTE: Micros = 60_000_000

By = Literal["person", "automation", "ours"]


@dataclass(frozen=True)
class State:
    """What a record was from `at` (the world's clock) on. `stamp` is the system's own time for it."""

    at: Micros
    stamp: Micros
    fields: Mapping[str, Any]
    by: By
    consent: str | None = None


@dataclass(frozen=True)
class Mark:
    """Who set a path last, when, to what, over what; `edit` is the number in the world's log, 0 for a write of ours."""

    by: By
    at: Micros
    raw: Any
    edit: int = 0


@dataclass
class Row:
    """One record. `uid` never changes, the id may. `who`: the person it is about. `read_at`: last read by its id."""

    uid: int
    id: str
    who: int
    states: list[State]
    marks: dict[str, Mark] = field(default_factory=dict)
    changes: dict[str, list[State]] = field(default_factory=dict)
    stamp_id: str | None = None
    read_at: Micros = 0
    ends: Micros | None = None

    @property
    def now(self) -> State:
        return self.states[-1]

    def at(self, when: Micros) -> State | None:
        """Its state at a time, None when it was not there yet."""
        return next((state for state in reversed(self.states) if state.at <= when), None)


@dataclass
class Collection:
    """One object of a system. `rows` by id; `gone`: former id -> the id it has now, or None. `log`: (when, uid) of
    every
    change. `unique`: paths whose values the system lets occur once. `rewrites`: path -> how many letters it keeps.
    """

    spec: ObjectSpec
    unique: tuple[str, ...] = ()
    rewrites: dict[str, int] = field(default_factory=dict)
    skew: Micros = 0
    coarse: bool = False
    rows: dict[str, Row] = field(default_factory=dict)
    gone: dict[str, str | None] = field(default_factory=dict)
    by_uid: dict[int, Row] = field(default_factory=dict)
    log: list[tuple[Micros, int]] = field(default_factory=list)

    # ---- looking ----

    def holding(self, path: str, raw: Any, besides: Row | None = None) -> Row | None:
        """A record that holds the value now."""
        wanted = plain(raw)
        for row in self.rows.values():
            if row is not besides and plain(row.now.fields.get(path)) == wanted:
                return row
        return None

    def finding(self, keys: Mapping[str, Any], when: Micros) -> Iterator[tuple[Row, State]]:
        """Records that held all these values at a time."""
        for row in self.rows.values():
            state = row.at(when)
            if state and all(plain(state.fields.get(path)) == plain(raw) for path, raw in keys.items()):
                yield row, state

    # ---- changing ----

    def make(self, uid: int, id_: str, who: int, fields: Mapping[str, Any], now: Micros, by: By) -> Row:
        if self.spec.id_path:
            id_ = id_of(fields.get(self.spec.id_path))
        row = Row(uid, id_, who, [])
        self.rows[id_], self.by_uid[uid] = row, row
        self.gone.pop(id_, None)
        self.change(row, fields, now, by)
        return row

    def change(
        self,
        row: Row,
        changes: Mapping[str, Any],
        now: Micros,
        by: By,
        *,
        consent: str | None = None,
        edit: int = 0,
    ) -> str | None:
        """Set these paths. Returns the record's former id when they changed it."""
        before = row.states[-1] if row.states else None
        fields = dict(before.fields) if before else {}
        stored = {path: self.kept(path, raw) for path, raw in changes.items()}
        fields.update(stored)
        old_consent = before.consent if before else None
        state = State(now, self._stamp(now, before), fields, by, consent or old_consent)
        row.states.append(state)
        for path, raw in stored.items():
            if by == "ours" or before is None or before.fields.get(path) != raw:
                row.marks[path] = Mark(by, now, raw, edit)
            row.changes.setdefault(path, []).append(state)
        self.log.append((now, row.uid))
        return self._moved(row)

    def kept(self, path: str, raw: Any) -> Any:
        """What the system makes of a value."""
        letters = self.rewrites.get(path)
        return raw[:letters].strip() if letters and isinstance(raw, str) else raw

    def remove(self, row: Row, now: Micros) -> None:
        del self.rows[row.id]
        row.ends = now
        self.gone[row.id] = None

    def _moved(self, row: Row) -> str | None:
        if not self.spec.id_path:
            return None
        new, old = id_of(row.now.fields.get(self.spec.id_path)), row.id
        if new == old:
            return None
        del self.rows[old]
        row.id = new
        self.rows[new] = row
        self.gone[old] = new
        self.gone.pop(new, None)
        return old

    def _stamp(self, now: Micros, before: State | None) -> Micros:
        resolution = self.spec.stamp or 1
        if self.spec.conditional:  # a version: each state has its own
            return max(now + self.skew, before.stamp + resolution if before else 0) // resolution * resolution
        if self.coarse:
            resolution = max(resolution, MINUTE)
        return (now + self.skew) // resolution * resolution


def plain(raw: Any) -> Any:
    """Systems compare texts without regard to case."""
    return raw.strip().casefold() if isinstance(raw, str) else raw


def id_of(raw: Any) -> str:
    """The external id that a system makes of a field (as Mailchimp does of the address)."""
    return sha256(str(plain(raw)).encode()).hexdigest()[:12]
