"""Who is right: one edit of one field against the golden value (design rules 3 to 8 and 10).

`resolve(rule, question) -> verdict` is the whole decision. A question holds everything the verdict depends on, and is
stored with the decision, so that resolving it again gives the same verdict.

An edit *builds on* the golden value when its link's base equals it; otherwise the two compete. The policy says what
happens in either case; one table (`POLICIES`) holds one small function per policy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from syncbroker.core import values
from syncbroker.core.mapping import FieldRule
from syncbroker.core.state import Golden
from syncbroker.core.types import Actor, Micros, Value

Kind = Literal[
    "adopted",
    "agreed",
    "conflict_resolved",
    "conflict_queued",
    "edit_reverted",
    "edit_proposed",
    "edit_ignored",
    "overwritten_unseen",
    "standardised",
    "rejected",
    "created",
    "linked",
    "match_queued",
    "merged",
    "unmerged",
    "deleted",
    "delete_queued",
    "drift_corrected",
    "authority_changed",
    "run_held",
    "contested",
    "undone",
    "resolved_by_person",
]


class Question(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One edit and all that its verdict depends on. Times in µs.

    `value` was observed on `system` (as `raw`; `invalid` when it has no canonical form); the link held `held` (was it
    `seen_before`?) and was last in step with `base` (if it ever `met`). The edit was made between `since` and `until`.
    `late`: our own write removed it before it was seen. `unsure`: it may not build on what its link last held.
    `linked`: systems that hold this field on this record, in rank order. `can_push`: the edit can be reverted there.
    `barred`: (system, why) of authorities that may not decide now: their condition does not hold, or they have lapsed.
    `consent`: the vendor's evidence of an opt-in that it had not shown before, or "". `flips`: how often in a row the
    field came back to an earlier value on this link. `empty`: which kind of nothing an empty is.
    """

    system: str
    pull: bool = True
    can_push: bool = True
    raw: object = None
    value: Value = None
    invalid: str = ""
    empty: str = ""
    golden: Golden = Golden()
    held: Value = None
    seen_before: bool = False
    base: Value = None
    met: bool = False
    since: Micros = 0
    until: Micros = 0
    late: bool = False
    unsure: bool = False
    sweep: bool = False
    linked: tuple[str, ...] = ()
    barred: tuple[tuple[str, str], ...] = ()
    consent: str = ""
    flips: int = 0
    actor: Actor | None = None
    seen: Micros = 0


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The outcome. `golden` afterwards; `why` for people.

    `base_moves`: the link is in step with the new golden value. `let_stand`: the divergence is not pushed over.
    `block`: what is held cannot be used and waits for a person. `ask`: a review is opened (or closed: `closes`).
    """

    kind: Kind
    golden: Golden
    why: str
    winner: str = ""
    base_moves: bool = False
    let_stand: bool = False
    block: bool = False
    ask: bool = False
    closes: bool = False


def resolve(rule: FieldRule, q: Question) -> Verdict:
    """The verdict on one edit under one rule. Total: every question has one."""
    g = q.golden
    if q.invalid:
        return Verdict(kind="rejected", golden=g, why=q.invalid, winner=g.source, block=True, ask=True)
    if not q.pull:
        if q.value == g.value:
            same = not q.late
            return Verdict(kind="agreed", golden=g, why="the same value", winner=g.source, base_moves=same)
        return _foreign(rule, q, "the mapping only pushes to this system, so nothing there decides")
    if g.frozen is not None:
        return _replace_candidate(rule, q)
    if rule.policy == "union":
        return _union(rule, q)
    if q.value == g.value:
        return _agree(rule, q)
    if q.value is None and not _may_clear(rule, q):
        return _foreign(rule, q, f"an empty ({q.empty or 'cleared'}) never overwrites a value here")
    if g.value is None and not g.until:
        return _take(q, "adopted", "the golden record had no value")
    if not builds(rule, q) and rule.policy not in ("enforce", "seed") and _variants(rule, q):
        return _standardise(rule, q)
    return POLICIES[rule.policy](rule, q)


def builds(rule: FieldRule, q: Question) -> bool:
    """Rule 3: the editor had seen the golden value. Under `latest`, an edit certainly older never builds."""
    if rule.policy == "latest" and q.until < q.golden.since:
        return False
    return q.met and q.base == q.golden.value and not q.late and not q.unsure


def _may_clear(rule: FieldRule, q: Question) -> bool:
    """Only what was cleared may empty a field, where the mapping lets it; a placeholder never does."""
    return rule.empty == "clear" and q.empty != "placeholder"


def owner(rule: FieldRule, linked: tuple[str, ...]) -> str:
    """Under `enforce`: the highest-ranked authority that is linked, "" when none is."""
    return next((system for system in rule.authority if system in linked), "")


def outranks(rule: FieldRule, system: str, other: str) -> bool:
    """At least as high in rank; a person's answer (source "") is outranked by nobody."""
    return bool(other) and rule.rank.index(system) <= (
        rule.rank.index(other) if other in rule.rank else len(rule.rank)
    )


