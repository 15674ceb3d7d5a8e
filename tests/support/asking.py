"""One HTTP request to a server on loopback, sent exactly as given: paths verbatim, bodies in pieces."""

from __future__ import annotations

import contextlib
import http.client
import json as _json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answered:
    """Header names are lower-case."""

    status: int
    headers: dict[str, str]
    text: str

    def json(self) -> Any:
        return _json.loads(self.text)


def ask(
    method: str,
    server: str,
    path: str,
    body: bytes | Iterable[bytes] = b"",
    headers: Mapping[str, str] | None = None,
) -> Answered:
    """`server` is scheme, host and port. An iterable body is sent chunked."""
    at = urlsplit(server)
    connection = http.client.HTTPConnection(at.hostname or "", at.port)
    with contextlib.closing(connection):
        with contextlib.suppress(
            BrokenPipeError, ConnectionResetError
        ):  # it may answer before it has read all
            connection.request(method, path, body=body, headers=dict(headers or {}))
        answer = connection.getresponse()
        text = answer.read().decode()
        return Answered(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text)
