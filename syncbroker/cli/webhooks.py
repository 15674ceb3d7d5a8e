"""`webhooks register`, `list` and `test`: what vendors are asked to tell, and whether it gets through."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncbroker.cli.opening import opened
from syncbroker.cli.output import Json, console, known, print_json, print_table, say

if TYPE_CHECKING:
    from syncbroker.engine import Engine

app = typer.Typer(help="Set up webhooks at the vendors, and try them.", no_args_is_help=True)

Systems = Annotated[list[str] | None, typer.Argument(metavar="[SYSTEM]...", help="Only these systems.")]
PATIENCE = 10.0
"""Seconds that a worker may take to deal with a sample."""


@app.command("register")
def register(systems: Systems = None, as_json: Json = False) -> None:
    """See to it that each vendor tells this broker what the mapping needs.

    An existing webhook with our address is put right rather than joined by a second one. A signing secret that the
    vendor tells is shown, once: it belongs into the system's credentials.
    """
    from syncbroker.sdk.connector import Registers

    def ask(connector: Any, url: str, objects: list[str]) -> dict[str, Any]:
        if not isinstance(connector, Registers):
            return {"told": "its connector registers no webhooks"}
        hook = connector.register(url, objects)
        return {"id": hook.id, "url": hook.url, "secret": hook.secret, "told": "registered"}

    _each(systems, as_json, ask, ["told", "id", "url", "secret"])


@app.command("list")
def list_(systems: Systems = None, as_json: Json = False) -> None:
    """Show what is registered at the vendors: whose it is, whether it is enabled, and which events it lacks."""
    from syncbroker.sdk.connector import Registers

    def ask(connector: Any, url: str, objects: list[str]) -> list[dict[str, Any]]:
        if not isinstance(connector, Registers):
            return [{"told": "its connector lists no webhooks"}]
        found = connector.hooks(url, objects)
        told: list[dict[str, Any]] = [
            {
                "id": one.id,
                "url": one.url,
                "ours": one.ours,
                "enabled": one.enabled,
                "missing": list(one.missing),
                "told": "ours" if one.ours else "somebody else's",
            }
            for one in found
        ]
        return told if any(one.ours for one in found) else [*told, {"told": "none of them is ours"}]

    _each(systems, as_json, ask, ["told", "id", "url", "enabled", "missing"])


@app.command("test")
def try_out(systems: Systems = None, as_json: Json = False) -> None:
    """Send a signed sample to our own public address, and say what happens at each step.

    Nothing of a record is in it, and nothing is changed: it is counted as an event that is not known.
    """
    from syncbroker.sdk.connector import Samples
    from syncbroker.web import trial

    failed = False
    found: dict[str, Any] = {}
    with opened() as engine:
        public = _public()
        for name in _chosen(engine, systems):
            connector: Any = engine.connectors[name]
            if not isinstance(connector, Samples):
                continue
            url = trial.url_of(public, name)
            steps = trial.attempt(engine.store, connector, url, engine.now(), PATIENCE, time.sleep)
            found[name] = steps
            failed = failed or not all(one.ok for one in steps)
    if as_json:
        print_json(found)
    else:
        rows = [
            (name, one.step, "yes" if one.ok else "NO", one.told)
            for name, all_ in found.items()
            for one in all_
        ]
        print_table(console(), ["system", "step", "", "told"], rows)
    raise typer.Exit(int(failed))


def _each(systems: list[str] | None, as_json: bool, ask: Any, columns: list[str]) -> None:
    """Ask the vendor of each system. What one refuses is told, and the others are asked all the same."""
    from syncbroker.errors import SyncbrokerError
    from syncbroker.web.trial import url_of

    failed = False
    found: dict[str, list[dict[str, Any]]] = {}
    with opened() as engine:
        public = _public()
        for name in _chosen(engine, systems):
            objects = [o for system, o in engine.sources if system == name]
            objects = [o for o in objects if engine.connectors[name].objects[o].events]
            url = url_of(public, name)
            try:
                told = ask(engine.connectors[name], url, objects)
            except SyncbrokerError as error:
                failed = True
                told = {"told": f"{error.message}. {error.hint}".rstrip(". ")}
            found[name] = told if isinstance(told, list) else [told]
    if as_json:
        print_json(found)
    else:
        rows = [
            (name, *(_text(one.get(column, "")) for column in columns))
            for name, all_ in found.items()
            for one in all_
        ]
        print_table(console(), ["system", *columns], rows)
        if not rows:
            say(console(), "no system of the mapping has webhooks")
    raise typer.Exit(int(failed))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)


def _chosen(engine: Engine, systems: list[str] | None) -> list[str]:
    """Those that were named, or all that have webhooks about what the mapping reads."""
    known("system", engine.mapping.systems, systems or ())
    telling = {
        system for system, object_ in engine.sources if engine.connectors[system].objects[object_].events
    }
    return [name for name in engine.mapping.systems if (name in systems if systems else name in telling)]


def _public() -> str:
    from syncbroker.settings import read_settings

    return read_settings().public_url
