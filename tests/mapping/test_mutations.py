"""Whatever stands in a mapping folder, loading it ends in rules or in problems, and never in anything else."""

from __future__ import annotations

import copy
import json
import re
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from syncbroker.core.plan import compile_plan
from syncbroker.mapping.nodes import parse
from tests.mapping.support import CONNECTORS, SYSTEMS, load

DOCUMENT = (Path(__file__).parents[2] / "docs" / "mapping-reference.md").read_text(encoding="utf-8")
ENTITY: Any = parse(re.findall(r"^```yaml entity\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)[0], "f")[
    0
].plain()
SOURCE: Any = parse(SYSTEMS + "  billing: {connector: fakecrm}\n", "f")[0].plain()

WORDS = st.sampled_from(
    "crm marketing contact email choice reference tags text money pull push both enforce union most_restrictive when "
    "system field always 5m 10% ${X} record.email=='x' record.email!=null Website Referral [] - x.y _".split()
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(0, 1) | WORDS | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path in the data."""
    members = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(one for key, inner in members for one in places(inner, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn, original: Any) -> Any:
    """The data with up to three values replaced, removed, or put under another key."""
    data = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(data)))
        if not path:
            continue
        here = data
        for step in path[:-1]:
            here = here[step]
        match draw(st.sampled_from(["replace", "remove", "rename"])):
            case "replace":
                here[path[-1]] = draw(JSON)
            case "rename" if isinstance(here, dict):
                here[draw(WORDS)] = here.pop(path[-1])
            case _:
                del here[path[-1]]
    return data


@settings(max_examples=150, deadline=None)
@given(
    entity=mutated(ENTITY),
    systems=mutated(SOURCE) | st.just(SOURCE),
    connectors=st.sampled_from([None, CONNECTORS]),
)
def test_any_data_is_a_mapping_or_problems_with_places(entity: Any, systems: Any, connectors: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "systems.yaml").write_text(json.dumps(systems, indent=1))
        (Path(folder) / "contact.yaml").write_text(json.dumps(entity, indent=1))
        checked = load(Path(folder), connectors=connectors)
    assert (checked.mapping is None) == bool(checked.errors)
    for rules in checked.mapping.entities.values() if checked.mapping else ():
        assert compile_plan(rules, "v").readers
    assert all(one.message and one.line >= 1 and one.column >= 1 for one in checked.errors)
