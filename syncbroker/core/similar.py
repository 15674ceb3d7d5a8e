"""Likeness of names and texts, for match rules that only propose (design section 6).

Comparing with every record is out of the question, so each text is filed under a few *blocks*: pieces that texts which
are alike nearly always share. They lie beside the exact match keys and can never be taken for one: no field's name
begins with `~`. Who shares a block is compared in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import msgspec
from rapidfuzz import fuzz

from syncbroker.core.mapping import MatchRule
from syncbroker.core.plan import Plan
from syncbroker.core.text import skeleton
from syncbroker.core.types import Type, Value

COMPARABLE = (Type.TEXT, Type.PERSON_NAME, Type.COMPANY_NAME)
"""Types whose values may be alike. An id, an address or a number is equal or another one."""

TOKENS = 6
"""How many words of a text make blocks; nobody is told apart by the seventh."""

CROWD = 200
"""A block with more records than this tells nothing, and is passed over."""

COMPARED = 100
"""How many records at most are compared in full with one observation: those that share most blocks."""

PROPOSED = 5
"""How many records at most are proposed, the most alike first."""


class Likeness(msgspec.Struct, frozen=True):
    """How alike a record is: field -> 0..1."""

    record: str
    scores: dict[str, float]


def blocks(plan: Plan, values: Mapping[str, Value], fields: Iterable[str] | None = None) -> list[str]:
    """The blocks of the fields (None: of all that rules compare), at most 15 each. `values` by member field."""
    found: dict[str, None] = {}
    for name in plan.likened if fields is None else fields:
        words = _text(plan, name, values).split()[:TOKENS]
        if not words:
            continue
        pieces = [word[:4] for word in words]
        if len(words) == 1:
            pieces += [f"{words[0][-4:]}$", f"{words[0][:2]} {words[0][-2:]}"]  # of a lone word, its ends
        starts = sorted({word[:2] for word in words})
        pieces += [f"{a} {b}" for a, b in pairwise(starts)]
        pieces += [f"{starts[0]} {starts[-1]}"] if len(starts) > 2 else []
        found.update(dict.fromkeys(f"~{name}|{piece}" for piece in pieces))
    return list(found)


def _text(plan: Plan, name: str, values: Mapping[str, Value]) -> str:
    """What is compared: letters and digits, without case, accents and legal forms. "" for nothing to compare."""
    return skeleton(plan.spec_key(name, values.get(name)) or "")


def likeness(a: str, b: str) -> float:
    """0..1: the share of letters that two texts have in common in one order, with their words as written or sorted."""
    return float(max(fuzz.ratio(a, b), fuzz.token_sort_ratio(a, b)) / 100)


def alike(
    plan: Plan,
    rule: MatchRule,
    values: Mapping[str, Value],
    others: Mapping[str, Sequence[Mapping[str, Value]]],
) -> list[Likeness]:
    """The records that reach every likeness of the rule, the most alike first, at most `PROPOSED`.

    `others`: record id -> its values as the golden record and each link have them; the nearest of them counts.
    """
    own = {name: _text(plan, name, values) for name, _ in rule.similar}
    if not all(own.values()):
        return []
    found = []
    for id_, variants in others.items():
        best: dict[str, float] = {}
        for name, text in own.items():
            known = [key for one in variants if (key := _text(plan, name, one))]
            best[name] = max((likeness(text, key) for key in known), default=0.0)
        if all(best[name] >= least for name, least in rule.similar):
            found.append(Likeness(id_, {name: round(score, 3) for name, score in best.items()}))
    return sorted(found, key=lambda one: (-sum(one.scores.values()), one.record))[:PROPOSED]
