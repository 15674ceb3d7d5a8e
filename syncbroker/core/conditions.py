"""Conditions: one CEL expression over a golden record, compiled once and asked often.

The expression sees the record as `record`: `record.email`, `record.amount.minor`. It is compiled twice: against typed,
nullable names (which finds unknown fields and unlike types before anything runs), and against a plain map, which is
what it runs on. The evaluator bounds nesting and iterations itself; the length of the text is bounded here.

CEL is reached through this module only. Its errors are values: a condition that ends in one does not hold.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from cel_expr_python import cel

from syncbroker.core.types import Type, Value
from syncbroker.errors import BadMapping, Problem

MAX_LENGTH = 2000
"""Characters of one condition."""

_STRING, _INTEGER = "google.protobuf.StringValue", "google.protobuf.Int64Value"
_NULLABLE = {
    Type.BOOLEAN: "google.protobuf.BoolValue",
    Type.INTEGER: _INTEGER,
    Type.DECIMAL: "google.protobuf.DoubleValue",
}
"""CEL's nullable types; every type that is not here is a text, dates and times included."""

_TOKEN = re.compile(
    r"""//[^\n]*                                        # a comment
      | '''(?s:\\.|.)*?''' | \"\"\"(?s:\\.|.)*?\"\"\"      # texts
      | [rR][bB]?(?:'[^'\n]*' | "[^"\n]*") | '(?:\\.|[^'\\\n])*' | "(?:\\.|[^"\\\n])*"
      | (?<!\.)(?P<path>[A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*)*)(?P<call>\s*\()?
    """,
    re.VERBOSE,
)
_REPORTED = re.compile(r"<input>:(\d+):(\d+): (.+)")


class Condition:
    """A compiled condition. Immutable, and safe to use from several threads."""

    def __init__(self, text: str, fields: Mapping[str, Type], program: cel.Expression) -> None:
        self.text = text
        self._fields = dict(fields)
        self._program = program

    def holds(self, record: Mapping[str, Value]) -> bool:
        """Whether the condition holds for these golden values. A field that is missing here is empty."""
        return self.judge(record)[0]

    def judge(self, record: Mapping[str, Value]) -> tuple[bool, str]:
        """(holds, reason). The reason is "" unless the evaluation ended in an error; it never quotes a value."""
        bound = {name: _bind(type_, record.get(name)) for name, type_ in self._fields.items()}
        try:
            answer = self._program.eval(data={"record": bound})
        except RuntimeError as error:  # how the library reports that the budget is used up
            return False, _reason(str(error))
        value = answer.value()
        if isinstance(value, bool):
            return value, ""
        return False, _reason("null_type" if value is None else str(value))


def compile_condition(text: str, fields: Mapping[str, Type]) -> Condition:
    """A condition over records with these fields.

    Raises BadMapping with every problem found; `line` and `column` count from 1 inside the text, `file` is "".
    """
    if len(text) > MAX_LENGTH:
        message = f"a condition has at most {MAX_LENGTH} characters, this one has {len(text)}"
        raise BadMapping([Problem("", 1, 1, message, "split it, or move the rule into a field")])
    problems = list(_unknown_names(text, fields))
    if problems:
        raise BadMapping(problems)
    try:
        checked = cel.NewEnv(variables=_typed(fields)).compile(text)
        kind = checked.return_type().name().lower()
        if kind not in ("bool", "bool_wrapper"):
            message = f"a condition is true or false, this one gives {_plain(kind)}"
            raise BadMapping(
                [Problem("", 1, 1, message, "compare it with something, such as record.name != null")]
            )
        program = cel.NewEnv(variables={"record": cel.Type.Map(cel.Type.STRING, cel.Type.DYN)}).compile(text)
    except RuntimeError as error:
        raise BadMapping(_reported(text, str(error))) from None
    return Condition(text, {name: type_ for name, type_ in fields.items() if name in text}, program)


def fields_in(text: str) -> frozenset[str]:
    """The fields that a condition reads."""
    paths = (re.split(r"\s*\.\s*", token.group("path") or "") for token in _TOKEN.finditer(text))
    return frozenset(path[1] for path in paths if path[0] == "record" and len(path) > 1)


def _typed(fields: Mapping[str, Type]) -> dict[str, cel.Type]:
    names: dict[str, cel.Type] = {}
    for name, type_ in fields.items():
        if type_ is Type.MONEY:
            names[f"record.{name}.minor"] = cel.Type(_INTEGER)
            names[f"record.{name}.currency"] = cel.Type(_STRING)
        elif type_ is Type.TAGS:
            names[f"record.{name}"] = cel.Type.List(cel.Type.STRING)
        else:
            names[f"record.{name}"] = cel.Type(_NULLABLE.get(type_, _STRING))
    return names


