"""Reading all contacts: SendGrid has no list of them (GET /v3/marketing/contacts shows 50), only an export job.

POST /v3/marketing/contacts/exports starts one, GET .../exports/{id} is asked until it is "ready" and names files. Each
is downloaded from a host of its own, Amazon's ("the exported file on S3"), without our credentials, which are for
SendGrid only. So a file's address comes from the vendor's answer and is checked: SendGrid's own host, Amazon's or one
that the options allow, never another machine. Files are one JSON object per line, usually compressed.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator
from urllib.parse import quote, urlsplit

import msgspec

from connectors.sendgrid.contacts import Contact, item
from connectors.sendgrid.lookup import CONTACTS
from syncbroker import errors
from syncbroker.core.types import Item
from syncbroker.decoding import decode
from syncbroker.sdk.connector import Account, Page
from syncbroker.sdk.http import Http

PAGE = 1000
FILE_MB = 10
"""`max_file_size` of an export, so that a file fits into memory; whether it counts compressed bytes is unverified."""
LARGEST = 256 * 1024 * 1024  # bytes of one unpacked file
PATIENCE = 1800.0  # seconds that an export may take
AMAZON = ".amazonaws.com"
SENDGRID = ".sendgrid.com"

_EXPORTS = f"{CONTACTS}/exports"
_GZIP = b"\x1f\x8b"


class _Started(msgspec.Struct, frozen=True):
    id: str


class _Export(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    status: str
    urls: list[str] | None = None
    contact_count: int | None = None
    message: str = ""


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a scan goes on: in this export, at this line of this file, after `seen` contacts."""

    export: str
    file: int = 0
    line: int = 0
    seen: int = 0


class Exports:
    """`sleep(seconds)` waits while a job runs."""

    def __init__(
        self, account: Account, api: Http, base_url: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._account = account
        self._api = api
        self._base_url = base_url
        self._sleep = sleep
        self._files: dict[str, Http] = {}
        self._lock = threading.Lock()

    def pages(self, resume: str | None) -> Iterator[Page]:
        """All contacts. Proven when as many came as SendGrid says it exported."""
        place = decode(resume, _Place) if resume else self._start()
        try:
            export = self._ready(place.export)
        except errors.Missing:
            place = self._start()
            export = self._ready(place.export)
        held: tuple[list[Item], _Place] = ([], place)
        for items, following in self._chunks(export, place):
            if held[0]:
                yield Page(items=held[0], resume=msgspec.json.encode(held[1]).decode())
            held = (items, following)
        yield Page(items=held[0], proven=held[1].seen == export.contact_count)

    def _chunks(self, export: _Export, place: _Place) -> Iterator[tuple[list[Item], _Place]]:
        seen = place.seen
        urls = export.urls or []
        for file in range(place.file, len(urls)):
            lines = self._lines(urls[file])
            first = place.line if file == place.file else 0
            for start in range(first, len(lines), PAGE):
                items = [self._item(line) for line in lines[start : start + PAGE]]
                seen += len(items)
                yield items, _Place(export=export.id, file=file, line=start + len(items), seen=seen)

    def _start(self) -> _Place:
        asked = {"file_type": "json", "max_file_size": FILE_MB}
        # an export that is started twice harms nobody
        started = self._api.request("POST", _EXPORTS, json=asked, repeatable=True, shape=_Started)
        return _Place(export=started.json.id)

    def _ready(self, id: str) -> _Export:
        """The finished export. Missing when SendGrid has forgotten it; Unavailable when it failed or takes too long."""
        pause, end = 0.1, time.monotonic() + PATIENCE
        while True:
            export: _Export = self._api.request("GET", f"{_EXPORTS}/{quote(id, safe='')}", shape=_Export).json
            if export.status == "ready":
                return export
            if export.status != "pending":
                raise self._unavailable(f"SendGrid could not export the contacts: {export.message}")
            if time.monotonic() > end:
                raise self._unavailable(f"the export of the contacts took longer than {PATIENCE:g} s")
            self._sleep(pause)
            pause = min(pause * 1.5, 10.0)

    def _lines(self, url: str) -> list[bytes]:
        content: bytes = self._host(url).request("GET", url, shape=bytes).json
        if content.startswith(_GZIP):
            content = self._unpacked(content)
        return [line for line in content.splitlines() if line.strip()]

    def _unpacked(self, content: bytes) -> bytes:
        unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            whole = unpacking.decompress(content, LARGEST)
        except zlib.error:
            raise self._unavailable("a file of the export is no valid gzip file") from None
        if unpacking.unconsumed_tail or not unpacking.eof:
            raise self._unavailable("a file of the export is cut off or too large")
        return whole

    def _item(self, line: bytes) -> Item:
        try:
            return item(decode(line, Contact))
        except msgspec.DecodeError:
            raise self._unavailable("a line of the export is no contact") from None

    def _host(self, url: str) -> Http:
        """The way to the file's host, without credentials; BadSetting when files may not come from there."""
        try:
            parts = urlsplit(url)
            scheme, host = parts.scheme, parts.hostname or ""
        except ValueError:
            raise self._unavailable("SendGrid offers the export at an address that is none") from None
        origin = f"{scheme}://{parts.netloc}"
        if not self._allowed(scheme, host, origin):
            raise errors.BadSetting(
                f"SendGrid offers the export at {host!r}, from where nothing is downloaded",
                hint="if this host is SendGrid's, add it to the option export_hosts",
                system=self._account.system,
            )
        # what such a host refuses is the address it was given, which has an end; our credentials are not asked for
        statuses = dict.fromkeys((400, 401, 403, 404, 410), errors.Unavailable)
        with self._lock:
            if origin not in self._files:
                self._files[origin] = self._account.http(origin, statuses=statuses)
            return self._files[origin]

    def _allowed(self, scheme: str, host: str, origin: str) -> bool:
        if origin == self._base_url:
            return True
        named = host in self._account.options.get("export_hosts", ())
        # behind another address than SendGrid's own, Amazon has no part in it
        own = (urlsplit(self._base_url).hostname or "").endswith(SENDGRID)
        return scheme == "https" and (named or (own and host.endswith(AMAZON)))

    def _unavailable(self, message: str) -> errors.Unavailable:
        return errors.Unavailable(message, system=self._account.system)
