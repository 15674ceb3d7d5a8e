"""Dropping the writes that a guard holds: the run's decisions are undone first; nobody else may answer meanwhile."""

from __future__ import annotations

import pytest

from syncbroker.engine import Engine, answer, letting_go
from syncbroker.errors import BadAnswer
from syncbroker.store import decisions, queues, runs
from tests.engine.conftest import Worlds
from tests.engine.test_guards import held, opened, the_review
from tests.support.rig import Rig


@pytest.fixture
def here(world: Worlds) -> Rig:
    """Five creates in mkt are held."""
    here = opened(world, "created: 4", mkt=3, create="always")
    here.sync()
    return here


def nothing_owed(engine: Engine, run: int, _person: str) -> None:
    """An undo, as far as its effect on the outbox goes: what the run owed is owed no more."""
    with engine.store.write() as tx:
        rows = tx.rows("SELECT link FROM outbox WHERE state = 'staged' AND run = ?", (run,))
        queues.drop_outbox(tx, [row[0] for row in rows])


def test_what_is_dropped_is_undone_and_the_run_is_over(here: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letting_go, "_undo_run", nothing_owed)
    number = the_review(here).id
    answer.answer(here.engine, number, "drop", "pat", seen=decisions.token(the_review(here)))
    assert held(here) == []
    with here.engine.store.read() as tx:
        assert queues.outbox_counts(tx) == {}
        review = decisions.review(tx, number)
        assert [run.state for run in runs.recent(tx)] == ["done"] * 3
    assert review is not None
    assert review.person == "pat"
    assert [o.why for o in here.outcomes("resolved_by_person")] == ["a person dropped 5 pushes of run 3"]


def test_what_an_undo_leaves_is_never_sent(here: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is owed for another reason than a decision of the run, and a person said no to it."""

    def some(engine: Engine, run: int, _person: str) -> None:
        with engine.store.write() as tx:
            links = [row[0] for row in tx.rows("SELECT link FROM outbox WHERE state = 'staged'", ())]
            queues.drop_outbox(tx, links[:2])

    monkeypatch.setattr(letting_go, "_undo_run", some)
    first = the_review(here).id
    answer.answer(here.engine, first, "drop", "pat")
    here.sync()
    assert here.writes() == 0
    assert (the_review(here).id != first, the_review(here).body["count"]) == (True, 3)


def test_a_drop_that_undoes_nothing_is_refused(here: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letting_go, "_undo_run", lambda *_: None)
    before = the_review(here)
    with pytest.raises(BadAnswer, match="does not follow from decisions of its own"):
        answer.answer(here.engine, before.id, "drop", "pat")
    assert the_review(here) == before


def test_while_somebody_drops_nobody_approves(here: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def undo(engine: Engine, run: int, person: str) -> None:
        with pytest.raises(BadAnswer, match="pat is dropping it"):
            answer.answer(here.engine, the_review(here).id, "approve", "kim")
        nothing_owed(engine, run, person)

    monkeypatch.setattr(letting_go, "_undo_run", undo)
    answer.answer(here.engine, the_review(here).id, "drop", "pat")
    here.sync()
    assert here.writes() == 0


def test_a_drop_that_was_cut_off_is_done_by_the_next_one(here: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def dies(_engine: Engine, _run: int, _person: str) -> None:
        raise Killed

    monkeypatch.setattr(letting_go, "_undo_run", dies)
    with pytest.raises(Killed):
        answer.answer(here.engine, the_review(here).id, "drop", "pat")
    monkeypatch.setattr(letting_go, "_undo_run", nothing_owed)
    answer.answer(here.engine, the_review(here).id, "drop", "kim")
    assert held(here) == []


def test_writes_are_not_dropped_in_part(here: Rig) -> None:
    name = the_review(here).body["samples"][0]["name"]
    with pytest.raises(BadAnswer, match="only be dropped as a whole"):
        answer.answer(here.engine, the_review(here).id, "drop", "pat", only=[name])
