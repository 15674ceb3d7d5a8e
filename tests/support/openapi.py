"""A vendor's published OpenAPI document as a judge of requests and answers.

The documents are not part of the project: SYNCBROKER_VENDOR_SPECS names the folder that holds
`<vendor>/openapi.subset.json`. OpenAPI 3.0 is read as 3.1 (JSON Schema 2020-12) after three repairs: `nullable` becomes
a choice with null (vendors put it beside `anyOf`, where 3.0 gives it no meaning), a boolean `exclusiveMinimum` becomes
a number, and local references become absolute, so that every part of the document can be used by itself.

Form bodies and query strings carry only text: what is read from them is given the type that the schema asks for, and
judged then. Nested names are in brackets (`address[city]`, `items[0][price]`, `expand[]`), as Stripe writes them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

ENV_SPECS = "SYNCBROKER_VENDOR_SPECS"

Schema = Mapping[str, Any] | bool

_BASE = "urn:openapi"
_NUMBERS = {"integer": (r"-?\d+", int), "number": (r"-?\d+(\.\d+)?([eE][-+]?\d+)?", float)}


class Operation(NamedTuple):
    """One documented operation, and what the path's variables were in the request at hand."""

    name: str
    spec: dict[str, Any]
    parameters: list[dict[str, Any]]
    variables: dict[str, str]


