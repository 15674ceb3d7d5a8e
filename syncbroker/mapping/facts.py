"""What the checks ask of a connector: these members of its class, and nothing that could call a vendor.

Written as protocols, so that mapping files are understood without the connector SDK; a connector class fits as it is
(`syncbroker.sdk.connector` says what each member means).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class FieldFacts(Protocol):
    """What the vendor lets one do with a field."""

    @property
    def writable(self) -> bool: ...
    @property
    def clearable(self) -> bool: ...
    @property
    def refers_to(self) -> str: ...
    @property
    def required(self) -> bool: ...


class ObjectFacts(Protocol):
    """One collection of the vendor."""

    @property
    def name(self) -> str: ...
    @property
    def fields(self) -> Mapping[str, FieldFacts]: ...
    @property
    def open_fields(self) -> bool: ...
    @property
    def batch(self) -> Mapping[str, int]: ...
    @property
    def consent_path(self) -> str: ...


class ConnectorFacts(Protocol):
    """A connector class."""

    @property
    def credentials_schema(self) -> Mapping[str, Any]: ...
    @property
    def options_schema(self) -> Mapping[str, Any]: ...
    @property
    def objects(self) -> Mapping[str, ObjectFacts]: ...
