"""The program `syncbroker`: its commands, and what a person sees when something is wrong."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from syncbroker import __version__
from syncbroker.cli import (
    audit,
    backup,
    check,
    db,
    decisions,
    drift,
    explain,
    lift,
    merge,
    pause,
    replay,
    retention,
    retry,
    review,
    schedule,
    serve,
    simulate,
    status,
    sync,
    undo,
    webhooks,
)
from syncbroker.errors import BadMapping, SyncbrokerError

app = typer.Typer(
    name="syncbroker",
    help="Keeps the customer data of several systems in agreement, and can explain every decision.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("check")(check.check)
app.command("sync")(sync.sync)
app.command("sweep")(sync.sweep)
app.command("status")(status.status)
app.command("pause")(pause.pause)
app.command("resume")(pause.resume)
app.command("retry")(retry.retry)
app.command("audit")(audit.audit)
app.command("schedule")(schedule.schedule)
app.command("explain")(explain.explain)
app.command("decisions")(decisions.decisions)
app.command("drift")(drift.drift)
app.command("replay")(replay.replay)
app.command("undo")(undo.undo)
app.add_typer(review.app, name="review")
app.command("lift")(lift.lift)
app.command("merge")(merge.merge)
app.command("unmerge")(merge.unmerge)
app.add_typer(webhooks.app, name="webhooks")
app.command("serve")(serve.serve)
app.command("worker")(serve.worker)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("retention")(retention.retention)
app.command("scheduler")(serve.scheduler)
app.add_typer(db.app, name="db")
app.command("simulate")(simulate.simulate)
if find_spec("syncbroker.demo.command") is not None:
    app.command("demo")(import_module("syncbroker.demo.command").demo)


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"syncbroker {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


def run(arguments: list[str]) -> int:
    """One command; its exit code. Every error becomes one message on standard error, never a traceback."""
    as_json = "--json" in arguments
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="syncbroker", standalone_mode=False)
    except BadMapping as error:
        for problem in () if as_json else error.problems:
            typer.echo(problem, err=True)  # bare, so that editors find the place
        _tell(_described(error), error.message, as_json)
        return 1
    except SyncbrokerError as error:
        _tell(_described(error), str(error), as_json)
        return 1
    except typer.TyperException as error:
        return _usage(error, as_json)
    except typer.Abort:
        _tell({"kind": "Aborted", "message": "not confirmed"}, "not confirmed; nothing was done", as_json)
        return 1
    except OSError as error:
        message = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
        _tell({"kind": type(error).__name__, "message": message}, message, as_json)
        return 1
    except Exception as error:  # noqa: BLE001  # a fault of ours is told in one line, too
        return _fault(error, as_json)
    if code == 130:
        _tell(
            {"kind": "Interrupted", "message": "interrupted"},
            "interrupted; what was done is kept, and the next run goes on from there",
            as_json,
        )
    return int(code or 0)


def _described(error: SyncbrokerError) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "system": error.system,
    }
    if isinstance(error, BadMapping):
        found["problems"] = [problem._asdict() for problem in error.problems]
    return found


def _usage(error: typer.TyperException, as_json: bool) -> int:
    """A wrong command line; `--help` of the command that was meant is the hint."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "syncbroker"
    message = (
        error.message if isinstance(error, typer.BadParameter) and not error.param else error.format_message()
    )
    message, _, hint = message.partition("\n    hint: ")
    hint = hint or f"{command} --help"
    _tell({"kind": "Usage", "message": message, "hint": hint}, f"{message}\n    hint: {hint}", as_json)
    return error.exit_code


def _fault(error: Exception, as_json: bool) -> int:
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}:{last.lineno}"
    message = f"this is a fault of syncbroker: {type(error).__name__} in {where}"
    hint = "set SYNCBROKER_LOG_LEVEL=DEBUG to see all of it, and report it; what was committed is safe"
    _tell({"kind": "Fault", "message": message, "hint": hint}, f"{message}\n    hint: {hint}", as_json)
    if os.environ.get("SYNCBROKER_LOG_LEVEL", "").upper() == "DEBUG":
        traceback.print_exception(error, file=sys.stderr)
    return 1


def _tell(described: dict[str, Any], text: str, as_json: bool) -> None:
    import orjson

    typer.echo(orjson.dumps({"error": described}).decode() if as_json else f"syncbroker: {text}", err=True)


def main() -> None:
    """The console script."""
    try:
        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:  # before or after the command itself
        sys.exit(130)


if __name__ == "__main__":
    main()
