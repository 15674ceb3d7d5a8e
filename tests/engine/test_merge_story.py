"""Any edits around a merge that is taken apart: each side has what it would have had without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from syncbroker.engine import Engine, answer, cycle, merge, unmerge
from syncbroker.engine.offers import offers
from syncbroker.store import decisions, records, tables
from tests.support.chains import broken
from tests.support.rig import entity_text, rig
from tests.support.stage import Stage

FIELDS = """\
  email: {type: email, required: true, authority: [crm, mkt], policy: prefer, systems: {crm: email, mkt: email}}
  city: {type: text, policy: latest, systems: {crm: city, mkt: city}}
  name: {type: person_name, authority: crm, policy: prefer, empty: clear, systems: {crm: name, mkt: name}}
  phone: {type: phone, policy: review, first_meeting: review, systems: {crm: phone, mkt: phone}}
  tags: {type: tags, policy: union, empty: clear, systems: {crm: tags, mkt: tags}}
"""
DATA: dict[str, list[dict[str, Any]]] = {
    "crm": [{"email": "a@x.example", "city": "Riga", "name": "Ann", "phone": "+15551110000", "tags": ["a"]}],
    "mkt": [{"email": "b@x.example", "city": "Bonn", "name": "Bob", "phone": "+15552220000", "tags": ["b"]}],
}
VALUES: dict[str, list[Any]] = {
    "email": ["c@x.example", "d@x.example"],
    "city": ["Oslo", "Rome", "Paris"],
    "name": ["Cleo", "Dan"],
    "phone": ["+15553330000", "+15554440000"],
}
edits = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["crm", "mkt"]),
            st.sampled_from(sorted(VALUES)),
            st.integers(0, 2),
        ),
        st.tuples(st.sampled_from(["crm", "mkt"]), st.just("tags"), st.integers(0, 2)),
    ),
    max_size=4,
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("story")
    with ExitStack() as stack:
        text = entity_text(FIELDS, ["crm", "mkt"])
        made = stack.enter_context(rig(folder / "mappings", f"sqlite:///{folder / 'x.db'}", text, DATA))
        yield Stage(made, folder)


def edit(stage: Stage, system: str, field: str, pick: int, added: dict[str, set[str]]) -> Any:
    """A person at the vendor sets a value, or puts one tag more beside what is there. Returns what they meant."""
    if field == "tags":
        tag = f"{system}{pick}"
        added[system].add(tag)
        here = stage.world.held(system, "tags")[0] or []
        stage.world.edit(system, "p000001", tags=sorted({*here, tag}))
        return None
    value = VALUES[field][pick % len(VALUES[field])]
    if stage.world.held(system, field) == [value]:
        return None  # no edit: what a merge put there cannot be told from what a person would have put
    stage.world.edit(system, "p000001", **{field: value})
    return value


@settings(
    max_examples=15,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # no shrinking: every step is a whole sync
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(before=edits, between=edits, after=edits, answers=st.booleans(), crm_survives=st.booleans())
@example(  # back to a value that was there before, while the field waits for a person
    before=[("mkt", "phone", 0)],
    between=[("mkt", "phone", 1), ("mkt", "tags", 2), ("mkt", "phone", 0), ("crm", "name", 1)],
    after=[("crm", "email", 1), ("mkt", "city", 0), ("mkt", "email", 1), ("crm", "tags", 1)],
    answers=True,
    crm_survives=True,
)
def test_each_side_has_what_it_would_have_had(
    stage: Stage, before: Any, between: Any, after: Any, answers: bool, crm_survives: bool
) -> None:
    engine = stage.again()
    wanted: dict[str, dict[str, Any]] = {system: dict(people[0]) for system, people in DATA.items()}
    added: dict[str, set[str]] = {"crm": {"a"}, "mkt": {"b"}}
    said: set[str] = set()
    cycle.sync(engine)

    def do(steps: Any) -> None:
        for system, field, pick in steps:
            value = edit(stage, system, field, pick, added)
            if value is not None:
                wanted[system][field] = value
            cycle.sync(engine)

    do(before)
    own = owners(engine)
    pair = (own["crm"], own["mkt"]) if crm_survives else (own["mkt"], own["crm"])
    number = merge.merge(engine, *pair, "pat").merge
    cycle.sync(engine)
    do(between)
    if answers:
        said = answer_all(engine)
        cycle.sync(engine)
    report = unmerge.unmerge(engine, number, "pat")
    assert len(report.left) >= len(said)
    cycle.sync(engine)
    do(after)
    cycle.sweep(engine)
    with engine.store.read() as tx:
        found = records.load(tx, own.values())
    for system, id_ in own.items():
        golden = {name: one.value for name, one in found[id_].golden.items()}
        for name, value in wanted[system].items():
            if name == "tags":
                assert set(golden["tags"] or ()) == added[system]
            elif name not in said or id_ != pair[0]:
                assert (system, name, golden[name]) == (system, name, value)
            held = stage.world.held(system, name)[0]
            assert (sorted(held) if name == "tags" else held) == (
                list(golden[name]) if name == "tags" else golden[name]
            )
    at_rest(stage, engine)
    assert broken(engine.store) == []


def owners(engine: Engine) -> dict[str, str]:
    with engine.store.read() as tx:
        return {row.system: str(row.record_id) for row in tx.run(tables.links.select())}


def answer_all(engine: Engine) -> set[str]:
    """A person answers what the merge raised. Returns the fields."""
    with engine.store.read() as tx:
        found = decisions.waiting(tx, kind="conflict")
    for review in found:
        answer.answer(engine, review.id, offers(review)[0].name, "kim")
    return {review.field for review in found}


def at_rest(stage: Stage, engine: Engine) -> None:
    def now() -> tuple[int, int]:
        with engine.store.read() as tx:
            return stage.world.writes(), decisions.last_id(tx)

    before = now()
    cycle.sync(engine)
    cycle.sweep(engine)
    assert now() == before
