"""No test may leave this machine: names other than loopback neither resolve nor connect.

Only this process is held; what it starts is not.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest


def block_outside(patch: pytest.MonkeyPatch) -> None:
    """Fail the test that resolves or connects to anything but loopback (or a Unix socket)."""
    resolve, connect, connect_ex = socket.getaddrinfo, socket.socket.connect, socket.socket.connect_ex

    def guarded_resolve(host: bytes | str | None, *args: Any, **kwargs: Any) -> Any:
        _require_loopback(host)
        return resolve(host, *args, **kwargs)

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _require_loopback(_host(address))
        return connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _require_loopback(_host(address))
        return connect_ex(self, address)

    patch.setattr(socket, "getaddrinfo", guarded_resolve)
    patch.setattr(socket.socket, "connect", guarded_connect)
    patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)


def is_loopback(host: bytes | str | None) -> bool:
    """True for 127.0.0.0/8, ::1, `localhost`, and no host at all (a wildcard to bind to)."""
    name = host.decode() if isinstance(host, bytes) else host
    if not name or name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _host(address: Any) -> str | None:
    return address[0] if isinstance(address, tuple) else None


def _require_loopback(host: bytes | str | None) -> None:
    if not is_loopback(host):
        # Not an OSError: code under test must not take it for an unreachable vendor and carry on.
        pytest.fail(f"the test tried to reach {host!r}; tests may only talk to loopback")
