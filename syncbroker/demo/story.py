"""The story, act by act: what people do at the vendors, and what must come of it.

An act makes its edits through the vendors' own hands, waits for what it expects, and tells what it saw (`scene`). The
acceptance tests play the very same acts. Their order matters only to people: later acts know what happened before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from syncbroker.demo import everyday, trouble
from syncbroker.demo.scene import Scene


class Act(NamedTuple):
    """`serving`: `syncbroker serve` runs meanwhile. An act that needs the store for itself ends it first.

    `prompt`: its time is that between an edit and its last effect. `commands` that write to the terminal themselves.
    """

    name: str
    title: str
    play: Callable[[Scene], None]
    serving: bool = True
    prompt: bool = False
    commands: tuple[str, ...] = ()


ACTS: tuple[Act, ...] = (
    Act("first_sync", "The first sync", everyday.first_sync, serving=False, commands=("sync",)),
    Act("new_address", "A new address", everyday.new_address, prompt=True),
    Act("both_at_once", "Two edits at once", everyday.both_at_once),
    Act("answered", "Questions answered", everyday.answered),
    Act("foreign_edit", "An edit where nobody may", everyday.foreign_edit, prompt=True),
    Act("proposal", "A proposal", everyday.proposal),
    Act("cleared", "Emptied on purpose, emptied by mistake", everyday.cleared, prompt=True),
    Act("unsubscribed", "No means no", everyday.unsubscribed, prompt=True),
    Act("opted_in", "And yes means yes", everyday.opted_in, prompt=True),
    Act("removed_tag", "A tag that stays away", everyday.removed_tag),
    Act("lost_answer", "A lost answer", trouble.lost_answer),
    Act("unseen_edit", "An edit that nobody saw", trouble.unseen_edit),
    Act("deleted", "A deletion", trouble.deleted),
    Act("drift", "Drift", trouble.drift),
    Act("fight", "A fight", trouble.fight),
    Act("undone", "Undone", trouble.undone),
    Act("quiet", "Quiet", trouble.quiet, serving=False),
)
"""In the order in which they are played."""
