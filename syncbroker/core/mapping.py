"""Checked mapping rules: what the mapping files say once they are known to be right.

Built by `syncbroker.mapping` from YAML; everything else reads only these frozen values. `file` and `line` lead back to
the text a person wrote, so that a decision can name it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from syncbroker.core.types import Type

Policy = Literal[
    "enforce", "prefer", "latest", "review", "seed", "union", "most_restrictive", "longest", "max", "min"
]
CreatePolicy = Literal["always", "never"]
DeletePolicy = Literal["detach", "propagate", "recreate", "review"]


class ValueSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How raw values of one field become canonical and back, on one link (or for the golden value).

    `choices`: (label, alias, alias, ...) per choice, label first; aliases compare casefolded and trimmed.
    `restrictiveness` is not here: it belongs to the policy. `out`: label -> raw value to send, where a system wants
    another word than the label. `transforms`: names of two-way transforms, applied left to right when reading and
    right to left when writing. `placeholders`: raw texts (casefolded) that stand for nothing.
    `aliases`: company_name variants -> the name that a person chose, as (key, name) pairs.
    """

    type: Type
    region: str = "US"
    currency: str = "USD"
    choices: tuple[tuple[str, ...], ...] = ()
    out: tuple[tuple[str, str], ...] = ()
    transforms: tuple[str, ...] = ()
    placeholders: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    entity: str = ""  # for references: the entity referred to


class FieldLink(msgspec.Struct, frozen=True, kw_only=True):
    """One field on one system: the vendor's dotted `path`, which way it flows (seen from the broker), how it reads."""

    system: str
    path: str
    pull: bool
    push: bool
    spec: ValueSpec
    line: int = 0


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """When a system has the authority that it is given: while the CEL condition `when` holds, and until `stale_after`
    µs after its last edit of the field (0: for ever)."""

    when: str = ""
    stale_after: int = 0


class FieldRule(msgspec.Struct, frozen=True, kw_only=True):
    """One field of an entity.

    `rank`: every linked system from highest to lowest: the authorities as written, then the others in file order.
    `authority`: the systems written under `authority`; under `enforce` only they may decide. `terms`: by system, where
    its authority has any.
    `order`: for most_restrictive, the choices from least to most restrictive. `tolerance` in µs.
    `empty`: "keep" (an empty never overwrites) or "clear". `group`: fields of one group have one winner.
    """

    name: str
    type: Type
    spec: ValueSpec
    policy: Policy
    authority: tuple[str, ...]
    rank: tuple[str, ...]
    links: dict[str, FieldLink]
    terms: dict[str, Terms] = {}
    required: bool = False
    on_foreign_edit: Literal["revert", "propose", "ignore"] = "revert"
    tie: Literal["rank", "review"] = "rank"
    tolerance: int = 2_000_000
    empty: Literal["keep", "clear"] = "keep"
    first_meeting: Literal["rank", "review"] = "rank"
    order: tuple[str, ...] = ()
    loosen_by: tuple[str, ...] = ()
    monotone: bool = False
    group: str = ""
    file: str = ""
    line: int = 0


class LinkRule(msgspec.Struct, frozen=True, kw_only=True):
    """One entity on one system. `create_when` is a CEL condition over `record`, used when `create` is "always".

    `grace`: µs that a deletion waits, and is forgotten when the record reappears meanwhile.
    """

    system: str
    object: str
    create: CreatePolicy = "never"
    create_when: str = ""
    delete: DeletePolicy = "review"
    grace: int = 0
    line: int = 0


class MatchRule(msgspec.Struct, frozen=True, kw_only=True):
    """Exact match on all of `on`. `then`: link at once, or queue a review that proposes it.

    With `similar` instead: (field, least likeness 0..1) pairs, all of which must be reached; it only proposes.
    """

    on: tuple[str, ...] = ()
    similar: tuple[tuple[str, float], ...] = ()
    then: Literal["link", "review"] = "link"
    line: int = 0


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """Limits for one run over one entity (and for webhooks, for `window` µs); shares are 0..1, None is no limit.

    `collapse`: how many records may come to hold one and the same value in a field that told them apart before.
    `lines`: limit -> where it is written.
    """

    changed: float | None = None
    created: int | None = None
    emptied: float | None = None
    deleted: int | None = None
    collapse: int | None = None
    window: int = 3_600_000_000
    lines: dict[str, int] = {}

    @property
    def guards_input(self) -> bool:
        """Whether anything limits what may be read."""
        return (self.changed, self.emptied, self.deleted, self.collapse) != (None,) * 4

    @property
    def guards_output(self) -> bool:
        """Whether anything limits what may be written."""
        return (self.created, self.changed, self.emptied, self.deleted) != (None,) * 4


class EntityRules(msgspec.Struct, frozen=True, kw_only=True):
    """One entity, as its file declares it. Fields keep file order."""

    name: str
    links: dict[str, LinkRule]
    fields: dict[str, FieldRule]
    match: tuple[MatchRule, ...] = ()
    guard: Guard = Guard()
    file: str = ""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """`every` in seconds, or `at` as a cron expression, read in `timezone` (an IANA name).

    `jitter`: the most seconds by which a turn is later than that; None is as usual (`core.schedule`).
    """

    every: float | None = None
    at: str | None = None
    timezone: str = "UTC"
    jitter: float | None = None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """When one object is read; None is as the system's own schedule says."""

    pull: Schedule | None = None
    sweep: Schedule | None = None


class SystemRules(msgspec.Struct, frozen=True, kw_only=True):
    """One connected account. `credentials` have their ${VARIABLES} filled in and are never printed.

    `rate`: (calls, seconds) the vendor allows; `reserve`: the share (0..1) left for others. `deliveries`: (count,
    seconds) of webhooks that are taken. `url` replaces the vendor's base URL. `options` are the connector's own (a
    list id, an account id). `concurrency`: how many calls that write, or read by id, may be under way at once.
    `objects`: schedules of single objects. `max_lag`: seconds after which a change should be everywhere.
    """

    name: str
    connector: str
    credentials: dict[str, str] = {}
    options: dict[str, Any] = {}
    url: str = ""
    pull: Schedule | None = None
    sweep: Schedule | None = None
    rate: tuple[int, float] | None = None
    reserve: float = 0.0
    concurrency: int = 1
    objects: dict[str, Reading] = {}
    max_lag: float | None = None
    deliveries: tuple[int, float] | None = None
    line: int = 0

    def schedule(self, object: str, kind: str) -> Schedule | None:
        """When an object is read; `kind` is pull or sweep."""
        own = self.objects.get(object, Reading())
        if kind == "pull":
            return own.pull or self.pull
        return own.sweep or self.sweep


class Mapping(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the files say. `version` is the content hash (hex) over all mapping files, secrets left out."""

    version: str
    systems: dict[str, SystemRules]
    entities: dict[str, EntityRules]


def bindings(mapping: Mapping, system: str, object: str | None = None) -> list[tuple[EntityRules, LinkRule]]:
    """The (entity, link) pairs that read this system (and object), in file order."""
    return [
        (entity, link)
        for entity in mapping.entities.values()
        for name, link in entity.links.items()
        if name == system and (object is None or link.object == object)
    ]
