"""What an observation means for a link: nothing, a confirmation, an edit, late, or a reason to read again (rules 1, 2).

Clocks never decide whether a value changed: a value that equals `held` is nothing, one that is in `sent` is our own
write seen to arrive, any other is an edit. Order only decides which of two states of one system is the newer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec.structs import replace

from syncbroker.core.plan import PENDING, Seen
from syncbroker.core.state import UNSEEN, FieldState, LinkState
from syncbroker.core.types import Micros, Value

KNOWN_BOUND = 8
"""How many values per field and link are remembered as no news."""


class Timing(msgspec.Struct, frozen=True):
    """How an object can be ordered: has it a stamp, how stale may a read be (µs), are its writes conditional, do its
    answers show the record afterwards."""

    stamped: bool
    lag: Micros = 0
    conditional: bool = False
    shows: bool = True


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One observation of one link. `read`: the broker asked (so `begun` orders it); otherwise it was told.

    `second`: this look was put off for another read, which has been made. `unsure`: a write's outcome was in doubt, so
    an unknown value may not build on what was held.
    """

    seen: Mapping[str, Seen]
    stamp: Micros | None
    begun: Micros
    ended: Micros
    read: bool
    second: bool = False
    unsure: bool = False
    consent: str | None = None
    field_times: Mapping[str, Micros] = {}


class Edit(msgspec.Struct, frozen=True, gc=False):
    """A field whose observed value is neither what the link held nor what was sent to it.

    `flips`: how often in a row it came back to a value that it held or was sent since the edit before.
    """

    field: str
    seen: Seen
    before: FieldState
    first: bool
    late: bool
    since: Micros
    until: Micros
    flips: int = 0


class Observed(msgspec.Struct, frozen=True):
    """`again`: this look cannot be judged before another read. `superseded`: late values that were no news.

    `taken`: it is the newest state that is known, so that looking at the same thing again would tell nothing.
    """

    link: LinkState
    edits: tuple[Edit, ...] = ()
    again: bool = False
    taken: bool = False
    superseded: int = 0
    confirmed: tuple[str, ...] = ()


def observe(link: LinkState, look: Look, timing: Timing) -> Observed:
    """Rules 1 and 2 for all fields of one look at one link."""
    stamped = timing.stamped and look.stamp is not None
    order = look.stamp if stamped and look.stamp is not None else look.begun
    newer_read = look.read and look.begun >= link.seen
    if stamped and order < link.order:
        return _late(link, look, order)
    if stamped and order == link.order and not newer_read:
        news = _news(link, look)  # seen a second time: the read that it caused showed what is there now
        return Observed(link, again=news and not look.second, superseded=int(news and look.second))
    if not stamped and not newer_read:
        if look.second:
            return _late(link, look, order)
        return Observed(link, again=not look.read or _news(link, look))
    asks = look.read or not timing.shows
    if asks and not newer_read and not look.second and _contradicts(link, look):
        return Observed(link, again=True)  # an answer without a version leaves the order of the state before
    old = not stamped or order == link.order
    if old and link.ours and look.begun < link.seen + timing.lag and _stale(link, look):
        return Observed(link, again=True)
    return _fresh(link, look, order if stamped else look.ended, timing)


def _news(link: LinkState, look: Look) -> bool:
    return any(not _is_known(link.fields.get(name, UNSEEN), seen) for name, seen in look.seen.items())


def _contradicts(link: LinkState, look: Look) -> bool:
    """A field that we wrote shows something else."""
    shown = ((look.seen.get(name), link.fields.get(name, UNSEEN)) for name in link.ours)
    return any(seen is not None and seen.value != state.value for seen, state in shown)


def _stale(link: LinkState, look: Look) -> bool:
    """Within the read-after-write lag: a field that we wrote shows a value that we know it held before."""
    for name in link.ours:
        seen, state = look.seen.get(name), link.fields.get(name, UNSEEN)
        if seen is not None and seen.value != state.value and seen.value in state.known:
            return True
    return False


def _is_known(state: FieldState, seen: Seen) -> bool:
    if seen.invalid:
        return bool(state.invalid) and state.raw == seen.raw
    if not state.invalid and seen.value == state.value:
        return True
    return seen.value in state.known or any(seen.value == value for value, _ in state.sent)


def _late(link: LinkState, look: Look, order: Micros) -> Observed:
    """Rule 2: it competes, once, only if it lies between the read our last write was based on and that write."""
    fields, edits, superseded = dict(link.fields), [], 0
    for name, seen in look.seen.items():
        state = fields.get(name, UNSEEN)
        if seen.invalid or _is_known(state, seen):
            continue
        if name not in link.ours or order <= link.since:
            superseded += 1
            continue
        fields[name] = replace(state, known=_remember(state.known, seen.value))
        edits.append(Edit(name, seen, state, first=False, late=True, since=link.since, until=order))
    since = order if edits else link.since
    return Observed(replace(link, fields=fields, since=since), tuple(edits), superseded=superseded)


