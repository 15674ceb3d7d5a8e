"""The one place where the broker calls out. httpx is imported here and nowhere else.

Every call has a timeout, a bound on the answer's size, a place in the system's rate budget and an outcome from one
table of statuses. Secrets are never part of an error or a log line.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import msgspec
import tenacity

from syncbroker.core.types import Micros
from syncbroker.decoding import decode
from syncbroker.errors import (
    BadSetting,
    FixSetup,
    Missing,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Reject,
    Retry,
    Stale,
    SyncbrokerError,
    Unauthorised,
    Unavailable,
)
from syncbroker.sdk.addresses import Allowed, Backend, check_base, is_loopback
from syncbroker.sdk.bounds import MAX_DEPTH, too_deep
from syncbroker.sdk.redact import Redactor

STATUSES: Mapping[int, type[SyncbrokerError]] = {
    401: Unauthorised,
    403: Unauthorised,
    404: Missing,
    408: Unavailable,
    409: Stale,
    410: Missing,
    412: Stale,
    429: RateLimited,
}
"""What a status means where the vendor's own table does not say otherwise. Any other 4xx is Refused, everything else
that is no 2xx Unavailable. Unavailable becomes OutcomeUnknown for a call that may have changed something."""

_LONGEST_DELAY = 86_400.0
_SECRET_HEADERS = ("authorization", "key", "token", "secret", "cookie")
_HOPS = 3


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A 2xx answer. `json` is the decoded body (None when empty). `begun` and `ended` are the broker's clock, µs.

    Header names are lower-case.
    """

    status: int
    headers: Mapping[str, str]
    json: Any
    begun: Micros
    ended: Micros


