from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.core import values
from syncbroker.core.mapping import ValueSpec
from syncbroker.core.times import (
    BARE_NUMBER,
    NO_DATE,
    NO_INSTANT,
    NO_SUCH_DATE,
    NO_ZONE,
    instant_at,
    nanoseconds_of,
)
from syncbroker.core.types import Type

DATE = ValueSpec(type=Type.DATE)
INSTANT = ValueSpec(type=Type.DATETIME)


@pytest.mark.parametrize(
    ("raw", "becomes"),
    [
        ("2024-05-01", "2024-05-01"),
        (" 2024-5-1 ", "2024-05-01"),
        ("2024/05/01", "2024-05-01"),
        ("2024-05-01T23:30:00-08:00", "2024-05-01"),
        ("2024-05-01 00:00:00", "2024-05-01"),
        ("2024-02-29", "2024-02-29"),
        ("0000-00-00", None),
        ("", None),
        ("2023-02-29", NO_SUCH_DATE),
        ("2024-13-01", NO_SUCH_DATE),
        ("05/01/2024", NO_DATE),
        ("01.05.2024", NO_DATE),
        ("2024-05", NO_DATE),
        ("2024-W18-3", NO_DATE),
        ("20240501", BARE_NUMBER),
        (1714521600000, BARE_NUMBER),
        ("\u0662\u0660\u0662\u0664-\u0660\u0665-\u0660\u0661", NO_DATE),
        ("May 1, 2024", NO_DATE),
    ],
)
def test_a_date_is_read_only_where_it_is_unambiguous(raw: object, becomes: object) -> None:
    assert values.canonical(DATE, raw) == becomes


@pytest.mark.parametrize(
    ("raw", "becomes"),
    [
        ("2024-05-01T10:00:00Z", "2024-05-01T10:00:00Z"),
        ("2024-05-01T10:00:00+02:00", "2024-05-01T08:00:00Z"),
        ("2024-05-01T10:00:00+0200", "2024-05-01T08:00:00Z"),
        ("2024-05-01t10:00:00z", "2024-05-01T10:00:00Z"),
        ("2024-05-01 10:00:00 UTC", "2024-05-01T10:00:00Z"),
        ("2024-05-01 10:00:00 -0500", "2024-05-01T15:00:00Z"),
        ("2024-05-01T10:00Z", "2024-05-01T10:00:00Z"),
        ("2024-05-01T10:00:00.000Z", "2024-05-01T10:00:00Z"),
        ("2024-05-01T10:00:00.120Z", "2024-05-01T10:00:00.12Z"),
        ("2024-05-01T10:00:00.123456789Z", "2024-05-01T10:00:00.123456789Z"),
        ("", None),
        ("2024-05-01T10:00:00", NO_ZONE),
        ("2024-05-01T25:00:00Z", NO_INSTANT),
        ("2024-02-30T10:00:00Z", NO_INSTANT),
        ("2024-05-01", NO_INSTANT),
        ("yesterday", NO_INSTANT),
        ("0001-01-01T00:00:00+05:00", NO_INSTANT),
        ("2024-05-01T10:00:00.1234567891Z", NO_INSTANT),
        (1714557600, BARE_NUMBER),
        ("1714557600.5", BARE_NUMBER),
    ],
)
def test_an_instant_is_read_only_with_its_zone(raw: object, becomes: object) -> None:
    assert values.canonical(INSTANT, raw) == becomes


ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES))  # noqa: DTZ001 - the zone is drawn
def test_an_instant_is_the_same_in_every_zone(moment: datetime) -> None:
    in_utc = moment.astimezone(UTC)
    assert values.canonical(INSTANT, moment.isoformat()) == values.canonical(INSTANT, in_utc.isoformat())


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_is_what_the_standard_library_says_it_is(moment: datetime) -> None:
    found = values.canonical(INSTANT, moment.isoformat())
    assert isinstance(found, str)
    assert datetime.fromisoformat(found) == moment


@given(st.dates())
def test_every_date_stays_itself(day: date) -> None:
    assert values.canonical(DATE, day.isoformat()) == day.isoformat()


@given(st.integers(-(10**19), 10**20))
def test_counting_nanoseconds_is_exact(nanoseconds: int) -> None:
    instant = instant_at(nanoseconds)
    assert instant is not None
    assert nanoseconds_of(instant) == nanoseconds
    assert values.canonical(INSTANT, instant) == instant


def test_beyond_the_calendar_there_is_no_instant() -> None:
    assert instant_at(10**30) is None
