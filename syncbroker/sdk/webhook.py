"""Proof that a vendor sent a delivery: signatures, time windows, secret URLs; and the body, once it is proven.

Everything is checked on the raw bytes, compares in constant time and raises BadDelivery: 401 for what is not proven,
400 for a proven delivery that cannot be read. No message quotes what was sent.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from urllib.parse import parse_qs

import msgspec

from syncbroker.core.types import Micros
from syncbroker.decoding import decode
from syncbroker.errors import BadDelivery, BadSetting
from syncbroker.sdk.bounds import too_deep
from syncbroker.sdk.connector import Delivery

TOLERANCE = 300.0
"""Seconds that a signed time may differ from the broker's clock, in either direction."""


MOST_SIGNATURES = 8
"""How many of the signatures in one header are looked at."""

MOST_BYTES = 1_048_576
"""How long a JSON body may be that is decoded."""

MOST_DEPTH = 32
"""How deep its lists and objects may lie in each other; the deepest that a vendor sends is 6."""


def header(delivery: Delivery, name: str) -> str:
    """The header's value; BadDelivery(401) when it is missing or empty, BadDelivery(400) when it came twice: two
    programs on the way could read different ones."""
    if name.lower() in delivery.repeated:
        raise BadDelivery(f"the delivery has more than one {name} header", status=400)
    value = delivery.headers.get(name.lower(), "")
    if not value:
        raise BadDelivery(f"the delivery has no {name} header", status=401)
    return value


def secrets(credentials: Mapping[str, str], name: str = "webhook_secret") -> tuple[str, ...]:
    """Those that are valid now: `name`, and `name_previous` while one is being exchanged for another. Never empty;
    without any, the one there is is "", and whoever uses it hears that it is missing."""
    found = tuple(filter(None, (credentials.get(name, ""), credentials.get(f"{name}_previous", ""))))
    return found or ("",)


def sign(
    secret: str | bytes,
    *parts: str | bytes,
    algorithm: Literal["sha256", "sha1"] = "sha256",
    encoding: Literal["hex", "base64"] = "hex",
) -> str:
    """HMAC over the parts joined as they are; text counts as UTF-8.

    BadSetting for an empty secret: with it anybody could sign.
    """
    key = _bytes(secret)
    if not key:
        raise BadSetting(
            "the webhook secret is empty", hint="copy the secret from the vendor's webhook settings"
        )
    digest = hmac.digest(key, b"".join(map(_bytes, parts)), algorithm)
    return digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()


def check_signature(
    given: str | Sequence[str],
    secret: str | bytes | Sequence[str],
    *parts: str | bytes,
    algorithm: Literal["sha256", "sha1"] = "sha256",
    encoding: Literal["hex", "base64"] = "hex",
) -> None:
    """BadDelivery(401) unless one of the `given` signatures is that of the parts, under one of the secrets. Prefixes
    ("v1=") are cut before.

    While a secret is being rotated, some vendors send several signatures, and each broker knows two secrets.
    """
    known = [secret] if isinstance(secret, str | bytes) else secret
    expected = [sign(one, *parts, algorithm=algorithm, encoding=encoding) for one in known]
    candidates = [given] if isinstance(given, str) else given[:MOST_SIGNATURES]
    # no early exit: the time tells nothing about which one was right
    matches = [same(candidate, one) for candidate in candidates for one in expected]
    if not any(matches):
        raise BadDelivery(
            "the delivery's signature is wrong",
            status=401,
            hint="compare the webhook secret and the public URL with the vendor's settings",
        )


def check_secret(given: str, expected: str | Sequence[str]) -> None:
    """For vendors that do not sign: BadDelivery(401) unless the URL's secret part is an expected one."""
    known = [expected] if isinstance(expected, str) else expected
    if not all(known):
        raise BadSetting(
            "the webhook secret is empty", hint="choose a long random text and put it in the URL"
        )
    matches = [same(given, one) for one in known]  # all of them: no early exit here either
    if not any(matches):
        raise BadDelivery("the delivery came to a wrong secret URL", status=401)


def check_time(sent: Micros, received: Micros, tolerance: float = TOLERANCE) -> None:
    """BadDelivery(401) when the signed time is more than `tolerance` seconds before or after the broker's clock.

    Two-sided, other than some vendors' own libraries: a delivery signed for the future could be replayed until then.
    """
    if abs(received - sent) > tolerance * 1_000_000:
        raise BadDelivery(
            f"the delivery was signed more than {tolerance:g} s away from this machine's time",
            status=401,
            hint="a replay, or one of the two clocks is wrong",
        )


def unix_time(text: str, unit: Literal["s", "ms"] = "s") -> Micros:
    """Seconds or milliseconds since 1970 as µs; BadDelivery(401) for anything but digits."""
    if not (text.isascii() and text.isdigit() and len(text) <= 14):
        raise BadDelivery("the delivery's time is not a number", status=401)
    return int(text) * (1_000_000 if unit == "s" else 1_000)


def iso_time(text: str) -> Micros:
    """ISO 8601 with an offset or Z as µs; BadDelivery(401) for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.min  # noqa: DTZ901 - stands for "none", told apart by having no offset
    if moment.tzinfo is None:
        raise BadDelivery("the delivery's time is no ISO 8601 time with an offset", status=401)
    return int(moment.timestamp() * 1_000_000)


def same(given: str, expected: str) -> bool:
    """Equality that takes as long for a wrong text as for a nearly right one."""
    return hmac.compare_digest(_bytes(given), _bytes(expected))


def json_body(delivery: Delivery, shape: Any = Any) -> Any:
    """The decoded body, of the given msgspec shape; BadDelivery(400) when it is not, or too long or too deep."""
    check_json(delivery.body)
    try:
        return decode(delivery.body, shape)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadDelivery("the delivery's body is not what this vendor sends", status=400) from error


def check_json(body: bytes) -> None:
    """BadDelivery(400) for JSON over `MOST_BYTES` or deeper than `MOST_DEPTH`, found without decoding it."""
    if len(body) > MOST_BYTES:
        raise BadDelivery(f"the delivery's body is longer than {MOST_BYTES} bytes", status=400)
    if too_deep(body, MOST_DEPTH):
        raise BadDelivery(f"the delivery's body is nested deeper than {MOST_DEPTH}", status=400)


def form_body(delivery: Delivery) -> dict[str, str]:
    """The body as `application/x-www-form-urlencoded`, the last value per name; BadDelivery(400) when it is none."""
    try:
        pairs = parse_qs(
            delivery.body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=1000
        )
    except ValueError:
        pairs = {}
    if not pairs:
        raise BadDelivery("the delivery's body is not form-encoded", status=400)
    return {name: values[-1] for name, values in pairs.items()}


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "replace") if isinstance(text, str) else text
