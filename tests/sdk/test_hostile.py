"""A careful connector over `sdk.http` against a vendor that answers anything at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from syncbroker.core.types import Item, Write
from syncbroker.errors import FixSetup, Reject, Retry, SyncbrokerError, Unavailable
from syncbroker.sdk.conformance_bench import Bench, Sample, fields_of
from tests.support.hostile_vendor import AWFUL, SIMULATOR_MOODS, make_hostile
from tests.support.toy_vendor import CREDENTIALS, ToyConnector, ToySimulator

SAMPLE = Sample(
    object="people", make=lambda n: {"name": f"P{n}", "email": f"p{n}@toy.example"}, paths=("name",)
)

MOODS = [mood for mood in SIMULATOR_MOODS if mood != "slow"]


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench(ToyConnector, ToySimulator, SAMPLE, credentials=CREDENTIALS) as made:
        yield made


def simulator(bench: Bench) -> ToySimulator:
    assert isinstance(bench.simulator, ToySimulator)
    return bench.simulator


def calls(bench: Bench, id: str) -> list[Callable[[], object]]:
    using, write = bench.connector, Write(key="k", op="update", id=id, values={"name": "x"})
    return [
        bench.scan,
        lambda: bench.poll("0"),
        lambda: bench.read(id),
        lambda: using.find("people", {"email": "p1@toy.example"}, ()),
        lambda: using.write("people", [write], ()),
        lambda: using.job("people", "j000001", [write], ()),
        lambda: using.history("people", id, "name"),
    ]


@pytest.mark.parametrize("mood", MOODS)
@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_vendor_answers_only_our_errors_come_out(bench: Bench, mood: str, seed: int) -> None:
    id = bench.load(3)[0]
    make_hostile(simulator(bench), mood, seed=seed)
    for call in calls(bench, id):
        try:
            call()
        except SyncbrokerError as error:
            assert isinstance(error, Retry | Reject | FixSetup)  # noqa: PT017 - no error is as good as one of ours


@pytest.mark.parametrize("mood", ["endless", "repeats"])
def test_pages_that_lead_nowhere_end_the_scan(bench: Bench, mood: str) -> None:
    bench.load(3)
    make_hostile(simulator(bench), mood)
    with pytest.raises(Unavailable, match="do not follow each other"):
        bench.scan()


def test_a_list_that_ends_early_proves_nothing(bench: Bench) -> None:
    bench.load(3)
    make_hostile(simulator(bench), "short")
    assert [page.proven for page in bench.pages()] == [False]


def test_a_huge_answer_is_not_read_to_its_end(bench: Bench) -> None:
    bench.load(1)
    make_hostile(simulator(bench), "huge", size=40_000_000)
    with pytest.raises(Unavailable, match="larger than"):
        bench.scan()


def test_awful_records_arrive_as_they_are(bench: Bench) -> None:
    bench.control.load({"people": [dict(record) for record in AWFUL]})
    items: list[Item] = bench.scan()
    assert len(items) == len(AWFUL)
    assert fields_of(items[1])["name"] == "'; DROP TABLE links; --"
    assert fields_of(items[8])["name"] == 10**30
