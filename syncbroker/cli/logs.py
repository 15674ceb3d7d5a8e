"""The log of `serve` and `worker`: one JSON object per line on standard error, with known fields only.

A field that is not in `FIELDS` does not get in, whatever it holds; of an exception there are its type and where it
came from, never its text (at DEBUG, cleaned): a text may quote a person's data or a secret.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, TextIO

import orjson
import structlog

from syncbroker.sdk.redact import Redactor

FIELDS = frozenset(
    "at level event work ids kind system object seen changed count error fault frames reason method route status ms "
    "delivery size outcome new logger url seconds failed version trace run link op answer kinds cause".split()
)
"""What may be logged."""

FIRST = ("at", "level", "event")
"""What a line begins with; the rest follows by name."""

_REST = FIELDS.difference(FIRST)

FRAMES = 12
"""How many of the innermost calls are told."""

_clean = Redactor(())


def configure(
    level: str, stream: TextIO | None = None, *, count: structlog.typing.Processor | None = None
) -> None:
    """Log from `level` on. Other libraries' loggers come out of the same place, from WARNING on.

    `count` sees every line from INFO on, so that what is counted does not depend on what is written.
    """
    threshold = logging.getLevelNamesMapping()[level]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *([count] if count else []),
            _from(threshold),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            _faults(verbose=threshold <= logging.DEBUG),
            _allowed,
            structlog.processors.JSONRenderer(serializer=_serialised),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            min(threshold, logging.INFO) if count else threshold
        ),
        logger_factory=structlog.WriteLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_Others()]
    root.setLevel(max(threshold, logging.WARNING))


def _from(threshold: int) -> structlog.typing.Processor:
    levels = logging.getLevelNamesMapping()

    def processor(_logger: Any, method: str, found: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if levels["ERROR" if method == "exception" else method.upper()] < threshold:
            raise structlog.DropEvent
        return found

    return processor


def _serialised(found: Any, **_options: Any) -> str:
    return orjson.dumps(found, default=str).decode()


def _allowed(_logger: Any, _method: str, found: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    rest = sorted(found.keys() & _REST)
    return {name: found[name] for name in (*FIRST, *rest) if name in found}


def _faults(*, verbose: bool) -> structlog.typing.Processor:
    def processor(_logger: Any, _method: str, found: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        given = found.pop("exc_info", None)
        error = given if isinstance(given, BaseException) else sys.exc_info()[1] if given else None
        if error is not None:
            found["fault"] = type(error).__name__
            found["frames"] = frames(error)
            if verbose:
                found["reason"] = _clean(str(error))
        return found

    return processor


def frames(error: BaseException) -> list[str]:
    """Where an exception came from, the innermost call last: "engine/decide.py:12 in decide"."""
    found = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    return [f"{'/'.join(Path(one.filename).parts[-2:])}:{one.lineno} in {one.name}" for one in found]


class _Others(logging.Handler):
    """Lines of libraries, cleaned, as lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        error = record.exc_info[1] if record.exc_info else None
        log.log(
            record.levelno, "library", logger=record.name, error=_clean(record.getMessage()), exc_info=error
        )
