"""Connectors that are never called: only what their objects can do matters to a simulation. Three kinds of honesty.

`careful`: versions, conditional writes, history. `checked`: versions, answers that show the record.
`plain`: no versions, reads that lag, answers that show nothing, no webhooks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from syncbroker.sdk.connector import Account, FieldSpec, ObjectSpec


class _Kind:
    credentials_schema: ClassVar[Mapping[str, Any]] = {}
    options_schema: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, account: Account) -> None:
        raise AssertionError("a simulation calls nobody")

    def scan(self) -> None: ...
    def read(self) -> None: ...
    def write(self) -> None: ...
    def authenticate(self) -> None: ...
    def events(self) -> None: ...


_BATCH = {"create": 10, "update": 10, "delete": 10}


class Careful(_Kind):
    kind: ClassVar[str] = "careful"
    objects: ClassVar[Mapping[str, ObjectSpec]] = {
        "people": ObjectSpec(
            name="people",
            fields={"email": FieldSpec(required=True, clearable=False), "firm": FieldSpec(refers_to="firms")},
            open_fields=True,
            stamp=1_000,
            sorted_scan=True,
            batch=_BATCH,
            conditional=True,
            history=True,
            events=True,
            keys=("email",),
        ),
        "firms": ObjectSpec(
            name="firms",
            fields={"name": FieldSpec()},
            open_fields=True,
            stamp=1_000,
            batch=_BATCH,
            conditional=True,
            events=True,
            keys=("domain",),
        ),
    }


class Checked(_Kind):
    kind: ClassVar[str] = "checked"
    objects: ClassVar[Mapping[str, ObjectSpec]] = {
        "people": ObjectSpec(
            name="people",
            fields={
                "email": FieldSpec(required=True, clearable=False),
                "firm": FieldSpec(refers_to="firms"),
                "consent": FieldSpec(),
            },
            open_fields=True,
            stamp=1_000,
            batch=_BATCH,
            history=True,
            events=True,
            keys=("email", "stamp"),
            stamp_path="stamp",
            consent_path="consent",
        ),
        "firms": ObjectSpec(
            name="firms",
            fields={"name": FieldSpec()},
            open_fields=True,
            stamp=1_000_000,
            batch=_BATCH,
            events=True,
            keys=("domain",),
        ),
    }


class Plain(_Kind):
    kind: ClassVar[str] = "plain"
    objects: ClassVar[Mapping[str, ObjectSpec]] = {
        "people": ObjectSpec(
            name="people",
            fields={"email": FieldSpec(required=True, clearable=False)},
            open_fields=True,
            lag=10.0,
            batch=_BATCH,
            read_batch=1,
            shows=False,
            keys=("email",),
        ),
    }
