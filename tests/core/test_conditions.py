"""CEL conditions over golden records."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.core.conditions import MAX_LENGTH, compile_condition
from syncbroker.core.types import Type, Value
from syncbroker.errors import BadMapping, Problem

FIELDS = {
    "email": Type.EMAIL,
    "status": Type.CHOICE,
    "seats": Type.INTEGER,
    "score": Type.DECIMAL,
    "active": Type.BOOLEAN,
    "amount": Type.MONEY,
    "since": Type.DATETIME,
    "born": Type.DATE,
    "tags": Type.TAGS,
    "company": Type.REFERENCE,
}

RECORD: dict[str, Value] = {
    "email": "ann@example.com",
    "status": "paid",
    "seats": 5,
    "score": "12.5",
    "active": True,
    "amount": (1999, "EUR"),
    "since": "2024-05-01T10:00:00.25Z",
    "born": "1990-02-03",
    "tags": ("beta", "vip"),
    "company": "0190c9d0",
}


def problems(text: str) -> list[Problem]:
    with pytest.raises(BadMapping) as caught:
        compile_condition(text, FIELDS)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    "text",
    [
        "record.status == 'paid'",
        'record.status == "paid"',
        "record.status != 'free' && record.seats > 4",
        "record.status in ['paid', 'trial']",
        "record.email.endsWith('@example.com')",
        "record.email.matches('^a.*com$')",
        "size(record.email) == 15",
        "record.seats + 1 == 6",
        "record.score > 12.0 && record.score < 13.0",
        "record.active",
        "!(record.active == false)",
        "record.amount.minor > 1000 && record.amount.currency == 'EUR'",
        "record.since >= '2024-05-01T10:00:00Z'",
        "record.since < '2024-05-01T10:00:01Z'",
        "timestamp(record.since) - timestamp('2024-05-01T09:00:00Z') == duration('3600s')",
        "record.born < '2000-01-01'",
        "'vip' in record.tags",
        "record.tags.exists(each, each.startsWith('b'))",
        "size(record.tags) == 2",
        "record.company != null",
        "record . status == 'paid' // a comment about record.nothing",
        "'record.nothing' != record.email",
        "record.status == 'paid' ? true : record.seats > 100",
    ],
)
def test_a_condition_that_is_true_holds(text: str) -> None:
    assert compile_condition(text, FIELDS).judge(RECORD) == (True, "")


@pytest.mark.parametrize(
    "text",
    [
        "record.status == 'free'",
        "record.seats > 5",
        "record.tags.all(each, each == 'vip')",
        "record.email == null",
        "false",
    ],
)
def test_a_condition_that_is_false_does_not_hold(text: str) -> None:
    assert compile_condition(text, FIELDS).judge(RECORD) == (False, "")


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in ("tags", "amount")])
@pytest.mark.parametrize("record", [{}, dict.fromkeys(FIELDS)], ids=["absent", "empty"])
def test_absent_and_empty_values_are_null(name: str, record: dict[str, Value]) -> None:
    assert compile_condition(f"record.{name} == null", FIELDS).holds(record)


def test_empty_tags_are_an_empty_list() -> None:
    assert compile_condition("record.tags == [] && !('vip' in record.tags)", FIELDS).holds({})


def test_the_parts_of_an_empty_amount_are_null() -> None:
    assert compile_condition("record.amount.minor == null && record.amount.currency == null", FIELDS).holds(
        {}
    )


def test_values_that_the_condition_does_not_name_do_not_matter() -> None:
    assert compile_condition("record.seats > 3", FIELDS).holds({**RECORD, "unknown": ("x",)})


@pytest.mark.parametrize(
    ("text", "record", "reason"),
    [
        ("record.seats > 3", {}, "a value that it uses is empty"),
        ("record.active", {}, "a value that it uses is empty"),
        ("!record.active", {}, "a value that it uses is empty"),
        ("record.email.startsWith('a')", {}, "a value that it uses is empty"),
        ("record.seats / 0 == 1", RECORD, "divide by zero"),
        (
            "timestamp(record.email) > timestamp(record.since)",
            RECORD,
            "String to Timestamp conversion failed",
        ),
    ],
)
def test_a_condition_that_ends_in_an_error_does_not_hold_and_says_why(
    text: str, record: dict[str, Value], reason: str
) -> None:
    assert compile_condition(text, FIELDS).judge(record) == (False, reason)


def test_an_error_on_one_side_does_not_matter_when_the_other_decides() -> None:
    assert compile_condition("record.seats > 3 || record.status == 'paid'", FIELDS).holds({"status": "paid"})


def test_a_reason_quotes_no_value() -> None:
    condition = compile_condition("timestamp(record.email) > timestamp(record.since)", FIELDS)
    assert "ann" not in condition.judge(RECORD)[1]


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "hint"),
    [
        ("record.emial == 'x'", 1, 1, "unknown field 'emial' in a condition", "did you mean email?"),
        (
            "record.seats > 3 &&\n  record.zzz == 'x'",
            2,
            3,
            "unknown field 'zzz' in a condition",
            "known fields: email",
        ),
        ("record.seats > 'x'", 1, 14, "> does not fit a number and a text", "one kind"),
        ("record.score > 2", 1, 14, "> does not fit a decimal number and a number", "2.0, not 2"),
        ("record.tags == null", 1, 13, "== does not fit a list and null", "size(record.name) == 0"),
        (
            "record.since > timestamp('2024-01-01T00:00:00Z')",
            1,
            14,
            "> does not fit a text and a timestamp",
            "are texts",
        ),
        ("record.amount > 5", 1, 1, "'amount' is an amount with two parts", "record.amount.minor"),
        ("has(record.email)", 1, 1, "has() is not available", "record.name != null"),
        ("record == null", 1, 1, "record is only used with a field", "record.name"),
        ("record['email'] == 'x'", 1, 1, "record is only used with a field", "record.name"),
        ("contact.email == 'x'", 1, 1, "undeclared reference to 'contact.email'", "`record`"),
        ("  now() > 3", 1, 3, "undeclared reference to 'now'", "`record`"),
        ("record.email.lower() == 'x'", 1, 14, "undeclared reference to 'lower'", "`record`"),
        ("record.email", 1, 1, "a condition is true or false, this one gives a text", "compare"),
        ("record.seats + 1", 1, 1, "a condition is true or false, this one gives a number", "compare"),
        ("record.email ==", 1, 16, "this is no CEL: it ends too early", "&&"),
        ("record.active and true", 1, 15, "this is no CEL: ", "&&"),
        ("record.seats = 3", 1, 14, "this is no CEL: ", "=="),
        ("", 1, 1, "this is no CEL: it ends too early", "=="),
        ("'open", 1, 1, "this is no CEL: ", "' '"),
    ],
)
def test_a_condition_that_cannot_be_right_is_refused_with_its_place(
    text: str, line: int, column: int, message: str, hint: str
) -> None:
    first = problems(text)[0]
    assert first.message.startswith(message)
    assert (first.line, first.column, hint in first.hint) == (line, column, True)


def test_all_unknown_fields_are_told_at_once() -> None:
    found = problems("record.one == 'x' && record.two == 'y' || record.one == 'z'")
    assert [(one.line, one.column) for one in found] == [(1, 1), (1, 22), (1, 43)]


def test_a_condition_longer_than_the_bound_is_refused() -> None:
    assert "at most" in problems("true" + " " * MAX_LENGTH)[0].message


def test_a_condition_that_is_nested_too_deep_is_refused() -> None:
    assert "cannot be read" in problems("(" * 500 + "true" + ")" * 500)[0].message


def test_a_condition_that_never_ends_does_not_hold() -> None:
    hundred = "[" + ",".join("1" * 100) + "]"
    text = f"{hundred}.all(a, {hundred}.all(b, {hundred}.all(c, {hundred}.all(d, a + b + c + d > 0))))"
    assert compile_condition(text, FIELDS).judge(RECORD) == (False, "Iteration budget exceeded")


def test_a_pattern_that_backtracks_elsewhere_is_harmless() -> None:
    condition = compile_condition("record.email.matches('^(a+)+$')", FIELDS)
    assert not condition.holds({"email": "a" * 50_000 + "b"})


def test_one_condition_serves_several_threads() -> None:
    condition = compile_condition("record.seats > 3", FIELDS)
    answers: list[bool] = []

    def ask(seats: int) -> None:
        answers.extend(condition.holds({"seats": seats}) for _ in range(500))

    threads = [threading.Thread(target=ask, args=(seats,)) for seats in (1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (answers.count(True), answers.count(False)) == (500, 500)


@given(st.text(max_size=80) | st.text(alphabet="record.email'\"=!&|()[]{}<>+-*/ \n\\1,:?", max_size=80))
def test_any_text_is_a_condition_or_a_problem_with_a_place(text: str) -> None:
    try:
        compile_condition(text, FIELDS)
    except BadMapping as error:
        found = error.problems
    else:
        found = ()
    assert all(one.line >= 1 and one.column >= 1 and one.message for one in found)


@given(
    st.fixed_dictionaries(
        {"seats": st.none() | st.integers(-(2**53), 2**53), "email": st.none() | st.text(max_size=20)}
    )
)
def test_any_record_gets_an_answer(record: dict[str, Value]) -> None:
    assert compile_condition("record.seats > 3 && record.email != null", FIELDS).holds(record) == (
        record["seats"] is not None and int(str(record["seats"])) > 3 and record["email"] is not None
    )