class Http:
    """The way to one system. Used from several threads; it keeps connections alive until `close`."""

    def __init__(
        self,
        base_url: str,
        *,
        system: str,
        now: Callable[[], Micros],
        headers: Mapping[str, str] | None = None,
        basic: tuple[str, str] | None = None,
        message: Callable[[int, Any], tuple[str, str]] | None = None,
        statuses: Mapping[int, type[Exception]] | None = None,
        acquire: Callable[[], None] | None = None,
        timeout: float = 30.0,
        max_body: int = 32 * 1024 * 1024,
        attempts: int = 4,
        patience: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
        on_call: Callable[[str, str, int], None] | None = None,
        secrets: Iterable[str] = (),
        allowed: Allowed | None = None,
    ) -> None:
        """`message(status, json)` -> (vendor's own error text, vendor's error code); `statuses` overrides the table,
        literally; `acquire` takes a place in the rate budget and blocks until there is one.

        `timeout`: seconds for each of connecting, each wait for data, and the whole body. `patience`: seconds after
        which a repeatable call is not repeated again, waits included; a longer Retry-After is the caller's to keep.
        `on_call(method, path, status)` is told each attempt, with status 0 for one without an answer.
        `secrets`: texts that errors must not show, besides those of `headers` and `basic`. `allowed`: private hosts and
        networks that may be called; see `addresses`.
        """
        self.system = system
        self._now = now
        self._message = message or usual_message
        self._statuses = {**STATUSES, **(statuses or {})}
        self._literal = frozenset(statuses or ())
        self._acquire = acquire
        self._timeout = timeout
        self._max_body = max_body
        self._on_call = on_call
        self._base = base_url.rstrip("/")
        self._origin = _origin(self._base)
        sent = dict(headers or {})
        self._check(sent)
        permitted = allowed or Allowed()
        check_base(self._base, permitted, system)
        self._redact = Redactor([*_secrets(sent, basic), *secrets])
        self._client = httpx.Client(
            headers={"accept": "application/json", "user-agent": "syncbroker", **sent},
            auth=httpx.BasicAuth(*basic) if basic else None,
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=16),
            # loading certificates takes longer than a call, and a plain address never leads to a secure one
            verify=self._origin.startswith("https:"),
            # a proxy from the environment cannot reach this machine's own loopback
            trust_env=not is_loopback(urlsplit(self._base).hostname or ""),
        )
        # httpx has no way to say how connections are made but this one
        self._client._transport._pool._network_backend = Backend(permitted, system)  # type: ignore[attr-defined]  # noqa: SLF001
        self._retrying = tenacity.Retrying(
            sleep=sleep,
            retry=tenacity.retry_if_exception_type((Unavailable, RateLimited, OutcomeUnknown)),
            wait=_wait,
            stop=_stop(attempts, patience),
            reraise=True,
        )

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        form: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        changes: bool | None = None,
        shape: Any = Any,
    ) -> Answer:
        """One call. GET and HEAD are repeatable; a POST search is when `repeatable=True` says so, a write is only with
        an idempotency key.

        Repeatable calls are repeated here (tenacity: full jitter, Retry-After respected) at most `attempts` times.
        2xx -> Answer. 400, 422 and other 4xx -> Refused; 401, 403 -> Unauthorised; 404, 410 -> Missing;
        409, 412 -> Stale; 408, 5xx, timeouts, broken answers -> Unavailable when repeatable, else OutcomeUnknown
        (a connection that was never made -> Unavailable); 429 -> RateLimited (nothing was done) with `delay`.
        A body over `max_body` or a 2xx that is not JSON -> Unavailable/OutcomeUnknown with a clear message.

        `path` begins with "/" (percent-encoded, may hold a query), or is a whole URL of the same scheme, host and
        port, such as the vendor's link to the next page. `params` that are None are left out; a list gives a name
        several times; they replace a query in `path`. `shape`: a type that msgspec decodes the answer to; another
        shape is a broken answer; `bytes` gives the body as it came (a file). `changes`: the call may change something
        (usual: it is not repeatable). A write with an idempotency key is both: it is repeated, and when no attempt was
        answered it ends in OutcomeUnknown.
        """
        again = method in ("GET", "HEAD") if repeatable is None else repeatable
        call = _Call(
            method=method,
            path=self._redact.path(path),
            changes=not again if changes is None else changes,
            shape=shape,
        )
        typed = {} if json is None else {"content-type": "application/json"}
        try:
            built = self._client.build_request(
                method,
                self._url(call, path),
                params={name: value for name, value in (params or {}).items() if value is not None} or None,
                content=None if json is None else msgspec.json.encode(json),
                data=form,
                headers={**typed, **(headers or {})},
            )
        except httpx.InvalidURL:
            raise Refused(f"{call}: no valid address", system=self.system) from None
        return self._repeated(call, built) if again else self._once(call, built)

    def close(self) -> None:
        """Close the kept connections. Harmless when repeated."""
        self._client.close()

    def _repeated(self, call: _Call, built: httpx.Request) -> Answer:
        doubts = []

        def attempt() -> Answer:
            try:
                return self._once(call, built)
            except OutcomeUnknown as error:
                doubts.append(error)
                raise

        try:
            return self._retrying.copy()(attempt)
        except (Unavailable, RateLimited) as error:
            if doubts:  # the last attempt did nothing, but an earlier one may have
                raise OutcomeUnknown(error.message, delay=error.delay, system=self.system) from None
            raise

    # ---- one attempt ----

    def _once(self, call: _Call, built: httpx.Request) -> Answer:
        for _ in range(_HOPS):
            if self._acquire:
                self._acquire()
            begun = self._now()
            status, headers, body = self._exchange(call, built)
            ended = self._now()
            if 200 <= status < 300:
                return Answer(
                    status=status, headers=headers, json=self._decoded(call, body), begun=begun, ended=ended
                )
            following = self._following(call, built, status, headers)
            if following is None:
                raise self._failure(call, status, headers, body)
            built = following
        raise self._broken(call, f"redirected more than {_HOPS - 1} times")

    def _exchange(self, call: _Call, built: httpx.Request) -> tuple[int, Mapping[str, str], bytes | None]:
        """Status, headers and body (None: over the limit, which matters only for a 2xx)."""
        status = 0
        try:
            answer = self._client.send(built, stream=True)
            try:
                status = answer.status_code
                return status, dict(answer.headers), self._body(call, answer)
            finally:
                answer.close()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            reason = self._redact(str(error)) or type(error).__name__
            raise Unavailable(f"{call}: no connection ({reason})", system=self.system) from None
        except httpx.LocalProtocolError:
            # its text quotes the header, so it is neither shown nor chained
            raise BadSetting(f"{call}: the request cannot be sent as HTTP", system=self.system) from None
        except httpx.TimeoutException:
            raise self._broken(call, f"no answer within {self._timeout:g} s") from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise self._broken(call, f"the answer broke off ({type(error).__name__})") from None
        finally:
            if self._on_call:
                self._on_call(call.method, call.path, status)

    def _body(self, call: _Call, answer: httpx.Response) -> bytes | None:
        end = time.monotonic() + self._timeout
        pieces, size = [], 0
        for piece in answer.iter_bytes():
            size += len(piece)
            if size > self._max_body:
                if answer.is_success:
                    raise self._broken(call, f"the answer is larger than {self._max_body:,} bytes")
                return None
            if time.monotonic() > end:
                raise self._broken(call, f"the answer was not complete within {self._timeout:g} s")
            pieces.append(piece)
        return b"".join(pieces)

    def _decoded(self, call: _Call, body: bytes | None) -> Any:
        if call.shape is bytes:
            return body or b""
        if not body and call.shape is Any:
            return None
        if too_deep(body or b""):
            raise self._broken(call, f"the answer is nested deeper than {MAX_DEPTH} levels")
        try:
            return decode(body or b"", call.shape)
        except msgspec.ValidationError as error:
            raise self._broken(
                call, f"the answer has another shape than documented ({self._redact(str(error))})"
            ) from None
        except (msgspec.DecodeError, RecursionError):
            raise self._broken(call, "the answer is not JSON") from None

    def _following(
        self, call: _Call, built: httpx.Request, status: int, headers: Mapping[str, str]
    ) -> httpx.Request | None:
        """The next request of a redirected GET or HEAD, or None where there is none to follow."""
        if status not in (301, 302, 303, 307, 308) or built.method not in ("GET", "HEAD"):
            return None
        target = urljoin(str(built.url), headers.get("location", ""))
        if _origin(target) != self._origin:
            raise self._broken(call, "the answer leads to another host, where the credentials must not go")
        return self._client.build_request(built.method, target, headers=built.headers)

    def _failure(self, call: _Call, status: int, headers: Mapping[str, str], body: bytes | None) -> Exception:
        text, code = self._said(status, body)
        message = f"{call}: answered {status}{': ' + text if text else ''}"
        usual = Refused if 400 <= status < 500 else Unavailable
        kind = self._statuses.get(status, usual)
        if kind is Unavailable and call.changes and status not in self._literal:
            kind = OutcomeUnknown
        if issubclass(kind, Retry):
            delay = retry_after(headers.get("retry-after", ""), self._now())
            return kind(message, delay=delay, system=self.system)
        if issubclass(kind, Reject):
            return kind(message, status=status, code=code, system=self.system)
        if issubclass(kind, FixSetup):
            hint = f"check the credentials of system {self.system!r} and what they are allowed to do"
            return kind(message, hint=hint, system=self.system)
        return kind(message)

    def _said(self, status: int, body: bytes | None) -> tuple[str, str]:
        """The vendor's own words and code, cleaned; empty where the error body is no JSON or of an unknown shape."""
        try:
            text, code = self._message(status, decode(body or b""))
        except (msgspec.DecodeError, RecursionError, LookupError, TypeError, ValueError, AttributeError):
            return "", ""
        return self._redact(str(text)), self._redact(str(code), 80, numbers=True)

    def _broken(self, call: _Call, what: str) -> SyncbrokerError:
        kind = OutcomeUnknown if call.changes else Unavailable
        return kind(f"{call}: {what}", system=self.system)

    # ---- the address ----

    def _url(self, call: _Call, path: str) -> str:
        if path.startswith("/") and not path.startswith("//"):
            return self._base + path
        if _origin(path) == self._origin:
            return path
        raise Unavailable(
            f"{call}: this address is not on {self._origin}, where the credentials belong", system=self.system
        )

    def _check(self, headers: Mapping[str, str]) -> None:
        if not self._origin:
            raise BadSetting(
                "the address of the system is no http or https URL with a host",
                hint="write it as https://host[:port][/path]",
                system=self.system,
            )
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable() and value == value.strip()):
                raise BadSetting(
                    f"the value for the header {name} holds characters that HTTP cannot carry",
                    hint="look for a line break or a space at the end of the credential",
                    system=self.system,
                )


