"""`check`: are the mapping files right, and what do they say? Needs no store and calls no vendor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncbroker.cli.output import Json, console, many, print_json, print_table, say
from syncbroker.cli.words import FLOWS

if TYPE_CHECKING:
    from syncbroker.core.mapping import EntityRules, FieldLink, FieldRule, Guard, Mapping, Schedule
    from syncbroker.errors import Problem


def check(
    mappings: Annotated[
        Path | None, typer.Option(help="The folder of mapping files, instead of SYNCBROKER_MAPPINGS.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check the mapping files.

    Every problem at once, as file:line:column; or, when there is none, what they say and who decides what.
    Exit code 1 when there is a problem; warnings are none. With --json the findings are the result:
    {"ok", "problems", "warnings", "systems", "entities"}, on standard output either way.
    """
    from syncbroker.bootstrap import read_mapping
    from syncbroker.errors import BadMapping
    from syncbroker.settings import read_settings

    settings = read_settings()
    if mappings is not None:
        settings = settings.model_copy(update={"mappings": mappings})
    try:
        rules, warnings = read_mapping(settings)
    except BadMapping as error:
        if not as_json:
            raise
        print_json({"ok": False, "problems": [one._asdict() for one in error.problems]})
        raise typer.Exit(1) from None
    if as_json:
        print_json(_described(rules, warnings))
    else:
        _show(rules, warnings)


def decides(field: FieldRule) -> str:
    """Who decides a field, in a few words."""
    ranked = " > ".join(field.authority or field.rank)
    read = [name for name, link in field.links.items() if link.pull]
    if len(read) == 1 and field.policy != "enforce":
        return f"{read[0]} alone"
    match field.policy:
        case "enforce":
            foreign = {"revert": "put back", "propose": "proposed", "ignore": "let stand"}
            return f"{ranked}; other edits are {foreign[field.on_foreign_edit]}"
        case "prefer":
            return f"anybody; of two edits {ranked}"
        case "latest":
            return f"the newest edit; a tie goes to {'a person' if field.tie == 'review' else ranked}"
        case "review":
            return "anybody; of two edits a person chooses"
        case "seed":
            return f"whoever is first; at first {ranked}"
        case "union":
            return "everybody; additions and removals are merged"
        case "most_restrictive":
            return f"the most restrictive; loosened by {', '.join(field.loosen_by) or 'nobody'}"
        case policy:
            return f"the {policy} value" + (
                "" if field.monotone else " of competing edits; otherwise anybody"
            )


def _flow(link: FieldLink) -> str:
    flow = {(True, True): "both", (True, False): "pull", (False, True): "push"}.get(
        (link.pull, link.push), "none"
    )
    return f"{link.system} {FLOWS[flow]}"


def _described(rules: Mapping, warnings: list[Problem]) -> dict[str, Any]:
    return {
        "ok": True,
        "version": rules.version,
        "problems": [],
        "warnings": [one._asdict() for one in warnings],
        "systems": {name: system.connector for name, system in rules.systems.items()},
        "entities": {
            entity.name: {
                "file": entity.file,
                "links": {name: link.object for name, link in entity.links.items()},
                "guard": {
                    name: limit
                    for name in ("changed", "emptied", "deleted", "collapse", "created")
                    if (limit := getattr(entity.guard, name)) is not None
                },
                "fields": {
                    field.name: {
                        "type": field.type,
                        "policy": field.policy,
                        "authority": field.authority,
                        "rank": field.rank,
                        "systems": {name: link.path for name, link in field.links.items()},
                        "line": field.line,
                    }
                    for field in entity.fields.values()
                },
            }
            for entity in rules.entities.values()
        },
    }


def _show(rules: Mapping, warnings: list[Problem]) -> None:
    for one in warnings:
        typer.echo(f"warning: {one}", err=True)
    to = console()
    fields = sum(len(entity.fields) for entity in rules.entities.values())
    say(
        to,
        f"The mapping files are right: {many(len(rules.systems), 'system')},"
        f" {many(len(rules.entities), 'entity', 'entities')}, {many(fields, 'field')} (version {rules.version}).",
    )
    print_table(
        to,
        ["system", "connector", "objects", "pull", "sweep"],
        [
            (
                name,
                system.connector,
                ", ".join(
                    dict.fromkeys(e.links[name].object for e in rules.entities.values() if name in e.links)
                ),
                _every(system.pull),
                _every(system.sweep),
            )
            for name, system in rules.systems.items()
        ],
        title="systems",
    )
    for entity in rules.entities.values():
        _show_entity(entity)


def _show_entity(entity: EntityRules) -> None:
    to = console()
    links = "\n         ".join(
        f"{name} {link.object} (create {f'when {link.create_when}' if link.create_when else link.create},"
        f" delete {link.delete})"
        for name, link in entity.links.items()
    )
    match = "; ".join(
        " + ".join(rule.on) + (" (a person confirms)" if rule.then == "review" else "")
        for rule in entity.match
    )
    say(to, f"\n{entity.name}  {entity.file}\n  links  {links}\n  match  {match or 'never'}")
    say(to, f"  guard  {_limits(entity.guard) or 'none: no run is held'}")
    print_table(
        to,
        ["  field", "type", "who decides", "systems (--> read, <-- written)", "line"],
        [
            (
                f"  {field.name}" + (f" ({field.group})" if field.group else ""),
                field.type,
                decides(field),
                "  ".join(_flow(link) for link in field.links.values()),
                str(field.line),
            )
            for field in entity.fields.values()
        ],
        right=["line"],
    )


def _limits(guard: Guard) -> str:
    """For example "changed 10%, deleted 25"."""
    shares = {"changed": guard.changed, "emptied": guard.emptied}
    counted = {"deleted": guard.deleted, "collapse": guard.collapse, "created": guard.created}
    said = [f"{name} {share * 100:g}%" for name, share in shares.items() if share is not None]
    said += [f"{name} {limit}" for name, limit in counted.items() if limit is not None]
    return ", ".join(said)


def _every(plan: Schedule | None) -> str:
    """For example "every 5m", "at 0 3 * * * UTC"."""
    if plan is None:
        return "never"
    if plan.every is None:
        return f"at {plan.at} UTC"
    for seconds, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if plan.every % seconds == 0:
            return f"every {plan.every / seconds:g}{unit}"
    return f"every {plan.every:g}s"
