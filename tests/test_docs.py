"""The documents name what exists, and name all of it: commands, settings, kinds, files, tests, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.main import get_command

from syncbroker.cli.main import app
from syncbroker.core.mapping import DeletePolicy, Policy
from syncbroker.core.resolve import Kind
from syncbroker.core.types import Empty, Type
from syncbroker.engine.explain import STANDINGS
from syncbroker.engine.status import COUNTED
from syncbroker.sdk.registry import Registry
from syncbroker.settings import Settings
from syncbroker.store.decisions import ReviewKind

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
PREFIX = "SYNCBROKER_"
OF_TESTS = {
    "SYNCBROKER_TEST_POSTGRES_URL",
    "SYNCBROKER_REQUIRE_POSTGRES",
    "SYNCBROKER_TEST_REDIS_URL",
    "SYNCBROKER_REQUIRE_REDIS",
    "SYNCBROKER_VENDOR_SPECS",
}
SHELLS = {"shell", "bash", "sh", "console"}
TOP_LEVEL = (
    "syncbroker/",
    "connectors/",
    "tests/",
    "docs/",
    "mappings/",
    "migrations/",
    "benchmarks/",
    "scripts/",
)


@cache
def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def document(name: str) -> str:
    return read(DOCS / name)


def prose(path: Path) -> str:
    """Without fenced blocks."""
    return re.sub(r"^```.*?^```", "", read(path), flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Line:
    """A command as a document shows it."""

    document: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}: {self.text}"


def commands() -> Iterator[Line]:
    """Of fenced shell blocks and of code spans; in a block with prompts only the lines behind one."""
    for path in DOCUMENTS:
        for language, block in re.findall(
            r"^```(\w+)[^\n]*\n(.*?)^```", read(path), re.DOTALL | re.MULTILINE
        ):
            if language in SHELLS:
                lines = block.splitlines()
                shown = [line[2:] for line in lines if line.startswith("$ ")] or lines
                yield from (Line(path.name, line) for line in shown if line.strip())
        for span in re.findall(r"`([^`\n]+)`", prose(path)):
            if span.startswith(("syncbroker ", "python3 run.py ")):
                yield Line(path.name, span)


def resolved(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words lead to, and its arguments."""
    command: Any = get_command(app)
    rest = list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    return command, rest


def problem(words: list[str]) -> str:
    """What is wrong with a command line of ours, "" when nothing is."""
    command, rest = resolved(words)
    if getattr(command, "commands", None):
        return f"no such command: {' '.join(words)}"
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}
    unknown = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in known]
    return f"no such option: {', '.join(unknown)}" if unknown else ""


