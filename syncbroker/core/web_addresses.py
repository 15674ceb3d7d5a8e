"""Web addresses and domains, by RFC 3986: what differs without leading elsewhere is made equal, the rest is kept."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote

import idna

from syncbroker.core.text import Reader, tidy_line
from syncbroker.core.types import Invalid, Value

NO_URL = Invalid("not a web address")
NOT_WEB = Invalid("not a web address: only http and https are")
HAS_LOGIN = Invalid("the web address contains a login")
NO_DOMAIN = Invalid("not a domain name")

_LONGEST_HOST = 253
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)+(?=[a-z0-9-]*[a-z])({_LABEL})").fullmatch
_NAMES = r"(?:[a-z0-9]+(?:-[a-z0-9]+)*\.)+[a-z]{2,63}"
_PLAIN_DOMAIN = re.compile(_NAMES).fullmatch
_PLAIN_URL = re.compile(rf"https?://({_NAMES})(?:/[A-Za-z0-9_~.,;:@!$&'()*+=-]+)*").fullmatch
_PARTS = re.compile(r"(https?)://([^/?#\s]*)([^?#\s]*)(\?[^#\s]*)?(#\S*)?", re.IGNORECASE).fullmatch
_OTHER_SCHEME = re.compile(r"[a-z][a-z0-9+-]*:(?![0-9]+(?:[/?#]|$))", re.IGNORECASE).match
_ESCAPE = re.compile(r"%[0-9a-fA-F]{2}")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def ascii_host(text: str) -> str | None:
    """A host name in lower case and ASCII (IDNA), with at least one dot; None when it is none."""
    text = text.lower().removesuffix(".")
    if len(text) > _LONGEST_HOST:
        return None
    if not text.isascii() or "--" in text:
        try:
            text = idna.encode(text, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            return None
    return text if len(text) <= _LONGEST_HOST and _HOST(text) else None


def _address(text: str) -> str | None:
    """An IP address as a URL writes it."""
    try:
        if text.startswith("[") and text.endswith("]"):
            return f"[{IPv6Address(text[1:-1]).compressed}]" if "%" not in text else None
        return str(IPv4Address(text))
    except AddressValueError:
        return None


def fast_url(text: str) -> str | None:
    """A URL of the usual shape that is canonical as it is; None: take it apart."""
    match = _PLAIN_URL(text)
    return text if match is not None and len(match[1]) <= 64 else None


def slow_url(text: str) -> str | Invalid:
    """The canonical form of any tidy text."""
    if text.startswith("//"):
        text = "https:" + text
    elif "://" not in text.partition("?")[0]:
        if _OTHER_SCHEME(text):
            return NOT_WEB
        text = "https://" + text
    parts = _PARTS(text)
    if parts is None:
        return NO_URL if text.lower().startswith(("http://", "https://")) else NOT_WEB
    scheme, authority, path, query, fragment = parts.groups(default="")
    if "@" in authority:
        return HAS_LOGIN
    scheme = scheme.lower()
    name, port = _split_port(authority)
    host = ascii_host(name) or _address(name)
    if host is None or (port and (len(port) > 5 or int(port) > 65535)):
        return NO_URL
    port = port.lstrip("0")
    tail = "".join(
        _escaped(part) for part in ("" if path == "/" else path, query, fragment) if part not in ("?", "#")
    )
    return f"{scheme}://{host}{f':{port}' if port and port != _DEFAULT_PORTS[scheme] else ''}{tail}"


def _split_port(authority: str) -> tuple[str, str]:
    if authority.endswith("]"):
        return authority, ""
    name, colon, port = authority.rpartition(":")
    return (name, port) if colon and (not port or (port.isascii() and port.isdigit())) else (authority, "")


def _escaped(part: str) -> str:
    """Percent-encoded where RFC 3986 wants it, with hexadecimal digits in capitals."""
    return _ESCAPE.sub(lambda found: found[0].upper(), quote(part, safe=_PRINTABLE))


def url_reader(fillers: frozenset[str]) -> Reader:
    """url: http or https (the default), host in lower case, no default port, no lone slash; query and fragment stay."""
    addresses = frozenset(word for word in fillers if "." in word)

    def read(raw: object) -> Value | Invalid:
        if type(raw) is str:
            found = fast_url(raw)
            if found is not None:
                return None if found.casefold() in addresses else found
        text = tidy_line(raw)
        if type(text) is not str:
            return text
        if not text or text.casefold() in fillers:
            return None
        url = slow_url(text)
        return None if type(url) is str and url.casefold() in addresses else url

    return read


def fast_domain(text: str) -> str | None:
    """A domain that is canonical as it is; None: take it apart."""
    return text if _PLAIN_DOMAIN(text) and len(text) <= 64 and text[:4] != "www." else None


def slow_domain(text: str) -> str | Invalid:
    """The domain in a tidy text: a bare domain, a URL or an e-mail address."""
    _, found, rest = text.partition("://")
    rest = rest if found else text.removeprefix("//")
    name, _ = _split_port(re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2])
    host = ascii_host(name)
    if host is None:
        return NO_DOMAIN
    while host.startswith("www.") and "." in host[4:]:
        host = host[4:]
    return host


def domain_reader(fillers: frozenset[str]) -> Reader:
    """domain: lower case, ASCII (IDNA), without `www.`; from a domain, a URL or an e-mail address."""
    names = frozenset(word for word in fillers if "." in word)

    def read(raw: object) -> Value | Invalid:
        if type(raw) is str:
            found = fast_domain(raw)
            if found is not None:
                return None if found in names else found
        text = tidy_line(raw)
        if type(text) is not str:
            return text
        if not text or text.casefold() in fillers:
            return None
        domain = slow_domain(text)
        return None if domain in names else domain

    return read


def url_key(value: str) -> str:
    """What two spellings of one page share: no scheme, no `www.`, no slash at the end."""
    return value.partition("://")[2].removeprefix("www.").rstrip("/").casefold()
