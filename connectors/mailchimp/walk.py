"""Reading a whole audience without losing anybody to shifting pages.

GET /lists/{list_id}/members has no cursor: with `offset`, a member that changes or leaves while the pages are read
moves the others, and some are never seen. So the list is read in the order of `last_changed`, and each request asks
from the newest time seen on (`since_last_changed`, exclusive: "changed after") and skips only what it has of that very
second. A member that changes meanwhile moves to the end and is read there again. The last row of a page is asked for
twice: if it is not in its place, that second is read again from its start.

Whether everybody was seen is not believed but counted: what lies before the window and what the vendor says lies in it
must add up to the same total on every page.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Row(msgspec.Struct, frozen=True):
    """One row of a page. `changed`: `last_changed` in Unix seconds, 0 when the vendor shows none."""

    id: str
    changed: int


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the next page starts: members changed after `since` (Unix seconds; None: all), `offset` of them skipped.

    `before`: how many members lie before the window. `total`: how many there were in all on the first page, -1 before
    it. `steady`: no page contradicted another so far. `last`: the id that the next page must begin with and that was
    seen already, "" for any.
    """

    since: int | None = None
    offset: int = 0
    before: int = 0
    total: int = -1
    steady: bool = True
    last: str = ""


def advance(place: Place, rows: Sequence[Row], in_window: int) -> tuple[Place | None, bool]:
    """The place after a page (None: it was the last), and whether everybody up to here was certainly seen.

    `in_window`: the vendor's `total_items` for the page's filter.
    """
    total = place.before + in_window
    times = [row.changed for row in rows]
    ordered = times == sorted(times) and (place.since is None or not times or times[0] > place.since)
    in_place = not place.last or (bool(rows) and rows[0].id == place.last)
    steady = place.steady and ordered and in_place and place.total in (-1, total)
    following = msgspec.structs.replace(place, total=total if place.total < 0 else place.total, steady=steady)
    if place.steady and not in_place:
        return msgspec.structs.replace(following, offset=0, last=""), False
    end = place.offset + len(rows)
    if not rows or end >= in_window:
        return None, steady and end == in_window
    if not ordered or len(rows) == 1:
        # a list that ignores the order or the filter: read it to its end, draw no conclusions
        return msgspec.structs.replace(following, offset=end, last=""), steady
    newest, last = times[-1], rows[-1].id
    if place.since == newest - 1:
        return msgspec.structs.replace(following, offset=end - 1, last=last), steady
    older = sum(time < newest for time in times)
    return msgspec.structs.replace(
        following,
        since=newest - 1,
        before=place.before + place.offset + older,
        offset=len(rows) - older - 1,
        last=last,
    ), steady