def _bind(type_: Type, value: Value) -> Any:
    """A canonical value as CEL sees it."""
    match type_:
        case Type.TAGS:
            return list(value) if isinstance(value, tuple) else []
        case Type.MONEY:
            minor, currency = value if isinstance(value, tuple) else (None, None)
            return {"minor": minor, "currency": currency}
        case Type.DECIMAL if isinstance(value, str):
            return float(value)
        case Type.DATETIME if isinstance(value, str):
            return (
                value[:19] + "Z"
            )  # one width, so that texts sort by time; the library takes no nullable timestamps
    return value


def _unknown_names(text: str, fields: Mapping[str, Type]) -> Iterator[Problem]:
    """What the library would report late or vaguely: unknown fields, parts of fields, and `has`."""
    for token in _TOKEN.finditer(text):
        path = token.group("path")
        if path is None:
            continue
        line, column = _place(text, token.start())
        root, *parts = re.split(r"\s*\.\s*", path)
        if token.group("call") and not parts and root == "has":
            hint = "an empty value is null: write record.name != null"
            yield Problem("", line, column, "has() is not available: every field is always there", hint)
        if root != "record":
            continue
        if not parts or (len(parts) == 1 and token.group("call")):
            yield Problem("", line, column, "record is only used with a field", "write record.name")
        elif parts[0] not in fields:
            close = difflib.get_close_matches(parts[0], fields, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known fields: {', '.join(fields) or 'none'}"
            yield Problem("", line, column, f"unknown field {parts[0]!r} in a condition", hint)
        elif fields[parts[0]] is Type.MONEY and parts[1:2] not in (["minor"], ["currency"]):
            hint = f"write record.{parts[0]}.minor or record.{parts[0]}.currency"
            yield Problem("", line, column, f"{parts[0]!r} is an amount with two parts", hint)


def _place(text: str, index: int) -> tuple[int, int]:
    before = text[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


def _reported(text: str, message: str) -> list[Problem]:
    """The library's text as problems. One line of it names one place."""
    problems = []
    for found in _REPORTED.finditer(message):
        line, column = int(found[1]), int(found[2])
        name = re.match(r"undeclared reference to '([\w.]+)'", found[3])
        if name:  # the library points behind a name; point at its start
            column = max(text.splitlines()[line - 1].rfind(name[1], 0, column - 1 + len(name[1])) + 1, 1)
        problems.append(Problem("", line, column, *_say(found[3])))
    return problems or [Problem("", 1, 1, f"this condition cannot be read: {_reason(message)}")]


def _say(what: str) -> tuple[str, str]:
    """(message, hint) for one message of the library."""
    what = what.removesuffix(" [INVALID_ARGUMENT]").strip()
    if what.startswith("Syntax error:"):
        expected = what.partition(" expecting ")[0].removeprefix("Syntax error:").strip()
        if "<EOF>" in expected:
            expected = "it ends too early"
        return (
            f"this is no CEL: {expected}",
            "comparisons are ==, !=, <, >; join them with && and ||; texts stand in ' '",
        )
    overload = re.match(r"found no matching overload for '(.+)' applied to '\(?(.*?)\)?'", what)
    if overload:
        operator = overload[1].strip("_").replace("_", " ")
        types = " and ".join(map(_plain, overload[2].split(", ")))
        hint = "compare values of one kind; a decimal is compared with 2.0, not 2"
        if "list" in overload[2] and "null" in overload[2]:
            hint = "an empty list is [], never null: write size(record.name) == 0"
        elif "Timestamp" in overload[2]:
            hint = (
                "dates and times are texts: compare them with '2024-01-31', or write timestamp(record.name)"
            )
        return f"{operator} does not fit {types}", hint
    return what.replace(" (in container '')", ""), "only `record` and CEL's own functions are known here"


def _plain(kind: str) -> str:
    names = {"string": "a text", "int": "a number", "double": "a decimal number", "bool": "true or false"}
    names |= {"null_type": "null", "google.protobuf.Timestamp": "a timestamp"}
    bare = re.sub(r"^wrapper\((.*)\)$|_wrapper$", r"\1", kind)
    return names.get(bare, "a list" if bare.startswith("list") else bare)


def _reason(message: str) -> str:
    """The first line without the library's status code, and without values, which it puts into quotes."""
    if (
        "null_type" in message or "No matching overload" in message
    ):  # types are checked before: only null is left
        return "a value that it uses is empty"
    first = message.splitlines()[0] if message else "it ends in an error"
    first = re.sub(r"^[A-Z_]+: |\s*\[[A-Z_]+\]$", "", first).strip()
    return re.sub(r'(["\']).*\1', "a value", first)