class VendorSpec:
    """Says what is wrong with a request or an answer; the empty list says nothing is."""

    def __init__(self, document: dict[str, Any]) -> None:
        version = str(document.get("openapi"))
        if not version.startswith(("3.0", "3.1")):
            raise ValueError(f"an OpenAPI 3.0 or 3.1 document is needed, not {version}")
        self.document: dict[str, Any] = _repaired(document)
        self._registry: Registry[bool | Mapping[str, Any]] = Registry().with_resource(
            _BASE, DRAFT202012.create_resource(self.document)
        )
        servers = self.document.get("servers") or [{"url": ""}]
        self._prefix = urlsplit(servers[0]["url"]).path.rstrip("/")

    @classmethod
    def load(cls, vendor: str) -> VendorSpec | None:
        """The vendor's document, or None where the environment names no folder. A missing file is an error."""
        folder = os.environ.get(ENV_SPECS)
        if not folder:
            return None
        return cls(json.loads((Path(folder) / vendor / "openapi.subset.json").read_text(encoding="utf-8")))

    def request_problems(
        self,
        method: str,
        path: str,
        *,
        query: str | Mapping[str, str | Sequence[str]] = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> list[str]:
        """`path` without query; `query` raw, or names to one or all values."""
        operation = self.operation(method, path)
        if operation is None:
            return [f"{method} {path}: not documented"]
        lower = {name.lower(): value for name, value in (headers or {}).items()}
        pairs = list(_pairs(query))
        found = [
            *self._security_problems(operation, lower, pairs),
            *self._parameter_problems(operation, lower, pairs),
            *self._body_problems(operation, lower.get("content-type", ""), body),
        ]
        return [f"{operation.name}: {problem}" for problem in found]

    def response_problems(
        self,
        method: str,
        path: str,
        status: int,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
    ) -> list[str]:
        """`path` is the request's; `json` the decoded body, None where there is none."""
        operation = self.operation(method, path)
        if operation is None:
            return [f"{method} {path}: not documented"]
        name = f"{operation.name} {status}"
        answers = operation.spec.get("responses", {})
        keys = (str(status), f"{status // 100}XX", f"{status // 100}xx", "default")
        answer = next((self.resolve(answers[key]) for key in keys if key in answers), None)
        if answer is None:
            return [f"{name}: this status is not documented"]
        lower = {header.lower() for header in headers or {}}
        found = [
            f"header {header} is missing"
            for header, spec in answer.get("headers", {}).items()
            if self.resolve(spec).get("required") and header.lower() not in lower
        ]
        media = _media(answer.get("content", {}), "application/json")
        if media is not None:
            found += self.problems(json, media.get("schema", True), "body")
        elif json is not None:
            found.append("no JSON body is documented")
        return [f"{name}: {problem}" for problem in found]

    def operation(self, method: str, path: str) -> Operation | None:
        """The documented operation; a literal segment wins over a variable one."""
        segments = path.removeprefix(self._prefix).strip("/").split("/")
        best: tuple[int, str, dict[str, str]] | None = None
        for template, item in self.document["paths"].items():
            variables = _matched(template.strip("/").split("/"), segments)
            if (
                variables is not None
                and method.lower() in item
                and (best is None or len(variables) < best[0])
            ):
                best = (len(variables), template, variables)
        if best is None:
            return None
        item = self.document["paths"][best[1]]
        spec = item[method.lower()]
        merged = {
            (parameter["name"], parameter["in"]): parameter
            for parameter in map(self.resolve, [*item.get("parameters", []), *spec.get("parameters", [])])
        }
        return Operation(f"{method.upper()} {best[1]}", spec, list(merged.values()), best[2])

    def problems(self, value: Any, schema: Schema, where: str) -> list[str]:
        """What JSON Schema has against the value, each with its place."""
        errors = sorted(
            self._validator(schema).iter_errors(value), key=lambda error: list(map(str, error.path))
        )
        return [f"{where}{error.json_path[1:]}: {_shortened(error.message)}" for error in errors]

    def resolve(self, node: Any) -> Any:
        """The node itself, or what its reference names."""
        while isinstance(node, dict) and isinstance(node.get("$ref"), str):
            node = self._registry.resolver().lookup(node["$ref"]).contents
        return node

    def typed(self, value: Any, schema: Schema) -> Any:
        """The value with each text given the type that the schema asks for, where it can have it."""
        schema = self.resolve(schema)
        if not isinstance(schema, Mapping):
            return value
        for key in ("anyOf", "oneOf"):
            for branch in schema.get(key, ()):
                tried = self.typed(value, branch)
                if self._validator(branch).is_valid(tried):
                    return tried
        for part in schema.get("allOf", ()):
            value = self.typed(value, part)
        if isinstance(value, dict):
            known, other = schema.get("properties", {}), schema.get("additionalProperties", True)
            return {name: self.typed(member, known.get(name, other)) for name, member in value.items()}
        if isinstance(value, list):
            return [self.typed(member, schema.get("items", True)) for member in value]
        return _typed_text(value, schema.get("type")) if isinstance(value, str) else value

    def _validator(self, schema: Schema) -> Draft202012Validator:
        return Draft202012Validator(
            schema, registry=self._registry, format_checker=Draft202012Validator.FORMAT_CHECKER
        )

    def _security_problems(
        self, operation: Operation, headers: Mapping[str, str], pairs: Sequence[tuple[str, str]]
    ) -> list[str]:
        choices = operation.spec.get("security", self.document.get("security", []))
        schemes = self.document.get("components", {}).get("securitySchemes", {})
        given = {"header": headers, "query": dict(pairs), "cookie": {}}

        def met(name: str) -> bool:
            scheme = self.resolve(schemes[name])
            if scheme["type"] == "apiKey":
                key = scheme["name"].lower() if scheme["in"] == "header" else scheme["name"]
                return key in given[scheme["in"]]
            word = scheme["scheme"] if scheme["type"] == "http" else "bearer"
            return headers.get("authorization", "").lower().startswith(f"{word.lower()} ")

        if not choices or any(all(map(met, choice)) for choice in choices):
            return []
        return ["no documented kind of credentials is given"]

    def _parameter_problems(
        self, operation: Operation, headers: Mapping[str, str], pairs: Sequence[tuple[str, str]]
    ) -> Iterator[str]:
        nested = nest(pairs)
        for parameter in operation.parameters:
            name, place = parameter["name"], parameter["in"]
            source: Mapping[str, Any] = {"path": operation.variables, "query": nested}.get(place, headers)
            key = name.lower() if place == "header" else name.removesuffix("[]")
            if place == "cookie":
                continue
            if key not in source:
                if parameter.get("required"):
                    yield f"{place} parameter {name} is missing"
                continue
            value = source[key]
            if "content" in parameter:
                schema, value = _media(parameter["content"], "application/json") or {}, json.loads(value)
                schema = schema.get("schema", True)
            else:
                schema = parameter.get("schema", True)
                value = self.typed(self._listed(value, parameter, schema), schema)
            yield from self.problems(value, schema, f"{place} parameter {name}")
        known = {
            parameter["name"].removesuffix("[]")
            for parameter in operation.parameters
            if parameter["in"] == "query"
        }
        known |= {scheme["name"] for scheme in self._key_schemes("query")}
        yield from (f"query parameter {name} is not documented" for name in nested if name not in known)

    def _listed(self, value: Any, parameter: Mapping[str, Any], schema: Schema) -> Any:
        """One text as the list that the parameter's style makes of it."""
        schema = self.resolve(schema)
        if not isinstance(value, str) or not isinstance(schema, Mapping) or schema.get("type") != "array":
            return value
        together = parameter.get("in") != "query" or parameter.get("explode") is False
        return value.split(",") if together else [value]

    def _key_schemes(self, place: str) -> list[dict[str, Any]]:
        schemes = map(self.resolve, self.document.get("components", {}).get("securitySchemes", {}).values())
        return [scheme for scheme in schemes if scheme["type"] == "apiKey" and scheme["in"] == place]

    def _body_problems(self, operation: Operation, content_type: str, body: bytes) -> list[str]:
        spec = self.resolve(operation.spec.get("requestBody"))
        if not body:
            return ["a body is required"] if spec and spec.get("required") else []
        if not spec:
            return ["no body is documented"]
        kind = content_type.partition(";")[0].strip().lower()
        media = _media(spec["content"], kind)
        if media is None:
            return [f"content type {kind or '(none)'} is not documented"]
        schema = media.get("schema", True)
        if kind == "application/x-www-form-urlencoded":
            form = nest(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True))
            return self.problems(self.typed(form, schema), schema, "body")
        try:
            value = json.loads(body)
        except ValueError as error:
            return [f"the body is not JSON: {error}"]
        return self.problems(value, schema, "body")


