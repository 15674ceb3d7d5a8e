"""A YAML text as a tree that knows where everything stands.

Read from the parser's events, not from constructed objects: so every key and value keeps its line and column, a text
stays as it is written (`NO`, `2024-01-31`, `007`), doubled keys are all found, and nesting and aliases are bounded
before anything is built. Plain scalars are read by the YAML 1.2 core schema and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from syncbroker.errors import Problem

MAX_DEPTH = 32
MAX_NODES = 100_000
"""Values of one file with its aliases spelt out."""

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?")

_VARIABLE = re.compile(r"\$\{[^{}\n'\"]*\}")
_MASK = str.maketrans("${},[]", "\ue000\ue001\ue002\ue003\ue004\ue005")
_UNMASK = str.maketrans("\ue000\ue001\ue002\ue003\ue004\ue005", "${},[]")
_MASKED = re.compile("[\ue000-\ue005]")


class Spot(NamedTuple):
    """A word and where it stands; lines and columns count from 1."""

    text: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Node:
    """One value. `value` is None, bool, int, float, str, a dict of nodes or a list of nodes; `text` is a scalar as it
    is written. `keys` says where the keys of a mapping stand. `size` and `depth` count with aliases spelt out."""

    value: Any
    line: int
    column: int
    text: str = ""
    keys: Mapping[str, Spot] = field(default_factory=dict)
    size: int = 1
    depth: int = 1

    def get(self, key: str) -> Node | None:
        """The member of a mapping, or None; None also when this is no mapping."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def items(self) -> Iterator[tuple[Spot, Node]]:
        """The members of a mapping in file order; none when this is no mapping."""
        if isinstance(self.value, dict):
            for key, node in self.value.items():
                yield self.keys[key], node

    def each(self) -> list[Node]:
        """The members of a list; a single value is a list of one."""
        return self.value if isinstance(self.value, list) else [self]

    def plain(self) -> Any:
        """As JSON-like data."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


class Unreadable(Exception):
    """Internal to this package: the rest of the file cannot be read. Carries the problem that says so."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def parse(text: str, file: str) -> tuple[Node, list[Problem]]:
    """The tree of one document, with the problems after which reading could go on.

    Raises Unreadable when it could not.
    """
    source = text if _MASKED.search(text) else _VARIABLE.sub(lambda found: found[0].translate(_MASK), text)
    builder = _Builder(file, masked=source is not text)
    try:
        for event in YAML(typ="safe", pure=True).parse(source):
            builder.take(event)
    except MarkedYAMLError as error:
        raise Unreadable(_syntax(error, file)) from None
    except ReaderError as error:
        before = source[: error.position]
        line, column = before.count("\n") + 1, error.position - before.rfind("\n")
        message = f"the character U+{error.character:04X} cannot stand in YAML"
        raise Unreadable(Problem(file, line, column, message, "remove it")) from None
    if builder.root is None:
        raise Unreadable(
            Problem(file, 1, 1, "the file is empty", "see docs/mapping-reference.md for what belongs here")
        )
    return builder.root, builder.problems


class _Open:
    """A collection that is being read."""

    def __init__(self, spot: Spot, anchor: str | None, *, mapping: bool) -> None:
        self.spot = spot
        self.anchor = anchor
        self.mapping = mapping
        self.members: list[Node] = []
        self.values: dict[str, Node] = {}
        self.keys: dict[str, Spot] = {}
        self.key: Spot | None = None
        self.skip = False


