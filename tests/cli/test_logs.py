from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from syncbroker.cli import logs
from tests.support import log

Read = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def configured() -> Iterator[Callable[[str], Read]]:
    """Configures the log at a level; what it gives reads the lines so far."""
    root = logging.getLogger()
    before = root.handlers, root.level

    def at(level: str) -> Read:
        stream = io.StringIO()
        logs.configure(level, stream)
        return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]

    yield at
    log.plain()
    root.handlers, level = before
    root.setLevel(level)


def test_a_line_is_json_with_time_level_and_event_first(configured: Callable[[str], Read]) -> None:
    read = configured("INFO")
    structlog.get_logger().info("delivery", system="crm", delivery=7)
    (line,) = read()
    assert list(line)[:3] == ["at", "level", "event"]
    assert (line["system"], line["delivery"], line["level"]) == ("crm", 7, "info")
    assert line["at"].endswith("Z")


def test_unknown_fields_do_not_get_in(configured: Callable[[str], Read]) -> None:
    read = configured("INFO")
    structlog.get_logger().info("delivery", email="ann@x.example", body=b"secret", system="crm")
    assert read()[0].keys() == {"at", "level", "event", "system"}


def test_below_the_level_nothing_is_written(configured: Callable[[str], Read]) -> None:
    read = configured("WARNING")
    structlog.get_logger().info("request")
    assert read() == []


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_a_fault_tells_its_type_and_place_and_never_personal_data(
    configured: Callable[[str], Read], level: str
) -> None:
    read = configured(level)
    try:
        int("ann@x.example, +1 555 123 4567")
    except ValueError:
        structlog.get_logger().exception("fault", work="settle")
    (line,) = read()
    assert line["fault"] == "ValueError"
    assert line["frames"][-1].startswith("cli/test_logs.py:")
    assert "ann@x.example" not in str(line)
    assert "4567" not in str(line)
    assert ("reason" in line) is (level == "DEBUG")


def test_lines_of_libraries_come_out_of_the_same_place_cleaned(configured: Callable[[str], Read]) -> None:
    read = configured("INFO")
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning("mail to %s failed", "ann@x.example")
    (line,) = read()
    assert (line["event"], line["logger"]) == ("library", "some.library")
    assert line["error"] == "mail to <e-mail> failed"
