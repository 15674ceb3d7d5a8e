"""What systems.yaml takes from outside: `${VARIABLES}`, and what a connector asks of its credentials and options.

No message here quotes a value: it may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from jsonschema import Draft7Validator

from syncbroker.mapping.findings import Findings, Place
from syncbroker.mapping.nodes import Node
from syncbroker.mapping.schema import closest

_VARIABLE = re.compile(
    r"(?P<plain>\$\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<broken>\$\{)"
)
_URL = re.compile(r"(https?)://(?:[A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
_LOCAL = re.compile(r"://(?:localhost|127\.[0-9.]+|\[::1\])(?::|$)")
_SECRET = re.compile(r"token|secret|password|passwd|key", re.IGNORECASE)


class Variables:
    """Replaces variables by the environment, and says which are missing."""

    def __init__(self, environment: Mapping[str, str], file: str, findings: Findings) -> None:
        self._environment = environment
        self.file = file
        self.findings = findings
        self._failed: set[tuple[int, int]] = set()

    def text(self, node: Node) -> str:
        """The scalar with its variables filled in; a missing one is a finding and becomes ""."""

        def fill(found: re.Match[str]) -> str:
            if found["plain"]:
                return "${"
            if found["broken"]:
                message = "a variable is written as ${NAME} or ${NAME:-default}"
                self.findings.error(
                    self.file, node, message, "letters, digits and _ only; $${ stands for a plain ${"
                )
                self._failed.add((node.line, node.column))
                return ""
            value = self._environment.get(found["name"], "")
            if value or found["default"] is not None:
                return value or found["default"]
            how = "is empty" if found["name"] in self._environment else "is not set"
            name = found["name"]
            hint = (
                f"set it or {name}_FILE, or write ${{{name}:-default}}; see also: syncbroker credentials set"
            )
            self.findings.error(self.file, node, f"the environment variable {name} {how}", hint)
            self._failed.add((node.line, node.column))
            return ""

        return _VARIABLE.sub(fill, node.text)

    def failed(self, node: Node) -> bool:
        """Whether a variable in it, however deep, could not be filled in."""
        if isinstance(node.value, dict | list):
            return any(map(self.failed, node.value.values() if isinstance(node.value, dict) else node.value))
        return (node.line, node.column) in self._failed

    def data(self, node: Node) -> Any:
        """Any value with the variables of its texts filled in."""
        if isinstance(node.value, dict):
            return {key: self.data(one) for key, one in node.value.items()}
        if isinstance(node.value, list):
            return [self.data(one) for one in node.value]
        return self.text(node) if isinstance(node.value, str) else node.value


def check_against(
    what: Literal["credentials", "options"],
    connector: str,
    rules: Mapping[str, Any],
    node: Node,
    at: Place,
    variables: Variables,
) -> dict[str, Any]:
    """The credentials or options with their variables filled in, after comparing them with the connector's JSON Schema.

    `at` is where a missing one is reported. What a missing variable left open is not reported twice.
    """
    if what == "credentials":
        value: dict[str, Any] = {key.text: variables.text(one) for key, one in node.items()}
    else:
        value = variables.data(node)
    open_ = {key.text for key, one in node.items() if variables.failed(one)}
    one = what.removesuffix("s")
    known: Mapping[str, Any] = rules.get("properties", {})
    told: set[object] = set(open_)
    for error in Draft7Validator(rules).iter_errors(value):
        path = tuple(error.absolute_path)
        if error.validator == "required" and not path:
            for key in error.validator_value:
                if key not in value and ("lacks", key) not in told:
                    told.add(("lacks", key))
                    hint = str(known.get(key, {}).get("description", f"write it under `{what}`"))
                    variables.findings.error(variables.file, at, f"{connector} needs the {one} `{key}`", hint)
        elif error.validator == "additionalProperties" and not path:
            for key in value:
                if key not in known:
                    message = f"{connector} knows no {one} `{key}`"
                    variables.findings.error(
                        variables.file, node.keys[key], message, closest(key, list(known), "it takes none")
                    )
        elif (path[0] if path else "") not in told:
            told.add(path[0] if path else "")
            where = f"the {one} `{'.'.join(map(str, path))}`" if path else f"the {what}"
            hint = str(error.schema.get("description", "")) if isinstance(error.schema, Mapping) else ""
            message = f"{where} has not the form that {connector} asks for ({error.validator})"
            variables.findings.error(variables.file, node.keys[str(path[0])] if path else at, message, hint)
    return value


def check_url(node: Node, variables: Variables) -> str:
    """The base URL with its variables filled in."""
    url = variables.text(node).rstrip("/")
    form = _URL.fullmatch(url)
    if form is None and not variables.failed(node):
        hint = "scheme, host and port only, such as http://127.0.0.1:8101"
        variables.findings.error(variables.file, node, "`url` is no address of a server", hint)
    elif form is not None and form[1] == "http" and not _LOCAL.search(url):
        variables.findings.warn(
            variables.file,
            node,
            "`url` is not encrypted: credentials travel in the clear",
            "use https://, or allow it: SYNCBROKER_ALLOW_PRIVATE",
        )
    return url


def warn_of_secrets(credentials: Node, file: str, findings: Findings) -> None:
    """A secret in a file that people keep in Git."""
    for key, node in credentials.items():
        if _SECRET.search(key.text) and node.text and "${" not in node.text:
            hint = "take it from the environment: ${NAME}"
            findings.warn(file, node, f"`{key.text}` looks like a secret that stands in the file", hint)
