from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from connectors.sendgrid import exports
from connectors.sendgrid.exports import Exports
from syncbroker.core.types import Item
from syncbroker.errors import BadSetting, Missing, Unavailable
from syncbroker.sdk.conformance import Bench
from syncbroker.sdk.connector import Account, Page
from syncbroker.sdk.http import Answer
from tests.connectors.sendgrid.conftest import made

API = "https://api.sendgrid.com"
FILE = "https://sg-exports.s3.us-east-1.amazonaws.com/one.json.gz?X-Amz-Signature=1"


def line(n: int) -> bytes:
    return msgspec.json.encode(
        {
            "contact_id": f"c{n}",
            "email": f"p{n}@example.org",
            "custom_fields": {},
            "updated_at": "2026-01-05T10:00:00Z",
        }
    )


def lines(*numbers: int) -> bytes:
    return b"\n".join(map(line, numbers))


class Vendor:
    """SendGrid's API and the hosts of its files, as far as an export goes: answers in the order given."""

    def __init__(
        self,
        *statuses: dict[str, Any],
        files: dict[str, bytes] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.statuses = list(statuses)
        self.files = files or {}
        self.started = 0
        self.slept: list[float] = []
        self.origins: list[tuple[str, dict[str, Any]]] = []
        account = Account(
            url=API,
            system="mail",
            credentials={"api_key": "k"},
            options=options or {},
            http=self.http,
            now=lambda: 0,
        )
        self.exports = Exports(account, self, API, self.slept.append)  # type: ignore[arg-type]

    def http(self, origin: str, **given: Any) -> Any:
        self.origins.append((origin, given))
        return self

    def request(self, method: str, path: str, *, shape: Any, **_: Any) -> Answer:
        if shape is bytes:
            return answer(self.files[path])
        if method == "POST":
            self.started += 1
            return answer(msgspec.convert({"id": f"e{self.started}"}, shape))
        told = self.statuses.pop(0)
        if not told:
            raise Missing("forgotten", status=404)
        return answer(msgspec.convert({"id": "e1", **told}, shape))

    def pages(self, resume: str | None = None) -> list[Page]:
        return list(self.exports.pages(resume))


def answer(json: Any) -> Answer:
    return Answer(status=200, headers={}, json=json, begun=0, ended=0)


def ready(count: int | None, *urls: str) -> dict[str, Any]:
    return {"status": "ready", "urls": list(urls), "contact_count": count}


def ids(pages: list[Page]) -> list[str]:
    return [item.id for page in pages for item in page.items]


@pytest.mark.parametrize("pack", [gzip.compress, lambda content: content], ids=["packed", "plain"])
def test_one_contact_a_line_packed_or_not(pack: Callable[[bytes], bytes]) -> None:
    vendor = Vendor(ready(3, FILE), files={FILE: pack(lines(1, 2, 3) + b"\n\n")})
    (page,) = vendor.pages()
    assert ids([page]) == ["c1", "c2", "c3"]
    assert page.proven


def test_an_exported_contact_is_the_item_that_a_read_gives() -> None:
    (page,) = Vendor(ready(1, FILE), files={FILE: line(7)}).pages()
    (item,) = page.items
    assert isinstance(item, Item)
    assert isinstance(item.fields, dict)
    assert item.stamp == 1_767_607_200_000_000
    assert item.fields["email"] == "p7@example.org"
    assert "contact_id" not in item.fields


@pytest.mark.parametrize("count", [2, 4, None])
def test_another_number_than_sendgrid_exported_proves_nothing(count: int | None) -> None:
    (page,) = Vendor(ready(count, FILE), files={FILE: lines(1, 2, 3)}).pages()
    assert not page.proven


@pytest.mark.parametrize("urls", [[], [FILE]])
def test_no_contacts_are_one_empty_page_and_proven(urls: list[str]) -> None:
    (page,) = Vendor(ready(0, *urls), files={FILE: b""}).pages()
    assert (list(page.items), page.resume, page.proven) == ([], None, True)


def test_pages_go_on_over_files_and_only_the_last_one_proves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PAGE", 2)
    vendor = Vendor(ready(5, FILE, FILE + "2"), files={FILE: lines(1, 2, 3), FILE + "2": lines(4, 5)})
    pages = vendor.pages()
    assert [ids([page]) for page in pages] == [["c1", "c2"], ["c3"], ["c4", "c5"]]
    assert [page.proven for page in pages] == [False, False, True]


@pytest.mark.parametrize("after", [0, 1])
def test_a_scan_goes_on_after_any_page_of_any_file(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    monkeypatch.setattr(exports, "PAGE", 2)
    export = ready(5, FILE, FILE + "2")
    vendor = Vendor(export, export, files={FILE: lines(1, 2, 3), FILE + "2": lines(4, 5)})
    first = vendor.pages()
    rest = vendor.pages(first[after].resume)
    assert ids(first[: after + 1]) + ids(rest) == ["c1", "c2", "c3", "c4", "c5"]
    assert rest[-1].proven
    assert vendor.started == 1


def test_an_export_that_sendgrid_has_forgotten_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PAGE", 1)
    vendor = Vendor(ready(2, FILE), {}, ready(2, FILE), files={FILE: lines(1, 2)})
    resume = vendor.pages()[0].resume
    pages = vendor.pages(resume)
    assert ids(pages) == ["c1", "c2"]
    assert pages[-1].proven
    assert vendor.started == 2


def test_a_running_export_is_asked_for_less_and_less_often() -> None:
    vendor = Vendor(*[{"status": "pending"}] * 20, ready(0))
    vendor.pages()
    assert vendor.slept == sorted(vendor.slept)
    assert vendor.slept[-1] == 10.0


def test_an_export_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PATIENCE", -1.0)
    with pytest.raises(Unavailable, match="longer than"):
        Vendor({"status": "pending"}).pages()


def test_a_failed_export_says_why() -> None:
    with pytest.raises(Unavailable, match="too many lists"):
        Vendor({"status": "failure", "message": "too many lists"}).pages()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (gzip.compress(lines(1, 2))[:-9], "cut off"),
        (b"\x1f\x8b nonsense", "no valid gzip"),
        (b"<html>", "no contact"),
        (b'{"email": "a@example.org"}', "no contact"),
        (b"\xff\xfe", "no contact"),
    ],
)
def test_a_broken_file_is_never_taken_for_fewer_contacts(content: bytes, what: str) -> None:
    with pytest.raises(Unavailable, match=what):
        Vendor(ready(2, FILE), files={FILE: content}).pages()


