"""The shape of mapping files: which keys there are and what form their values have.

The rules are two draft-07 schemas beside this file, which editors use as well; their descriptions are the hints. What
does not fit is reported and cut out of the tree, so that the rest can still be checked for what it means.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError

from syncbroker.errors import Problem
from syncbroker.mapping.load import Document
from syncbroker.mapping.nodes import Node, Spot

Kind = Literal["systems", "entity"]
Path = tuple[str | int, ...]
"""Where in a file: keys and list positions from the root."""


class Gaps:
    """The places of a file that lost something: what was cut out, and mappings that lack a key."""

    def __init__(self, places: Iterable[Path]) -> None:
        self._places = frozenset(places)
        self._above = {place[:n] for place in self._places for n in range(1, len(place) + 1)}

    def __contains__(self, path: Path) -> bool:
        return path in self._places

    def touch(self, path: Path) -> bool:
        """Whether something at this path, in it, or around it was lost."""
        return path in self._above or any(path[:n] in self._places for n in range(1, len(path)))


_EXPECTED = {
    "object": "a mapping (key: value)",
    "array": "a list",
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
}


@cache
def schema(kind: Kind) -> Mapping[str, Any]:
    """The published schema of one kind of file."""
    text = (files("syncbroker.mapping") / "schema" / f"{kind}.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def shape(document: Document, kind: Kind) -> tuple[Document, list[Problem], Gaps]:
    """(the document without what does not fit, the problems, the places that lost something)."""
    problems: dict[tuple[int, int, str], Problem] = {}
    cut: set[Path] = set()
    short: set[Path] = set()
    for error in Draft7Validator(schema(kind)).iter_errors(document.root.plain()):
        path = tuple(error.absolute_path)
        for spot, message, hint, gone in _explain(error, document.root, path, schema(kind)):
            (short if gone is None else cut).add(path if gone is None else gone)
            if message:
                problem = Problem(document.file, spot.line, spot.column, message, hint)
                problems.setdefault((spot.line, spot.column, message), problem)
    above = {path[:n] for path in cut for n in range(len(path))}
    root = _without(document.root, cut, above, ())
    return Document(document.file, root, document.lines), sorted(problems.values()), Gaps(cut | short)


def find(root: Node, path: Path) -> Node:
    """The node at a path that is known to exist."""
    for step in path:
        root = root.value[step]
    return root


def closest(word: str, known: Iterable[str], else_: str = "") -> str:
    """A hint that names the known word which was probably meant, or all of them."""
    names = sorted(known)
    close = _close(word, names)
    if close:
        return f"did you mean {close}?"
    if not names:
        return else_
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"{else_} (known: {listed})" if else_ else f"known: {listed}"


def _close(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, or "". Upper and lower case do not matter."""
    by_form = {name.lower(): name for name in known}
    form = word.lower()
    close = difflib.get_close_matches(form, by_form, n=1)
    longer = [one for one in sorted(by_form) if len(form) >= 3 and form in one]
    return next((by_form[one] for one in [*close, *longer]), "")


def _explain(
    error: ValidationError, root: Node, path: Path, whole: Mapping[str, Any]
) -> Iterator[tuple[Spot, str, str, Path | None]]:
    """(where, message, hint, what to cut out) of each problem that one schema error stands for; without message when
    another problem says it already."""
    node = find(root, path)
    rule: Any = error.validator_value
    inside: Mapping[str, Any] = error.schema if isinstance(error.schema, Mapping) else {}
    hint = str(inside.get("description", ""))
    name = f"`{path[-1]}`" if path and isinstance(path[-1], str) else "this" if path else "the file"
    if "propertyNames" in error.absolute_schema_path:
        key = node.keys[str(error.instance)]
        yield key, f"{key.text!r} cannot be a name here", hint, (*path, key.text)
    elif error.validator == "additionalProperties":
        properties = list(inside.get("properties", {}))
        for key in node.keys.values():
            if key.text not in properties:
                yield key, f"unknown key `{key.text}`", closest(key.text, properties), (*path, key.text)
    elif error.validator == "required":
        properties = inside.get("properties", {})
        meant = {_close(key, properties) for key in node.keys if key not in properties}
        for one in rule:
            if node.get(one) is None:
                message = f"{name} lacks the key `{one}`" if one not in meant else ""
                yield _heading(root, path), message, _description(properties.get(one, {}), whole), None
    elif error.validator != "enum" or isinstance(node.value, str):  # else its type is told already
        if error.validator == "enum":
            hint = closest(node.text, rule)
        elif rule == "string" and isinstance(node.value, int | float):
            hint = f'a text that looks like something else needs quotes: "{node.text}"'
        empty = node.value is None and not node.text and path
        place = _heading(root, path) if empty else Spot("", node.line, node.column)
        yield place, _misfit(error, node, name), hint, path


def _misfit(error: ValidationError, node: Node, name: str) -> str:
    """What is wrong with a value."""
    rule: Any = error.validator_value
    match error.validator:
        case "type":
            expected = rule if isinstance(rule, list) else [rule]
            return f"{name} must be {' or '.join(_EXPECTED[one] for one in expected)}, not {_found(node)}"
        case "enum":
            return f"{node.text!r} is not allowed for {name}"
        case "pattern":
            return f"{node.text!r} has not the form of {name}"
        case "minItems" | "minProperties" | "minLength":
            return f"{name} needs {rule} values" if node.value else f"{name} must not be empty"
        case "maxProperties":
            return f"{name} takes only one of its keys"
        case "maxLength":
            return f"{name} is longer than {rule} characters"
    return f"{node.text or 'this'} cannot be used for {name}"


def _heading(root: Node, path: Path) -> Spot:
    """The key above a mapping, which is where a reader looks for it; the mapping itself in a list."""
    if path and isinstance(path[-1], str):
        return find(root, path[:-1]).keys[path[-1]]
    node = find(root, path)
    return Spot("", node.line, node.column)


def _description(part: Mapping[str, Any], whole: Mapping[str, Any]) -> str:
    """What a key means, where it stands or in the definition that it refers to."""
    there = whole["definitions"].get(str(part.get("$ref", "")).rpartition("/")[2], {})
    return str(part.get("description") or there.get("description", ""))


def _found(node: Node) -> str:
    match node.value:
        case None:
            return "nothing"
        case bool():
            return f"{node.text} (a truth value)"
        case int() | float():
            return f"{node.text} (a number)"
        case str():
            return "a text"
        case list():
            return "a list"
    return "a mapping"


def _without(node: Node, cut: set[Path], above: set[Path], path: Path) -> Node:
    """The tree without the nodes at the paths in `cut`; `above` are all paths that lead to one."""
    if path not in above:
        return node
    if isinstance(node.value, dict):
        left = {key: (*path, key) for key in node.value if (*path, key) not in cut}
        kept = {key: _without(node.value[key], cut, above, inner) for key, inner in left.items()}
        return Node(kept, node.line, node.column, keys={key: node.keys[key] for key in kept})
    places = [(*path, n) for n in range(len(node.value)) if (*path, n) not in cut]
    members = [_without(node.value[place[-1]], cut, above, place) for place in places]
    return Node(members, node.line, node.column)
