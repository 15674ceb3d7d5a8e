"""Where the broker may call and where not, whatever a mapping file, a vendor's answer or a name server says."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import httpcore
import pytest

from syncbroker.errors import BadSetting, Unavailable
from syncbroker.sdk.addresses import Allowed, judge
from syncbroker.sdk.http import Http


def made(url: str, allow: str = "") -> Http:
    return Http(url, system="crm", now=lambda: 0, attempts=1, allowed=Allowed(allow))


@pytest.mark.parametrize(
    ("url", "allow"),
    [
        ("https://api.vendor.example", ""),
        ("http://127.0.0.1:8101", ""),
        ("http://localhost:8101", ""),
        ("http://[::1]:8101", ""),
        ("http://crm.internal", "crm.internal"),
        ("http://CRM.internal.", "crm.internal"),
        ("http://10.1.2.3", "10.1.0.0/16"),
        ("http://10.1.2.3", "10.1.2.3"),
    ],
)
def test_a_system_may_be_at(url: str, allow: str) -> None:
    made(url, allow).close()


@pytest.mark.parametrize(
    ("url", "allow"),
    [
        ("http://api.vendor.example", ""),
        ("http://localhost.evil.example", ""),
        ("http://127.0.0.1.evil.example", ""),
        ("http://crm.internal.evil.example", "crm.internal"),
        ("http://10.2.0.1", "10.1.0.0/16"),
        ("https://user:secret@api.vendor.example", ""),
        ("ftp://api.vendor.example", ""),
        ("file:///etc/passwd", ""),
        ("https://", ""),
    ],
)
def test_a_system_may_not_be_at(url: str, allow: str) -> None:
    with pytest.raises(BadSetting) as told:
        made(url, allow)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("address", "host", "allow", "called"),
    [
        ("93.184.216.34", "api.vendor.example", "", True),
        ("2606:2800:220:1::1", "api.vendor.example", "", True),
        ("127.0.0.1", "localhost", "", True),
        ("127.0.0.1", "127.0.0.1", "", True),
        ("127.0.0.1", "api.vendor.example", "", False),
        ("::1", "api.vendor.example", "", False),
        ("::ffff:127.0.0.1", "api.vendor.example", "", False),
        ("0.0.0.0", "api.vendor.example", "", False),
        ("10.0.0.5", "api.vendor.example", "", False),
        ("10.0.0.5", "crm.internal", "crm.internal", True),
        ("10.0.0.5", "crm.internal", "10.0.0.0/8", True),
        ("192.168.1.1", "crm.internal", "10.0.0.0/8", False),
        ("172.16.0.1", "api.vendor.example", "", False),
        ("100.64.0.1", "api.vendor.example", "", False),
        ("fd12::1", "api.vendor.example", "", False),
        ("224.0.0.1", "api.vendor.example", "", False),
        ("169.254.169.254", "api.vendor.example", "", False),
        ("169.254.169.254", "169.254.169.254", "169.254.0.0/16", False),
        ("::ffff:169.254.169.254", "crm.internal", "crm.internal", False),
        ("fd00:ec2::254", "crm.internal", "fd00::/8", False),
        ("fe80::1%eth0", "crm.internal", "crm.internal", False),
        ("100.100.100.200", "crm.internal", "crm.internal", False),
    ],
)
def test_an_address_that_a_name_has_is_judged(address: str, host: str, allow: str, called: bool) -> None:
    if called:
        judge(address, host, Allowed(allow), "crm")
    else:
        with pytest.raises(BadSetting, match="is not called"):
            judge(address, host, Allowed(allow), "crm")


def test_what_is_no_host_and_no_network_is_refused() -> None:
    with pytest.raises(BadSetting, match="no host and no network"):
        Allowed("crm.internal, 10.0.0.1/8")


Names = Callable[..., list[str]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """A name server: `names("a", "b")` answers "a" first and "b" from then on. Returns what was asked."""
    asked: list[str] = []

    def answers(*given: str) -> list[str]:
        def look(host: str, port: int, **_: Any) -> list[Any]:
            asked.append(host)
            address = given[min(len(asked), len(given)) - 1]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        monkeypatch.setattr(socket, "getaddrinfo", look)
        return asked

    return answers


@pytest.mark.parametrize("address", ["169.254.169.254", "127.0.0.1", "10.0.0.5"])
def test_a_name_that_leads_inside_is_not_called(names: Names, address: str) -> None:
    names(address)
    http = made("https://api.vendor.example")
    with pytest.raises(BadSetting, match=address):
        http.request("GET", "/")
    http.close()


def test_the_judged_address_is_the_one_that_is_called(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that answers something else the second time is not asked a second time."""
    called: list[str] = []

    def connect(_: Any, host: str, *_given: Any, **_named: Any) -> Any:
        called.append(host)
        raise httpcore.ConnectError("no")

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    asked = names("93.184.216.34", "169.254.169.254")
    http = made("https://api.vendor.example")
    with pytest.raises(Unavailable):
        http.request("GET", "/")
    assert (asked, called) == (["api.vendor.example"], ["93.184.216.34"])
    http.close()


@pytest.mark.parametrize(
    "page",
    [
        "http://127.0.0.1:1/next",
        "https://127.0.0.1/next",
        "//169.254.169.254/latest/meta-data/",
        "https://api.vendor.example.evil.example/next",
        "https://api.vendor.example@evil.example/next",
        "https://api.vendor.example:8443/next",
        "http://api.vendor.example/next",
        "file:///etc/passwd",
    ],
)
def test_a_next_page_that_a_vendor_names_stays_where_the_credentials_belong(page: str) -> None:
    http = made("https://api.vendor.example")
    with pytest.raises(Unavailable, match="where the credentials belong"):
        http.request("GET", page)
    http.close()