class _Call(msgspec.Struct, frozen=True, kw_only=True):
    """What error texts may say about a call, and how its answer is to be taken."""

    method: str
    path: str
    changes: bool
    shape: Any

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def retry_after(text: str, now: Micros) -> float:
    """Seconds from a Retry-After header (RFC 9110, 10.2.3: seconds or an HTTP date); 0.0 when it says nothing usable.

    At most one day: a vendor that says more is not believed.
    """
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now / 1_000_000
        except (ValueError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), _LONGEST_DELAY) if math.isfinite(seconds) else 0.0


def usual_message(status: int, json: Any) -> tuple[str, str]:
    """The error text and code in the shapes that most vendors use: `message`, `detail`, `error`, `errors[0]`."""
    if isinstance(json, list):
        return usual_message(status, json[0])
    inner = json.get("error", {})
    if not isinstance(inner, dict):
        inner = {"message": inner}
    first = json["errors"][0] if json.get("errors") else {}
    if not isinstance(first, dict):
        first = {"message": first}
    places = (json, inner, first)
    texts = (place.get(name) for name in ("message", "detail", "description", "title") for place in places)
    codes = (place.get(name) for name in ("code", "category", "type") for place in places)
    return next((str(text) for text in texts if text), ""), next((str(code) for code in codes if code), "")


def _wait(state: tenacity.RetryCallState) -> float:
    """What the vendor asked for and up to a tenth more, or full jitter: all callers at once would fail again."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.delay if isinstance(error, Retry) else 0.0
    if asked:
        return asked + tenacity.wait_random(0, asked / 10)(state)
    return tenacity.wait_random_exponential(multiplier=0.5, max=20)(state)


def _stop(attempts: int, patience: float) -> Callable[[tenacity.RetryCallState], bool]:
    def stop(state: tenacity.RetryCallState) -> bool:
        spent = max(state.idle_for, state.seconds_since_start or 0.0)
        return state.attempt_number >= attempts or spent + state.upcoming_sleep > patience

    return stop


def _origin(url: str) -> str:
    """`scheme://host:port` in lower case with the port always written, or "" for what is no http(s) URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme.lower())
    except ValueError:
        return ""
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return ""
    return f"{parts.scheme.lower()}://{parts.hostname}:{port}"


def _secrets(headers: Mapping[str, str], basic: tuple[str, str] | None) -> list[str]:
    found = []
    for name, value in headers.items():
        if any(word in name.lower() for word in _SECRET_HEADERS):
            found += [value, value.partition(" ")[2]]
    if basic:
        found += [basic[1], ":".join(basic)]
    return found
