"""Which connectors are installed, and whether a system's credentials and options fit the one it names.

Connectors are found through entry points, third-party ones like our own. No message ever holds a credential's value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

from jsonschema import Draft7Validator, SchemaError, ValidationError

from syncbroker.errors import BadSetting
from syncbroker.sdk.connector import Connector

GROUP = "syncbroker.connectors"
_PARTS = (
    "kind",
    "credentials_schema",
    "options_schema",
    "objects",
    "scan",
    "read",
    "write",
    "authenticate",
    "events",
)


class Finding(NamedTuple):
    """One thing wrong with a system's set-up. `key` is the dotted path in systems.yaml below the system
    ("credentials.api_key"), so that a caller can name file and line."""

    key: str
    message: str
    hint: str = ""


class Registry:
    """The connectors of this installation by kind. Classes are imported when first asked for."""

    def __init__(self, entries: Iterable[EntryPoint] | None = None) -> None:
        """`entries`: instead of what is installed."""
        found: dict[str, dict[str, EntryPoint]] = {}
        for entry in entry_points(group=GROUP) if entries is None else entries:
            # an editable install may list the same class twice; only different classes are a clash
            found.setdefault(entry.name, {})[entry.value] = entry
        self._found = found
        self._loaded: dict[str, type[Connector]] = {}

    def kinds(self) -> list[str]:
        """All installed kinds, sorted."""
        return sorted(self._found)

    def load(self, kind: str, system: str = "") -> type[Connector]:
        """The connector class of this kind; BadSetting when there is none, two, or one that cannot be used."""
        if kind not in self._loaded:
            self._loaded[kind] = self._load(kind, system)
        return self._loaded[kind]

    def findings(
        self, kind: str, *, credentials: Mapping[str, Any], options: Mapping[str, Any], system: str = ""
    ) -> list[Finding]:
        """Everything wrong with the credentials and options, in the order of the connector's schemas.

        BadSetting when the connector cannot be loaded or its own schema is no JSON Schema.
        """
        connector = self.load(kind, system)
        try:
            return [
                *_findings("credentials", connector.credentials_schema, credentials),
                *_findings("options", connector.options_schema, options),
            ]
        except SchemaError as error:
            raise BadSetting(
                f"the connector {kind!r} has a schema that is no JSON Schema ({error.message})",
                hint="this is a fault of the connector; ask its author",
                system=system,
            ) from None

    def check(
        self, kind: str, *, credentials: Mapping[str, Any], options: Mapping[str, Any], system: str
    ) -> type[Connector]:
        """The connector class; BadSetting that names every finding at once."""
        found = self.findings(kind, credentials=credentials, options=options, system=system)
        if found:
            lines = "; ".join(f"{finding.key} {finding.message}" for finding in found)
            hints = "; ".join(dict.fromkeys(finding.hint for finding in found if finding.hint))
            raise BadSetting(f"the connector {kind!r} cannot start: {lines}", hint=hints, system=system)
        return self.load(kind)

    def _load(self, kind: str, system: str) -> type[Connector]:
        entries = self._found.get(kind, {})
        if not entries:
            near = get_close_matches(kind, self._found, n=3, cutoff=0.5)
            known = ", ".join(self.kinds()) or "none"
            hint = (
                f"did you mean {' or '.join(map(repr, near))}?" if near else f"installed connectors: {known}"
            )
            raise BadSetting(f"no connector {kind!r} is installed", hint=hint, system=system)
        if len(entries) > 1:
            places = " and ".join(sorted(entries))
            raise BadSetting(
                f"the connector {kind!r} is installed more than once: {places}",
                hint="uninstall all packages but one that bring it",
                system=system,
            )
        entry = next(iter(entries.values()))
        try:
            loaded = entry.load()
        except Exception as error:  # a third-party module may fail in any way while it is imported
            raise BadSetting(
                f"the connector {kind!r} cannot be loaded from {entry.value}: {type(error).__name__}: {error}",
                hint="reinstall the package that brings it",
                system=system,
            ) from error
        missing = [part for part in _PARTS if not hasattr(loaded, part)]
        if missing or loaded.kind != kind:
            what = f"lacks {', '.join(missing)}" if missing else f"calls itself {loaded.kind!r}"
            raise BadSetting(
                f"{entry.value} is no connector of kind {kind!r}: it {what}",
                hint="this is a fault of the connector; ask its author",
                system=system,
            )
        connector: type[Connector] = loaded
        return connector


def _findings(section: str, schema: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[Finding]:
    Draft7Validator.check_schema(schema)
    for error in Draft7Validator(schema).iter_errors(dict(given)):
        yield from _explained(section, error)


def _explained(section: str, error: ValidationError) -> Iterator[Finding]:
    """In our own words: the library's quote the value."""
    key = ".".join([section, *map(str, error.absolute_path)])
    wanted: Any = error.validator_value
    held: Any = error.instance
    properties = error.schema.get("properties", {}) if isinstance(error.schema, Mapping) else {}
    match error.validator:
        case "required":
            # the library reports each missing key by itself, but names it only in its text
            for name in wanted:
                if name not in held and repr(name) in error.message:
                    yield Finding(f"{key}.{name}", "is missing", _described(properties.get(name)))
        case "additionalProperties":
            for name in sorted(set(held) - set(properties)):
                near = get_close_matches(name, properties, n=1)
                known = f"known are {', '.join(sorted(properties)) or 'none'}"
                yield Finding(
                    f"{key}.{name}", "is not known", f"did you mean {near[0]!r}?" if near else known
                )
        case "type":
            kinds = [wanted] if isinstance(wanted, str) else wanted
            yield Finding(key, f"must be of type {' or '.join(kinds)}", _described(error.schema))
        case "minLength" if not held:
            yield Finding(key, "is empty", _described(error.schema))
        case "enum":
            yield Finding(key, f"must be one of {', '.join(map(str, wanted))}", _described(error.schema))
        case "anyOf" | "oneOf" if all(isinstance(way, Mapping) and "required" in way for way in wanted):
            ways = " or ".join(" and ".join(way["required"]) for way in wanted)
            yield Finding(key, f"needs {ways}{', not several' if error.validator == 'oneOf' else ''}")
        case rule:
            limit = f" {wanted}" if isinstance(wanted, str | int | float) else ""
            yield Finding(key, f"does not fit the connector's rule {rule}{limit}", _described(error.schema))


def _described(schema: object) -> str:
    return str(schema.get("description", "")) if isinstance(schema, Mapping) else ""
