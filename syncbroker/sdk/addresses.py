"""Where the broker may call: public addresses over TLS, its own machine, and what a person allowed by name.

A system's address comes from a mapping file, and some come from a vendor's answer. None of them may lead to a service
inside the network that only this machine can reach: a database, a cloud's metadata. A name is resolved once per
connection, every address that it has is judged, and the connection is made to an address that was judged, so a name
that means another address a moment later (DNS rebinding) gains nothing.

A proxy that the environment names resolves by itself: then it is the proxy that must refuse.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import httpcore

from syncbroker.errors import BadSetting

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network

NEVER: tuple[_Network, ...] = tuple(
    map(
        ip_network, ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "100.100.100.200/32", "168.63.129.16/32")
    )
)
"""Link-local addresses and those under which clouds tell a machine its secrets: nobody has customers there."""


class Allowed:
    """What `SYNCBROKER_ALLOW_PRIVATE` names: hosts (exactly) and networks, between commas or blanks."""

    def __init__(self, text: str = "") -> None:
        self._hosts: set[str] = set()
        self._networks: list[_Network] = []
        for part in text.replace(",", " ").split():
            try:
                self._networks.append(ip_network(part))
            except ValueError:
                if "/" in part:
                    raise BadSetting(
                        f"SYNCBROKER_ALLOW_PRIVATE: {part} is no host and no network",
                        hint="write hosts and networks, such as crm.internal,10.1.0.0/16",
                    ) from None
                self._hosts.add(part.lower().rstrip("."))

    def host(self, host: str) -> bool:
        """A host that was named, or the address of one in a network that was."""
        low = host.lower().rstrip(".")
        found = _literal(low)
        return low in self._hosts or (found is not None and self.address(found))

    def address(self, address: _Address) -> bool:
        return any(address.version == one.version and address in one for one in self._networks)


def is_loopback(host: str) -> bool:
    """A host that is this machine by its very name."""
    found = _literal(host)
    return host == "localhost" or (found is not None and found.is_loopback)


def check_base(url: str, allowed: Allowed, system: str) -> None:
    """BadSetting for an address that credentials must not be sent to in the clear."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or is_loopback(host) or allowed.host(host):
        return
    raise BadSetting(
        f"the address of the system at {host} is not encrypted: credentials would travel in the clear",
        hint=f"use https://, or if it is in a network of yours: SYNCBROKER_ALLOW_PRIVATE={host}",
        system=system,
    )


def judge(address: str, host: str, allowed: Allowed, system: str) -> None:
    """BadSetting for an address that `host` has and that must not be called."""
    found = ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    if not any(found.version == one.version and found in one for one in NEVER):
        public = found.is_global and not found.is_multicast
        own = found.is_loopback and is_loopback(host)
        if public or own or allowed.host(host) or allowed.address(found):
            return
        hint = f"if it is a system of yours: SYNCBROKER_ALLOW_PRIVATE={host}"
    else:
        hint = "no system is there; look at the address in systems.yaml, or at what answers for its name"
    raise BadSetting(f"{host} leads to {found}, which is not called", hint=hint, system=system)


def _literal(host: str) -> _Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


class Backend(httpcore.NetworkBackend):
    """Makes connections to judged addresses only. `inner` makes them."""

    def __init__(self, allowed: Allowed, system: str, inner: httpcore.NetworkBackend | None = None) -> None:
        self._allowed, self._system = allowed, system
        self._inner = inner or httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._addresses(host, port)
        for address in addresses:
            judge(address, host, self._allowed, self._system)
        for address in addresses[:-1]:
            try:
                return self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue  # the name has another one
        return self._inner.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)

    def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the name is not known ({type(error).__name__})") from None
        return list(dict.fromkeys(str(one[4][0]) for one in found))
