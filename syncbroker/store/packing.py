"""How the outcomes of a decision are packed: what one look at one link has in common is written once.

A first meeting judges every field of a record, so this is most of what the store holds. Packing is lossless: unpacked
outcomes are equal to those packed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from syncbroker.core.resolve import Kind, Question
from syncbroker.core.state import Golden
from syncbroker.core.types import Actor, Micros, Value


class Cause(msgspec.Struct, frozen=True, omit_defaults=True):
    """What made the broker look: `via` webhook, poll, sweep, first_read, read, write, reference, mapping, person, undo,
    merge, authority, grace. `trace`: of the delivery, "" where a run or a person did it."""

    via: str
    event: str = ""
    at: Micros = 0
    trace: str = ""


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One field's (or identity's, or deletion's) outcome. `place` is file:line of the rule, `question` its inputs."""

    kind: Kind
    field: str = ""
    system: str = ""
    link: int = 0
    policy: str = ""
    place: str = ""
    why: str = ""
    winner: str = ""
    after: Any = None
    question: Question | None = None
    cause: Cause | None = None
    review: int = 0


class _Row(msgspec.Struct, array_like=True, gc=False):
    """One outcome. `flags`: see `_FLAGS`; `rest`: what is rarely there, by name."""

    kind: Kind
    field: str
    policy: str
    place: str
    why: str
    winner: str
    after: Any
    flags: int
    value: Value
    held: Value
    base: Value
    golden: Golden | None
    rest: dict[str, Any] | None


class _Look(msgspec.Struct, array_like=True):
    """What the outcomes of one look share."""

    system: str
    link: int
    cause: Cause | None
    since: Micros
    until: Micros
    seen: Micros
    linked: tuple[str, ...]
    actor: Actor | None
    rows: list[_Row]


_FLAGS = ("pull", "can_push", "met", "seen_before", "late", "unsure", "sweep")
_RARE = ("raw", "invalid", "empty", "consent", "flips", "barred", "takeover")
_UNASKED = {name: getattr(Question(system=""), name) for name in _RARE}
_ASKED = 1 << 8
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[_Look]).decode


def pack(outcomes: Iterable[Outcome]) -> str:
    """JSON text."""
    looks: list[_Look] = []
    for o in outcomes:
        q = o.question
        last = looks[-1] if looks else None
        if last is None or last.link != o.link or last.system != o.system or last.cause != o.cause:
            last = _Look(o.system, o.link, o.cause, 0, 0, 0, (), None, [])
            looks.append(last)
        last.rows.append(_row(last, o, q))
    return _encode(looks).decode()


def _row(look: _Look, o: Outcome, q: Question | None) -> _Row:
    rest: dict[str, Any] = {}
    if o.review:
        rest["review"] = o.review
    if q is None:
        unasked = (0, None, None, None, None, rest or None)
        return _Row(o.kind, o.field, o.policy, o.place, o.why, o.winner, o.after, *unasked)
    if not any(row.flags for row in look.rows):  # the first question of a look speaks for all
        look.since, look.until, look.seen, look.linked, look.actor = (
            q.since,
            q.until,
            q.seen,
            q.linked,
            q.actor,
        )
    flags = _ASKED | (
        q.pull
        | q.can_push << 1
        | q.met << 2
        | q.seen_before << 3
        | q.late << 4
        | q.unsure << 5
        | q.sweep << 6
    )
    rest |= {name: one for name in _RARE if (one := getattr(q, name)) != _UNASKED[name]}
    if (q.since, q.until, q.seen) != (look.since, look.until, look.seen):
        rest["times"] = (q.since, q.until, q.seen)
    if q.linked != look.linked:
        rest["linked"] = q.linked
    if q.actor != look.actor:
        rest["actor"] = q.actor
    if q.system != look.system:
        rest["system"] = q.system
    golden = None if q.golden == _NOTHING else q.golden
    return _Row(
        o.kind,
        o.field,
        o.policy,
        o.place,
        o.why,
        o.winner,
        o.after,
        flags,
        q.value,
        q.held,
        q.base,
        golden,
        rest or None,
    )


_NOTHING = Golden()


def unpack(text: str) -> list[Outcome]:
    """The outcomes, in their order."""
    return [_outcome(look, row) for look in _decode(text) for row in look.rows]


def _outcome(look: _Look, row: _Row) -> Outcome:
    rest = row.rest or {}
    return Outcome(
        kind=row.kind,
        field=row.field,
        system=look.system,
        link=look.link,
        policy=row.policy,
        place=row.place,
        why=row.why,
        winner=row.winner,
        after=frozen(row.after),
        question=_question(look, row, rest) if row.flags & _ASKED else None,
        cause=look.cause,
        review=rest.get("review", 0),
    )


def _question(look: _Look, row: _Row, rest: dict[str, Any]) -> Question:
    since, until, seen = rest.get("times", (look.since, look.until, look.seen))
    actor = msgspec.convert(rest["actor"], Actor | None) if "actor" in rest else look.actor
    given: dict[str, Any] = {name: rest[name] for name in _RARE if name in rest}
    if "barred" in given:
        given["barred"] = tuple(tuple(pair) for pair in given["barred"])
    given |= {name: bool(row.flags >> n & 1) for n, name in enumerate(_FLAGS)}
    return Question(
        system=rest.get("system", look.system),
        value=row.value,
        held=row.held,
        base=row.base,
        golden=row.golden or _NOTHING,
        since=since,
        until=until,
        seen=seen,
        linked=tuple(rest.get("linked", look.linked)),
        actor=actor,
        **given,
    )


def frozen(value: Any) -> Any:
    """Lists as tuples, as canonical values are."""
    return tuple(frozen(one) for one in value) if isinstance(value, list) else value
