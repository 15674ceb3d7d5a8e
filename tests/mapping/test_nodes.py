"""YAML as trees with positions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.errors import Problem
from syncbroker.mapping.nodes import MAX_DEPTH, Unreadable, parse
from tests.mapping.support import marked


def test_every_key_and_value_knows_its_place() -> None:
    root, _ = parse("a: 1\nb:\n  c: [x,  y]\n", "f")
    c = root.value["b"].value["c"]
    assert root.value["b"].keys["c"] == ("c", 3, 3)
    assert [(one.line, one.column) for one in (c, *c.value)] == [(3, 6), (3, 7), (3, 11)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"),
        ("yes", "yes"),
        ("2024-01-31", "2024-01-31"),
        ("12:30", "12:30"),
        ("0x1f", "0x1f"),
        ("true", True),
        ("False", False),
        ("12", 12),
        ("-1.5", -1.5),
        ("1e3", 1000.0),
        ("'12'", "12"),
        ("~", None),
        ("", None),
        ('"a\\tb"', "a\tb"),
        ("9" * 400, "9" * 400),
    ],
)
def test_a_plain_scalar_is_read_by_the_core_schema_and_nothing_more(text: str, value: object) -> None:
    root, _ = parse(f"key: {text}\n", "f")
    assert root.value["key"].value == value


def test_a_number_keeps_the_text_that_was_written() -> None:
    root, _ = parse("key: 007\n", "f")
    assert root.value["key"].text == "007"


def test_a_variable_may_stand_unquoted_inside_braces() -> None:
    root, problems = parse("a: {b: ${ONE}, c: ${TWO:-x,y}}\n", "f")
    assert (root.plain(), problems) == ({"a": {"b": "${ONE}", "c": "${TWO:-x,y}"}}, [])


def test_what_follows_an_unquoted_variable_keeps_its_column() -> None:
    root, _ = parse("a: {b: ${ONE}, c: 1}\n", "f")
    assert root.value["a"].keys["c"].column == 16


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: {c: 2,\n    ¦c: 3}\n", "stands twice"),
        ("a: ¦!thing 1\n", "tags"),
        ("¦<<: {a: 1}\nb: 2\n", "merge keys"),
        ("? ¦[a]\n: 1\n", "a key must be a text"),
        ("%YAML 1.1\n¦---\na: 1\n", "directives"),
    ],
)
def test_what_is_not_supported_is_reported_and_reading_goes_on(text: str, message: str) -> None:
    _, problems = parse(text.replace("¦", ""), "f")
    assert [(one.line, one.column) for one in problems] == [marked(text)]
    assert message in problems[0].message


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a:\n¦\t- b\n", "not with tabs"),
        ("a: ¦[1, 2\n", "brackets"),
        ("a: [1, 2\nb¦: 3\n", "brackets"),
        ("a: ¦'x\n", "close the quotes"),
        ("a: b¦: c\n", "quote a text"),
        ("a:\n  b: 1\n ¦c: 2\n", "indentation"),
        ("a: ¦@x\n", "quote the text"),
        ('a: "¦\\q"\n', "backslash"),
        ("a: ¦*nowhere\n", "anchor"),
        ("a: 1\n¦---\nb: 2\n", "---"),
        ("¦", "docs/mapping-reference.md"),
        ("¦# only a comment\n", "docs/mapping-reference.md"),
        ("a: 1\nb: ¦\x07\n", "remove it"),
        ("¦}\n", ""),
    ],
)
def test_text_that_is_no_yaml_is_refused_with_place_and_hint(text: str, hint: str) -> None:
    with pytest.raises(Unreadable) as caught:
        parse(text.replace("¦", ""), "f")
    problem = caught.value.problem
    line, column = marked(text)
    assert (problem.line, hint in problem.hint) == (line, True)
    assert abs(problem.column - column) <= 1


def test_deep_nesting_is_refused_before_it_is_built() -> None:
    with pytest.raises(Unreadable) as caught:
        parse("[" * 100_000, "f")
    assert (caught.value.problem.line, caught.value.problem.column) == (1, MAX_DEPTH + 1)


def test_a_billion_laughs_are_refused() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{name}: &{name} [{', '.join([f'*{chr(ord(name) - 1)}'] * 10)}]" for name in "bcdefghi"]
    with pytest.raises(Unreadable) as caught:
        parse("\n".join(lines), "f")
    assert "aliases" in caught.value.problem.message


def test_an_alias_cannot_hold_itself() -> None:
    with pytest.raises(Unreadable):
        parse("a: &a [*a]\n", "f")


def test_an_alias_stands_for_the_whole_value() -> None:
    root, _ = parse("a: &x {b: 1}\nc: *x\n", "f")
    assert root.plain() == {"a": {"b": 1}, "c": {"b": 1}}


def _said(text: str) -> Problem | None:
    """The problem of a text that cannot be read, if it is one. Any other error is the test's failure."""
    try:
        parse(text, "f")
    except Unreadable as stop:
        return stop.problem
    return None


@given(st.text(max_size=200) | st.text(alphabet="ab:-[]{},\"'\n #&*!|>%@`?~0123$\t", max_size=120))
def test_any_text_is_a_tree_or_one_clear_problem(text: str) -> None:
    said = _said(text)
    assert said is None or (said.message and said.line >= 1 and said.column >= 1)
