"""What a person reads: every act in a few lines, and an ending that says how it went."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from syncbroker.demo.report import Report, decided
from syncbroker.demo.scene import Told
from syncbroker.demo.story import Act
from syncbroker.engine.history import Step

STEP = Step(
    decision=7,
    at=datetime(2026, 5, 1, tzinfo=UTC),
    actor="rules",
    kind="adopted",
    field="email",
    system="marketing",
    why="marketing has authority",
    place="mappings/contact.yaml:34",
    via="webhook",
)
ACT = Act("new_address", "A new address", lambda _scene: None, prompt=True)
TOLD = Told(
    did=["Mara changes her address"],
    decided=[("Mara", STEP)],
    holds=[("m@new.example", ["crm", "billing"]), ("m@new.example", ["mail"])],
    notes=["re-pointed"],
    seconds=0.25,
)


@pytest.fixture
def page() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def report(page: io.StringIO) -> Report:
    return Report(Console(file=page, width=100, highlight=False, markup=False, emoji=False))


def words(page: io.StringIO) -> str:
    return " ".join(page.getvalue().split())


def test_an_act_tells_what_was_done_decided_and_held_and_how_long_it_took(
    report: Report, page: io.StringIO
) -> None:
    report.act(ACT, TOLD)
    assert words(page) == (
        "1 A new address everywhere after 0.25 s Mara changes her address "
        "> Mara: adopted email from marketing, told by webhook; marketing has authority (mappings/contact.yaml:34) "
        "= m@new.example: crm, billing, mail re-pointed"
    )


def test_an_expectation_that_did_not_hold_is_told_where_it_belongs(report: Report, page: io.StringIO) -> None:
    report.act(ACT, Told(did=["Mara changes her address"], unmet=["it is in the CRM: not within 45 s"]))
    assert "failed" in words(page)
    assert "! expected, but not so: it is in the CRM: not within 45 s" in words(page)


def test_an_edit_that_takes_longer_than_promised_is_no_failure_but_is_said(
    report: Report, page: io.StringIO
) -> None:
    report.act(ACT, Told(seconds=1.5))
    assert "slower than 1 s" in words(page)
    assert "failed" not in words(page)


def test_of_a_long_explanation_only_the_answer_is_shown(report: Report, page: io.StringIO) -> None:
    output = "contact 01\n  crm  live\n\nemail = m@new.example\n  who   somebody\n\n  history\n  ...\n"
    report.act(ACT, Told(output=output, command="explain contact:m@new.example email"))
    assert words(page).endswith(
        "$ syncbroker explain contact:m@new.example email email = m@new.example who somebody "
        "(then what each system holds, and the whole history)"
    )


@pytest.mark.parametrize(
    ("unmet", "said"),
    [
        ([], "All 2 acts went as expected, in 31 s."),
        (["not so"], "1 of 2 acts did not go as expected: A new address"),
    ],
)
def test_the_ending_says_how_it_went(report: Report, page: io.StringIO, unmet: list[str], said: str) -> None:
    played = [(ACT, Told(unmet=unmet)), (Act("quiet", "Quiet", lambda _scene: None), Told())]
    report.ending(played, {"adopted": 1200}, {"crm": (40, 3)}, 31.2)
    assert words(page) == f"decisions 1,200 adopted calls crm 40 (3 wrote) {said}"


def test_a_persons_answer_is_told_with_the_persons_name() -> None:
    step = Step(
        decision=8, at=STEP.at, actor="olga", kind="resolved_by_person", field="vip", system="support", why="yes"
    )  # fmt: skip
    assert decided("Victor", step) == "Victor: resolved_by_person vip, by olga; yes"