def ours(line: Line) -> list[str] | None:
    """The words after the program's name, None for another program."""
    words = shlex.split(line.text, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    if words[:1] == ["syncbroker"]:
        return words[1:]
    if words[:3] == ["python3", "run.py", "demo"]:
        return words[2:]
    return None


SHOWN = list(commands())


# ------------------------------------------------------------------------------------------- commands


@pytest.mark.parametrize("line", SHOWN, ids=str)
def test_a_command_that_is_shown_exists_with_its_options(line: Line) -> None:
    words = ours(line)
    if words is not None:
        assert problem(words) == ""


def test_the_check_itself_sees_what_is_wrong() -> None:
    assert "no such command" in problem(["unsay", "3"])
    assert "no such option" in problem(["sync", "--fast"])
    assert problem(["review", "resolve", "3", "--choose", "crm"]) == ""


def leaves(command: Any, name: str) -> Iterator[str]:
    inner = getattr(command, "commands", None)
    if not inner:
        yield name
        return
    for word, one in inner.items():
        yield from leaves(one, f"{name} {word}")


@pytest.mark.parametrize("name", sorted(leaves(get_command(app), "syncbroker")))
def test_every_command_is_in_the_table_of_operations(name: str) -> None:
    if name == "syncbroker demo":
        assert "python3 run.py demo" in read(ROOT / "README.md")
    else:
        assert f"| `{name}` |" in document("operations.md")


# ------------------------------------------------------------------------------------------- settings


def settings_rows() -> dict[str, str]:
    """Variable -> default, as the table of operations.md has them."""
    table = document("operations.md").partition("## Settings")[2].partition("\n## ")[0]
    return {
        name: default.strip("`")
        for name, default in re.findall(r"^\| `(\w+)` \| (\S+) \|", table, re.MULTILINE)
    }


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    assert set(settings_rows()) == {PREFIX + name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_the_documented_default_is_the_real_one(name: str) -> None:
    default = Settings.model_fields[name].default
    assert settings_rows()[PREFIX + name.upper()] == (str(default) or "none")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_no_document_names_a_variable_of_ours_that_does_not_exist(path: Path) -> None:
    named = set(re.findall(r"\bSYNCBROKER_[A-Z][A-Z_]*[A-Z]\b", read(path)))
    assert named <= {PREFIX + name.upper() for name in Settings.model_fields} | OF_TESTS


# ---------------------------------------------------------------------------------- words of the product


@pytest.mark.parametrize("word", [*get_args(Kind), *get_args(ReviewKind), *get_args(Policy)])
def test_every_kind_of_decision_and_review_and_every_policy_is_explained(word: str) -> None:
    assert f"`{word}`" in document("concepts.md")


@pytest.mark.parametrize("kind", get_args(ReviewKind))
def test_every_kind_of_review_and_its_answers_are_in_operations(kind: str) -> None:
    table = document("operations.md").partition("## Reviews")[2].partition("\n## ")[0]
    assert f"| `{kind}` |" in table


@pytest.mark.parametrize("word", [*Type, *get_args(Policy), *get_args(DeletePolicy)])
def test_every_type_policy_and_delete_policy_is_in_the_mapping_reference(word: str) -> None:
    assert f"`{word}`" in document("mapping-reference.md")


@pytest.mark.parametrize("empty", list(Empty))
def test_every_kind_of_empty_is_explained(empty: Empty) -> None:
    assert f"| {empty.value.replace('_', ' ')} |" in document("concepts.md")


@pytest.mark.parametrize(
    "word", [*COUNTED, *(one for one in STANDINGS if one not in ("in step", "not linked"))]
)
def test_whatever_status_may_show_is_in_operations(word: str) -> None:
    assert f"`{word}`" in document("operations.md")


@pytest.mark.parametrize("kind", Registry().kinds())
def test_every_connector_is_documented_with_its_objects_batches_and_credentials(kind: str) -> None:
    text = document("connectors.md")
    connector = Registry().load(kind)
    for spec in connector.objects.values():
        sizes = [str(spec.batch[op]) for op in ("create", "update", "delete") if op in spec.batch]
        row = next(line for line in text.splitlines() if line.startswith(f"| `{kind}` | `{spec.name}` |"))
        assert [cell.strip() for cell in row.split("|")][4] == (", ".join(sizes) or "-")
    for schema in (connector.credentials_schema, connector.options_schema):
        assert [name for name in schema["properties"] if f"`{name}`" not in text] == []


# --------------------------------------------------------------------------------------- files and links


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"https?:", target):
            continue
        file, _, anchor = target.partition("#")
        found = path if not file else (path.parent / file).resolve()
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(target)
    assert broken == []


def anchors(path: Path) -> set[str]:
    """As Git hosts make them from headings."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_named_exists(path: Path) -> None:
    spans = re.findall(r"`([\w./-]+)`", prose(path))
    named = [one for one in spans if one.startswith(TOP_LEVEL)]
    assert [one for one in named if not (ROOT / one).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_is_named_exists(path: Path) -> None:
    """`test_x`, ... in `tests/file.py`: the names before a file are in it."""
    missing = []
    for names, file in re.findall(r"((?:`test_\w+`,? )+)in `(tests/[\w./]+\.py)`", prose(path)):
        text = read(ROOT / file)
        missing += [name for name in re.findall(r"`(test_\w+)`", names) if f"def {name}(" not in text]
    assert missing == []
    loose = re.sub(r"(?:`test_\w+`,? )+in `tests/[\w./]+\.py`", "", prose(path))
    assert re.findall(r"`(test_\w+)`", loose) == []


def test_every_file_of_the_engine_has_its_place_in_the_architecture() -> None:
    text = document("architecture.md")
    files = [
        path.name for path in (ROOT / "syncbroker" / "engine").glob("*.py") if path.name != "__init__.py"
    ]
    assert [name for name in sorted(files) if f"`{name}`" not in text] == []


def test_every_document_can_be_reached_from_the_readme() -> None:
    found, todo = set[Path](), [ROOT / "README.md"]
    while todo:
        path = todo.pop()
        if path in found or path.suffix != ".md":
            continue
        found.add(path)
        links = re.findall(r"\]\(([^)\s#]+)[^)]*\)", prose(path))
        todo += [(path.parent / one).resolve() for one in links if not re.match(r"https?:", one)]
    assert [path.name for path in DOCUMENTS if path not in found] == []


def test_every_statement_of_the_semantics_names_its_test() -> None:
    rows = [line for line in prose(ROOT / "docs" / "semantics.md").splitlines() if line.startswith("|")]
    said = [
        row for row in rows if not re.match(r"\| (statement|rule|case|invariant|elsewhere) \||\|---", row)
    ]
    assert [row[:60] for row in said if not re.search(r"`test_\w+`", row)] == []
    assert len(said) > 80
