"""What may be answered to a review: a few answers by name, each with what it does."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from syncbroker.core.types import Value
from syncbroker.store.decisions import Review


class Offer(msgspec.Struct, frozen=True):
    """One possible answer: its `name`, what it does, and the value it would make golden (if it makes one)."""

    name: str
    what: str
    value: Value = None


def offers(review: Review) -> list[Offer]:
    """What may be answered. Reviews about a field of a record also take a new value (`takes_value`)."""
    return _OFFERS[review.kind](review)


def takes_value(review: Review) -> bool:
    return bool(review.field and review.record_id)


def _candidates(review: Review) -> list[Offer]:
    return [
        Offer(system or "golden", "take this value" if system else "keep the golden value", value)
        for system, value in review.body["candidates"].items()
    ]


def _contested(review: Review) -> list[Offer]:
    if review.body.get("paused"):
        return [Offer("resume", f"let {review.field} be written to {review.system} again")]
    return _candidates(review)


def _proposal(review: Review) -> list[Offer]:
    return [
        Offer("accept", f"take the value of {review.system}", review.body["value"]),
        Offer("reject", f"put the golden value back into {review.system}", review.body["golden"]),
    ]


def _invalid(review: Review) -> list[Offer]:
    found = [Offer("ignore", f"let {review.system} keep it")]
    golden = review.body["golden"]
    if golden is not None:
        found.insert(0, Offer("keep", f"write the golden value over it in {review.system}", golden))
    return found


def _match(review: Review) -> list[Offer]:
    return [
        *(Offer(id_, "it is this record") for id_ in review.body["records"]),
        Offer("new", "it is none of them: make a new record"),
    ]


def _merge(review: Review) -> list[Offer]:
    first, second = review.body["records"]
    return [
        Offer(first, f"they are one: merge {second} into it"),
        Offer(second, f"they are one: merge {first} into it"),
        Offer("keep", "they are different"),
    ]


def _delete(review: Review) -> list[Offer]:
    if review.body.get("made"):
        return [
            Offer("detach", f"{review.system} keeps it, and it is not linked again"),
            Offer("delete", f"delete it in {review.system}"),
            Offer("keep", "keep it there, linked as it is"),
        ]
    if review.body.get("edited"):
        return [
            Offer("propagate", "delete it in every system"),
            Offer("keep", "keep it where it still is"),
        ]
    return [
        Offer("detach", f"accept it: {review.system} will not get the record again"),
        Offer("propagate", "delete it in the other systems as well"),
        Offer("recreate", f"create it again in {review.system}"),
    ]


def _guard(review: Review) -> list[Offer]:
    if review.body["waits"] == "pushes":
        return [Offer("approve", "send the writes"), Offer("drop", "undo what owes them")]
    return [
        Offer("approve", "decide what was read"),
        Offer("drop", "forget it; the next sweep finds what still differs"),
    ]


def _refused(review: Review) -> list[Offer]:
    return [Offer("retry", "send it again"), Offer("drop", f"let {review.system} differ")]


_OFFERS: dict[str, Callable[[Review], list[Offer]]] = {
    "conflict": _candidates,
    "contested": _contested,
    "proposal": _proposal,
    "invalid": _invalid,
    "match": _match,
    "merge": _merge,
    "delete": _delete,
    "guard": _guard,
    "refused": _refused,
}
