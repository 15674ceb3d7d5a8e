"""What the acceptance tests share: a small world, and what its systems hold in a form that two runs have alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from syncbroker.demo.payloads import OBJECTS
from syncbroker.demo.scene import PLACES
from syncbroker.demo.stage import Stage
from syncbroker.demo.world import World, build_world
from syncbroker.sdk.paths import get_path

SEED = 7

VOLATILE = frozenset(
    "id createdAt updatedAt created_at updated_at created last_changed timestamp_opt timestamp_signup web_id "
    "contact_id unique_email_id createdate lastmodifieddate hs_lastmodifieddate hs_object_id syncbroker_id "
    "external_id url _links _metadata user_id organization_id associations".split()
)
"""Members that are a vendor's own counting and clock, or name such ids: no two runs have them alike."""


def cast_only() -> World:
    """The people of the story and their companies, and nobody else."""
    world = build_world(SEED, 60)
    kept = {person.key for person in world.people.values()} | {"company-ferries", "company-deli"}
    systems = {
        system: {
            name: [one for one in rows if world.truth[system][name].get(str(one["id"])) in kept]
            for name, rows in objects.items()
        }
        for system, objects in world.systems.items()
    }
    return msgspec.structs.replace(world, systems=systems)


def with_emails(stage: Stage, addresses: list[str]) -> dict[str, list[Any]]:
    """Every system's records of these addresses, in their order, without what differs from run to run."""
    found = {}
    for system, object_ in OBJECTS.items():
        records = stage.systems[system].records(object_)
        path = PLACES["email"][system]
        here = [
            (str(get_path(one, path)).lower(), settled(one))
            for one in records
            if str(get_path(one, path)).lower() in addresses
        ]
        found[system] = sorted(here, key=lambda pair: (pair[0], str(pair[1])))
    return found


def settled(value: Any) -> Any:
    """A payload without its volatile members."""
    if isinstance(value, Mapping):
        return {name: settled(one) for name, one in value.items() if name not in VOLATILE}
    return [settled(one) for one in value] if isinstance(value, list) else value
