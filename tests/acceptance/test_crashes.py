"""kill -9 at every step between a webhook and the answer to the last write: the systems end as if nothing had happened.

What each system holds is compared with a run in which the same people did the same and nobody died.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncbroker.demo.scene import Scene
from syncbroker.demo.stage import PATIENCE, Stage, raised
from syncbroker.demo.views import member_id
from tests.acceptance.support import cast_only, with_emails

DYING = Path(__file__).with_name("dying.py")

PEOPLE = {"stored": "ines", "staged": "oskar", "decided": "leila", "accepted": "nadia", "answered": "mara"}
"""Who changes their address when; somebody new signs up each time as well."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Point -> what the systems hold of those who acted then, after a run without crashes."""
    with raised(tmp_path_factory.mktemp("undisturbed"), cast_only()) as stage:
        stage.make_store()
        stage.serve()
        for point, name in PEOPLE.items():
            act(stage, point, name)
        Scene(stage, {}).settle()
        yield {point: with_emails(stage, addresses(stage, point, name)) for point, name in PEOPLE.items()}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A broker that can be made to die; whoever finds it dead starts it again."""
    with raised(tmp_path_factory.mktemp("disturbed"), cast_only()) as raised_stage:
        raised_stage.program = [sys.executable, str(DYING)]
        raised_stage.make_store()
        yield raised_stage


def act(stage: Stage, point: str, name: str) -> None:
    """One person changes their address in the preference centre, and one signs up."""
    marketing, person = stage.systems["marketing"], stage.world.people[name]
    old, new, somebody = addresses(stage, point, name)
    assert old == person.email
    marketing.edit("members", member_id(old), {"email_address": new})
    merge = {"merge_fields.FNAME": "Noor", "merge_fields.LNAME": f"Newcomer {point.title()}"}
    marketing.insert("members", {"email_address": somebody, **merge})


def addresses(stage: Stage, point: str, name: str) -> list[str]:
    """The old and the new address of the one, and that of the other."""
    return [stage.world.people[name].email, f"{name}@new.example.org", f"newcomer-{point}@new.example.org"]


def end_after(stage: Stage, point: str, name: str) -> dict[str, Any]:
    """What the systems hold after the broker died at the point while people acted, and was started again."""
    if stage.serving is None:
        stage.serve()
    at = stage.folder / "die-at"
    if point == "accepted":
        stage.systems["crm"].fault("hang_after", "contacts.*create*", seconds=300.0)
    else:
        at.write_text(point)
    act(stage, point, name)
    process = stage.serving
    assert process is not None
    if point == "accepted":
        somebody = addresses(stage, point, name)[2]
        scene = Scene(stage, {})
        scene.until("the CRM has taken a create", lambda: has_taken(stage, "crm"))
        # a create that may or may not have reached SendGrid is left alone for its lag, which is half a minute
        scene.until("the mail tool has them", lambda: bool(scene.with_email("mail", somebody)))
        process.kill()
    assert process.wait(PATIENCE) == -signal.SIGKILL
    at.unlink(missing_ok=True)
    stage.stop_serving()
    stage.serve()
    Scene(stage, {}).settle()
    return with_emails(stage, addresses(stage, point, name))


def has_taken(stage: Stage, system: str) -> bool:
    """Whether a write was done whose answer is being held back."""
    return any(one.fault == "hang_after" for one in stage.systems[system].log())


@pytest.mark.parametrize("point", PEOPLE)
def test_a_broker_killed_at_any_step_ends_in_the_same_state_after_it_was_started_again(
    stage: Stage, undisturbed: dict[str, Any], point: str
) -> None:
    assert end_after(stage, point, PEOPLE[point]) == undisturbed[point]
    newcomers = with_emails(stage, [f"newcomer-{point}@new.example.org"])
    assert {system: len(found) for system, found in newcomers.items()} == {
        "crm": 1, "marketing": 1, "billing": 0, "support": 0, "mail": 1,
    }  # fmt: skip
