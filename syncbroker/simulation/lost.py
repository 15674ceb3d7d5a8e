"""Invariant 4: nothing that anybody but the broker wrote is lost, and nothing is judged more often than it came.

The limits that no rule removes are named in `excuse`, and nowhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from syncbroker.core.mapping import ValueSpec
from syncbroker.core.plan import Field, Plan, Reader
from syncbroker.core.types import Micros, Value
from syncbroker.simulation.asked import Asked
from syncbroker.simulation.play import Play
from syncbroker.simulation.stage import Stage
from syncbroker.simulation.systems import Collection
from syncbroker.simulation.verdicts import Verdicts
from syncbroker.simulation.world import Wrote

_BEGINS = ("created", "linked", "deleted", "delete_queued", "resolved_by_person")

WINDOW: Micros = 5_000_000
"""The longest time between the re-check and the write that it is for: a few calls, and a job that takes a while."""

BLURRING = (
    "answer_lost", "landed_late", "write_dropped", "batch_half", "server_error", "killed", "second_worker",
    "stale_read",
    "outage", "rate_limited", "rate_limited_blindly",
)  # fmt: skip
"""Faults after which a value of ours may be seen as if for the first time."""


class Losses:
    """`references` lead from an external id to a record, as the broker has linked them."""

    def __init__(
        self, play: Play, asked: Asked, references: Mapping[tuple[str, str, str], str], found: Verdicts
    ) -> None:
        self.world, self.stage = play.world, play.stage
        self.asked, self.references, self.found = asked, references, found

    def check(self) -> None:
        """What a write of ours removed had been judged, or falls under a limit."""
        for one in self.world.wrote:
            if one.op != "update" or not one.made:
                continue
            here = self.world.collections[one.system, one.object]
            for plan, reader in self.stage.sources[one.system, one.object].readers:
                for name, parts in reader.fields.items():
                    if parts[0].path in one.values:
                        self._removed(one, here, plan, reader, plan.fields[name])
        self._once()

    def _removed(self, one: Wrote, here: Collection, plan: Plan, reader: Reader, what: Field) -> None:
        paths = [part.path for part in reader.fields[what.name]]
        marks = [mark for path in paths if (mark := one.marks.get(path)) is not None and mark.by != "ours"]
        if not marks:
            return
        at = max(mark.at for mark in marks)
        before = reader.see(what.name, [one.before.get(path) for path in paths], self.references)
        after = reader.see(what.name, [one.values.get(path) for path in paths], self.references)
        if before.value == after.value and before.invalid == after.invalid:
            return
        self.found.checked[4] += 1
        key = (one.system, plan.entity.name, what.name)
        if before.invalid:
            if before.raw in self.asked.raws[key] or before.pending:
                return
            if one.based < at:  # seen late, it is nothing to decide about
                self.found.excused["unreadable, and seen when it was gone"] += 1
                return
        elif before.value in self.asked.judged[key]:
            return
        if before.value is None and not self._was_set(one, here, reader, what, at):
            return
        if self.excuse(one, here, at, reader, what, before.value):
            return
        text = f"{plan.entity.name}.{what.name} in {one.system}: {before.value!r} was overwritten and never judged"
        self.found.wrong(4, text, str(one.stamp_id or ""))

    def _was_set(self, one: Wrote, here: Collection, reader: Reader, what: Field, at: Micros) -> bool:
        """The broker knew a value of it from before it was emptied, so that the emptying could be seen."""
        paths = [part.path for part in reader.fields[what.name]]
        plan = plan_of(self.stage, one)
        judged = self.asked.judged[one.system, plan.entity.name if plan else "", what.name]
        earlier = [state for state in here.by_uid[one.uid].states if state.at < at]
        values = [
            reader.see(what.name, [s.fields.get(p) for p in paths], self.references).value for s in earlier
        ]
        return any(v is not None and (v in judged or self._sent_before(one, reader, what, v)) for v in values)

    def excuse(self, one: Wrote, here: Collection, at: int, reader: Reader, what: Field, value: Value) -> str:
        """The limit under which an edit of this time could not be saved, or ""."""
        why = ""
        lag = int(here.spec.lag * 1_000_000)
        if one.how == "late":
            why = "a request that landed late"
        elif self._sent_before(one, reader, what, value):
            why = "the same value was ours before"
        elif self._held_before(one, here, at, reader, what, value):
            why = "the same value was there before our writes"
        elif not here.spec.conditional and at > max(one.based, one.at - WINDOW) - lag:
            why = "" if self._told_in_time(one, here, at) else "the window between re-check and write"
        if why:
            self.found.excused[why] += 1
        return why

    def _held_before(
        self, one: Wrote, here: Collection, at: int, reader: Reader, what: Field, value: Value
    ) -> bool:
        """The system held it until writes of ours: seen late, it may be an echo of that time."""
        paths = [part.path for part in reader.fields[what.name]]
        states = [state for state in here.by_uid[one.uid].states if state.at < at]
        seen = [
            reader.see(what.name, [s.fields.get(p) for p in paths], self.references).value for s in states
        ]
        ours = [n for n, state in enumerate(states) if n and state.by == "ours" and seen[n] != seen[n - 1]]
        return bool(ours) and value in seen[: ours[-1]]

    def _told_in_time(self, one: Wrote, here: Collection, at: Micros) -> bool:
        """A webhook showed the edit, with a version between the read and the write, before anything newer was to
        be seen."""
        row = here.by_uid[one.uid]
        edited, based = row.at(at), row.at(one.based)
        ours = next((state for state in row.states if state.by == "ours" and state.at >= one.at), None)
        if here.spec.stamp is None or edited is None or based is None or ours is None:
            return False
        if not based.stamp < edited.stamp < ours.stamp:
            return False
        after = [state.at for state in row.states if state.at > ours.at]
        until = min(after, default=self.world.clock.at)
        attempts = [w.at for w in self.world.wrote if w.uid == one.uid and w.at > one.at]
        until = min([until, *attempts])
        return any(
            heard.uid == one.uid
            and heard.stamp == edited.stamp
            and heard.at < until
            and heard.fields == edited.fields
            for heard in self.world.heard
            if (heard.system, heard.object) == (one.system, one.object)
        )

    def _sent_before(self, one: Wrote, reader: Reader, what: Field, value: Value) -> bool:
        """A write of ours had set the value, or tried to."""
        here = self.world.collections[one.system, one.object]
        paths = [part.path for part in reader.fields[what.name]]
        for other in self.world.wrote:
            if other.uid != one.uid or other.at >= one.at or paths[0] not in other.values:
                continue
            for raws in (
                [other.values.get(path) for path in paths],
                [here.kept(path, other.values.get(path)) for path in paths],
            ):
                if reader.see(what.name, raws, self.references).value == value:
                    return True
        return False

    def _once(self) -> None:
        """However often an edit was observed, it is judged once: as often, at most, as a value came to be there."""
        if self.world.counts["stale_read"]:
            return
        came = self._came()
        begun: Counter[str] = Counter()
        judged: Counter[tuple[str, str, str, Value]] = Counter()
        for decision, outcome in self.asked.outcomes():
            if outcome.kind in _BEGINS:
                begun[outcome.system] += 1  # a link that begins anew is seen for the first time once more
            question = outcome.question
            if question and outcome.field and not question.invalid and outcome.kind != "resolved_by_person":
                judged[outcome.system, decision.entity, outcome.field, question.value] += 1
        for (system, _), here in self.world.collections.items():
            begun[system] -= sum(row.states[0].by != "ours" for row in here.by_uid.values())
        plans = self.stage.plans
        for (system, entity, name, value), times in judged.items():
            if entity in plans and any(part.entity for part in self._specs(entity, name)):
                continue  # what a reference led to may be gone
            left = came[system, entity, name, value] - times
            self.found.checked[4] += 1
            dropped = sum(one.how == "dropped" and one.system == system for one in self.world.wrote)
            if left + max(0, begun[system]) + dropped < 0:
                self.found.wrong(
                    4, f"{entity}.{name} {value!r} in {system} was judged more often than it came"
                )

    def _specs(self, entity: str, name: str) -> list[ValueSpec]:
        field = self.stage.plans[entity].fields.get(name)
        return [member.spec for member in field.members] if field else []

    def _came(self) -> Counter[tuple[str, str, str, Value]]:
        """(system, entity, field, value) -> in how many states it was there."""
        came: Counter[tuple[str, str, str, Value]] = Counter()
        sharp = not any(self.world.counts[name] for name in BLURRING)
        for (system, object_), source in self.stage.sources.items():
            states = [
                s for row in self.world.collections[system, object_].by_uid.values() for s in row.states
            ]
            # what we wrote is no edit when it is seen, unless something blurred it
            states = [state for state in states if state.by != "ours" or not sharp]
            for plan, reader in source.readers:
                for name, parts in reader.fields.items():
                    for state in states:
                        raws = [state.fields.get(part.path) for part in parts]
                        came[
                            system, plan.entity.name, name, reader.see(name, raws, self.references).value
                        ] += 1
        return came


def plan_of(stage: Stage, one: Wrote) -> Plan | None:
    """The only entity that the written object is read by."""
    found = [plan for plan, _ in stage.sources[one.system, one.object].readers]
    return found[0] if len(found) == 1 else None