def test_a_file_that_unpacks_to_no_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "LARGEST", 1000)
    with pytest.raises(Unavailable, match="too large"):
        Vendor(ready(1, FILE), files={FILE: gzip.compress(b" " * 1001)}).pages()


def test_the_hosts_of_files_get_no_credentials() -> None:
    vendor = Vendor(ready(1, FILE), files={FILE: line(1)})
    vendor.pages()
    ((origin, given),) = vendor.origins
    assert origin == "https://sg-exports.s3.us-east-1.amazonaws.com"
    assert set(given) == {"statuses"}


@pytest.mark.parametrize(
    "url",
    [
        "http://sg-exports.s3.amazonaws.com/one.json",
        "https://amazonaws.com.evil.example/one.json",
        "https://evilamazonaws.com/one.json",
        "http://169.254.169.254/latest/meta-data",
        "https://127.0.0.1/one.json",
        "http://[::1/",
        "file:///etc/passwd",
        "/files/one.json",
        "",
    ],
)
def test_no_file_is_fetched_from_anywhere_else(url: str) -> None:
    vendor = Vendor(ready(1, url))
    with pytest.raises((BadSetting, Unavailable)):
        vendor.pages()
    assert vendor.origins == []


def test_a_host_may_be_allowed_by_name_and_only_over_tls() -> None:
    options = {"export_hosts": ["files.example.net"]}
    secure, open_ = "https://files.example.net/a", "http://files.example.net/a"
    assert ids(Vendor(ready(1, secure), files={secure: line(1)}, options=options).pages()) == ["c1"]
    with pytest.raises(BadSetting, match=r"'files.example.net'"):
        Vendor(ready(1, open_), files={open_: line(1)}, options=options).pages()


@pytest.mark.parametrize(
    "url", [FILE, "http://127.0.0.1:1/files/one.json", "http://localhost/files/one.json"]
)
def test_behind_another_address_only_that_address_serves_files(bench: Bench, url: str) -> None:
    told = {"id": "e", "status": "ready", "created_at": "", "updated_at": "", "expires_at": "", "urls": [url]}
    bench.control.fault("status", "exports.get", status=200, json=told)
    with pytest.raises(BadSetting, match="nothing is downloaded"):
        bench.pages()
    assert not [call for call in bench.control.log() if call.operation == "files.get"]


def test_the_simulators_files_refuse_credentials_as_amazons_do(bench: Bench) -> None:
    bench.load(2)
    fetched = [call for call in bench.control.log() if call.operation == "files.get"]
    assert [call.status for call in fetched] == [200]


def test_a_scan_writes_nothing(bench: Bench) -> None:
    bench.load(2)
    assert bench.control.writes() == []


def test_a_scan_reads_every_file_of_a_large_export() -> None:
    with made(export_rows=3) as bench:
        assert len(bench.load(10)) == 10
        fetched = [call for call in bench.control.log() if call.operation == "files.get"]
        assert len(fetched) == 4
