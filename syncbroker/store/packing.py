"""How the outcomes of a decision are packed: what one look at one link has in common is written once.

A first meeting judges every field of a record, so this is most of what the store holds. Packing is lossless: unpacked
outcomes are equal to those packed.

The values of a decision may be erased for good. What is left then is its outline: which outcomes there were, of which
kind and field, in which system, when and under which rule. See `core.chain` for why both have the same seal.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from syncbroker.core.resolve import Kind, Question
from syncbroker.core.state import Golden
from syncbroker.core.types import Actor, Micros, Value
from syncbroker.decoding import convert, decode, decoder


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


Row = tuple[Any, ...]
"""(field, line of its rule or -1, value) and, where anything is not as usual, a dict of it by name.

The value is the one that was judged; of an outcome without a question it is what stands afterwards.
"""


Head = tuple[Kind, str, str, str, int, str]
"""(kind, policy, why, winner, flags, file of the rule). `flags`: see `FLAGS`."""


class Group(msgspec.Struct, array_like=True):
    """Outcomes in a row that differ in field and value alone."""

    head: Head
    rows: list[Row]


class Look(msgspec.Struct, array_like=True):
    """What the outcomes of one look share.

    `standing`: (source, since, until, decision) of the golden values that were there before.
    """

    system: str
    link: int
    cause: Cause | None
    since: Micros
    until: Micros
    seen: Micros
    linked: tuple[str, ...]
    actor: Actor | None
    standing: tuple[str, Micros, Micros, int] | None
    groups: list[Group]


class _Packed(msgspec.Struct):
    looks: list[Look]


FLAGS = ("pull", "can_push", "met", "seen_before", "late", "unsure", "sweep")
"""Bit by bit, of the question."""
ASKED = 1 << 8
"""There is a question."""
SAME = 1 << 9
"""The golden value before was the judged value, of the look's `standing`. Else the row has it, or it was nothing."""
_RARE = ("raw", "invalid", "empty", "consent", "flips", "barred", "takeover")
_UNASKED = {name: getattr(Question(system=""), name) for name in _RARE}
_NOTHING = Golden()
_encode = msgspec.json.Encoder().encode
_decode = decoder(_Packed).decode
_decode_former = decoder(list[list[Any]]).decode


class _Erased(msgspec.Struct):
    """What stands in the place of an erased body: the digest of what was there, and its outline."""

    erased: str
    looks: list[Any]


_ERASED = '{"erased":'
_decode_erased = decoder(_Erased).decode


def is_erased(text: str) -> bool:
    return text.startswith(_ERASED)


def outlined(looks: list[Look]) -> str:
    """JSON text of what is left of looks when their values are erased."""
    outline = [
        (
            look.system,
            look.link,
            look.cause.via if look.cause else "",
            look.cause.at if look.cause else 0,
            look.since,
            look.until,
            look.seen,
            look.linked,
            [_outlined(group) for group in look.groups],
        )
        for look in looks
    ]
    return _encode(outline).decode()


def _outlined(group: Group) -> tuple[Any, ...]:
    kind, policy, _, winner, flags, file = group.head
    return kind, policy, winner, flags, file, [(row[0], row[1]) for row in group.rows]


def outline(text: str) -> tuple[str, str]:
    """(the outline of a stored body, the digest that stands in an erased one or ""). ValueError for what is no body."""
    if not is_erased(text):
        return outlined(_parsed(text)), ""
    found = _decode_erased(text)
    if _encode(found).decode() != text:
        raise ValueError("an erased body has one way to be written")
    return _encode(found.looks).decode(), found.erased


def erase(text: str, digest: str) -> str:
    """The body without its values; `digest` is that of `text`. An erased one stays as it is."""
    if is_erased(text):
        return text
    return _encode(_Erased(digest, decode(outlined(_parsed(text))))).decode()


def _parsed(text: str) -> list[Look]:
    return [_former(look) for look in _decode_former(text)] if text.startswith("[") else _decode(text).looks


def pack(outcomes: Iterable[Outcome]) -> str:
    """JSON text."""
    return encode(gathered(outcomes))


def gathered(outcomes: Iterable[Outcome]) -> list[Look]:
    """The outcomes as looks."""
    looks: list[Look] = []
    for o in outcomes:
        last = looks[-1] if looks else None
        if last is None or last.link != o.link or last.system != o.system or last.cause != o.cause:
            last = Look(o.system, o.link, o.cause, 0, 0, 0, (), None, None, [])
            looks.append(last)
        if o.question is not None and not any(group.head[4] for group in last.groups):
            _share(last, o.question)
        put(last, *packed(last, o))
    return looks


def _share(look: Look, q: Question) -> None:
    """The first question of a look speaks for all."""
    look.since, look.until, look.seen = q.since, q.until, q.seen
    look.linked, look.actor = q.linked, q.actor


def put(look: Look, head: Head, row: Row) -> None:
    """Add an outcome to a look, which is to be in the order that they came about."""
    groups = look.groups
    if not groups or groups[-1].head != head:
        groups.append(Group(head, []))
    groups[-1].rows.append(row)


def encode(looks: list[Look]) -> str:
    """JSON text."""
    return _encode(_Packed(looks)).decode()


def placed(place: str) -> tuple[str, int]:
    """(file, line); -1 for a place that is not of that form."""
    file, _, line = place.rpartition(":")
    return (file, int(line)) if line.isdecimal() and str(int(line)) == line else (place, -1)


