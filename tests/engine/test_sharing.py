"""Several workers decide at the same time, on PostgreSQL: the same end as with one, nothing lost, nothing twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncbroker.engine import Engine, collisions, cycle, decide, deliver, merge, sharing
from syncbroker.engine.decide import decide_chunk
from syncbroker.engine.workspace import Workspace
from syncbroker.store import queues, runs, shards, tables
from syncbroker.store.queues import LIVE, Sighting
from tests.support.crowd import SECONDS, at_once, crowd, decide_all, stage, told
from tests.support.rig import Rig, entity_text, rig

FIELDS = """\
  email: {type: email, authority: [crm, mkt], policy: prefer, systems: {crm: email, mkt: email}}
  name: {type: text, authority: [crm, mkt], policy: prefer, systems: {crm: name, mkt: name}}
  city: {type: text, policy: latest, systems: {crm: city, mkt: city}}
"""

Told = tuple[int, str, str]
"""(person, system, field): somebody puts a new value there."""


@pytest.fixture
def here(tmp_path: Path, postgres_url: str) -> Iterator[Rig]:
    with rig(
        tmp_path / "m", postgres_url, entity_text(FIELDS, ["crm", "mkt"]), {"crm": [], "mkt": []}
    ) as made:
        yield made


def person(n: int, **changes: str) -> dict[str, str]:
    return {"email": f"p{n}@x.example", "name": f"Person {n}", "city": "Riga", **changes}


def met(here: Rig, numbers: range) -> None:
    """These people are linked in both systems, and everything about them is decided."""
    for system in ("crm", "mkt"):
        stage(here, system, [told(here, f"{system}{n}", person(n)) for n in numbers])
    decide_all(here.engine, limit=1000)


def news(here: Rig, base: int, stories: list[Told], values: Iterator[int]) -> dict[tuple[str, str, str], int]:
    """Stage what happened to people, each observation twice, as vendors tell it. (system, field, value) -> people."""
    shown = {(n, system): person(base + n) for n, _, _ in stories for system in ("crm", "mkt")}
    edits: dict[tuple[str, str, str], int] = {}
    for n, system, field in stories:
        number = next(values)
        value = f"v{number}@x.example" if field == "email" else f"V{number}"
        shown[n, system] = {**shown[n, system], field: value}
        edits[system, field, value] = n
        seen = told(here, f"{system}{base + n}", dict(shown[n, system]))
        stage(here, system, [seen])
        stage(here, system, [seen])
    return edits


def golden(here: Rig, base: int, many: int, values: dict[str, int]) -> list[dict[str, Any]]:
    """Golden values of people by their number, with values counted from the first one that was told."""
    found = {}
    for record in here.records():
        ids = sorted(str(link.external_id) for link in record.links)
        n = int(ids[0].removeprefix("crm"))
        if base <= n < base + many:
            assert ids == [f"crm{n}", f"mkt{n}"]
            shown = {name: one.value for name, one in record.golden.items()}
            found[n - base] = {
                name: values.get(str(value), str(value).replace(str(n), "N")) for name, value in shown.items()
            }
    return [found[n] for n in sorted(found)]


def judged(here: Rig) -> Counter[tuple[str, str, str]]:
    """How often each edit came before its rule."""
    return Counter(
        (o.system, o.field, str(o.question.value))
        for o in here.outcomes()
        if o.question is not None and o.kind not in ("linked", "created")
    )


# ----------------------------------------------------------------------------------------- the same end


def test_many_workers_come_to_the_same_end_as_one(tmp_path: Path, postgres_url: str) -> None:
    """Stories made by Hypothesis, each told to other people of one store: to three workers, and to one."""
    numbers, values = count(step=100), count(1)
    with ExitStack() as stack:
        text = entity_text(FIELDS, ["crm", "mkt"])
        here = stack.enter_context(rig(tmp_path / "m", postgres_url, text, {"crm": [], "mkt": []}))
        engines = stack.enter_context(crowd(here, 3))

        @settings(max_examples=12, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            st.lists(
                st.tuples(
                    st.integers(0, 5),
                    st.sampled_from(["crm", "mkt"]),
                    st.sampled_from(["name", "city", "email"]),
                ),
                min_size=1,
                max_size=24,
            )
        )
        def story(stories: list[Told]) -> None:
            ends = []
            for working in (engines, engines[:1]):
                base = next(numbers)
                met(here, range(base, base + 6))
                first = next(values)
                edits = news(here, base, stories, values)
                at_once(*(partial(decide_all, engine) for engine in working))
                order = {value: place for place, (_, _, value) in enumerate(edits)}
                assert first
                ends.append(golden(here, base, 6, order))
                assert {key: many for key, many in judged(here).items() if key in edits} == dict.fromkeys(
                    edits, 1
                )
            assert ends[0] == ends[1]
            with here.engine.store.read() as tx:
                assert queues.inbox_size(tx) == 0

        story()


@pytest.mark.slow
def test_eight_workers_and_what_reaches_further_in_between(here: Rig) -> None:
    """New people, deletions and edits at once, a thousand of them, told while they are decided."""
    by, values = Random(7), count(1)
    met(here, range(60))
    shown = {(n, system): person(n) for n in range(60) for system in ("crm", "mkt")}
    edits: dict[tuple[str, str, str], int] = {}
    done = threading.Event()

    def tell() -> None:
        for fresh in range(1000):
            n, system = by.randrange(60), by.choice(["crm", "mkt"])
            field, value = by.choice(["name", "city"]), f"V{next(values)}"
            shown[n, system] = {**shown[n, system], field: value}
            edits[system, field, value] = n
            stage(here, system, [told(here, f"{system}{n}", dict(shown[n, system]))])
            if fresh % 20 == 0:
                stage(here, "crm", [told(here, f"crm{1000 + fresh}", person(1000 + fresh))])
            if fresh % 50 == 0 and fresh:
                gone = told(here, f"crm{1000 + fresh - 40}", {}, deleted=True)
                stage(here, "crm", [gone])
        done.set()

    def work(engine: Engine) -> None:
        while not done.is_set():
            decide_all(engine, limit=20)
        decide_all(engine, limit=20)

    with crowd(here, 8) as engines:
        at_once(tell, *(partial(work, engine) for engine in engines))
    decide_all(here.engine)
    assert {key: many for key, many in judged(here).items() if key in edits} == dict.fromkeys(edits, 1)
    links = Counter(str(link.external_id) for record in here.records() for link in record.links)
    assert set(links.values()) == {1}
    assert len(here.records()) == 60 + 50
    for record in here.records():
        ids = {link.system: str(link.external_id) for link in record.links}
        if ids.get("mkt"):
            n = int(ids["mkt"].removeprefix("mkt"))
            last = [
                value
                for (system, field, value), who in edits.items()
                if (system, field, who) == ("crm", "name", n)
            ]
            if last:
                assert record.golden["name"].value == last[-1]


def test_a_sync_and_workers_at_once_leave_a_world_at_rest(tmp_path: Path, postgres_url: str) -> None:
    people = [person(n) for n in range(12)]
    text = entity_text(FIELDS, ["crm", "mkt"], create="always")
    with rig(tmp_path / "m", postgres_url, text, {"crm": people, "mkt": people[:6]}) as here:
        here.sync()
        by = Random(3)
        with crowd(here, 2) as engines:
            for turn in range(4):
                for n in by.sample(range(1, 13), 5):
                    here.edit(by.choice(["crm", "mkt"]), f"p{n:06}", city=f"City {turn} {n}")
                here.systems["crm"].insert("people", person(100 + turn))
                at_once(
                    here.sync,
                    partial(cycle.settle, engines[0], cycle.Summary()),
                    partial(cycle.settle, engines[1], cycle.Summary()),
                )
        for _ in range(3):
            here.clock.pass_(400)
            here.sync()
        assert here.quiet() == (0, 0, 0)
        assert sorted(here.held("crm", "city")) == sorted(here.held("mkt", "city"))
        assert sorted(here.held("crm")) == sorted(here.held("mkt"))
        assert len(here.records()) == 16


# -------------------------------------------------------------------------------------- at the same time


class Stalled:
    """The first transaction to come to its end waits there until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.free = threading.Event(), threading.Event()
        self._first = threading.Lock()
        self._finish = decide.finish
        monkeypatch.setattr(decide, "finish", self)

    def __call__(self, ws: Workspace) -> dict[str, int]:
        if self._first.acquire(blocking=False):
            self.reached.set()
            assert self.free.wait(SECONDS)
        return self._finish(ws)


