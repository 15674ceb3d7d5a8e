"""A record's past: what was decided about it, which writes followed, and what is known of any moment in it.

Everything here is read from stored decisions and receipts. What was never stored is not guessed: a read that showed
nothing new leaves no trace, so what a system held at some moment is what the last stored evidence before it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from syncbroker.core.state import FieldState, Golden, LinkState, Record
from syncbroker.core.types import Micros
from syncbroker.store.decisions import Decision, Outcome
from syncbroker.store.packing import frozen
from syncbroker.store.queues import run_trace
from syncbroker.store.receipts import Kept

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Micros = 250_000_000_000_000_000
"""The last time that a date can tell, in the 99th century."""


BY_HAND = {
    "resolved_by_person": "answers of a person",
    "undone": "undone by a person",
    "merged": "records that were merged",
    "unmerged": "records that were taken apart again",
}
"""Kinds of outcomes about a field that no rule decided."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One outcome of a decision. The edit it judged: `raw` and canonical `value` on `system`, made between
    `edited_since` and `edited_until` by the vendor's `origin` and `name`; `held` and `base` are that link's then.
    The golden value went from `before` (which came from `before_source`) to `after`.

    `actor`: "rules" or a person. `via`: how it came to be seen, `event` the vendor's id for that. `place`: file:line.
    """

    decision: int
    at: datetime
    actor: str
    kind: str
    field: str
    system: str
    why: str
    policy: str = ""
    place: str = ""
    mapping: str = ""
    run: int = 0
    winner: str = ""
    before: Any = None
    before_source: str = ""
    after: Any = None
    raw: Any = None
    value: Any = None
    invalid: str = ""
    held: Any = None
    base: Any = None
    late: bool = False
    edited_since: datetime | None = None
    edited_until: datetime | None = None
    origin: str = ""
    name: str = ""
    via: str = ""
    event: str = ""
    seen: datetime | None = None
    trace: str = ""  # of the delivery or run that caused it, as the log has it
    review: int = 0


class Loser(msgspec.Struct, frozen=True, kw_only=True):
    """A value that does not stand, where it came from ("" is a person's answer) and why it lost."""

    system: str
    value: Any
    raw: Any
    why: str
    decision: int
    at: datetime


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A write of a field, and its receipt: `value` is the golden value that was written, `raw` what was sent, `shown`
    what the system showed afterwards where that was another value. `decision` had set the value, `run` owed the write.

    `status` is one of `STATUSES`.
    """

    receipt: int
    at: datetime
    system: str
    object: str
    external_id: str | None
    link: int
    op: str
    status: str
    value: Any
    raw: Any
    shown: Any = None
    rewritten: bool = False
    message: str = ""
    key: str = ""
    attempts: int = 1
    decision: int = 0
    run: int = 0
    mapping: str = ""


STATUSES = {
    "done": "confirmed by the answer",
    "seen": "no answer came, and a later read showed it",
    "found": "no answer came to the create, and a record was there",
    "refused": "refused for good",
}
"""What a receipt says."""


def moment(at: Micros | None) -> datetime | None:
    """A time of the broker as a datetime in UTC; None for none and for what never comes by itself (`FAR`)."""
    return None if not at or at > LATEST else EPOCH + timedelta(microseconds=at)


def listed(value: Any) -> Any:
    """A canonical value as JSON would give it back, so that stored and typed ones compare: tuples are lists."""
    return [listed(one) for one in value] if isinstance(value, list | tuple) else value


def step(decision: Decision, outcome: Outcome) -> Step:
    """An outcome with what its decision adds to it, in words a person can follow."""
    q, cause = outcome.question, outcome.cause
    actor = q.actor if q else None
    return Step(
        decision=decision.id,
        at=moment(decision.at) or EPOCH,
        actor=decision.actor,
        kind=outcome.kind,
        field=outcome.field,
        system=outcome.system,
        why=outcome.why,
        policy=outcome.policy,
        place=outcome.place,
        mapping=decision.mapping,
        run=decision.run,
        winner=outcome.winner,
        before=listed(q.golden.value) if q else None,
        before_source=q.golden.source if q else "",
        after=listed(outcome.after),
        raw=listed(q.value if q.raw is None else q.raw) if q else None,
        value=listed(q.value) if q else None,
        invalid=q.invalid if q else "",
        held=listed(q.held) if q else None,
        base=listed(q.base) if q else None,
        late=q.late if q else False,
        edited_since=moment(q.since) if q else None,
        edited_until=moment(q.until) if q else None,
        origin=actor.origin if actor else "",
        name=actor.name if actor else "",
        via=cause.via if cause else "",
        event=cause.event if cause else "",
        seen=moment(cause.at) if cause else None,
        trace=(cause.trace if cause else "") or run_trace(decision.run),
        review=outcome.review,
    )


def losers(history: Sequence[Step], made: int, stands: Any) -> list[Loser]:
    """Who lost to the standing value, which `history[made]` gave; of each system its newest value only.

    A person who answered a review chose among the candidates that were queued before.
    """
    found: dict[str, Loser] = {}
    person = made < len(history) and history[made].kind == "resolved_by_person"
    answered = history[made].review if person else 0
    if made < len(history) and history[made].kind == "undone":
        made_by = history[made]
        lost = Loser(
            system=made_by.before_source,
            value=made_by.before,
            raw=None,
            why=made_by.why,
            decision=made_by.decision,
            at=made_by.at,
        )
        return [lost] if made_by.before is not None else []
    for n, one in enumerate(history):
        queued = one.kind == "conflict_queued"
        if one.policy == "union" or one.invalid or one.kind == "adopted":
            continue  # what was merged or built upon has not lost
        if (queued or n > made) and not (answered and one.review == answered):
            continue
        took = one.kind == "resolved_by_person" or (one.winner == one.system and one.after == one.value)
        if took and not queued:
            system, value, raw, why = one.before_source, one.before, None, one.why
        else:
            system, value, raw, why = one.system, one.value, one.raw, history[made].why if queued else one.why
        if value is not None and value != stands:
            lost = Loser(system=system, value=value, raw=raw, why=why, decision=one.decision, at=one.at)
            found.setdefault(system, lost)
    return list(found.values())


def sent(kept: Kept, name: str, paths: Sequence[str]) -> Sent:
    """A receipt as it is about one field, which has these paths in the system."""
    body = kept.body
    value = listed(body.values.get(name))
    raws = [body.sent[path] for path in paths if path in body.sent]
    rewritten = name in body.shown
    return Sent(
        receipt=kept.id,
        at=moment(kept.at) or EPOCH,
        system=body.system,
        object=body.object,
        external_id=body.external_id,
        link=kept.link,
        op=kept.op,
        status=body.status,
        value=value,
        raw=value if not raws else raws[0] if len(raws) == 1 else raws,
        shown=listed(body.shown[name]) if rewritten else value,
        rewritten=rewritten,
        message=body.message,
        key=body.key,
        attempts=body.attempts,
        decision=body.decisions.get(name, 0),
        run=kept.run,
        mapping=body.mapping,
    )


# ------------------------------------------------------------------------------------------ a moment in it

UNKNOWABLE = (
    "values are those of the newest decision before then; a value that a change of the mapping dropped is still shown",
    "what a system held is what the newest decision or receipt before then says; a read without news left no trace",
    "flow, authority and the fields themselves are those of today's mapping; the rule behind each decision is its own",
    "writes that were owed but not yet made then are not known",
)
"""What stored evidence cannot tell about a moment in the past."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What tells what a link held: a decision or a receipt, one of the numbers is 0."""

    at: datetime
    decision: int = 0
    receipt: int = 0


class Past:
    """A record as it was, put together from decisions and receipts given newest first."""

    def __init__(self, record: Record) -> None:
        self.record = Record(record.id, record.entity, {}, {})
        self.evidence: dict[tuple[int, str], Evidence] = {}
        self._now = record
        self._status: dict[int, tuple[str, str, str | None]] = {}  # link -> (system, status, external id)
        self._states: dict[tuple[int, str], tuple[Micros, FieldState]] = {}

    def decided(self, past: Iterable[Decision]) -> None:
        for decision in past:
            for outcome in reversed(decision.outcomes):
                if outcome.link:
                    self._linked(outcome)
                if not outcome.field:
                    continue
                if outcome.field not in self.record.golden:
                    self.record.golden[outcome.field] = _golden(decision, outcome)
                key = (outcome.link, outcome.field)
                if outcome.question is not None and outcome.link and key not in self._states:
                    self._states[key] = (decision.at, _held(outcome))
                    self.evidence[key] = Evidence(at=moment(decision.at) or EPOCH, decision=decision.id)

    def _linked(self, outcome: Outcome) -> None:
        status = (
            "ended" if outcome.kind == "deleted" else "gone" if outcome.kind == "delete_queued" else "live"
        )
        if outcome.kind == "match_queued":
            return
        self._status.setdefault(outcome.link, (outcome.system, status, None))

    def wrote(self, receipts: Iterable[Kept]) -> None:
        for kept in receipts:
            body = kept.body
            if body.status == "refused":
                continue
            status = "ended" if kept.op == "delete" else "live"
            known = self._status.get(kept.link, (body.system, status, None))
            self._status[kept.link] = (*known[:2], known[2] or body.external_id)
            for name, value in body.values.items():
                key = (kept.link, name)
                if key in self._states and self._states[key][0] >= kept.at:
                    continue
                shown = frozen(body.shown.get(name, value))
                equivalent = (value, shown) if name in body.shown else None
                state = FieldState(raw=shown, value=shown, met=True, base=value, equivalent=equivalent)
                self._states[key] = (kept.at, state)
                self.evidence[key] = Evidence(at=moment(kept.at) or EPOCH, receipt=kept.id)

    def made(self) -> Record:
        """The record with what is known of its links; those that had ended are left out."""
        for n, (system, status, external_id) in sorted(self._status.items()):
            if status == "ended":
                continue
            now = self._now.by_number.get(n)
            self.record.by_number[n] = LinkState(
                n=n,
                system=system,
                object=now.object if now is not None else "",
                external_id=external_id or (now.external_id if now is not None else None),
                status="gone" if status == "gone" else "live",
                primary=now.primary if now is not None else True,
                fields={name: state for (link, name), (_, state) in self._states.items() if link == n},
            )
        return self.record


def _golden(decision: Decision, outcome: Outcome) -> Golden:
    q = outcome.question
    candidates = None
    if outcome.kind == "conflict_queued" and q is not None:
        own = q.golden.source if q.golden.source != q.system else ""
        candidates = {**(q.golden.frozen or {own: q.golden.value}), q.system: q.value}
    elif q is not None and not q.pull:
        candidates = q.golden.frozen
    took = q is not None and outcome.winner == q.system
    stood = q is not None and not took and outcome.after == q.golden.value
    return Golden(
        value=outcome.after,
        source=q.golden.source if q is not None and stood else outcome.winner,
        since=q.since if q is not None and took else 0,
        until=q.until if q is not None and took else 0,
        decision=decision.id,
        frozen=candidates,
        review=outcome.review if candidates is not None else 0,
    )


def _held(outcome: Outcome) -> FieldState:
    """What a link held after the edit that a decision judged."""
    q = outcome.question
    if q is None:
        return FieldState()
    if q.late:  # our own write had removed it before it was seen
        return FieldState(raw=q.held, value=q.held, met=q.met, base=q.base)
    moved = q.value == outcome.after and not q.invalid and outcome.kind != "conflict_queued"
    stands = outcome.kind in ("edit_ignored", "edit_proposed")
    return FieldState(
        raw=q.value if q.raw is None else q.raw,
        value=q.value,
        invalid=q.invalid,
        met=q.met or moved,
        base=outcome.after if moved else q.base,
        ignored=(q.value,) if stands else None,
    )
