"""The invariants, checked one by one in a world at rest.

The oracle believes the systems' contents, and the world's own log of edits and of the writes that reached them. Of the
broker it asks only what an operator may (`asked.py`): which records are linked, what is in review, what `status`
counts, and, where an invariant is about decisions, the decision log. What it must not call a violation are the limits
that no rule removes (docs/simulation.md); each is one named excuse here, and counted.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from syncbroker.core.plan import Field, Plan, Reader
from syncbroker.core.types import Type, Value
from syncbroker.simulation.asked import Asked, Linked, ask
from syncbroker.simulation.lost import BLURRING, Losses, plan_of
from syncbroker.simulation.play import Play
from syncbroker.simulation.systems import Collection, Mark, Row, plain
from syncbroker.simulation.verdicts import Verdicts
from syncbroker.simulation.world import Wrote


@dataclass(frozen=True)
class Held:
    """What one link's system holds of one field: `value` is None, too, where it has no canonical form (`invalid`)."""

    link: Linked
    reader: Reader
    here: Collection
    row: Row
    value: Value
    invalid: str
    marks: tuple[Mark, ...]

    @property
    def touched(self) -> bool:
        """Somebody but the broker set it last."""
        return any(mark.by != "ours" for mark in self.marks)


def check(play: Play) -> Verdicts:
    """Every invariant of a history that has come to rest."""
    return _Oracle(play).check()