def nest(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Names in brackets as nested objects and lists; a name given twice is a list."""
    root: dict[str, Any] = {}
    for name, value in pairs:
        head, *rest = [part.rstrip("]") for part in name.split("[")]
        node, key = root, head
        for part in rest:
            node = node.setdefault(key, {})
            key = part or str(len(node))
        if key in node:
            before = node[key]
            node[key] = [*(before if isinstance(before, list) else [before]), value]
        else:
            node[key] = value
    return {name: _with_lists(member) for name, member in root.items()}


def _with_lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if all(key.isdigit() for key in node):
        return [_with_lists(node[key]) for key in sorted(node, key=int)]
    return {name: _with_lists(member) for name, member in node.items()}


def _pairs(query: str | Mapping[str, str | Sequence[str]]) -> Iterator[tuple[str, str]]:
    if isinstance(query, str):
        yield from parse_qsl(query, keep_blank_values=True)
        return
    for name, values in query.items():
        yield from ((name, value) for value in ([values] if isinstance(values, str) else values))


def _matched(template: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    if len(template) != len(segments):
        return None
    variables = {}
    for pattern, segment in zip(template, segments, strict=True):
        if pattern.startswith("{") and pattern.endswith("}") and segment:
            variables[pattern[1:-1]] = unquote(segment)
        elif pattern != segment:
            return None
    return variables


def _media(content: Mapping[str, Any], kind: str) -> Any:
    """The entry for this kind of content: exact, or another JSON where JSON is meant."""
    for name, media in content.items():
        plain = name.partition(";")[0].strip().lower()
        if plain in {kind, "*/*"} or (_is_json(plain) and _is_json(kind)):
            return media
    return None


def _is_json(kind: str) -> bool:
    return kind == "application/json" or kind.endswith("+json")


def _typed_text(value: str, wanted: Any) -> Any:
    for each in [wanted] if isinstance(wanted, str) else wanted or ():
        if each in _NUMBERS and re.fullmatch(_NUMBERS[each][0], value):
            return _NUMBERS[each][1](value)
        if each == "boolean" and value in {"true", "false"}:
            return value == "true"
    return value


def _repaired(node: Any) -> Any:
    if isinstance(node, list):
        return [_repaired(member) for member in node]
    if not isinstance(node, dict):
        return node
    fixed = {name: _repaired(member) for name, member in node.items()}
    reference = fixed.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        fixed["$ref"] = _BASE + reference
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(fixed.get(exclusive), bool) and fixed.pop(exclusive) and bound in fixed:
            fixed[exclusive] = fixed.pop(bound)
    if isinstance(fixed.get("nullable"), bool) and fixed.pop("nullable"):
        return {"anyOf": [fixed, {"type": "null"}]}
    return fixed


def _shortened(message: str) -> str:
    return message if len(message) <= 300 else f"{message[:200]} ... {message[-90:]}"