# ------------------------------------------------------------------------------------------------ outcomes


def _take(q: Question, kind: Kind, why: str, value: Value = None, *, whole: bool = True) -> Verdict:
    value = q.value if whole else value
    golden = Golden(value, q.system, q.since, q.until)
    kind = "overwritten_unseen" if q.late else kind
    return Verdict(
        kind=kind, golden=golden, why=why, winner=q.system, base_moves=not q.late and value == q.value
    )


def _keep(q: Question, kind: Kind, why: str) -> Verdict:
    """The golden value stands; the link's own system will be owed a push."""
    kind = "overwritten_unseen" if q.late else kind
    return Verdict(kind=kind, golden=q.golden, why=why, winner=q.golden.source)


def _agree(rule: FieldRule, q: Question) -> Verdict:
    """Rule 4: equal values never conflict; the edit lends its time and rank where they are higher."""
    g = q.golden
    if g.value is None and not g.until:  # nothing here and nothing there: later values are still the first
        return Verdict(kind="agreed", golden=g, why="no value on either side", base_moves=False)
    newer = max((q.since, q.until), (g.since, g.until))
    source = q.system if g.source and outranks(rule, q.system, g.source) else g.source
    golden = msgspec.structs.replace(g, source=source, since=newer[0], until=newer[1])
    return Verdict(kind="agreed", golden=golden, why="the same value", winner=source, base_moves=not q.late)


def _foreign(rule: FieldRule, q: Question, why: str) -> Verdict:
    """An edit that may not decide: put back, proposed to a person, or let stand, as `on_foreign_edit` says."""
    g = q.golden
    if q.late:  # it is gone already
        return _keep(q, "overwritten_unseen", why)
    if rule.on_foreign_edit == "propose" and q.pull and q.value is not None and q.met:
        return Verdict(kind="edit_proposed", golden=g, why=why, winner=g.source, let_stand=True, ask=True)
    if rule.on_foreign_edit == "ignore" or not q.can_push:
        return Verdict(kind="edit_ignored", golden=g, why=why, winner=g.source, let_stand=True)
    if (
        g.value is None and rule.empty != "clear"
    ):  # nothing to put back yet; a later golden value is owed here, too
        return Verdict(kind="edit_ignored", golden=g, why=why, winner=g.source)
    if not q.seen_before:
        return _keep(q, "conflict_resolved", why)
    return _keep(q, "drift_corrected" if q.sweep else "edit_reverted", why)


def _freeze(q: Question, why: str) -> Verdict:
    """Rule 8: the field stands still on this record until a person chooses between the candidates."""
    g = q.golden
    own = g.source if g.source != q.system else ""
    golden = msgspec.structs.replace(g, frozen={own: g.value, q.system: q.value})
    return Verdict(kind="conflict_queued", golden=golden, why=why, ask=True)


