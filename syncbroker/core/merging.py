"""Two golden records become one, and one becomes two again: pure, field by field (design section 6).

In a merge every value of the absorbed record meets the survivor's as at a first meeting: the field's own policy decides
or queues a review, and the question is kept. To take a merge apart, each side starts from the values it had, and every
edit made since is judged again by the rule, on the side that its link came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from syncbroker.core.mapping import FieldRule
from syncbroker.core.resolve import ABSORBED, Question, Verdict, resolve
from syncbroker.core.state import NOTHING, Golden
from syncbroker.core.types import Value

_BY_RANK = ("prefer", "enforce", "review")


class Meeting(msgspec.Struct, frozen=True):
    """What became of one field. Without `question` and `verdict` a review of the absorbed record is taken over."""

    golden: Golden
    question: Question | None = None
    verdict: Verdict | None = None
    why: str = ""


def meet(rule: FieldRule, survivor: Golden, absorbed: Golden, linked: Sequence[str]) -> Meeting | None:
    """The absorbed record's golden value meets the survivor's. None when it has nothing to say.

    `linked`: systems that hold the field on the merged record, in rank order.
    """
    if absorbed.frozen is not None:
        return _take_over(survivor, absorbed, absorbed.frozen)
    if absorbed.value is None:
        return None
    system = absorbed.source
    if survivor.frozen is not None and system in survivor.frozen:
        system = ABSORBED  # that system's candidate is the survivor's own link's
    elif system and system == survivor.source and rule.policy in _BY_RANK:
        system = ABSORBED  # of two values of one rank the survivor's stands
    question = Question(
        system=system,
        value=absorbed.value,
        golden=survivor,
        since=absorbed.since,
        until=absorbed.until,
        linked=tuple(linked),
        can_push=True,
    )
    verdict = resolve(rule, question)
    return Meeting(verdict.golden, question, verdict, verdict.why)


def _take_over(survivor: Golden, absorbed: Golden, theirs: dict[str, Value]) -> Meeting:
    """What a review of the absorbed record asks is asked of the merged one, beside the survivor's own value."""
    base = survivor if survivor.value is not None or survivor.until else replace(absorbed, review=0)
    candidates = dict(survivor.frozen or ({survivor.source: survivor.value} if base is survivor else {}))
    for system, value in theirs.items():
        name = system or ABSORBED
        while candidates.get(name, value) != value:
            name = f"{ABSORBED}-{name}"
        candidates[name] = value
    if len(set(candidates.values())) == 1:
        value = next(iter(candidates.values()))
        return Meeting(replace(base, value=value, frozen=None, review=0), why="all candidates are equal")
    why = "a question about the absorbed record is still open"
    return Meeting(replace(base, frozen=candidates, review=survivor.review), why=why)


def again(
    rule: FieldRule,
    side: Golden,
    question: Question,
    *,
    had: Mapping[Value, Value],
    linked: Sequence[str],
    pull: bool,
    can_push: bool,
) -> tuple[Question, Verdict]:
    """An edit of a merged record judged for one side alone, whose golden value is `side`.

    A merged value that it had seen is what the side had at that time (`had`, by merged value); an edit that had not
    seen the merge builds on what its side had before. An edit of the very value that its side has by now builds on
    that: the merged field may have waited for a person, and its link's base with it, while the edits of one system
    came one after the other.
    """
    holds = question.seen_before and question.held == side.value
    base = had.get(question.base, question.base) if question.met else question.base
    asked = replace(
        question,
        golden=side,
        base=side.value if holds else base,
        met=question.met or holds,
        linked=tuple(linked),
        pull=pull,
        can_push=can_push,
    )
    return asked, resolve(rule, asked)


def answered(value: Value, at: int) -> Golden:
    """What a person decided."""
    return replace(NOTHING, value=value, since=at, until=at)