def renamings(here: Rig, numbers: range, name: str) -> list[Sighting]:
    return [told(here, f"crm{n}", person(n, name=name)) for n in numbers]


def test_two_workers_decide_different_records_at_the_same_time(
    here: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    met(here, range(64))
    stage(here, "crm", renamings(here, range(64), "New"))
    stalled = Stalled(monkeypatch)
    with crowd(here, 2) as (one, other):

        def beside() -> int:
            assert stalled.reached.wait(SECONDS)
            taken = decide_chunk(other, LIVE, 10).taken
            stalled.free.set()
            return taken

        assert at_once(partial(decide_all, one, limit=10), beside)[1] > 0
    assert {record.golden["name"].value for record in here.records()} == {"New"}


def test_who_has_the_last_shards_is_waited_for(here: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever ends a run must not do so while another worker is still at it."""
    met(here, range(1))
    stage(here, "crm", renamings(here, range(1), "New"))
    stalled = Stalled(monkeypatch)
    with crowd(here, 2) as (one, other):

        def beside() -> list[Any]:
            assert stalled.reached.wait(SECONDS)
            threading.Timer(0.3, stalled.free.set).start()
            assert decide_chunk(other, LIVE).taken == 0
            return here.golden("name")

        assert at_once(partial(decide_chunk, one, LIVE), beside)[1] == ["New"]


def test_a_worker_that_dies_gives_its_shards_back(here: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    met(here, range(3))
    stage(here, "crm", renamings(here, range(3), "New"))

    def dies(ws: Workspace) -> dict[str, int]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(decide, "finish", dies)
        with pytest.raises(KeyboardInterrupt):
            decide_chunk(here.engine, LIVE)
    with crowd(here, 1) as (other,):
        assert decide_all(other).taken == 3


def test_two_records_that_get_one_key_at_once_are_asked_about(
    here: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    met(here, range(40))
    one, other = apart(here)
    both = threading.Barrier(2, timeout=SECONDS)
    find = collisions._find

    def together(ws: Workspace) -> None:
        if ws.shared:
            try:
                both.wait()
            except threading.BrokenBarrierError:
                pytest.fail("the two were not decided at the same time")
        find(ws)

    with crowd(here, 2) as engines:
        for n in (one, other):
            stage(here, "crm", [told(here, f"crm{n}", person(n, email="same@x.example"))])
        with monkeypatch.context() as patch:
            patch.setattr(collisions, "_find", together)
            patch.setattr(sharing, "AT_ONCE", 1)
            at_once(*(partial(decide_chunk, engine, LIVE) for engine in engines))
    decide_all(here.engine)
    assert [review.kind for review in here.reviews()] == ["merge"]


def apart(here: Rig) -> tuple[int, int]:
    """Two people of different shards."""
    shard: dict[int, int] = {}
    for record in here.records():
        n = int(str(record.links[0].external_id)[3:])
        shard.setdefault(shards.shard_of([record.id]), n)
    one, other = sorted(shard.values())[:2]
    return one, other


# ------------------------------------------------------------------------------- what is decided alone


Seen = Callable[[Rig], Sighting]

FURTHER: dict[str, Seen] = {
    "a deletion": lambda here: told(here, "crm0", {}, deleted=True),
    "a merge at the vendor": lambda here: told(here, "crm0", {}, merged_into="crm1"),
    "another id": lambda here: told(here, "crm99", person(0), renamed_from="crm0"),
    "an alias not known yet": lambda here: told(here, "crm0", person(0), aliases=("old0",)),
    "a record that is not linked": lambda here: told(here, "crm77", person(77)),
}


@pytest.fixture
def how(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """External id -> whether others could decide at the same time."""
    found: dict[str, bool] = {}
    decides = decide._Chunk.decide

    def noted(self: Any, row: queues.Waiting) -> None:
        found[row.sighting.id] = self.ws.shared
        decides(self, row)

    monkeypatch.setattr(decide._Chunk, "decide", noted)
    return found


@pytest.mark.parametrize("seen", FURTHER.values(), ids=FURTHER)
def test_what_may_touch_more_than_its_record_is_decided_alone_and_its_neighbours_are_not(
    here: Rig, how: dict[str, bool], seen: Seen
) -> None:
    met(here, range(3))
    one = seen(here)
    how.clear()
    stage(here, "crm", [told(here, "crm2", person(2, name="New")), one])
    decide_all(here.engine)
    assert how == {"crm2": True, one.id: False}


def test_what_comes_behind_something_to_be_decided_alone_waits_for_it(here: Rig) -> None:
    met(here, range(2))
    stage(here, "crm", [told(here, "crm0", {}, deleted=True)])
    stage(here, "crm", [told(here, "crm0", person(0, name="There again"))])
    stage(here, "crm", [told(here, "crm1", person(1, name="New"))])
    assert decide_chunk(here.engine, LIVE).taken == 1
    with here.engine.store.read() as tx:
        assert [row.sighting.deleted for row in queues.take(tx, LIVE, here.clock(), 10, shards.ALONE)] == [
            True,
            False,
        ]
    decide_all(here.engine)
    assert here.golden("name") == ["There again", "New"]


def test_what_waits_for_a_link_that_moves_to_another_record_is_decided_alone(here: Rig) -> None:
    met(here, range(2))
    one, other = here.records()
    stage(here, "crm", renamings(here, range(2), "New"))
    merge.merge(here.engine, one.id, other.id, "pat")
    with here.engine.store.read() as tx:
        assert len(queues.take(tx, LIVE, here.clock(), 10, shards.ALONE)) == 1
    decide_all(here.engine)
    assert here.golden("name") == ["New"]


def test_an_observation_of_a_linked_record_waits_in_its_records_shard(here: Rig) -> None:
    met(here, range(2))
    stage(here, "crm", [told(here, "crm0", person(0)), told(here, "crm9", person(9))])
    stage(here, "mkt", [told(here, "mkt0", person(0))])
    (record,) = [one for one in here.records() if "crm0" in [link.external_id for link in one.links]]
    with here.engine.store.read() as tx:
        found = {row.external_id: row.shard for row in tx.run(tables.inbox.select())}
    own = shards.shard_of([record.id])
    assert found == {"crm0": own, "mkt0": own, "crm9": shards.ALONE}


def test_a_write_whose_record_is_being_decided_is_left_for_the_next_time(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [person(0), person(1)]
    text = entity_text(FIELDS, ["crm", "mkt"])
    with rig(tmp_path / "m", postgres_url, text, {"crm": people, "mkt": people}) as here:
        here.sync()
        for n in range(2):
            stage(here, "crm", [told(here, f"p{n + 1:06}", person(n, city="Oslo"))])
        decide_all(here.engine)
        stage(here, "crm", [told(here, "p000001", person(0, city="Bonn"))])
        stalled = Stalled(monkeypatch)
        with crowd(here, 1) as (other,):

            def beside() -> list[str | None]:
                assert stalled.reached.wait(SECONDS)
                claims = deliver.claim(here.engine, "mkt", here.clock())
                stalled.free.set()
                return [one.link.external_id for one in claims]

            assert at_once(partial(decide_chunk, other, LIVE), beside)[1] == ["p000002"]


def test_what_was_counted_by_two_workers_is_counted(here: Rig) -> None:
    met(here, range(40))
    late = [told(here, f"crm{n}", person(n, name="Old")) for n in range(40)]
    stage(here, "crm", renamings(here, range(40), "New"))
    decide_all(here.engine)
    stage(here, "crm", late)
    with crowd(here, 3) as engines:
        at_once(*(partial(decide_all, engine) for engine in engines))
    with here.engine.store.read() as tx:
        assert runs.counters(tx)["superseded", "crm", "people"] == 40
