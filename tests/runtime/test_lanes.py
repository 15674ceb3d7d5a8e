from __future__ import annotations

import threading

from structlog.testing import capture_logs

from syncbroker.errors import Unavailable
from syncbroker.runtime.lanes import Lane, reported


def test_a_lane_does_its_jobs_in_the_order_they_were_asked_for() -> None:
    lane, done = Lane(), list[int]()

    def job(n: int) -> None:
        if n == 1:
            lane.do(job, 2)
            lane.do(job, 3)
        done.append(n)

    lane.do(job, 1)
    assert done == [1, 2, 3]


def test_who_finds_a_lane_busy_leaves_the_job_to_the_one_at_it() -> None:
    lane, done = Lane(), list[str]()
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        go_on.wait()

    def quick() -> None:
        done.append(threading.current_thread().name)

    first = threading.Thread(target=lane.do, args=(slow,), name="first")
    first.start()
    begun.wait()
    lane.do(quick)
    assert done == []
    go_on.set()
    first.join()
    assert done == ["first"]


def test_a_job_that_waits_already_is_done_once() -> None:
    lane, done = Lane(), list[int]()

    def job(n: int) -> None:
        if n == 0:
            lane.do(job, 1)
            lane.do(job, 1)
        done.append(n)

    lane.do(job, 0)
    assert done == [0, 1]


def test_a_lane_knows_what_it_is_at_and_what_waits() -> None:
    lane, seen = Lane(), list[bool]()

    def job() -> None:
        seen.append(lane.holds(job))

    assert not lane.holds(job)
    lane.do(job)
    assert seen == [True]
    assert not lane.holds(job)


def test_a_job_that_fails_does_not_stop_its_lane() -> None:
    lane, done = Lane(), list[int]()

    def job(n: int) -> None:
        if n == 0:
            lane.do(job, 1)
            raise ZeroDivisionError
        done.append(n)

    with capture_logs() as logs:
        lane.do(job, 0)
    assert done == [1]
    assert [line["event"] for line in logs] == ["fault"]


def test_an_expected_error_is_one_line_without_a_traceback() -> None:
    with capture_logs() as logs, reported("deliver", "crm"):
        raise Unavailable("no answer", system="crm")
    (line,) = logs
    assert (line["event"], line["system"], line["error"]) == ("put off", "crm", "no answer")
    assert "exc_info" not in line
