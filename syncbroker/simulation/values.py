"""Values for fields of any type: a few canonical ones per field and person, and the ways in which a system writes them.

Few values, so that edits meet, repeat and return. Where the type allows it they name their person, so that what belongs
to one is never taken for another's.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from syncbroker.core import values
from syncbroker.core.mapping import FieldRule, ValueSpec
from syncbroker.core.types import Invalid, Type, Value

MANY = 4
"""Values per field and person."""

_COUNTRIES = ("US", "DE", "SE", "FR")
_LETTERS = "abcdefgh"


def pool(entity: str, rule: FieldRule, who: int) -> list[Value]:
    """The canonical values that the field of this person takes, the usual one first. Empty for references."""
    if rule.type is Type.REFERENCE:
        return []
    made: list[Value] = []
    for n in range(MANY if rule.type is not Type.CHOICE else len(rule.spec.choices)):
        value = values.canonical(rule.spec, _raw(entity, rule, who, n))
        if value is None or isinstance(value, Invalid) or value in made:
            continue
        if all(reads_back(link.spec, value) for link in rule.links.values()):
            made.append(value)
    return made


def reads_back(spec: ValueSpec, value: Value) -> bool:
    """Whether a system can be given the value: what is sent reads back as the same."""
    return values.canonical(spec, values.render(spec, value)) == value


def _raw(entity: str, rule: FieldRule, who: int, n: int) -> object:
    choices = rule.spec.choices
    if rule.type is Type.CHOICE:
        return choices[(who + n) % len(choices)][0] if choices else f"choice {who}{_LETTERS[n]}"
    makers = {**_TEXTS, **_OTHERS}
    return makers[rule.type](f"{entity}{who}", rule, who, n)


def _name(n: int) -> str:
    return ("Ada", "Grace", "Barbara", "Margaret")[n]


_TEXTS: dict[Type, Callable[[str, FieldRule, int, int], object]] = {
    Type.TEXT: lambda tag, rule, who, n: f"{tag} {rule.name} {_LETTERS[n]}{'!' * n}",
    Type.EMAIL: lambda tag, rule, who, n: f"{tag}{_LETTERS[n]}@{rule.name.replace('_', '-')}.example",
    Type.PERSON_NAME: lambda tag, rule, who, n: f"{_name(n)} {_LETTERS[who % 8].upper()}ohler",
    Type.COMPANY_NAME: lambda tag, rule, who, n: f"{_name(n)} {tag} Works",
    Type.URL: lambda tag, rule, who, n: f"https://{tag}.example/{_LETTERS[n]}{'x' * n}",
    Type.DOMAIN: lambda tag, rule, who, n: f"{tag}{_LETTERS[n]}.example",
    Type.PHONE: lambda tag, rule, who, n: f"+1 212 555 {1000 + 10 * who + n}",
}
_OTHERS: dict[Type, Callable[[str, FieldRule, int, int], object]] = {
    Type.COUNTRY: lambda tag, rule, who, n: _COUNTRIES[(who + n) % len(_COUNTRIES)],
    Type.BOOLEAN: lambda tag, rule, who, n: (who + n) % 2 == 0,
    Type.INTEGER: lambda tag, rule, who, n: 100 * who + n,
    Type.DECIMAL: lambda tag, rule, who, n: f"{10 * who + n}.5",
    Type.MONEY: lambda tag, rule, who, n: {"amount": f"{10 * who + n}", "currency": rule.spec.currency},
    Type.DATE: lambda tag, rule, who, n: f"20{10 + who % 20:02}-0{n + 1}-11",
    Type.DATETIME: lambda tag, rule, who, n: f"20{10 + who % 20:02}-0{n + 1}-11T10:00:00Z",
    Type.TAGS: lambda tag, rule, who, n: [("t", "u", "v", "w")[k] for k in range(n + 1)][n // 2 :],
}


def written(spec: ValueSpec, value: Value, by: Random) -> object:
    """The raw value as people or programs type it into a system: often as the broker would, sometimes otherwise."""
    raw = values.render(spec, value)
    if by.random() < 0.7:
        return raw
    others = [other for other in _variants(spec, raw) if values.canonical(spec, other) == value]
    return by.choice(others) if others else raw


def _variants(spec: ValueSpec, raw: object) -> list[object]:
    if not isinstance(raw, str):
        return []
    found: list[object] = [raw.upper(), raw.lower(), f" {raw} "]
    for choice in spec.choices:
        if raw in choice:
            found.extend(choice)
    return found


def nonsense(spec: ValueSpec) -> object | None:
    """A raw value without a canonical form, where the type has any."""
    for raw in ("not one of these", "31.31.3131", "@"):
        if isinstance(values.canonical(spec, raw), Invalid):
            return raw
    return None
