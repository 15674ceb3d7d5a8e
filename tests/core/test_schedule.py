from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.core.mapping import Schedule
from syncbroker.core.schedule import following, jitter, text

BERLIN = ZoneInfo("Europe/Berlin")
SECOND = 1_000_000


def at(moment: str, zone: str = "Europe/Berlin") -> int:
    """µs of a time on the wall; "+fold" is the second one of two."""
    named = datetime.fromisoformat(moment.removesuffix("+fold")).replace(tzinfo=ZoneInfo(zone))
    return int(named.replace(fold=int(moment.endswith("+fold"))).timestamp()) * SECOND


def local(micros: int) -> str:
    found = datetime.fromtimestamp(micros / SECOND, BERLIN)
    return found.strftime("%m-%d %H:%M") + ("+fold" if found.fold else "")


def turns(expression: str, after: str, count: int) -> list[str]:
    plan, found, now = Schedule(at=expression, timezone="Europe/Berlin"), list[str](), at(after)
    for _ in range(count):
        now = following(plan, now, "crm contacts sweep")
        found.append(local(now))
    return found


@pytest.mark.parametrize(
    ("plan", "after", "seconds"),
    [
        (Schedule(every=3600, jitter=0), "2026-03-01T12:00", 3600),
        (Schedule(every=90, jitter=0), "2026-03-01T12:00", 90),
        (Schedule(at="0 3 * * *"), "2026-03-01T12:00", 15 * 3600),
        (Schedule(at="0 12 * * *"), "2026-03-01T12:00", 24 * 3600),
        (Schedule(at="*/30 * * * *"), "2026-03-01T12:00", 1800),
    ],
)
def test_the_next_turn_is_after_the_last_one(plan: Schedule, after: str, seconds: int) -> None:
    now = at(after, "UTC")
    assert following(plan, now, "x") - now == seconds * SECOND


def test_a_cron_expression_is_read_in_its_time_zone() -> None:
    assert turns("0 3 * * *", "2026-07-01T12:00", 1) == ["07-02 03:00"]
    assert following(Schedule(at="0 3 * * *"), at("2026-07-01T12:00", "UTC"), "x") == at(
        "2026-07-02T03:00", "UTC"
    )


def test_a_time_that_does_not_exist_comes_once_right_after_the_gap() -> None:
    assert turns("30 2 * * *", "2026-03-28T12:00", 2) == ["03-29 03:00", "03-30 02:30"]


def test_a_time_that_comes_twice_counts_once() -> None:
    assert turns("30 2 * * *", "2026-10-24T12:00", 2) == ["10-25 02:30", "10-26 02:30"]


def test_every_hour_stays_every_hour_when_the_clocks_change() -> None:
    found = turns("0 * * * *", "2026-10-25T00:30", 4)
    assert found == ["10-25 01:00", "10-25 02:00", "10-25 02:00+fold", "10-25 03:00"]


@given(st.text(max_size=40), st.integers(0, 4_000_000_000))
def test_jitter_is_the_same_every_time_and_no_more_than_a_tenth_of_the_interval(key: str, now: int) -> None:
    plan = Schedule(every=600)
    late = following(plan, now * SECOND, key) - now * SECOND - 600 * SECOND
    assert late == jitter(plan, key)
    assert 0 <= late < 60 * SECOND


def test_jitter_spreads_objects() -> None:
    late = {jitter(Schedule(every=3600), f"crm object{n} pull") // (60 * SECOND) for n in range(100)}
    assert len(late) == 6


def test_cron_has_no_jitter_unless_it_is_given() -> None:
    assert jitter(Schedule(at="0 3 * * *"), "x") == 0
    plan = Schedule(at="0 3 * * *", jitter=600)
    first = following(plan, at("2026-03-01T12:00", "UTC"), "x")
    assert following(plan, first, "x") - first == 24 * 3600 * SECOND
    assert following(plan, first - 1, "x") == first


def test_a_turn_counts_anew_when_anything_about_its_schedule_changes() -> None:
    plans = [
        Schedule(every=60),
        Schedule(every=61),
        Schedule(every=60, jitter=1),
        Schedule(at="0 3 * * *"),
        Schedule(at="0 3 * * *", timezone="Europe/Berlin"),
    ]
    assert len({text(plan) for plan in plans}) == len(plans)
    assert text(None) == ""