class _Oracle:
    def __init__(self, play: Play) -> None:
        self.play, self.world, self.stage = play, play.world, play.stage
        self.asked: Asked = ask(play.engine)
        self.found = Verdicts()
        self.groups: dict[str, list[Linked]] = defaultdict(list)
        self.linked: dict[tuple[str, str, str, str], Linked] = {}
        for one in self.asked.links:
            self.groups[one.record].append(one)
            if one.external_id is not None:
                self.linked[one.system, one.object, one.external_id, one.entity] = one
        self.references = {
            (one.system, one.entity, str(one.external_id)): one.record
            for one in self.asked.links
            if one.external_id is not None
        }
        self.losses = Losses(play, self.asked, self.references, self.found)
        self.answered = {(one.review.record_id, one.review.field) for one in play.answers}
        self.let_be = {
            (one.review.record_id, one.review.system, one.review.field)
            for one in play.answers
            if one.choice in ("ignore", "drop")
        }
        self.dropped = {
            (one.review.record_id, one.review.system) for one in play.answers if one.choice == "drop"
        }
        self.frozen = {
            (one.record_id, one.field) for one in self.asked.reviews if one.kind in ("conflict", "contested")
        }
        self.asked_about = {
            (one.link, one.field) for one in self.asked.reviews if one.kind in ("proposal", "invalid")
        }
        self.refused = {
            (one.link, name)
            for one in self.asked.reviews
            if one.kind == "refused"
            for name in one.body.get("values", {})
        }

    def check(self) -> Verdicts:
        if self.play.failed:
            self.found.wrong(9, f"the broker failed: {self.play.failed}")
            self._note_decisions()
            return self.found
        for record, links in self.groups.items():
            plan = self.stage.plans.get(links[0].entity)
            if plan is None:
                continue
            for name in plan.fields:
                self._field(record, plan, plan.fields[name], links)
        self._writes_stop()
        self._no_duplicates()
        self.losses.check()
        self._nothing_silent()
        self._note_decisions()
        return self.found

    def _note_decisions(self) -> None:
        for decision, outcome in self.asked.outcomes():
            self.found.kinds[outcome.kind] += 1
            if outcome.policy:
                self.found.branches[f"{outcome.policy} {outcome.kind}"] += 1
            value = f" {outcome.question.value!r}" if outcome.question and outcome.field else ""
            text = f"{outcome.kind} {outcome.field}{value} {outcome.system}: {outcome.why}"
            self.found.decisions[decision.record_id].append(text)

    # ---- 1 and 5: what the systems hold ----

    def _field(self, record: str, plan: Plan, one: Field, links: list[Linked]) -> None:
        held = [found for link in links if (found := self._held(plan, one, link)) is not None]
        if not held:
            return
        self.found.checked[1] += 1
        self.found.checked[9] += 1
        self._counted(record, plan, one, held)
        if (record, one.name) in self.frozen:
            self.found.excused["in review"] += 1
            return
        bound = [h for h in held if h.reader.pushes(one.name) and not self._stands_apart(record, one, h)]
        fed = [h for h in held if h.reader.pulls(one.name)]
        if one.rule.policy == "seed":
            self._seeded(record, one, held, bound)
            return
        filled = [h for h in bound if h.value is not None]
        if one.rule.empty == "keep" and all(h.value is None for h in fed):
            # nobody who is listened to has a value: what others have is let stand
            return
        if len({h.value for h in bound}) > 1 and self._unlike(one, bound):
            shown = ", ".join(f"{h.link.system} {h.value!r}" for h in bound)
            self.found.wrong(1, f"{plan.entity.name}.{one.name} differs for ever: {shown}", record)
        elif filled or fed:
            self._authority(record, one, held, bound)

    def _unlike(self, one: Field, bound: list[Held]) -> bool:
        """Whether they hold different things, apart from what a system makes of what it is given."""
        return any(
            a.value != b.value
            and not (self._made_of(one, a, b) or self._made_of(one, b, a))
            and not (self._cannot_refer(one, a, b) or self._cannot_refer(one, b, a))
            for a in bound
            for b in bound
        )

    def _made_of(self, one: Field, a: Held, b: Held) -> bool:
        """What `b`'s system holds is what it makes of `a`'s value."""
        if not b.here.rewrites:
            return False
        sent = b.reader.render(one.name, a.value, {}) or {}
        fields = b.row.now.fields
        return bool(sent) and all(
            plain(b.here.kept(path, raw)) == plain(fields.get(path)) for path, raw in sent.items()
        )

    def _cannot_refer(self, one: Field, a: Held, b: Held) -> bool:
        """What `a` refers to is not there in the system of `b`: its reference waits."""
        if one.rule.type is not Type.REFERENCE or a.value is None:
            return False
        there = [link.system for link in self.groups.get(str(a.value), ()) if link.status == "live"]
        return b.link.system not in there

    def _stands_apart(self, record: str, one: Field, h: Held) -> bool:
        """A declared divergence, or a question that waits."""
        if (h.link.number, one.name) in self.asked_about | self.refused:
            self.found.excused["in review"] += 1
            return True
        if (record, h.link.system, one.name) in self.let_be or (record, h.link.system) in self.dropped:
            self.found.excused["let be by a person"] += 1
            return True
        if h.invalid:
            self.found.excused["unreadable"] += 1
            return True
        if one.rule.on_foreign_edit == "ignore" and (h.touched or self._was_dropped(one, h)):
            self.found.excused["ignored by the mapping"] += 1
            return True
        return bool(self._waits_for_reference(one, h))

    def _was_dropped(self, one: Field, h: Held) -> bool:
        """A write that was confirmed and not made looks like an edit, and edits there are ignored."""
        paths = {part.path for part in h.reader.fields[one.name]}
        return any(
            wrote.how == "dropped" and wrote.uid == h.row.uid and not paths.isdisjoint(wrote.values)
            for wrote in self.world.wrote
        )

    def _waits_for_reference(self, one: Field, h: Held) -> bool:
        """A reference whose target the system does not have cannot be written there."""
        if all(member.type is not Type.REFERENCE for member in one.members) or h.value is not None:
            return False
        self.found.excused["reference to what is not there"] += 1
        return True

    def _seeded(self, record: str, one: Field, held: list[Held], bound: list[Held]) -> None:
        """Whoever has nothing is given what stands."""
        there = [h for h in held if h.value is not None and h.reader.pulls(one.name)]
        if there and any(h.value is None for h in bound):
            lacks = ", ".join(h.link.system for h in bound if h.value is None)
            self.found.wrong(1, f"{one.name} was never filled in {lacks}", record)

    def _held(self, plan: Plan, one: Field, link: Linked) -> Held | None:
        reader = plan.readers.get(link.system)
        if reader is None or one.name not in reader.fields or link.status != "live" or not link.primary:
            return None
        here = self.world.collections[link.system, link.object]
        row = here.rows.get(link.external_id or "")
        if row is None:
            return None
        raws = [row.now.fields.get(part.path) for part in reader.fields[one.name]]
        seen = reader.see(one.name, raws, self.references)
        marks = tuple(row.marks[part.path] for part in reader.fields[one.name] if part.path in row.marks)
        return Held(link, reader, here, row, None if seen.invalid else seen.value, seen.invalid, marks)

    def _authority(self, record: str, one: Field, held: list[Held], bound: list[Held]) -> None:
        """Where foreign edits are reverted, everybody holds what the owner holds, and it is the owner's own."""
        rule = one.rule
        if rule.policy != "enforce" or rule.on_foreign_edit != "revert" or rule.terms:
            return
        owner = next((h for name in rule.authority for h in held if h.link.system == name), None)
        if owner is None or owner.invalid or owner.value is None or not owner.reader.pulls(one.name):
            return
        if (owner.link.number, one.name) in self.asked_about or (record, one.name) in self.answered:
            return
        self.found.checked[5] += 1
        if (record, owner.link.system, one.name) in self.let_be:
            return
        if not owner.reader.pushes(one.name) and bound and self._unlike(one, [owner, *bound]):
            shown = ", ".join(f"{h.link.system} {h.value!r}" for h in [owner, *bound])
            self.found.wrong(
                5, f"{one.name} is not what its owner {owner.link.system} holds: {shown}", record
            )
        if owner.link.system == rule.authority[0] and owner.touched is False:
            self._owner_overruled(record, one, owner)

    def _owner_overruled(self, record: str, one: Field, owner: Held) -> None:
        """The broker wrote over its owner's last value."""
        paths = [part.path for part in owner.reader.fields[one.name]]
        if len(paths) != 1:
            return
        path = paths[0]
        mine = [e for e in self.world.edits if e.uid == owner.row.uid and e.path == path]
        if not mine or (owner.link.system, owner.link.object) not in self.world.collections:
            return
        last = mine[-1]
        seen = owner.reader.see(one.name, [last.raw], self.references)
        if seen.invalid or seen.value is None or seen.value == owner.value:
            return
        over = next(
            w
            for w in self.world.wrote
            if w.uid == owner.row.uid and path in w.values and w.made and w.at >= last.at
        )
        if self.losses.excuse(over, owner.here, last.at, owner.reader, one, seen.value):
            return
        text = f"{one.name} of its owner {owner.link.system} was {seen.value!r} and is now {owner.value!r}"
        self.found.wrong(5, text, record)

    def _counted(self, record: str, plan: Plan, one: Field, held: list[Held]) -> None:
        """9: what differs is counted by `status`."""
        entity = plan.entity.name
        for a in held:
            for b in held:
                systems = [h.link.system for h in (a, b)]
                if a.value == b.value or any((s, entity, one.name) in self.asked.differing for s in systems):
                    continue
                if one.rule.type is Type.REFERENCE:  # what one of them refers to is gone
                    continue
                text = f"{entity}.{one.name} differs in {' and '.join(systems)}, and status does not count it"
                self.found.wrong(9, text, record)
                return

    # ---- 2 ----

    def _writes_stop(self) -> None:
        self.found.checked[2] += 1
        quiet = self.play.quiet
        if quiet.writes or quiet.decisions or quiet.reviews:
            did = f"{quiet.writes} writes, {quiet.decisions} decisions, {quiet.reviews} reviews"
            self.found.wrong(2, f"the world never comes to rest: the last full sync and sweep made {did}")
        if not any(self.world.counts[name] for name in BLURRING if name != "second_worker"):
            for one in self.world.wrote:
                self._was_needed(one)
        for text in self.world.broken:
            self.found.wrong(2, text)

    def _was_needed(self, one: Wrote) -> None:
        """A system is not written what a write of ours has set there already."""
        if one.op != "update" or not one.made or one.how:
            return
        self.found.checked[2] += 1
        here = self.world.collections[one.system, one.object]
        if here.rewrites or here.spec.lag:
            return
        if all(
            (mark := one.marks.get(path)) and mark.by == "ours" and mark.raw == raw
            for path, raw in one.values.items()
        ):
            self.found.wrong(
                2, f"{one.system} was written the same twice: {dict(one.values)}", str(one.stamp_id)
            )

    # ---- 3 ----

    def _no_duplicates(self) -> None:
        """One create per record, system and generation; none of what the system had already."""
        alive: dict[tuple[str, str, str], int] = {}
        for one in self.world.wrote:
            key = (one.system, one.object, str(one.stamp_id))
            if one.op == "update" and one.made:
                alive.setdefault(key, one.uid)
            if one.op != "create" or not one.made:
                continue
            self.found.checked[3] += 1
            here = self.world.collections[one.system, one.object]
            before = here.by_uid.get(alive.get(key, 0))
            if before is not None and (before.ends is None or before.ends > one.at):
                self.found.wrong(3, f"{one.system} got the record twice", str(one.stamp_id))
            elif before is not None and not self._may_return(one, before):
                self.found.wrong(3, f"{one.system} got again what was deleted there", str(one.stamp_id))
            self._was_there(one, here)

    def _may_return(self, one: Wrote, before: Row) -> bool:
        """A deleted record is made anew only where the mapping or a person says so."""
        plan = plan_of(self.stage, one)
        if plan is None or plan.readers[one.system].rule.delete == "recreate":
            return True
        if any(w.op == "delete" and w.uid == before.uid for w in self.world.wrote):
            return False
        return any(a.review.record_id == one.stamp_id and a.choice == "recreate" for a in self.play.answers)

    def _was_there(self, one: Wrote, here: Collection) -> None:
        """The system already had a record with the same match keys, and could have said so."""
        plan = plan_of(self.stage, one)
        if plan is None:
            return
        reader = plan.readers[one.system]
        for rule in plan.entity.match:
            if rule.then != "link" or any(name not in reader.fields for name in rule.on):
                continue
            paths = [reader.fields[name][0].path for name in rule.on]
            if not set(paths) <= set(here.spec.keys) or any(path not in one.values for path in paths):
                continue
            keys = {path: one.values[path] for path in paths}
            pairs = frozenset((path, str(plain(raw))) for path, raw in keys.items())
            asked = self.world.looked.get((one.system, one.object, pairs), one.at)
            when = asked - int(here.spec.lag * 1_000_000)
            for row in here.by_uid.values():
                state = row.at(when)
                there = state and all(plain(state.fields.get(p)) == plain(raw) for p, raw in keys.items())
                if (
                    row.uid != one.uid
                    and there
                    and (row.ends is None or row.ends > one.at)
                    and self._kept(row, keys)
                ):
                    self.found.wrong(
                        3, f"{one.system} had {', '.join(map(str, keys.values()))} already", str(one.stamp_id)
                    )

    def _kept(self, row: Row, keys: dict[str, object]) -> bool:
        """It held these values without a break, so that no moment of asking could have missed it."""
        return all(
            all(plain(state.fields.get(path)) == plain(raw) for path, raw in keys.items())
            for state in row.states
        )

    # ---- 9 ----

    def _nothing_silent(self) -> None:
        status = self.asked.status
        self.found.checked[9] += 1
        if status.observations:
            self.found.wrong(9, f"{status.observations} observations are still waiting")
        if status.unfinished:
            self.found.wrong(9, f"{len(status.unfinished)} runs are unfinished")
        if status.deliveries.get("new"):
            self.found.wrong(9, f"{status.deliveries['new']} deliveries were never dealt with")
        for one in status.systems:
            stuck = {state: n for state, n in one.pushes.items() if state not in ("refused", "waiting")}
            if stuck:
                self.found.wrong(9, f"pushes to {one.name} are stuck: {stuck}")
        tombstoned = {
            (c.system, c.object) for c in status.counters if c.what in ("tombstoned", "merged_at_vendor")
        }
        for (system, object_), source in self.stage.sources.items():
            for row in self.world.collections[system, object_].rows.values():
                for plan, _ in source.readers:
                    self.found.checked[9] += 1
                    known = (system, object_, row.id, plan.entity.name) in self.linked
                    if (
                        not known
                        and not self._queued(system, object_)
                        and (system, object_) not in tombstoned
                    ):
                        self.found.wrong(9, f"{system} {object_} {row.id} is not linked, and nothing says so")

    def _queued(self, system: str, object_: str) -> bool:
        return any(one.kind == "match" and one.system == system for one in self.asked.reviews)
