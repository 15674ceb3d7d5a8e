"""The log of the process that runs the tests."""

from __future__ import annotations

import structlog


def plain() -> None:
    """As it is usually, but for tracebacks: with every local value in colours one takes longer than most tests."""
    structlog.reset_defaults()
    shown = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, shown])