def _replace_candidate(rule: FieldRule, q: Question) -> Verdict:
    """Rule 8: a new edit replaces its system's candidate; when all are equal, the review closes as agreed."""
    g = q.golden
    candidates = dict(g.frozen or {})
    if q.value is None and not _may_clear(rule, q):
        candidates.pop(q.system, None)  # no candidate: whatever the answer is will refill it
    else:
        candidates[q.system] = q.value
    left = set(candidates.values())
    if len(left) > 1:
        golden = msgspec.structs.replace(g, frozen=candidates)
        return Verdict(kind="conflict_queued", golden=golden, why="the field waits for a person", ask=True)
    value = left.pop() if left else g.value
    if value == q.value:
        golden = Golden(value, q.system, q.since, q.until)
        return Verdict(
            kind="agreed",
            golden=golden,
            why="all candidates became equal",
            winner=q.system,
            base_moves=True,
            closes=True,
        )
    source = next(iter(candidates), g.source)
    golden = msgspec.structs.replace(g, value=value, source=source, frozen=None, review=0)
    return Verdict(kind="agreed", golden=golden, why="one candidate is left", winner=source, closes=True)


def _variants(rule: FieldRule, q: Question) -> bool:
    if not isinstance(q.value, str):
        return False
    own = values.key(rule.spec, q.value)
    return own is not None and own == values.key(rule.spec, q.golden.value)


def _standardise(rule: FieldRule, q: Question) -> Verdict:
    best = values.best_variant(rule.spec, q.golden.value, q.value)
    why = "two spellings of one name: the chosen or the longer one stands"
    if best == q.golden.value:
        return _keep(q, "standardised", why)
    return _take(q, "standardised", why, best, whole=False)


# ------------------------------------------------------------------------------------------------ policies


def _by_rank(rule: FieldRule, q: Question, why: str) -> Verdict:
    if outranks(rule, q.system, q.golden.source):
        return _take(q, "conflict_resolved", f"{why}: {q.system} ranks at least as high")
    return _keep(
        q, "conflict_resolved", f"{why}: {q.golden.source or 'the person who answered'} ranks higher"
    )


def _enforce(rule: FieldRule, q: Question) -> Verdict:
    who = owner(rule, q.linked)
    kind: Kind = "adopted" if builds(rule, q) else "conflict_resolved"
    if q.system == who:
        return _take(q, kind, f"{who} has authority")
    if who and (q.met or q.golden.source in (who, "")):
        return _foreign(rule, q, f"{who} has authority")
    if builds(rule, q):
        return _take(q, "adopted", "no system with authority holds a value")
    return _by_rank(rule, q, "no system with authority holds a value")


def _prefer(rule: FieldRule, q: Question) -> Verdict:
    if builds(rule, q):
        return _take(q, "adopted", "it builds on the golden value")
    return _by_rank(rule, q, "both changed")


def _latest(rule: FieldRule, q: Question) -> Verdict:
    g = q.golden
    if builds(rule, q):
        return _take(q, "adopted", "it builds on the golden value")
    points = q.since == q.until and g.since == g.until
    slack = rule.tolerance if points else 0
    if q.since <= g.until + slack and g.since <= q.until + slack:  # rule 10: a tie
        if rule.tie == "review" and (q.met or rule.first_meeting == "review"):
            return _freeze(q, "nothing tells which edit is newer")
        return _by_rank(rule, q, "nothing tells which edit is newer")
    if q.since > g.until:
        return _take(q, "conflict_resolved", "the newer edit")
    return _keep(q, "conflict_resolved", "the golden value is newer")


def _review(rule: FieldRule, q: Question) -> Verdict:
    if builds(rule, q):
        return _take(q, "adopted", "it builds on the golden value")
    if not q.met and rule.first_meeting != "review":
        return _by_rank(rule, q, "first meeting")
    return _freeze(q, "both changed")


