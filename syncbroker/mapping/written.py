"""The mapping as a person wrote it: shorthand spelt out, defaults filled in, every word still with its place.

Between the trees and the frozen rules: the checks read it, the rules are built from it. It may be incomplete (a part of
the wrong form was cut out); `whole` says where that matters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from syncbroker.core.types import Type
from syncbroker.mapping.load import Document
from syncbroker.mapping.nodes import Node, Spot
from syncbroker.mapping.schema import Gaps

NOTHING = Node({}, 0, 0)


@dataclass(frozen=True, slots=True)
class WrittenFieldLink:
    """A field on one system. `node` is the mapping, or an empty one where only the path was written."""

    system: Spot
    path: Node
    pull: bool
    push: bool
    node: Node


@dataclass(frozen=True, slots=True)
class WrittenField:
    """One field. `type` is None, and `whole` False, when something of it was cut out.

    `terms`: (system, its mapping) of each authority that holds under a condition or lapses.
    """

    name: Spot
    node: Node
    type: Type | None
    links: dict[str, WrittenFieldLink]
    authority: tuple[Node, ...]
    terms: tuple[tuple[str, Node], ...]
    policy: str
    whole: bool

    def word(self, key: str, default: str = "") -> str:
        """The text under a key."""
        node = self.node.get(key)
        return node.text if node is not None else default

    def flag(self, key: str) -> bool:
        node = self.node.get(key)
        return node is not None and node.value is True

    def place(self, key: str) -> Spot:
        """Where the key stands, or the field when it does not."""
        return self.node.keys.get(key, self.name)


@dataclass(frozen=True, slots=True)
class WrittenLink:
    """One system that holds the entity."""

    system: Spot
    object: Node | None
    create: str
    when: Node | None
    delete: str
    grace: Node | None
    node: Node
    whole: bool

    def place(self, key: str) -> Spot:
        return self.node.keys.get(key, self.system)


@dataclass(frozen=True, slots=True)
class WrittenEntity:
    """One entity file. `declared` and `linked` are all names that stand there, cut out or not.

    `complete`: links and fields are there at all, so that a missing name is really missing.
    """

    file: str
    lines: tuple[str, ...]
    name: Spot
    node: Node
    links: dict[str, WrittenLink]
    fields: dict[str, WrittenField]
    match: tuple[Node, ...]
    declared: frozenset[str]
    linked: frozenset[str]
    complete: bool


@dataclass(frozen=True, slots=True)
class WrittenSystem:
    """One system of systems.yaml."""

    name: Spot
    connector: Node | None
    node: Node
    whole: bool


def words(node: Node | None) -> tuple[Node, ...]:
    """The members of a list, or the single value that stands for one. () when there is nothing."""
    return tuple(node.each()) if node is not None else ()


def systems_of(document: Document, gaps: Gaps) -> dict[str, WrittenSystem]:
    """The systems of a shaped document; `gaps` are the places that lost something."""
    systems = document.root.get("systems") or NOTHING
    return {
        name.text: WrittenSystem(name, node.get("connector"), node, not gaps.touch(("systems", name.text)))
        for name, node in systems.items()
    }


def linked_objects(entities: Iterable[WrittenEntity]) -> dict[str, frozenset[str]]:
    """System -> the objects of it that entities link, as far as they are written."""
    found: dict[str, set[str]] = {}
    for entity in entities:
        for name in entity.linked:
            link = entity.links.get(name)
            found.setdefault(name, set()).update(
                [link.object.text] if link is not None and link.object else []
            )
    return {name: frozenset(objects) for name, objects in found.items()}


def entity_of(document: Document, original: Document, gaps: Gaps) -> WrittenEntity | None:
    """The entity of a shaped document; None when the file says not even its name."""
    root = document.root
    name = root.get("entity")
    if name is None:
        return None
    links, fields = root.get("links") or NOTHING, root.get("fields") or NOTHING
    return WrittenEntity(
        file=document.file,
        lines=document.lines,
        name=Spot(name.text, name.line, name.column),
        node=root,
        links={key.text: _link(key, node, gaps) for key, node in links.items()},
        fields={key.text: _field(key, node, gaps) for key, node in fields.items()},
        match=words(root.get("match")),
        declared=_names(original.root.get("fields")),
        linked=_names(original.root.get("links")),
        complete=all(original.root.get(key) and (key,) not in gaps for key in ("links", "fields")),
    )


def _link(system: Spot, node: Node, gaps: Gaps) -> WrittenLink:
    create, delete = node.get("create"), node.get("delete")
    policy = delete.get("policy") if delete is not None and isinstance(delete.value, dict) else delete
    when = create.get("when") if create is not None else None
    return WrittenLink(
        system=system,
        object=node.get("object"),
        create="always"
        if when is not None
        else create.text
        if create is not None and create.text
        else "never",
        when=when,
        delete=policy.text if policy is not None else "review",
        grace=delete.get("grace") if delete is not None else None,
        node=node,
        whole=not gaps.touch(("links", system.text)),
    )


def _field(name: Spot, node: Node, gaps: Gaps) -> WrittenField:
    type_, policy, systems = node.get("type"), node.get("policy"), node.get("systems") or NOTHING
    authority: list[Node] = []
    terms: list[tuple[str, Node]] = []
    for one in words(node.get("authority")):
        system = one.get("system") if isinstance(one.value, dict) else one
        authority.extend([system] if system is not None else [])
        if system is not None and any(one.get(key) is not None for key in ("when", "stale_after")):
            terms.append((system.text, one))
    default = "enforce" if len(authority) == 1 else "prefer"
    return WrittenField(
        name=name,
        node=node,
        type=Type(type_.text) if type_ is not None else None,
        links={key.text: link for key, one in systems.items() if (link := _field_link(key, one)) is not None},
        authority=tuple(authority),
        terms=tuple(terms),
        policy=policy.text if policy is not None else default,
        whole=not gaps.touch(("fields", name.text)),
    )


def _field_link(system: Spot, node: Node) -> WrittenFieldLink | None:
    if not isinstance(node.value, dict):
        return WrittenFieldLink(system, node, pull=True, push=True, node=NOTHING)
    path, direction = node.get("field"), node.get("direction")
    if path is None:
        return None
    way = direction.text if direction is not None else "both"
    return WrittenFieldLink(system, path, pull=way != "push", push=way != "pull", node=node)


def _names(node: Node | None) -> frozenset[str]:
    return frozenset(key.text for key, _ in node.items()) if node is not None else frozenset()
