"""From what was written and checked to the frozen rules that the rest of the broker reads.

Only called when the checks found no error, so nothing here judges. What a system writes about a field replaces what the
field says, key by key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

from syncbroker.core import mapping as rules
from syncbroker.core.types import Type
from syncbroker.mapping.load import Document
from syncbroker.mapping.nodes import Node
from syncbroker.mapping.units import rate, seconds, share
from syncbroker.mapping.written import (
    WrittenEntity,
    WrittenField,
    WrittenFieldLink,
    WrittenLink,
    WrittenSystem,
    words,
)

_GRAMMAR = "2"
"""Part of the version: another grammar reads the same words differently."""


def version_of(documents: Iterable[Document]) -> str:
    """16 hex digits over what the files say: not over comments, spacing and quoting, variables' values, or secrets."""
    said = [_GRAMMAR, *(_said(document.root, ()) for document in documents)]
    return hashlib.sha256(json.dumps(said, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()[
        :16
    ]


def _said(node: Node, path: tuple[str, ...]) -> Any:
    if isinstance(node.value, dict):
        return {key: _said(one, (*path, key)) for key, one in node.value.items()}
    if isinstance(node.value, list):
        return [_said(one, (*path, "")) for one in node.value]
    if path[:1] == ("systems",) and path[2:3] == ("credentials",) and "${" not in node.text:
        return None
    return None if node.value is None else node.text


def build_system(
    system: WrittenSystem, credentials: dict[str, str], options: dict[str, Any], url: str
) -> rules.SystemRules:
    """One system, with its variables already filled in."""
    limits, objects, lag = (system.node.get(key) for key in ("limits", "objects", "max_lag"))
    own = _reading(system.node, system.node)
    calls = limits.get("rate") if limits is not None else None
    reserve = limits.get("reserve") if limits is not None else None
    slots = limits.get("concurrency") if limits is not None else None
    deliveries = limits.get("deliveries") if limits is not None else None
    return rules.SystemRules(
        name=system.name.text,
        connector=system.connector.text if system.connector is not None else "",
        credentials=credentials,
        options=options,
        url=url,
        pull=own.pull,
        sweep=own.sweep,
        objects={name.text: _reading(node, system.node) for name, node in objects.items()}
        if objects is not None
        else {},
        rate=rate(calls.text) if calls is not None else None,
        reserve=share(reserve.text) if reserve is not None else 0.0,
        concurrency=int(slots.text) if slots is not None else 1,
        max_lag=seconds(lag.text) if lag is not None else None,
        deliveries=rate(deliveries.text) if deliveries is not None else None,
        line=system.name.line,
    )


def build_entity(entity: WrittenEntity) -> rules.EntityRules:
    """One entity."""
    return rules.EntityRules(
        name=entity.name.text,
        links={name: _link(link) for name, link in entity.links.items()},
        fields={name: _field(entity, field) for name, field in entity.fields.items()},
        match=tuple(_match(node) for node in entity.match),
        guard=_guard(entity.node.get("guard")),
        file=entity.file,
    )


def _reading(node: Node, system: Node) -> rules.Reading:
    """When something is read: what stands under `node`, in the time zone of the system."""
    zone = system.get("timezone")
    named = zone.text if zone is not None else "UTC"
    return rules.Reading(pull=_schedule(node.get("pull"), named), sweep=_schedule(node.get("sweep"), named))


def _schedule(node: Node | None, zone: str) -> rules.Schedule | None:
    if node is None:
        return None
    every, at, jitter = node.get("every"), node.get("at"), node.get("jitter")
    return rules.Schedule(
        every=seconds(every.text) if every is not None else None,
        at=at.text if at is not None else None,
        timezone=zone if at is not None else "UTC",
        jitter=seconds(jitter.text) if jitter is not None else None,
    )


def _link(link: WrittenLink) -> rules.LinkRule:
    return rules.LinkRule(
        system=link.system.text,
        object=link.object.text if link.object is not None else "",
        create=cast("rules.CreatePolicy", link.create),
        create_when=link.when.text if link.when is not None else "",
        delete=cast("rules.DeletePolicy", link.delete),
        grace=round(seconds(link.grace.text) * 1_000_000) if link.grace is not None else 0,
        line=link.system.line,
    )


def _match(node: Node) -> rules.MatchRule:
    then, similar = node.get("then"), node.get("similar")
    return rules.MatchRule(
        on=tuple(dict.fromkeys(one.text for one in words(node.get("on")))),
        similar=tuple((key.text, float(one.text)) for key, one in similar.items())
        if similar is not None
        else (),
        then="review" if then is not None and then.text == "review" else "link",
        line=node.line,
    )


def _guard(node: Node | None) -> rules.Guard:
    if node is None:
        return rules.Guard()
    made: dict[str, Any] = {}
    for key, one in node.items():
        if key.text == "window":
            made["window"] = round(seconds(one.text) * 1_000_000)
        else:
            made[key.text] = share(one.text) if key.text in ("changed", "emptied") else int(one.text)
    return rules.Guard(**made, lines={key.text: key.line for key, _ in node.items()})


def _field(entity: WrittenEntity, field: WrittenField) -> rules.FieldRule:
    authority = tuple(one.text for one in field.authority)
    spec = spec_of(field, None)
    links = {
        name: rules.FieldLink(
            system=name,
            path=link.path.text,
            pull=link.pull,
            push=link.push,
            spec=spec_of(field, link),
            line=link.system.line,
        )
        for name, link in field.links.items()
    }
    settings: dict[str, Any] = {
        key: field.word(key)
        for key in ("on_foreign_edit", "tie", "empty", "first_meeting", "group")
        if field.word(key)
    }
    if field.word("tolerance"):
        settings["tolerance"] = round(seconds(field.word("tolerance")) * 1_000_000)
    return rules.FieldRule(
        name=field.name.text,
        type=spec.type,
        spec=spec,
        policy=cast("rules.Policy", field.policy),
        authority=authority,
        rank=tuple(dict.fromkeys([*authority, *field.links])),
        links=links,
        terms={system: _terms(node) for system, node in field.terms},
        required=field.flag("required"),
        order=tuple(one.text for one in words(field.node.get("order"))),
        loosen_by=tuple(one.text for one in words(field.node.get("loosen_by"))),
        monotone=field.flag("monotone"),
        file=entity.file,
        line=field.name.line,
        **settings,
    )


def _terms(node: Node) -> rules.Terms:
    when, stale = node.get("when"), node.get("stale_after")
    return rules.Terms(
        when=when.text if when is not None else "",
        stale_after=round(seconds(stale.text) * 1_000_000) if stale is not None else 0,
    )


def spec_of(field: WrittenField, link: WrittenFieldLink | None) -> rules.ValueSpec:
    """How values read: of the golden field (no link), or on one system."""

    def said(key: str) -> Node | None:
        own = link.node.get(key) if link is not None else None
        return own if own is not None else field.node.get(key)

    choices = _choices(field.node.get("choices"), link.node.get("choices") if link is not None else None)
    out = link.node.get("out") if link is not None else None
    settings: dict[str, Any] = {}
    for key in ("region", "currency", "entity"):
        node = said(key)
        if node is not None:
            settings[key] = node.text
    return rules.ValueSpec(
        type=field.type or Type.TEXT,
        choices=choices,
        out=tuple((label.text, word.text) for label, word in out.items()) if out is not None else (),
        transforms=tuple(one.text for one in words(said("transform"))),
        placeholders=tuple(one.text for one in words(said("placeholders"))),
        aliases=tuple(_aliases(field.node.get("aliases"))),
        **settings,
    )


def _choices(choices: Node | None, own: Node | None) -> tuple[tuple[str, ...], ...]:
    """(label, word, word...) per choice: the field's words, or the system's where it has `own`."""
    if choices is None:
        return ()
    meant = {
        label.text: words(own.get(label.text) if own is not None else node) for label, node in choices.items()
    }
    return tuple(
        tuple(dict.fromkeys([label, *(word.text for word in each)])) for label, each in meant.items()
    )


def _aliases(node: Node | None) -> Iterable[tuple[str, str]]:
    if node is None:
        return
    for name, variants in node.items():
        yield name.text, name.text
        for variant in words(variants):
            yield variant.text, name.text


def mapping_of(
    systems: Mapping[str, rules.SystemRules], entities: Iterable[WrittenEntity], documents: Iterable[Document]
) -> rules.Mapping:
    """Everything, with its version."""
    return rules.Mapping(
        version=version_of(documents),
        systems=dict(systems),
        entities={entity.name.text: build_entity(entity) for entity in entities},
    )