def _seed(rule: FieldRule, q: Question) -> Verdict:
    if q.golden.value is None:
        return _take(q, "adopted", "no value stands")
    first = not q.met and q.system != q.golden.source
    if first and outranks(rule, q.system, q.golden.source):
        return _take(q, "conflict_resolved", f"first meeting: {q.system} ranks higher")
    why = "a value stands and is only seeded once"
    if q.late:
        return _keep(q, "overwritten_unseen", why)
    return Verdict(kind="edit_ignored", golden=q.golden, why=why, winner=q.golden.source, let_stand=True)


def _union(rule: FieldRule, q: Question) -> Verdict:
    """Additions and removals against what the system held; on first sight everything is an addition."""
    g = q.golden
    now, was, all_ = _members(q.value), _members(q.held), _members(g.value)
    removed = was - now
    merged = tuple(sorted((all_ | (now - was)) - removed)) or None
    if merged is None and g.value is not None and not _may_clear(rule, q):
        if q.value is None:
            return _foreign(rule, q, f"an empty ({q.empty or 'cleared'}) never overwrites a value here")
        return _keep(q, "conflict_resolved", "nothing would be left, and an empty never overwrites here")
    if merged == q.value and merged == g.value:
        return _agree(rule, q)
    golden = msgspec.structs.replace(g, value=merged, source=q.system, since=q.since, until=q.until)
    if merged == g.value:
        golden = g
    kind: Kind = "overwritten_unseen" if q.late else "adopted" if merged == q.value else "conflict_resolved"
    return Verdict(
        kind=kind,
        golden=golden,
        why="additions and removals are merged",
        winner=q.system,
        base_moves=merged == q.value and not q.late,
    )


def _members(value: Value) -> set[str]:
    if value is None:
        return set()
    return {str(one) for one in value} if isinstance(value, tuple) else {str(value)}


def _most_restrictive(rule: FieldRule, q: Question) -> Verdict:
    """Tightening from anyone; loosening needs a system that may, building on the golden value, with fresh evidence."""
    order = {value: n for n, value in enumerate(rule.order)}
    now, standing = order.get(str(q.value), -1), order.get(str(q.golden.value), -1)
    if now > standing:
        return _take(q, "adopted" if builds(rule, q) else "conflict_resolved", "the more restrictive value")
    if not builds(rule, q):
        return _keep(q, "conflict_resolved", "the more restrictive value stands")
    if q.system in rule.loosen_by and q.consent:
        return _take(q, "adopted", f"{q.system} may loosen it and shows fresh consent")
    missing = "shows no fresh consent" if q.system in rule.loosen_by else "may not loosen it"
    return _foreign(rule, q, f"{q.system} {missing}")


def _extreme(sign: int) -> Callable[[FieldRule, Question], Verdict]:
    def policy(rule: FieldRule, q: Question) -> Verdict:
        if builds(rule, q) and not rule.monotone:
            return _take(q, "adopted", "it builds on the golden value")
        order = sign * values.compare(rule.spec, q.value, q.golden.value)
        if order == 0:
            return _by_rank(rule, q, f"neither is the {rule.policy}")
        if order > 0:
            return _take(q, "adopted" if builds(rule, q) else "conflict_resolved", f"the {rule.policy} value")
        return _keep(
            q, "edit_reverted" if builds(rule, q) else "conflict_resolved", f"the {rule.policy} value stands"
        )

    return policy


POLICIES: dict[str, Callable[[FieldRule, Question], Verdict]] = {
    "enforce": _enforce,
    "prefer": _prefer,
    "latest": _latest,
    "review": _review,
    "seed": _seed,
    "most_restrictive": _most_restrictive,
    "longest": _extreme(1),
    "max": _extreme(1),
    "min": _extreme(-1),
}