class _Builder:
    """Puts the parser's events together; a stack instead of recursion, so that deep nesting cannot exhaust it."""

    def __init__(self, file: str, *, masked: bool) -> None:
        self.file = file
        self.masked = masked
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self.stack: list[_Open] = []
        self.anchors: dict[str, Node] = {}
        self.documents = 0

    def take(self, event: Event) -> None:
        spot = Spot("", event.start_mark.line + 1, event.start_mark.column + 1)
        match event:
            case DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    raise self.stop(spot, "a file holds one document", "remove the line '---'")
                if event.version or event.tags:
                    self.say(spot, "directives are not supported", "remove the line that starts with %")
            case MappingStartEvent() | SequenceStartEvent():
                self.refuse_tag(event, spot)
                if len(self.stack) >= MAX_DEPTH:
                    raise self.stop(spot, f"nested more than {MAX_DEPTH} levels deep")
                self.stack.append(_Open(spot, event.anchor, mapping=isinstance(event, MappingStartEvent)))
            case MappingEndEvent() | SequenceEndEvent():
                self.close()
            case ScalarEvent():
                self.refuse_tag(event, spot)
                text = event.value.translate(_UNMASK) if self.masked else event.value
                value = text if event.style in ("'", '"', "|", ">") else _resolve(text)
                self.add(Node(value, spot.line, spot.column, text), event.anchor)
            case AliasEvent():
                known = self.anchors.get(event.anchor)
                if known is None:
                    raise self.stop(
                        spot,
                        f"nothing above is anchored as &{event.anchor}",
                        "an anchor comes before its alias",
                    )
                self.add(known, None, spot)

    def close(self) -> None:
        done = self.stack.pop()
        members = list(done.values.values()) if done.mapping else done.members
        node = Node(
            done.values if done.mapping else done.members,
            done.spot.line,
            done.spot.column,
            keys=done.keys,
            size=1 + sum(one.size for one in members),
            depth=1 + max((one.depth for one in members), default=0),
        )
        if node.size > MAX_NODES or node.depth > MAX_DEPTH:
            raise self.stop(done.spot, "too large once its aliases are spelt out", "write less into one file")
        self.add(node, done.anchor)

    def add(self, node: Node, anchor: str | None, spot: Spot | None = None) -> None:
        if anchor:
            self.anchors[anchor] = node
        if not self.stack:
            self.root = node
            return
        here = self.stack[-1]
        if not here.mapping:
            here.members.append(node)
        elif here.key is None and not here.skip:
            self.take_key(here, node, spot or Spot("", node.line, node.column))
        else:
            if here.key is not None:
                here.values[here.key.text] = node
                here.keys[here.key.text] = here.key
            here.key, here.skip = None, False

    def take_key(self, here: _Open, node: Node, spot: Spot) -> None:
        """Remember the key for the value that follows, or skip that value when the key cannot be used."""
        here.skip = True
        if isinstance(node.value, dict | list) or node.value is None:
            self.say(spot, "a key must be a text", "quote it, or check the ':'")
        elif node.text == "<<":
            self.say(
                spot, "merge keys (<<) are not supported", "an alias (*name) may stand for a whole value"
            )
        elif node.text in here.keys:
            first = here.keys[node.text].line
            self.say(
                spot,
                f"the key {node.text!r} stands twice",
                f"it is already in line {first}: remove one of them",
            )
        else:
            here.key, here.skip = Spot(node.text, spot.line, spot.column), False

    def refuse_tag(self, event: Any, spot: Spot) -> None:
        if event.tag is not None and str(event.tag) != "!":
            self.say(spot, "tags (!) are not supported", "quote a text that starts with !")

    def say(self, spot: Spot, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self.file, spot.line, spot.column, message, hint))

    def stop(self, spot: Spot, message: str, hint: str = "") -> Unreadable:
        return Unreadable(Problem(self.file, spot.line, spot.column, message, hint))


def _resolve(text: str) -> Any:
    """A plain scalar by the YAML 1.2 core schema. Hexadecimal, octal, infinities and dates stay texts."""
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if len(text) <= 40 and _FLOAT.fullmatch(text) else text


_HINTS = (
    ("'\\t'", "indent with spaces, not with tabs"),
    ("cannot start any token", "quote the text"),
    ("mapping values are not allowed", "quote a text that contains ': ', or check the indentation"),
    ("could not find expected ':'", "a key is followed by ': '; check the indentation"),
    ("does not belong", "check the indentation of this line and the brackets before it"),
    ("while parsing a flow", "check the brackets and commas; quote texts with { } [ ] , in them"),
    ("while scanning a quoted scalar", "close the quotes"),
    ("escape", "write \\\\ for a backslash inside double quotes, or use single quotes"),
)


def _syntax(error: MarkedYAMLError, file: str) -> Problem:
    """The parser's error in our form. Where the text ended too early, the place is where the open part began."""
    what, context = error.problem or "", error.context or ""
    early = "end of stream" in what or "<stream end>" in what
    mark = (error.context_mark if early else None) or error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    if early:
        what = "the file ends inside this"
    elif "while parsing a flow" in context and error.context_mark is not None:
        opened = error.context_mark
        what = f"{what} inside the bracket that opens in line {opened.line + 1}, column {opened.column + 1}"
    elif "<block end>" in what:
        what = "this does not belong to what stands above it"
    hint = next(
        (hint for sign, hint in _HINTS if sign in what or sign in context),
        "check quotes, brackets and indentation",
    )
    return Problem(file, line, column, f"this is no YAML: {what.translate(_UNMASK)}", hint)