def packed(look: Look, o: Outcome) -> tuple[Head, Row]:
    """What it shares with others of the look, and its own."""
    q, (file, line) = o.question, placed(o.place)
    rest: dict[str, Any] = {"review": o.review} if o.review else {}
    if q is None:
        head: Head = (o.kind, o.policy, o.why, o.winner, 0, file)
        return head, (o.field, line, o.after, rest) if rest else (o.field, line, o.after)
    flags = ASKED | (
        q.pull
        | q.can_push << 1
        | q.met << 2
        | q.seen_before << 3
        | q.late << 4
        | q.unsure << 5
        | q.sweep << 6
    )
    if q.golden != _NOTHING:
        same, before = standing(look, q.golden, q.value)
        flags |= same
        rest |= before
    if not alike(o.after, q.value):
        rest["after"] = o.after
    if q.held is not None:
        rest["held"] = q.held
    if q.base is not None:
        rest["base"] = q.base
    _note_rare(look, q, rest)
    head = (o.kind, o.policy, o.why, o.winner, flags, file)
    return head, (o.field, line, q.value, rest) if rest else (o.field, line, q.value)


def standing(look: Look, golden: Golden, value: Value) -> tuple[int, dict[str, Any]]:
    """How the golden value before is written: as a flag, or by itself."""
    whose = (golden.source, golden.since, golden.until, golden.decision)
    if look.standing is None:
        look.standing = whose
    plain = golden.frozen is None and not golden.review and not golden.owner
    if plain and whose == look.standing and alike(golden.value, value):
        return SAME, {}
    return 0, {"golden": golden}


def stands(look: Look, golden: Golden, value: Value) -> bool:
    """Whether the golden value before is this one, and can be written as the flag `SAME`."""
    return standing(look, golden, value)[0] == SAME


def alike(one: Value, other: Value) -> bool:
    """Equal, and of one type: a truth value is no number."""
    return one == other and type(one) is type(other)


def _note_rare(look: Look, q: Question, rest: dict[str, Any]) -> None:
    rest.update({name: one for name in _RARE if (one := getattr(q, name)) != _UNASKED[name]})
    if (q.since, q.until, q.seen) != (look.since, look.until, look.seen):
        rest["times"] = (q.since, q.until, q.seen)
    if q.linked != look.linked:
        rest["linked"] = q.linked
    if q.actor != look.actor:
        rest["actor"] = q.actor
    if q.system != look.system:
        rest["system"] = q.system


def unpack(text: str) -> list[Outcome]:
    """The outcomes, in their order; those of an erased decision without values, reasons and questions."""
    if is_erased(text):
        looks = _decode_erased(text).looks
        return [_left(look, group, *row) for look in looks for group in look[-1] for row in group[-1]]
    return [
        _outcome(look, group, *row) for look in _parsed(text) for group in look.groups for row in group.rows
    ]


def _left(look: list[Any], group: list[Any], field: str, line: int) -> Outcome:
    system, link, via, at = look[:4]
    kind, policy, winner, _, file, _ = group
    return Outcome(
        kind=kind,
        field=field,
        system=system,
        link=link,
        policy=policy,
        place=_place(file, line),
        why="erased",
        winner=winner,
        cause=Cause(via, at=at) if via else None,
    )


def _place(file: str, line: int) -> str:
    return file if line < 0 else f"{file}:{line}"


def _outcome(
    look: Look, group: Group, field: str, line: int, value: Any, rest: dict[str, Any] | None = None
) -> Outcome:
    rest, value = rest or {}, frozen(value)
    kind, policy, why, winner, flags, file = group.head
    return Outcome(
        kind=kind,
        field=field,
        system=look.system,
        link=look.link,
        policy=policy,
        place=_place(file, line),
        why=why,
        winner=winner,
        after=frozen(rest["after"]) if "after" in rest else value,
        question=_question(look, flags, value, rest) if flags & ASKED else None,
        cause=look.cause,
        review=rest.get("review", 0),
    )


def _question(look: Look, flags: int, value: Value, rest: dict[str, Any]) -> Question:
    since, until, seen = rest.get("times", (look.since, look.until, look.seen))
    actor = convert(rest["actor"], Actor | None) if "actor" in rest else look.actor
    given: dict[str, Any] = {name: rest[name] for name in _RARE if name in rest}
    if "barred" in given:
        given["barred"] = tuple(tuple(pair) for pair in given["barred"])
    given |= {name: bool(flags >> n & 1) for n, name in enumerate(FLAGS)}
    golden = convert(rest["golden"], Golden) if "golden" in rest else _NOTHING
    if flags & SAME and look.standing:
        golden = Golden(value, *look.standing)
    return Question(
        system=rest.get("system", look.system),
        value=value,
        held=frozen(rest.get("held")),
        base=frozen(rest.get("base")),
        golden=golden,
        since=since,
        until=until,
        seen=seen,
        linked=tuple(rest.get("linked", look.linked)),
        actor=actor,
        **given,
    )


def _former(parts: list[Any]) -> Look:
    """A look as it was written before outcomes were grouped, each with everything that is not in `Look`."""
    system, link, cause, since, until, seen, linked, actor, rows = parts
    look = Look(
        system,
        link,
        convert(cause, Cause | None),
        since,
        until,
        seen,
        tuple(linked),
        convert(actor, Actor | None),
        None,
        [],
    )
    for kind, field, policy, place, why, winner, after, flags, value, held, base, golden, rest in rows:
        given = {"after": after, "held": held, "base": base, **(rest or {})}
        if golden is not None:
            given["golden"] = golden
        file, line = placed(place)
        put(look, (kind, policy, why, winner, flags, file), (field, line, value, given))
    return look


def frozen(value: Any) -> Any:
    """Lists as tuples, as canonical values are."""
    return tuple(frozen(one) for one in value) if isinstance(value, list) else value
