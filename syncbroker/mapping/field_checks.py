"""What a single field may say: its type, its words, who decides it, and how it fits together with its group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from phonenumbers import SUPPORTED_REGIONS

from syncbroker.core.companies import company_key
from syncbroker.core.money import currencies
from syncbroker.core.text import folded
from syncbroker.core.types import Type
from syncbroker.core.values import TRANSFORMS, problems
from syncbroker.mapping.build import spec_of
from syncbroker.mapping.findings import Findings
from syncbroker.mapping.nodes import Node, Spot
from syncbroker.mapping.schema import closest
from syncbroker.mapping.written import NOTHING, WrittenEntity, WrittenField, WrittenFieldLink, words

_ONLY_FOR: Mapping[str, tuple[Type, ...]] = {
    "choices": (Type.CHOICE,),
    "out": (Type.CHOICE, Type.BOOLEAN),
    "aliases": (Type.COMPANY_NAME,),
    "region": (Type.PHONE,),
    "currency": (Type.MONEY,),
    "entity": (Type.REFERENCE,),
}
"""Keys that mean something for these types only."""

_ORDERED = (
    Type.INTEGER,
    Type.DECIMAL,
    Type.MONEY,
    Type.DATE,
    Type.DATETIME,
    Type.BOOLEAN,
    Type.CHOICE,
)
_POLICY_TYPES: Mapping[str, tuple[Type, ...]] = {
    "union": (Type.TAGS,),
    "most_restrictive": (Type.CHOICE,),
    "longest": (Type.TEXT, Type.PERSON_NAME, Type.COMPANY_NAME, Type.URL),
    "max": _ORDERED,
    "min": _ORDERED,
}
"""Policies that can only judge these types."""

_EFFECTIVE_UNDER: Mapping[str, tuple[str, ...]] = {
    "tie": ("latest",),
    "tolerance": ("latest",),
    "first_meeting": ("review", "latest"),
    "order": ("most_restrictive",),
    "loosen_by": ("most_restrictive",),
    "monotone": ("longest", "max", "min"),
    "authority": ("enforce", "prefer", "latest", "review", "seed", "longest", "max", "min"),
}
"""Keys that other policies do not look at."""

_GROUPED = ("enforce", "prefer", "latest", "review", "seed")
_DECIDING = {
    "required": "false",
    "on_foreign_edit": "revert",
    "tie": "rank",
    "tolerance": "2s",
    "empty": "keep",
    "first_meeting": "rank",
}
"""What a group shares, with the defaults."""


def check_field(entity: WrittenEntity, field: WrittenField, findings: Findings) -> None:
    """All checks of one field that need no other file."""
    before = len(findings.errors)
    check = _FieldCheck(entity.file, field, findings)
    check.keys()
    check.choices()
    check.names()
    check.policy()
    check.deciders(entity.linked if entity.complete else None)
    if field.whole and not any(link.pull for link in field.links.values()):
        findings.error(
            entity.file,
            field.place("systems"),
            f"no system pulls {field.name.text!r}, so it can never have a value",
            "use direction: both or pull for the system that it comes from",
        )
    if field.whole and len(findings.errors) == before:
        for link in field.links.values():
            for problem in problems(spec_of(field, link)):  # what shows only when values are read and written
                hint = "what is sent to a system must be understood when it comes back"
                findings.error(
                    entity.file, link.system, f"{field.name.text!r} on {link.system.text!r}: {problem}", hint
                )


def check_groups(entity: WrittenEntity, findings: Findings) -> None:
    """Members of a group are decided together, so whatever decides must be the same for all."""
    groups: dict[str, list[WrittenField]] = {}
    for field in entity.fields.values():
        if field.word("group"):
            groups.setdefault(field.word("group"), []).append(field)
    for name, members in groups.items():
        first = members[0]
        place = first.place("group")
        if name in entity.declared:
            findings.error(
                entity.file, place, f"the group {name!r} has the name of a field", "give it another name"
            )
        if len(members) == 1:
            findings.warn(
                entity.file,
                place,
                f"{first.name.text!r} is alone in the group {name!r}",
                "check the group's name",
            )
        for field in members:
            if field.whole and field.policy not in _GROUPED:
                message = f"{field.policy} cannot decide a group"
                findings.error(
                    entity.file, field.place("policy"), message, f"use one of {', '.join(_GROUPED)}"
                )
        for other in members[1:]:
            if first.whole and other.whole:
                _same_decider(entity, name, first, other, findings)


def _same_decider(
    entity: WrittenEntity, group: str, first: WrittenField, other: WrittenField, findings: Findings
) -> None:
    def say(key: str, what: str) -> None:
        message = f"{other.name.text!r} and {first.name.text!r} of the group {group!r} differ in {what}"
        hint = f"the members of a group are decided together: write the same as in line {first.name.line}"
        findings.error(entity.file, other.place(key), message, hint)

    if _ways(first) != _ways(other):
        say("systems", "their systems or directions")
    if first.policy != other.policy:
        say("policy", f"their policy ({other.policy} and {first.policy})")
    if [one.text for one in first.authority] != [one.text for one in other.authority]:
        say("authority", "their authority")
    elif [_said(node) for _, node in first.terms] != [_said(node) for _, node in other.terms]:
        say("authority", "when their authorities hold")
    for key, default in _DECIDING.items():
        if first.word(key, default) != other.word(key, default):
            say(key, f"`{key}`")


def _said(authority: Node) -> tuple[str, ...]:
    return tuple(
        one.text if one is not None else "" for one in map(authority.get, ("system", "when", "stale_after"))
    )


def _ways(field: WrittenField) -> list[tuple[str, bool, bool]]:
    """Systems and directions; in order where it decides the rank."""
    ways = [(link.system.text, link.pull, link.push) for link in field.links.values()]
    return ways if field.policy != "enforce" else sorted(ways)


class _FieldCheck:
    """One field under its checks."""

    def __init__(self, file: str, field: WrittenField, findings: Findings) -> None:
        self.file = file
        self.field = field
        self.findings = findings
        self.name = field.name.text

    def keys(self) -> None:
        """Keys that the type or the policy gives no meaning."""
        field = self.field
        for node in (field.node, *(link.node for link in field.links.values())):
            for key, value in node.items():
                self._key(key, value)
        if field.type is Type.REFERENCE and field.node.get("entity") is None and field.whole:
            hint = "write `entity: company`, say"
            self.findings.error(self.file, field.name, f"the reference {self.name!r} names no entity", hint)
        for key_name, policies in _EFFECTIVE_UNDER.items():
            if field.node.get(key_name) is not None and field.policy not in policies:
                message = f"`{key_name}` has no effect under the policy {field.policy}"
                hint = f"it belongs to {' and '.join(policies)}: remove it or change the policy"
                self.findings.warn(self.file, field.place(key_name), message, hint)

    def _key(self, key: Spot, value: Node) -> None:
        types = _ONLY_FOR.get(key.text)
        if types and self.field.type is not None and self.field.type not in types:
            message = (
                f"`{key.text}` is only for {' and '.join(types)}, and {self.name!r} is {self.field.type}"
            )
            self.findings.error(self.file, key, message, "remove it or change the type")
        elif key.text == "transform":
            for name in words(value):
                self._transform(name)
        elif key.text == "region" and value.text not in SUPPORTED_REGIONS:
            self.findings.error(
                self.file, value, f"unknown region {value.text!r}", "ISO 3166, such as US, GB or DE"
            )
        elif key.text == "currency" and value.text not in currencies():
            self.findings.error(
                self.file, value, f"unknown currency {value.text!r}", "ISO 4217, such as USD or EUR"
            )

    def _transform(self, name: Node) -> None:
        known = TRANSFORMS.get(name.text)
        if known is None:
            self.findings.error(
                self.file, name, f"unknown transform {name.text!r}", closest(name.text, list(TRANSFORMS))
            )
        elif self.field.type is not None and self.field.type not in known.fits:
            message = f"the transform {name.text!r} does not fit the type {self.field.type}"
            self.findings.error(self.file, name, message, f"it is for {', '.join(sorted(known.fits))}")

    def choices(self) -> None:
        """Labels and words of a choice, everywhere they stand."""
        field = self.field
        choices = field.node.get("choices")
        if field.type is Type.BOOLEAN:
            for link in field.links.values():
                self._labels((key for key, _ in (link.node.get("out") or NOTHING).items()), ["true", "false"])
        if field.type is not Type.CHOICE:
            return
        if choices is None:
            if field.whole:
                hint = "write `choices: {Label: [other words]}`"
                self.findings.error(self.file, field.name, f"the choice {self.name!r} has no choices", hint)
            return
        labels = [key.text for key, _ in choices.items()]
        self._doubled(choices)
        for link in field.links.values():
            own = link.node.get("choices")
            if own is not None:
                self._labels((key for key, _ in own.items()), labels)
                self._doubled(own)
            self._out(link, own if own is not None else choices, labels)
        self._fillers(choices)
        order = field.node.get("order")
        if order is not None:
            self._labels(order.each(), labels)
            missing = [label for label in labels if label not in {one.text for one in order.each()}]
            if missing and field.whole:
                message = f"`order` lacks {', '.join(missing)}"
                self.findings.error(
                    self.file, field.place("order"), message, "it has every choice, least restrictive first"
                )
            self._twice(order.each(), "order")

    def _labels(self, used: Iterable[Node | Spot], labels: list[str]) -> None:
        for one in used:
            if one.text not in labels and self.field.whole:
                message = f"{one.text!r} is none of the choices of {self.name!r}"
                self.findings.error(self.file, one, message, closest(one.text, labels))

    def _doubled(
        self,
        choices: Node,
        key_of: Callable[[str], str] = folded,
        how: str = "upper and lower case do not matter",
    ) -> None:
        """A word that would mean two labels."""
        meant: dict[str, str] = {}
        spots: list[tuple[Node | Spot, str]] = [(key, key.text) for key, _ in choices.items()]
        spots += [(word, key.text) for key, node in choices.items() for word in words(node)]
        for spot, label in spots:
            known = meant.setdefault(key_of(spot.text), label)
            if known != label:
                message = f"{spot.text!r} means both {known!r} and {label!r}"
                self.findings.error(self.file, spot, message, f"{how}: keep one of them")

    def _fillers(self, choices: Node) -> None:
        """A word that means a label never stands for nothing."""
        meant = {folded(key.text) for key, _ in choices.items()}
        meant |= {folded(word.text) for _, node in choices.items() for word in words(node)}
        for word in words(self.field.node.get("placeholders")):
            if folded(word.text) in meant:
                message = f"the placeholder {word.text!r} has no effect: it is a word of `choices`"
                self.findings.warn(self.file, word, message, "remove it in one of the two places")

    def _out(self, link: WrittenFieldLink, choices: Node, labels: list[str]) -> None:
        """What is sent must be understood as the same label when it is read back."""
        out = link.node.get("out")
        if out is None:
            return
        self._labels((key for key, _ in out.items()), labels)
        meant = {folded(word.text): key.text for key, node in choices.items() for word in words(node)}
        meant |= {folded(label): label for label in labels}
        for key, word in out.items():
            known = meant.setdefault(folded(word.text), key.text)
            if known != key.text:
                message = f"{word.text!r} is sent for {key.text!r}, but means {known!r} when it is read back"
                self.findings.error(
                    self.file, word, message, "send another word, or move it to the other label"
                )

    def names(self) -> None:
        """Doubled spellings of company names."""
        aliases = self.field.node.get("aliases")
        if aliases is None or self.field.type is not Type.COMPANY_NAME:
            return
        self._doubled(aliases, company_key, "names are compared without case and legal form")

    def policy(self) -> None:
        """Whether the policy can judge the type, and has what it needs."""
        field = self.field
        place = field.place("policy")
        types = _POLICY_TYPES.get(field.policy)
        if types and field.type is not None and field.type not in types:
            message = f"{field.policy} cannot judge the type {field.type}"
            self.findings.error(self.file, place, message, f"it is for {', '.join(types)}")
        elif not field.whole:
            return
        elif field.policy == "enforce" and not field.authority:
            hint = "write `authority: <system>`, or use prefer"
            self.findings.error(self.file, place, "enforce needs an authority", hint)
        elif field.policy == "most_restrictive" and field.node.get("order") is None:
            hint = "write `order` with every choice, least restrictive first"
            self.findings.error(self.file, place, "most_restrictive needs `order`", hint)

    def deciders(self, linked: frozenset[str] | None) -> None:
        """Systems that the field, its authority and `loosen_by` name. `linked`: None when that is not known."""
        field = self.field
        for link in field.links.values():
            if linked is not None and link.system.text not in linked:
                message = f"the system {link.system.text!r} is not under `links`"
                self.findings.error(self.file, link.system, message, closest(link.system.text, list(linked)))
        if field.terms and field.policy != "enforce":
            key = next(key for key, _ in field.terms[0][1].items() if key.text in ("when", "stale_after"))
            message = f"`{key.text}` says when a system has authority, which only `policy: enforce` asks"
            self.findings.error(self.file, key, message, f"write `policy: enforce` (it is {field.policy})")
        self._pulling(field.authority, "authority")
        self._pulling(words(field.node.get("loosen_by")), "loosen_by")

    def _pulling(self, systems: Iterable[Node], key: str) -> None:
        systems = list(systems)
        self._twice(systems, key)
        for one in systems:
            link = self.field.links.get(one.text)
            if link is None and self.field.whole:
                message = f"`{key}` names {one.text!r}, which {self.name!r} is not linked to"
                self.findings.error(
                    self.file, one, message, closest(one.text, list(self.field.links), "add it to `systems`")
                )
            elif link is not None and not link.pull:
                message = f"`{key}` names {one.text!r}, which {self.name!r} is only pushed to"
                self.findings.error(
                    self.file, one, message, "a system decides only what is pulled from it: direction: both"
                )

    def _twice(self, each: Iterable[Node], key: str) -> None:
        seen: set[str] = set()
        for one in each:
            if one.text in seen:
                self.findings.error(
                    self.file, one, f"{one.text!r} stands twice in `{key}`", "remove one of them"
                )
            seen.add(one.text)
