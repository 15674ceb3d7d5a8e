"""The mapping folder as read: every file a tree with positions, or a problem that says why not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from syncbroker.errors import BadMapping, Problem
from syncbroker.mapping.nodes import Node, Unreadable, parse

MAX_BYTES = 1024 * 1024
"""Of one file."""

_LINE_ENDS = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_SUFFIXES = (".yaml", ".yml")
_SYSTEMS = ("systems.yaml", "systems.yml")


@dataclass(frozen=True, slots=True)
class Document:
    """One file. `file` is its name for people, `lines` its text."""

    file: str
    root: Node
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Folder:
    """The readable files, and the problems of the others. `systems` is None when that file is missing or unreadable."""

    systems: Document | None
    entities: tuple[Document, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def read_folder(folder: Path) -> Folder:
    """All mapping files of a folder, in the order of their names. Raises BadMapping when there is no such folder."""
    name = str(folder) if not folder.is_absolute() else folder.name
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        message = f"the folder of mapping files cannot be read: {error.strerror}"
        raise BadMapping(
            [Problem(str(folder), 1, 1, message, "name an existing folder that holds systems.yaml")]
        ) from None
    problems: list[Problem] = []
    warnings: list[Problem] = []
    documents: dict[str, Document | None] = {}
    for path in paths:
        file = f"{name}/{path.name}"
        if path.suffix in _SUFFIXES and not path.is_dir():
            documents[path.name] = _read(path, file, problems)
        elif path.is_dir() and any(path.glob("*.y*ml")):
            hint = "move its files up: only files directly in the folder are read"
            warnings.append(Problem(file, 1, 1, "this folder is not read", hint))
    found = [one for one in _SYSTEMS if one in documents]
    if not documents:
        problems.append(
            Problem(name, 1, 1, "no mapping files here", "add systems.yaml and one file per entity")
        )
    elif not found:
        problems.append(
            Problem(f"{name}/{_SYSTEMS[0]}", 1, 1, "this file is missing", "it names the connected systems")
        )
    elif len(found) > 1:
        problems.append(Problem(f"{name}/{found[1]}", 1, 1, f"there is {found[0]} too", "keep one of them"))
    entities = tuple(one for key, one in documents.items() if key not in _SYSTEMS and one is not None)
    if found and len(documents) == len(found):
        problems.append(
            Problem(name, 1, 1, "no entity file here", "add one file per entity, such as contact.yaml")
        )
    return Folder(documents[found[0]] if found else None, entities, tuple(problems), tuple(warnings))


def _read(path: Path, file: str, problems: list[Problem]) -> Document | None:
    """One file, or None after saying why it cannot be used."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        problems.append(
            Problem(file, 1, 1, f"the file cannot be read: {error.strerror}", "check its permissions")
        )
        return None
    if len(raw) > MAX_BYTES:
        problems.append(Problem(file, 1, 1, "the file is larger than 1 MB", "split it, one file per entity"))
        return None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8-sig")) + 1
        problems.append(
            Problem(
                file,
                before.count(b"\n") + 1,
                column,
                "the file is not UTF-8 from here on",
                "save it as UTF-8",
            )
        )
        return None
    try:
        root, found = parse(text, file)
    except Unreadable as stop:
        problems.append(stop.problem)
        return None
    problems.extend(found)
    return Document(file, root, tuple(_LINE_ENDS.split(text)))
