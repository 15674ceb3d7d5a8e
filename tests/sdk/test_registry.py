from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import pytest

from syncbroker.errors import BadSetting
from syncbroker.sdk.registry import GROUP, Registry
from tests.support.toy_vendor import CREDENTIALS, ToyConnector

HERE = "tests.sdk.test_registry"


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=GROUP)


TOY = entry("toy", "tests.support.toy_vendor:ToyConnector")


class Lacking:
    kind = "lacking"


class BadSchema(ToyConnector):
    kind: ClassVar[str] = "badschema"
    options_schema: ClassVar[Any] = {"type": 7}


class Rich(ToyConnector):
    kind: ClassVar[str] = "rich"
    credentials_schema: ClassVar[Any] = {
        "type": "object",
        "anyOf": [{"required": ["token"]}, {"required": ["client_id", "client_secret"]}],
        "properties": {"token": {"type": "string", "pattern": "^pat-"}},
    }
    options_schema: ClassVar[Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "region": {"enum": ["us", "eu"]},
            "page": {"type": "integer", "maximum": 100, "description": "records per page"},
            "lists": {"type": "array", "items": {"type": "string"}},
        },
    }


def messages(registry: Registry, kind: str, credentials: Any, options: Any) -> list[str]:
    found = registry.findings(kind, credentials=credentials, options=options)
    return [f"{one.key} {one.message}" for one in found]


def test_a_connector_is_found_by_its_kind() -> None:
    registry = Registry([TOY])
    assert registry.kinds() == ["toy"]
    assert registry.load("toy").kind == "toy"


def test_what_is_installed_is_looked_up_when_nothing_is_given() -> None:
    assert isinstance(Registry().kinds(), list)


@pytest.mark.parametrize(
    ("asked", "hint"), [("toi", "did you mean 'toy'?"), ("zzzz", "installed connectors: stripe, toy")]
)
def test_an_unknown_kind_names_the_near_ones(asked: str, hint: str) -> None:
    registry = Registry([TOY, entry("stripe", "nowhere:X")])
    with pytest.raises(BadSetting) as caught:
        registry.load(asked, system="crm")
    assert str(caught.value) == f"crm: no connector {asked!r} is installed\n    hint: {hint}"


@pytest.mark.parametrize(
    ("broken", "part"),
    [
        (entry("toy", "tests.support.no_such_module:X"), "ModuleNotFoundError"),
        (entry("toy", "tests.support.toy_vendor:NoSuchClass"), "AttributeError"),
        (entry("other", "tests.support.toy_vendor:ToyConnector"), "calls itself 'toy'"),
        (entry("lacking", f"{HERE}:Lacking"), "lacks credentials_schema"),
    ],
)
def test_a_connector_that_cannot_be_used_says_why(broken: EntryPoint, part: str) -> None:
    with pytest.raises(BadSetting, match=part):
        Registry([broken]).load(broken.name)


def test_two_packages_with_one_kind_are_a_clash() -> None:
    with pytest.raises(BadSetting, match="more than once: other:Toy and tests"):
        Registry([TOY, entry("toy", "other:Toy")]).load("toy")


def test_the_same_class_listed_twice_is_no_clash() -> None:
    assert Registry([TOY, TOY]).load("toy") is ToyConnector


def test_a_setup_that_fits_has_no_findings() -> None:
    registry = Registry([TOY])
    assert messages(registry, "toy", CREDENTIALS, {}) == []
    assert registry.check("toy", credentials=CREDENTIALS, options={}, system="crm") is ToyConnector


@pytest.mark.parametrize(
    ("credentials", "options", "found"),
    [
        ({}, {}, ["credentials.token is missing", "credentials.webhook_secret is missing"]),
        ({"token": "t"}, {}, ["credentials.webhook_secret is missing"]),
        ({**CREDENTIALS, "token": ""}, {}, ["credentials.token is empty"]),
        ({**CREDENTIALS, "token": 7}, {}, ["credentials.token must be of type string"]),
        ({**CREDENTIALS, "tokem": "x"}, {}, ["credentials.tokem is not known"]),
        (CREDENTIALS, {"mood": "odd"}, ["options.mood is not known"]),
    ],
)
def test_each_fault_of_a_setup_is_found_by_its_key(
    credentials: dict[str, Any], options: dict[str, Any], found: list[str]
) -> None:
    assert messages(Registry([TOY]), "toy", credentials, options) == found


@pytest.mark.parametrize(
    ("credentials", "options", "found"),
    [
        ({}, {}, ["credentials needs token or client_id and client_secret"]),
        ({"token": "x"}, {}, ["credentials.token does not fit the connector's rule pattern ^pat-"]),
        ({"token": "pat-1"}, {"region": "mars"}, ["options.region must be one of us, eu"]),
        ({"token": "pat-1"}, {"page": 500}, ["options.page does not fit the connector's rule maximum 100"]),
        ({"token": "pat-1"}, {"lists": ["a", 2]}, ["options.lists.1 must be of type string"]),
    ],
)
def test_richer_rules_are_told_in_words(
    credentials: dict[str, Any], options: dict[str, Any], found: list[str]
) -> None:
    assert messages(Registry([entry("rich", f"{HERE}:Rich")]), "rich", credentials, options) == found


def test_a_mistyped_key_is_recognised() -> None:
    given = {**CREDENTIALS, "webhook_secre": "x"}
    found = Registry([TOY]).findings("toy", credentials=given, options={})
    assert found[0].hint == "did you mean 'webhook_secret'?"


def test_all_faults_are_told_at_once_with_the_system_and_never_a_value() -> None:
    given = {"token": ["value-of-the-token"], "extra": "value-of-extra"}
    with pytest.raises(BadSetting) as caught:
        Registry([TOY]).check("toy", credentials=given, options={"mood": "value-of-mood"}, system="crm")
    text = str(caught.value)
    assert text.startswith("crm: the connector 'toy' cannot start: ")
    for key in ("credentials.token", "credentials.webhook_secret", "credentials.extra", "options.mood"):
        assert key in text
    assert "value-of" not in f"{text} {caught.value.__cause__} {caught.value.__context__}"


def test_a_connector_with_a_broken_schema_is_named() -> None:
    with pytest.raises(BadSetting, match="a schema that is no JSON Schema"):
        messages(Registry([entry("badschema", f"{HERE}:BadSchema")]), "badschema", CREDENTIALS, {})
