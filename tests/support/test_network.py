"""The guard itself."""

from __future__ import annotations

import socket

import pytest

from tests.support.network import is_loopback


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", b"localhost", "", None, "0.0.0.0", "::"]
)
def test_loopback_is_open(host: str | None) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "192.0.2.1", "2001:db8::1", "localhost.example.com", "vendor.example", b"a.b"]
)
def test_everything_else_is_closed(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["vendor.example", "192.0.2.1"])
def test_a_test_that_reaches_out_fails_and_cannot_take_it_for_a_network_error(host: str) -> None:
    with pytest.raises(pytest.fail.Exception, match="only talk to loopback"):
        socket.create_connection((host, 443), timeout=0.01)
    assert not issubclass(pytest.fail.Exception, Exception)


def test_loopback_connects() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
