"""`decisions --verify` and `--export-heads`: the proof that nobody changed the decision log."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from syncbroker.cli.opening import opened_store
from syncbroker.cli.output import console, many, print_json, say

if TYPE_CHECKING:
    from syncbroker.settings import Settings
    from syncbroker.store.chain import Broken
    from syncbroker.store.database import Store
    from syncbroker.store.heads import Kept

SHOWN = 20
"""How many broken chains are told one by one."""


def verify(heads: Path | None, *, as_json: bool) -> None:
    """Walk every chain. Exit code 1 when one is broken."""
    from syncbroker.settings import read_settings
    from syncbroker.store.heads import Kept
    from syncbroker.store.schema import require_current

    settings = read_settings()
    with opened_store(settings) as store:
        require_current(store)
        kept = Kept(store, heads, settings.read_keys()) if heads else None
        try:
            found = _walked(store, kept)
        finally:
            if kept is not None:
                kept.close()
    if as_json:
        print_json(found)
    else:
        _show(found, heads)
    if found["broken"]:
        raise typer.Exit(1)


def _walked(store: Store, kept: Kept | None) -> dict[str, Any]:
    from syncbroker.store.chain import Broken, walk

    begun, chains, rows, unsealed, wrong = time.perf_counter(), 0, 0, 0, 0
    told: list[Broken] = []
    for one in walk(store, kept.take if kept else lambda _: None):
        chains, rows, unsealed = chains + 1, rows + one.count, unsealed + one.unsealed
        if one.broken is not None:
            wrong += 1
            told += [one.broken] if len(told) < SHOWN else []
    if kept is not None and (gone := kept.left()):
        wrong += gone
        what = f"{many(gone, 'chain')} of the exported heads: all their decisions were removed"
        told.append(Broken(chain="", decision=0, what=what))
    return {
        "chains": chains,
        "decisions": rows,
        "unsealed": unsealed,
        "broken": wrong,
        "first": [msgspec.to_builtins(one) for one in told],
        "seconds": time.perf_counter() - begun,
    }


def _show(found: dict[str, Any], heads: Path | None) -> None:
    to = console()
    speed = found["decisions"] / found["seconds"] if found["seconds"] else 0
    say(
        to,
        f"{many(found['decisions'], 'decision')} in {many(found['chains'], 'chain')}, {speed:,.0f} a second",
    )
    if found["unsealed"]:
        say(to, f"  {found['unsealed']:,} from before decisions were sealed: nothing is known of these")
    for one in found["first"]:
        number = f", decision {one['decision']}" if one["decision"] else ""
        where = f"{one['chain']}{number}: " if one["chain"] else ""  # of one that is gone nothing names it
        say(to, f"  {where}{one['what']}")
    if found["broken"] > len(found["first"]):
        say(to, f"  and {found['broken'] - len(found['first']):,} more")
    if not found["broken"]:
        told = (
            f"since {heads.name} was exported" if heads else "(a log that is gone with its record: --heads)"
        )
        say(to, f"nothing was altered, removed, inserted or moved {told}")


def export(file: Path, *, as_json: bool) -> None:
    """Append the heads of all chains to a file."""
    from syncbroker.bootstrap import wall_clock
    from syncbroker.settings import read_settings
    from syncbroker.store import heads
    from syncbroker.store.schema import require_current

    settings: Settings = read_settings()
    with opened_store(settings) as store:
        require_current(store)
        keys = settings.read_keys()
        count, broken = heads.export(store, file, wall_clock(), keys)
    if broken is not None:
        _refused(broken)
    by = "SYNCBROKER_KEYS" if keys else "the store's own key"
    if as_json:
        print_json({"file": str(file), "chains": count, "signed": "keys" if keys else "store"})
    else:
        say(
            console(),
            f"the heads of {many(count, 'chain')} went to {file}, signed with {by}; keep it elsewhere",
        )


def _refused(broken: Broken) -> None:
    typer.echo(f"nothing was exported: {broken.chain}, decision {broken.decision}: {broken.what}", err=True)
    raise typer.Exit(1)
