"""`merge` and `unmerge`: two records become one, and two again; the plan comes first."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from syncbroker.cli.explain import find_record
from syncbroker.cli.opening import opened
from syncbroker.cli.output import Json, console, many, print_json, print_table, say, usage
from syncbroker.cli.words import members_of, value_text

if TYPE_CHECKING:
    from syncbroker.engine import Engine
    from syncbroker.engine.merge import MergeReport
    from syncbroker.engine.unmerge import UnmergeReport

By = Annotated[str, typer.Option(metavar="NAME", help="Who decides this.", show_default="you")]
Yes = Annotated[
    bool, typer.Option("--yes", help="Do it without asking; with --json, else only the plan is shown.")
]


def merge(
    survivor: Annotated[str, typer.Argument(metavar="SURVIVOR", help="ENTITY:WHO, as for explain.")],
    other: Annotated[
        str, typer.Argument(metavar="OTHER", help="ENTITY:WHO of the record that goes into it.")
    ],
    by: By = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Merge two records into one. Shows the plan first.

    Links move to the survivor, each field is decided by its own rule, nothing is deleted in any system. Exit code 1
    while a write to one of them is under way.
    """
    from syncbroker.engine import cycle
    from syncbroker.engine import merge as merging

    with opened() as engine:
        with usage():
            (one, entity), (two, _) = find_record(engine, survivor), find_record(engine, other)
        cycle.settle_writes(engine, [one, two])
        report = merging.merge(engine, one, two, by or getpass.getuser(), only_plan=True)
        if not as_json:
            _show_merge(engine, report)
        if yes or (not as_json and typer.confirm("\nMerge them?", abort=True)):
            report = merging.merge(engine, one, two, by or getpass.getuser())
    if as_json:
        print_json({"done": bool(report.merge), "report": report})
        return
    say(console(), f"Merged (merge {report.merge}); serve or the next sync writes it out.")
    say(
        console(),
        f"take it apart: syncbroker unmerge {report.merge}; look: syncbroker explain {entity}:{one}",
    )


def unmerge(
    name: Annotated[
        str,
        typer.Argument(
            metavar="MERGE", help="The merge's number, or ENTITY:WHO for the last one of a record."
        ),
    ],
    by: By = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Take a merge apart. Shows the plan first.

    Both records get back what they had, and what was decided since on their own systems' edits. Exit code 1 while a
    write to the record is under way, or when a later merge must be taken apart first.
    """
    from syncbroker.engine import cycle
    from syncbroker.engine import unmerge as parting

    with opened() as engine:
        with usage():
            found = parting.find_merge(engine, name if name.isdecimal() else _record(engine, name))
        cycle.settle_writes(engine, [found.survivor])
        person = by or getpass.getuser()
        report = parting.unmerge(engine, found.id, person, only_plan=True)
        if not as_json:
            _show_unmerge(engine, report)
        done = yes or (not as_json and typer.confirm("\nTake it apart?", abort=True))
        if done:
            report = parting.unmerge(engine, found.id, person)
    if as_json:
        print_json({"done": done, "report": report})
        return
    say(console(), f"Merge {found.id} is taken apart; serve or the next sync writes it out.")


def _record(engine: Engine, name: str) -> str:
    """An absorbed record is meant by its own id here."""
    _, _, who = name.partition(":")
    whole = len(who) == 36
    return who if whole else find_record(engine, name)[0]


def _show_merge(engine: Engine, report: MergeReport) -> None:
    to, plan = console(), engine.plans[report.entity]
    say(to, f"{report.entity} {report.absorbed} goes into {report.survivor}", style="bold")
    print_table(
        to,
        ["  system", "id there", "link"],
        [(f"  {one.system}", one.external_id or "-", one.what) for one in report.links],
    )
    print_table(
        to,
        ["  field", "survivor", "absorbed", "becomes", "why"],
        [
            (
                f"  {one.field}",
                value_text(one.survivor, members_of(plan, one.field)),
                value_text(one.absorbed, members_of(plan, one.field)),
                "(a person is asked)" if one.review else value_text(one.after, members_of(plan, one.field)),
                one.why,
            )
            for one in report.fields
        ],
    )


def _show_unmerge(engine: Engine, report: UnmergeReport) -> None:
    to, plan = console(), engine.plans[report.entity]
    say(to, f"merge {report.merge}: {report.entity} {report.absorbed} leaves {report.survivor}", style="bold")
    print_table(
        to,
        ["  system", "id there"],
        [(f"  {system}", external_id or "-") for system, external_id in report.links],
        title="links that go with it",
    )
    print_table(
        to,
        ["  field", "now", "survivor", "absorbed"],
        [
            (
                f"  {one.field}",
                *(
                    value_text(value, members_of(plan, one.field))
                    for value in (one.merged, one.survivor, one.absorbed)
                ),
            )
            for one in report.fields
        ],
    )
    say(
        to,
        f"{many(sum(report.again), 'later decision')} judged again: {report.again[0]} for the survivor, "
        f"{report.again[1]} for the other",
    )
    for one in report.left:
        number = f" (decision {one.decision})" if one.decision else ""
        say(to, f"stays with the survivor: {one.what}{number}")