def _fresh(link: LinkState, look: Look, order: Micros, timing: Timing) -> Observed:
    fields, edits, confirmed = dict(link.fields), [], []
    ours = set(link.ours)
    before = link.order if timing.stamped else link.seen
    for name, seen in look.seen.items():
        state = fields.get(name, UNSEEN)
        first = name not in fields or state.invalid == PENDING
        if seen.invalid:
            if _is_known(state, seen) and name in fields:
                continue
            fields[name] = replace(
                state, raw=seen.raw, value=None, invalid=seen.invalid, equivalent=None, blocked=True
            )
            if seen.pending:  # unreadable is not empty, and no edit
                continue
        elif not first and not state.invalid and seen.value == state.value:
            if seen.raw != state.raw:
                fields[name] = replace(state, raw=seen.raw)
            continue
        elif any(seen.value == value and until > look.ended for value, until in state.sent):
            left = tuple(pair for pair in state.sent if pair[0] != seen.value)
            fields[name] = replace(
                state,
                raw=seen.raw,
                value=seen.value,
                invalid="",
                met=True,
                base=seen.value,
                sent=left,
                blocked=False,
            )
            ours.add(name)
            confirmed.append(name)
            continue
        else:
            sent = () if timing.conditional else tuple(pair for pair in state.sent if pair[1] > look.ended)
            back = not first and seen.value in state.known
            fields[name] = FieldState(
                raw=seen.raw,
                value=seen.value,
                met=state.met,
                base=state.base,
                sent=sent,
                known=(seen.value,),
                edited=state.edited,
                flips=state.flips + 1 if back else 0,
            )
            if first and seen.value is None and not state.met:  # never set: no edit
                continue
        ours.discard(name)
        point = look.field_times.get(name)
        since, until = (point, point) if point is not None else (min(before, order), order)
        flips = 0 if seen.invalid else fields[name].flips
        edits.append(Edit(name, seen, state, first, late=False, since=since, until=until, flips=flips))
    if timing.stamped and look.stamp is None:
        order = 0  # our clock says nothing about the order of the system's own versions
    order = max(order, link.order)
    link = replace(
        link,
        fields=fields,
        order=order,
        seen=max(look.ended, link.seen),
        since=link.since if ours else order,
        ours=tuple(sorted(ours)),
        consent=look.consent if look.consent is not None else link.consent,
    )
    return Observed(link, tuple(edits), taken=True, confirmed=tuple(confirmed))


# ------------------------------------------------------------------------------------- our own writes settle


def confirm(
    link: LinkState,
    written: Mapping[str, Value],
    shown: Mapping[str, Seen],
    *,
    order: Micros,
    ended: Micros,
    based_on: Micros,
    timing: Timing,
    taught: bool,
) -> LinkState:
    """Rule 6: the write arrived. `held` becomes what the answer shows and `base` the value written.

    `taught`: an answer (not a later read) shows another value than we wrote: the system rewrites it, and the two are
    equivalent from now on. `based_on`: order of the read that the write was based on; of several writes of the same
    fields in a row, the first one's counts, since none of the reads between shows what the first one removed.
    """
    fields = dict(link.fields)
    since = link.since if set(written) <= set(link.ours) else max(link.since, based_on)
    for name, value in written.items():
        state, seen = fields.get(name, UNSEEN), shown.get(name)
        if seen is None:
            seen = Seen(state.raw if state.value == value else None, value)
        rewritten = not seen.invalid and seen.value != value
        fields[name] = FieldState(
            raw=seen.raw,
            value=seen.value,
            invalid=seen.invalid,
            met=True,
            base=value,
            sent=() if timing.conditional else state.sent,
            known=_remember(_remember(state.known, value), seen.value),
            equivalent=(value, seen.value) if rewritten and taught else None,
            blocked=bool(seen.invalid),
            edited=state.edited,
            flips=state.flips,
        )
    return replace(
        link,
        fields=fields,
        order=max(link.order, order),
        seen=max(link.seen, ended),
        since=since,
        ours=tuple(sorted({*link.ours, *written})),
        open=False,
    )


def sending(link: LinkState, written: Mapping[str, Value]) -> LinkState:
    """A write is about to be sent: observations wait from now on, and what is sent is no news when it comes back."""
    fields = dict(link.fields)
    for name, value in written.items():
        state = fields.get(name, UNSEEN)
        fields[name] = replace(state, known=_remember(_remember(state.known, state.value), value))
    return replace(link, fields=fields, open=True)


def doubt(link: LinkState, written: Mapping[str, Value], until: Micros) -> LinkState:
    """Rule 1: a write not seen to arrive may still land until `until`; seeing it then is no edit."""
    fields = dict(link.fields)
    for name, value in written.items():
        state = fields.get(name, UNSEEN)
        others = tuple(pair for pair in state.sent if pair[0] != value)
        fields[name] = replace(state, sent=(*others, (value, until)))
    return replace(link, fields=fields, open=False)


def arrived(link: LinkState, written: Mapping[str, Value], seen: Mapping[str, Seen]) -> dict[str, Value]:
    """The part of a write in doubt that a settling read shows at the vendor (and that was not there before)."""
    return {
        name: value
        for name, value in written.items()
        if name in seen
        and not seen[name].invalid
        and seen[name].value == value
        and (link.fields.get(name, UNSEEN).value != value or link.fields.get(name, UNSEEN).invalid)
    }


def as_expected(link: LinkState, fields: Iterable[str], seen: Mapping[str, Seen]) -> bool:
    """The re-check: the system still holds what the push expects, in every field to be written."""
    for name in fields:
        state, now = link.fields.get(name, UNSEEN), seen.get(name)
        if now is None:
            continue
        if bool(now.invalid) != bool(state.invalid) or (
            now.raw != state.raw if now.invalid else now.value != state.value
        ):
            return False
    return True


def _remember(known: tuple[Value, ...], value: Value) -> tuple[Value, ...]:
    return known if value in known else (*known, value)[-KNOWN_BOUND:]
