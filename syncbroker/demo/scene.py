"""The hands and eyes of an act: edits as people at the vendors make them, and what the systems hold afterwards.

What a system holds is read from its simulator, never from the broker. What was decided is read from the broker's store,
to be told; an act may also expect it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from syncbroker.demo.characters import Character
from syncbroker.demo.payloads import OBJECTS
from syncbroker.demo.stage import Stage
from syncbroker.engine.answer import answer
from syncbroker.engine.find import find
from syncbroker.engine.history import Step, step
from syncbroker.errors import SyncbrokerError, Unavailable
from syncbroker.sdk.paths import get_path
from syncbroker.sdk.simulator import LogEntry
from syncbroker.store import decisions, deliveries, queues, records, tables
from syncbroker.store.decisions import Review

PATIENCE = 45.0
"""Seconds after which what was expected is not expected any more: longer than any vendor's lag, on a slow machine."""

PAUSE = 0.04
"""Seconds between two looks: a look costs the simulators time that the broker could use."""

PLACES: Mapping[str, Mapping[str, str]] = {
    "email": {
        "crm": "properties.email",
        "marketing": "email_address",
        "billing": "email",
        "support": "email",
        "mail": "email",
    },
    "phone": {
        "crm": "properties.phone",
        "marketing": "merge_fields.PHONE",
        "billing": "phone",
        "support": "phone",
        "mail": "phone_number",
    },
    "last_name": {
        "crm": "properties.lastname",
        "marketing": "merge_fields.LNAME",
        "support": "user_fields.last_name",
        "mail": "last_name",
    },
    "job_title": {"crm": "properties.jobtitle", "mail": "custom_fields.job_title"},
    "city": {"crm": "properties.city", "billing": "address.city", "mail": "city"},
    "consent": {"crm": "properties.marketing_consent", "marketing": "status"},
    "tags": {"crm": "properties.interests", "marketing": "tags", "support": "tags"},
    "contact_by": {"crm": "properties.preferred_contact", "support": "user_fields.preferred_contact"},
    "vip": {"crm": "properties.vip", "support": "user_fields.vip"},
    "language": {"crm": "properties.hs_language", "marketing": "language", "support": "locale"},
}
"""Where each system's payload has what the acts are about."""

OPERATOR = "olga"
"""Who answers the questions that wait."""


class Unmet(Exception):
    """Something that an act expects did not come about."""


