"""Placeholders: texts that people and forms put where a value is missing. They are a kind of empty.

The built-in lists are short on purpose: a real value that is taken for filler is lost without anybody seeing it. What
one company uses besides (`99999`, `xxx`) belongs under `placeholders` in its mapping. A text that is a choice, an alias
of one, or a word that a system is sent for one, is never filler.
"""

from __future__ import annotations

from functools import cache

from syncbroker.core.mapping import ValueSpec
from syncbroker.core.text import folded
from syncbroker.core.types import Type

_SIGNS = frozenset(["-", "--", "---", "\u2013", "—", "_", "__", "?", "??", "???", ".", "..", "...", "…"])
_SURE = _SIGNS | {
    "n/a",
    "n.a.",
    "#n/a",
    "unknown",
    "(unknown)",
    "<unknown>",
    "[unknown]",
    "undefined",
    "not provided",
    "not available",
    "not applicable",
    "not specified",
    "not set",
    "no value",
    "(null)",
    "<null>",
    "[null]",
    "(none)",
    "<none>",
    "[none]",
    "(blank)",
    "<blank>",
    "[blank]",
    "(empty)",
}
_LIKELY = _SURE | {"na", "none", "null", "nil", "nan", "unspecified", "tbd", "tba", "to be determined"}

_BUILT_IN: dict[Type, frozenset[str]] = {
    # Null, None, Nan, Na and Tba are names of people.
    Type.PERSON_NAME: _SURE,
    # "NA" is Namibia.
    Type.COUNTRY: _LIKELY - {"na"},
    Type.PHONE: _LIKELY | {"0", "000-000-0000", "(000) 000-0000", "0000000000", "+10000000000"},
    Type.URL: _LIKELY | {"http://", "https://", "http://www.", "https://www."},
    Type.DATE: _LIKELY | {"0000-00-00"},
    Type.DATETIME: _LIKELY | {"0000-00-00", "0000-00-00 00:00:00", "0000-00-00t00:00:00z"},
    # An external id is opaque: only the mapping knows what stands for none.
    Type.REFERENCE: frozenset(),
}


@cache
def fillers_of(spec: ValueSpec) -> frozenset[str]:
    """Every placeholder of this field, folded."""
    meant = {folded(word) for choice in spec.choices for word in choice} | {
        folded(raw) for _, raw in spec.out
    }
    own = {folded(word) for word in spec.placeholders}
    return frozenset((_BUILT_IN.get(spec.type, _LIKELY) | own) - meant)
