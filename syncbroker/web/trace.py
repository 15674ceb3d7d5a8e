"""The trace of a request: 32 hex digits that lead from a webhook to the writes that it causes.

It is the sender's own, where it sends one as W3C Trace Context says (www.w3.org/TR/trace-context, `traceparent`
version 00), or a new UUIDv7, whose digits sort by time.
"""

from __future__ import annotations

import re

from uuid_utils import uuid7

ANSWERED = b"x-syncbroker-trace"
"""The header of every answer that names the request's trace."""

_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


def trace_of(traceparent: str) -> str:
    """The trace that the header names, or a new one."""
    found = _FORM.fullmatch(traceparent) if len(traceparent) <= 512 else None
    return found[1] if found else uuid7().hex