@dataclass
class Told:
    """What an act has to tell. `seconds`: from the (last) edit until the systems held what was expected.

    `holds`: (value, the systems that hold it). `decided`: (record's name, what was decided about it). `output`: what a
    command printed. `unmet` is empty when every expectation held.
    """

    did: list[str] = field(default_factory=list)
    decided: list[tuple[str, Step]] = field(default_factory=list)
    holds: list[tuple[str, list[str]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float | None = None
    output: str = ""
    command: str = ""
    unmet: list[str] = field(default_factory=list)


class Scene:
    """One act on a stage. `ids`: the present external ids of every character, by name and system."""

    def __init__(self, stage: Stage, ids: dict[str, dict[str, str]]) -> None:
        self.stage = stage
        self.ids = ids
        self.told = Told()
        self._edited = time.monotonic()
        with stage.engine().store.read() as tx:
            self._before = decisions.last_id(tx)
        stage.look_at_logs()
        self._marks = dict(stage.log_ends)

    # ---- telling ----

    def did(self, text: str) -> None:
        self.told.did.append(text)

    def note(self, text: str) -> None:
        self.told.notes.append(text)

    def person(self, name: str) -> Character:
        return self.stage.world.people[name]

    # ---- people at the vendors ----

    def edit(self, system: str, name: str, changes: Mapping[str, Any], actor: str = "person") -> None:
        """`changes` in the vendor's own paths, as for `Control.edit`."""
        self.stage.systems[system].edit(OBJECTS[system], self.ids[name][system], changes, actor)
        self._edited = time.monotonic()

    def remove(self, system: str, name: str) -> None:
        self.stage.systems[system].remove(OBJECTS[system], self.ids[name][system])
        self._edited = time.monotonic()

    def insert(self, system: str, name: str, fields: Mapping[str, Any]) -> None:
        id = self.stage.systems[system].insert(OBJECTS[system], fields)
        self.ids.setdefault(name, {})[system] = id
        self._edited = time.monotonic()

    def answer(self, review: Review, choice: str, person: str) -> None:
        """What `syncbroker review resolve` does."""
        answer(self.stage.engine(), review.id, choice, person)
        self._edited = time.monotonic()

    # ---- what the systems hold ----

    def record(self, system: str, name: str) -> dict[str, Any] | None:
        """A character's record there, None when there is none under the id that is known."""
        id = self.ids[name].get(system)
        found = self.stage.systems[system].records(OBJECTS[system])
        return next((one for one in found if str(one["id"]) == id), None)

    def with_email(self, system: str, address: str) -> list[dict[str, Any]]:
        """Every record there that has this e-mail address."""
        path = PLACES["email"][system]
        found = self.stage.systems[system].records(OBJECTS[system])
        return [one for one in found if str(get_path(one, path) or "").lower() == address.lower()]

    def held(self, system: str, name: str, what: str) -> str:
        """What the system holds of a character, in a form in which systems can be compared; "" for nothing."""
        record = self.record(system, name)
        return "" if record is None else plain(what, get_path(record, PLACES[what][system]))

    def hold(self, name: str, what: str, value: str, systems: Iterable[str]) -> bool:
        return all(self.held(system, name, what) == value for system in systems)

    def until_held(
        self, name: str, what: str, value: str, systems: Iterable[str], *, shown: str = ""
    ) -> None:
        """Wait until every one of the systems holds the value, and tell it."""
        names = list(systems)
        words = shown or value or "nothing"
        self.until(f"{words} in {', '.join(names)}", lambda: self.hold(name, what, value, names))
        self.told.holds.append((words, names))

    def until(self, what: str, condition: Callable[[], bool], *, patience: float = PATIENCE) -> None:
        """Wait for something that the systems or the store must show."""
        end = time.monotonic() + patience
        while not condition():
            if time.monotonic() > end:
                raise Unmet(f"{what}: not within {patience:g} s")
            time.sleep(PAUSE)
        self.told.seconds = time.monotonic() - self._edited

    def must(self, what: str, condition: object) -> None:
        if not condition:
            raise Unmet(what)

    def writes(self, system: str) -> list[LogEntry]:
        """What the broker has written there since the act began."""
        return self.stage.systems[system].writes(self._marks[system])

    # ---- what was decided ----

    def record_id(self, name: str) -> str:
        engine = self.stage.engine()
        for system, id in self.ids[name].items():
            if found := find(engine, "contact", f"{system}:{id}"):
                return found[0]
        raise Unmet(f"the broker does not know {name}")

    def is_known(self, name: str) -> bool:
        engine = self.stage.engine()
        return any(find(engine, "contact", f"{system}:{id}") for system, id in self.ids[name].items())

    def mixed_up(self) -> tuple[list[str], int]:
        """Records whose links are really different people or companies, and how many links there are."""
        truth, mixed, count = self.stage.world.truth, [], 0
        with self.stage.engine().store.read() as tx:
            ids = [row[0] for row in tx.run(select(tables.records.c.id))]
            for record in records.load(tx, ids).values():
                links = [link for link in record.links if link.external_id is not None]
                keys = {truth[link.system][link.object].get(str(link.external_id), "") for link in links}
                count += len(links)
                if len(keys - {""}) > 1:
                    mixed.append(record.id)
        return mixed, count

    def steps(self, name: str) -> list[Step]:
        """What was decided about a character since the act began, oldest first."""
        id = self.record_id(name)
        with self.stage.engine().store.read() as tx:
            found = decisions.history(tx, id)
        return [step(one, o) for one in reversed(found) if one.id > self._before for o in one.outcomes]

    def decided(self, name: str, kind: str, field: str = "", *, where: str = "") -> Step:
        """Wait for a decision about a character (on `field`, about an edit in the system `where`), and tell it."""
        found: list[Step] = []

        def there() -> bool:
            found[:] = [
                one
                for one in self.steps(name)
                if one.kind == kind and field in ("", one.field) and where in ("", one.system)
            ]
            return bool(found)

        seconds = self.told.seconds
        self.until(f"a decision {kind} {field} about {name}", there)
        self.told.seconds = seconds
        self.told.decided.append((self.person(name).first, found[0]))
        return found[0]

    def review(self, name: str, kind: str, field: str = "") -> Review:
        """The question that waits about a character."""
        found: list[Review] = []

        def there() -> bool:
            found[:] = [
                one for one in self.reviews(kind) if field in ("", one.field) and self._is_about(one, name)
            ]
            return bool(found)

        seconds = self.told.seconds
        self.until(f"a review ({kind} {field}) about {name}", there)
        self.told.seconds = seconds
        return found[0]

    def reviews(self, kind: str) -> list[Review]:
        with self.stage.engine().store.read() as tx:
            return decisions.waiting(tx, kind=kind, limit=10_000)

    def _is_about(self, review: Review, name: str) -> bool:
        """Its link is the character's, or it has none and is about their record."""
        if review.link is None:
            return review.record_id == self.record_id(name)
        with self.stage.engine().store.read() as tx:
            known = records.link_states(tx, [review.link])
        link = known[review.link][0] if review.link in known else None
        return link is not None and self.ids[name].get(link.system) == link.external_id

    # ---- quiet ----

    def settle(self, *, patience: float = 90.0) -> None:
        """Wait until nobody has anything left to do: no webhook under way, no delivery, observation or write owed."""
        end = time.monotonic() + patience
        while True:
            self._idle()
            if not (left := self.work_left()):
                written = self.stage.look_at_logs()
                self._idle()
                if not self.work_left() and written == self.stage.look_at_logs():
                    return
            if time.monotonic() > end:
                raise Unmet(f"after {patience:g} s there is still work: {left}")
            time.sleep(3 * PAUSE)

    def work_left(self) -> dict[str, int]:
        """What the store knows to be done or under way. What waits for a person or another record is none."""
        with self.stage.engine().store.read() as tx:
            left = {
                "deliveries": len(deliveries.new(tx, 100)),
                "observations": queues.inbox_size(tx),
                **{
                    f"{state} writes to {system}": count
                    for (system, state), count in queues.outbox_counts(tx).items()
                    if state not in ("waiting", "refused", "staged")
                },
            }
        return {what: count for what, count in left.items() if count}

    def _idle(self) -> None:
        for system in self.stage.systems.values():
            system.idle()


def everybody(stage: Stage) -> dict[str, dict[str, str]]:
    """The external ids of all characters, to be kept up to date by the acts."""
    return {name: dict(person.ids) for name, person in stage.world.people.items()}


def plain(what: str, value: Any) -> str:
    """A vendor's value as every other vendor would write it."""
    if value is None:
        return ""
    if what == "tags":
        given = value.split(";") if isinstance(value, str) else value
        names = (one["name"] if isinstance(one, dict) else str(one) for one in given)
        return ", ".join(sorted(filter(None, names)))
    if what == "phone":
        return re.sub(r"[^\d+]", "", str(value))
    if what == "consent":
        return {"Opted in": "subscribed", "Opted out": "unsubscribed"}.get(str(value), str(value))
    return str(value).lower() if isinstance(value, bool) or what == "email" else str(value)


def played(act: Callable[[Scene], None], stage: Stage, ids: dict[str, dict[str, str]]) -> Told:
    """An act on the stage, and what it has to tell; an expectation that did not hold ends it."""
    scene = Scene(stage, ids)
    try:
        act(scene)
    except (Unmet, Unavailable) as error:
        scene.told.unmet.append(str(error))
    except SyncbrokerError as error:
        scene.told.unmet.append(f"{type(error).__name__}: {error}")
    return scene.told
