"""What the broker remembers of one record: golden values, and per link and field `held`, `base` and `sent`.

Frozen values; the store keeps them as JSON. A field group counts as one field whose value is a tuple.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from syncbroker.core.types import Micros, Value


class FieldState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One field on one link.

    held: `raw` as last seen and its canonical `value`; `invalid` says why there is none.
    base: `base`, the golden value this link was last in step with, once it `met` one.
    sent: (value, until µs) pairs of writes that were not seen to arrive; dropped after `until`.
    `known`: values held or sent since the last edit here: none of them is news when seen late.
    `equivalent`: (golden, shown): the system showed `shown` in its answer to our writing `golden`.
    `ignored`: a divergence that was let stand: (held,) by a rule, whatever the golden value; (held, golden) by a person
    who did not want this very value written.
    `blocked`: what is held cannot be read (yet), so nothing is pushed over it. `review`: the open question about it.
    `edited`: when it was last edited here (µs), kept where authority lapses. `flips`: how often in a row it came back
    to an earlier value.
    """

    raw: Any = None
    value: Value = None
    invalid: str = ""
    met: bool = False
    base: Value = None
    sent: tuple[tuple[Value, Micros], ...] = ()
    known: tuple[Value, ...] = ()
    equivalent: tuple[Value, Value] | None = None
    ignored: tuple[Value, ...] | None = None
    blocked: bool = False
    review: int = 0
    edited: Micros = 0
    flips: int = 0


class Golden(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One golden value. `source`: the system whose edit it is, "" for a person's answer or nothing yet.

    (`since`, `until`): when the edit was made, as an interval in µs. `decision` set it. `frozen`: candidates of the
    review that holds the field still, by system ("" is the golden value's own). `owner`: who had authority when it was
    last looked at, kept where authority is conditional or lapses.
    """

    value: Value = None
    source: str = ""
    since: Micros = 0
    until: Micros = 0
    decision: int = 0
    frozen: dict[str, Value] | None = None
    review: int = 0
    owner: str = ""


class LinkState(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One link of a record.

    `n`: the dense link number. `order`: the system's stamp of the last state, or `seen` where it has none. `seen`: the
    broker's clock at the END of the read or write that gave the last state. `since`: the order of the read that our
    last write was based on. `ours`: fields which that write set, while its state is the last one. `rules`: the mapping
    version under which the canonical values here were made. `open`: a write is under way, observations wait.
    `status`: live; planned (its create is owed, no external id yet); queued (a review asks which record it is); gone
    (deleted at the vendor; a review asks what follows, or its grace runs until `ends`). `review`: that review.
    """

    n: int
    system: str
    object: str
    external_id: str | None
    status: Literal["live", "planned", "queued", "gone"] = "live"
    primary: bool = True
    order: Micros = 0
    seen: Micros = 0
    since: Micros = 0
    ours: tuple[str, ...] = ()
    consent: str | None = None
    rules: str = ""
    open: bool = False
    review: int = 0
    ends: Micros = 0
    fields: dict[str, FieldState] = {}


class Record(msgspec.Struct):
    """The golden record of one real thing, with its links by number in the order they were made.

    The two tables are filled and changed by whoever holds the record; what is in them is frozen. `seal`: that of its
    last decision, "" before the first, None where it is not known and must be looked up.
    """

    id: str
    entity: str
    golden: dict[str, Golden] = {}
    by_number: dict[int, LinkState] = {}
    seal: str | None = ""

    @property
    def links(self) -> tuple[LinkState, ...]:
        return tuple(self.by_number.values())


UNSEEN = FieldState()
NOTHING = Golden()
