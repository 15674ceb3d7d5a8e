"""`undo`: set back what a run, a mapping version, or a system since some time decided."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from syncbroker.cli.decisions import moment
from syncbroker.cli.opening import opened
from syncbroker.cli.output import Json, console, known, many, plain, print_json, print_table, say, usage
from syncbroker.cli.words import members_of, value_text

if TYPE_CHECKING:
    from rich.console import Console

    from syncbroker.engine import Engine
    from syncbroker.engine.retrace import Left
    from syncbroker.engine.scope import Scope
    from syncbroker.engine.undo import Undone

SHOWN = 20
"""How many values and reasons are shown one by one; `--json` lists more."""


def undo(
    *,
    run: Annotated[
        int | None, typer.Argument(metavar="[RUN]", help="The run whose decisions are undone.")
    ] = None,
    mapping: Annotated[
        str, typer.Option(metavar="VERSION", help="Instead: what rules decided under this mapping version.")
    ] = "",
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="Instead, with --system: what was decided since 2h, 3d, or an ISO time."
        ),
    ] = "",
    system: Annotated[str, typer.Option(help="With --since: on edits in this system.")] = "",
    entity: Annotated[str, typer.Option(help="Only records of this entity.")] = "",
    field: Annotated[str, typer.Option(help="Only this field.")] = "",
    creates: Annotated[
        bool,
        typer.Option(
            "--creates", help="Also undo what was created in systems, by each link's delete policy."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    person: Annotated[str, typer.Option(help="Who decides this.", show_default="you")] = "",
    as_json: Json = False,
) -> None:
    """Set values back to what they were before a run's decisions (or those of a version, or since a time).

    Shows what would be done, then asks. Values that were changed since are left, with the reason.

    Exit code 2 when there is nothing to undo, or nobody to ask and no --yes.
    """
    from syncbroker.engine.undo import carry_out, plan

    with opened() as engine:
        with usage():
            _check(engine, system, entity, field)
            scope = _scope(engine, run, mapping, since, system, entity=entity, field=field)
        planned = plan(engine, scope, creates=creates)
        to = console(stderr=as_json)
        if not as_json:
            _show(to, engine, planned)
        if planned.empty:
            if as_json:
                print_json(planned)
            raise typer.Exit(2)
        if not yes:
            if as_json:
                print_json(planned)
            _ask(f"Undo {scope.words}?", asks=not as_json)
        done = carry_out(engine, scope, person or getpass.getuser(), creates=creates)
    if as_json:
        print_json(done)
        return
    say(to)
    say(
        to,
        f"run {done.run} set back {many(done.values, 'value')}{_and_made(done)}; syncbroker undo {done.run} undoes it",
    )
    owed = sum(done.writes.values())
    if owed or done.unmade:
        say(to, "serve or the next sync writes it out")


def _scope(
    engine: Engine, run: int | None, mapping: str, since: str, system: str, *, entity: str, field: str
) -> Scope:
    from syncbroker.engine import scope as scopes

    given = [run is not None, bool(mapping), bool(since or system)]
    if sum(given) != 1 or (given[2] and not (since and system)) or (run is not None and run < 1):
        raise typer.BadParameter(
            "name a run, or --mapping, or --since with --system\n    hint: syncbroker undo --help"
        )
    if run is not None:
        return scopes.of_run(engine, run, entity=entity, field=field)
    if mapping:
        return scopes.of_mapping(engine, mapping, entity=entity, field=field)
    return scopes.Scope(since=moment(since), system=system, entity=entity, field=field)


def _check(engine: Engine, system: str, entity: str, field: str) -> None:
    known("system", engine.mapping.systems, [system] if system else [])
    known("entity", engine.plans, [entity] if entity else [])
    plans = [engine.plans[entity]] if entity else engine.plans.values()
    known("field", sorted({name for one in plans for name in one.fields}), [field] if field else [])


def _ask(question: str, *, asks: bool) -> None:
    if not asks or not sys.stdin.isatty():
        raise typer.BadParameter(
            f"{question} There is nobody to ask\n    hint: --yes undoes it without asking"
        )
    typer.confirm(question, abort=True)


def _show(to: Console, engine: Engine, planned: Undone) -> None:
    if planned.empty:
        say(to, f"undoing {planned.scope} changes nothing: {_left_words(planned) or 'it decided nothing'}")
    else:
        say(
            to,
            f"undoing {planned.scope} sets back {many(planned.values, 'value')}{_and_made(planned)}",
            "bold",
        )
    labels = {one.record: one.label for one in planned.reverted}
    print_table(
        to,
        ["  record", "field", "now", "goes back to", "decision", "is written to", "stays"],
        [
            (
                f"  {one.entity}:{labels[one.record] or one.record}",
                one.field,
                value_text(one.now, members_of(engine.plans.get(one.entity), one.field)),
                value_text(one.back, members_of(engine.plans.get(one.entity), one.field)),
                str(one.decisions[0]),
                ", ".join(one.writes),
                ", ".join(f"{system} ({why})" for system, why in one.stays.items()),
            )
            for one in planned.reverted[:SHOWN]
        ],
        title="values",
    )
    _more(to, planned.values)
    print_table(
        to,
        ["  record", "in", "id there", "what becomes of it"],
        [
            (f"  {one.entity}:{one.record}", f"{one.system} {one.object}", one.external_id, one.what)
            for one in planned.made[:SHOWN]
        ],
        title="created in systems",
    )
    _more(to, planned.made_count)
    print_table(
        to,
        ["  record", "field", "why it is left"],
        [
            (f"  {one.entity}:{one.label or one.record}", one.field or "record", _why(one))
            for one in planned.left[:SHOWN]
        ],
        title="left as it is",
    )
    _more(to, sum(planned.left_by_reason.values()))


def _more(to: Console, total: int) -> None:
    if total > SHOWN:
        say(to, f"  ... and {total - SHOWN:,} more")


def _why(left: Left) -> str:
    by = f" ({left.kind} by {plain(left.actor)})" if left.kind else ""
    return f"{left.why}: decision {left.decision}{by}" if left.decision else left.why


def _left_words(planned: Undone) -> str:
    return ", ".join(f"{count:,} {why}" for why, count in planned.left_by_reason.items())


def _and_made(done: Undone) -> str:
    return f" and undoes {many(done.unmade, 'create')}" if done.unmade else ""
