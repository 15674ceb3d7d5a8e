"""Which failures hold calls back."""

from __future__ import annotations

import pytest

from syncbroker.engine import breaker
from syncbroker.errors import Missing, SyncbrokerError, Unauthorised, Unavailable
from syncbroker.store import runs
from tests.engine.conftest import Worlds

FIELDS = "  email: {type: email, systems: {crm: email, mkt: email}}\n"


@pytest.mark.parametrize(
    ("error", "counted"),
    [(Unavailable("503"), 1), (Unauthorised("401"), 1), (Missing("404"), 0)],
)
def test_a_reading_of_one_object_counts_what_is_about_its_whole_system(
    world: Worlds, error: SyncbrokerError, counted: int
) -> None:
    here = world(FIELDS, {"crm": [], "mkt": []})
    with pytest.raises(SyncbrokerError), breaker.reading(here.engine, "crm", lasting=False):
        raise error
    with here.engine.store.read() as tx:
        assert runs.breaker(tx, breaker.reads("crm")).failures == counted
