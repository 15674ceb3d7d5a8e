"""HubSpot: contacts and companies, and which company a contact belongs to.

Fields are properties (text; "" or null when empty) under their internal names, plus `company_id` of contacts: the
primary company, an association. Custom properties are fields like any other. To be set up in HubSpot: a private app
with the scopes `crm.objects.contacts` and `crm.objects.companies` (read, write); a text property `syncbroker_id` with
unique values on both objects; webhook subscriptions for creation, deletion, merge, association change and the mapped
properties.

Reads by id see every write at once. Search lags "a few moments" (developers.hubspot.com/docs/api-reference/latest/crm/
search-the-crm), so polls overlap; finding a contact by its address, or any record by `syncbroker_id`, does not go
through search. A company's other keys do: that is its declared `lag`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec

from connectors.hubspot import webhooks
from connectors.hubspot.api import (
    BASE,
    COMPANY,
    MERGED,
    OBJECTS,
    STATUSES,
    Api,
    Batch,
    Moment,
    Record,
    Records,
    item,
    message,
    micros,
)
from connectors.hubspot.associations import Associations, listed
from connectors.hubspot.setup import CREDENTIALS, OPTIONS, STAMP
from connectors.hubspot.writes import Writer, text
from syncbroker.core.types import Event, Item, Micros, Receipt, Write
from syncbroker.decoding import convert
from syncbroker.errors import BadSetting, Missing, Refused, Reject, Unavailable
from syncbroker.sdk.connector import Account, Change, Delivery, FieldSpec, Hook, ObjectSpec, Page
from syncbroker.sdk.webhook import secrets

LIST_LIMIT = 100
SEARCH_LIMIT = 200
SEARCH_CEILING = 10_000
OVERLAP = 60_000
"""ms by which a poll goes back behind what it has seen: longer than the index lags and clocks differ."""
MODIFIED = {"contacts": "lastmodifieddate", "companies": "hs_lastmodifieddate"}

_TEXT, _OURS = FieldSpec(), FieldSpec(writable=False, clearable=False)
_SHARED = {
    **dict.fromkeys(
        ("website", "phone", "address", "city", "state", "zip", "country", "lifecyclestage"), _TEXT
    ),
    **dict.fromkeys(("createdate", "hs_object_id", MERGED), _OURS),
}
_BATCH = {"create": 100, "update": 100, "delete": 100}


class HubSpot:
    kind: ClassVar[str] = "hubspot"
    credentials_schema: ClassVar[Mapping[str, Any]] = CREDENTIALS
    options_schema: ClassVar[Mapping[str, Any]] = OPTIONS
    objects: ClassVar[Mapping[str, ObjectSpec]] = {
        "contacts": ObjectSpec(
            name="contacts",
            stamp_path=STAMP,
            fields={
                **dict.fromkeys(
                    ("email", "firstname", "lastname", "mobilephone", "company", "jobtitle"), _TEXT
                ),
                **_SHARED,
                COMPANY: FieldSpec(refers_to="companies"),
                "lastmodifieddate": _OURS,
                "hs_email_domain": _OURS,
            },
            open_fields=True,
            stamp=1_000,
            batch=_BATCH,
            shows=False,
            history=True,
            events=True,
            keys=("email", STAMP, "phone", "mobilephone", "firstname", "lastname", "company"),
        ),
        "companies": ObjectSpec(
            name="companies",
            stamp_path=STAMP,
            fields={
                **dict.fromkeys(
                    ("name", "domain", "description", "numberofemployees", "annualrevenue"), _TEXT
                ),
                **_SHARED,
                "hs_lastmodifieddate": _OURS,
            },
            open_fields=True,
            stamp=1_000,
            lag=10.0,
            batch=_BATCH,
            shows=False,
            history=True,
            events=True,
            keys=("domain", STAMP, "name", "phone"),
        ),
    }

    def __init__(self, account: Account) -> None:
        token = account.credentials["access_token"]
        http = account.http(
            account.url or BASE,
            headers={"Authorization": f"Bearer {token}"},
            message=message,
            statuses=STATUSES,
        )
        self._account = account
        self._token = token
        self._stamp = str(account.options.get("stamp_property", STAMP))
        self._app_id = str(account.options.get("app_id", ""))
        self._api = Api(http)
        self._associations = Associations(self._api)
        self._writer = Writer(self._api, self._associations, stamp=self._stamp, lookup=self._lookup)

    # ---- reading ----

    def scan(self, object: str, paths: Sequence[str], *, resume: str | None = None) -> Iterator[Page]:
        """Pages of 100, ascending by id: `after` is the id that the next page begins with, so a record that stands
        throughout is seen, whatever is created or deleted meanwhile."""
        linked = _linked(object, paths)
        params = {
            "limit": LIST_LIMIT,
            "properties": ",".join(_properties(paths)),
            "associations": "companies" if linked else None,
        }
        after = resume
        while True:
            page = self._api.call("GET", f"{OBJECTS}/{object}", Records, params={**params, "after": after})
            after = page.after
            items = [item(each, listed(each)) if linked else item(each) for each in page.results]
            yield Page(items=items, resume=after, proven=after is None)
            if after is None:
                return

    def start_cursor(self, object: str, began: Micros) -> str | None:
        return str(began // 1000 - OVERLAP)

    def poll(
        self, object: str, paths: Sequence[str], *, cursor: str, resume: str | None = None
    ) -> Iterator[Page]:
        """By search, ascending by time of modification; the cursor is that time in ms. Archived records are not found.

        Each page asks again from the last time seen instead of turning pages: a record that is modified meanwhile
        leaves its place, and would pull others over the edge of a page unseen. This also stays below the 10,000 results
        that one query gives. Pages are turned only within one millisecond; Refused if that holds more than the ceiling.
        """
        at = _Position.parse(resume) if resume else _Position(since=int(cursor), newest=int(cursor))
        while True:
            found = self._changed(object, paths, at)
            items = self._items(object, found.results, paths)
            times = [_modified(object, each) for each in found.results]
            newest = max([at.newest, *times])
            if found.after is None or not times:
                yield Page(items=items, cursor=str(max(int(cursor), newest - OVERLAP)))
                return
            if times[-1] > at.since:
                at = _Position(since=times[-1], newest=newest)
            else:
                at = _Position(since=at.since, after=int(found.after), newest=newest)
            if at.after + SEARCH_LIMIT > SEARCH_CEILING:
                raise Refused(
                    f"more than {SEARCH_CEILING} {object} share one time of modification",
                    hint="a sweep reads them all",
                    system=self._account.system,
                )
            yield Page(items=items, resume=str(at))

    def read(self, object: str, ids: Sequence[str], paths: Sequence[str]) -> list[Item]:
        """Batches of 100. An id that the batch does not know is looked for in the recycle bin, then asked for alone:
        only such a request tells that the record was merged into another one."""
        items = []
        for start in range(0, len(ids), LIST_LIMIT):
            asked = list(dict.fromkeys(ids[start : start + LIST_LIMIT]))
            # whatever else a merged id might give, only what was asked for counts
            found = [each for each in self._batch_read(object, asked, paths) if each.id in asked]
            items += self._items(object, found, paths)
            missing = _without(asked, items)
            items += [item(each) for each in self._batch_read(object, missing, paths, archived=True)]
            items += [self._gone(object, id) for id in _without(missing, items)]
        return items

    def find(self, object: str, keys: Mapping[str, Any], paths: Sequence[str]) -> list[Item]:
        """By a unique property without lag where the keys hold one, else by search, which compares without regard to
        case. A contact is also found by an address that it had besides its primary one."""
        if any(value in (None, "") for value in keys.values()):
            return []
        unique = next((name for name in self._unique(object) if name in keys), None)
        if unique is None:
            return self._items(object, self._matching(object, keys, paths), paths)
        try:
            records = self._batch_read(object, [text(keys[unique])], [*paths, *keys], by=unique)
        except Reject:  # the property is not unique in this account
            return self._items(object, self._matching(object, keys, paths), paths)
        rest = {name: text(value).casefold() for name, value in keys.items() if name != unique}
        fitting = [
            each
            for each in records
            if all(text(each.properties.get(name)).casefold() == value for name, value in rest.items())
        ]
        return self._items(object, fitting, paths)

    def history(self, object: str, id: str, path: str) -> list[Change]:
        """Empty for `company_id`: HubSpot keeps the history of properties only."""
        if path == COMPANY:
            return []
        record = self._api.call(
            "GET", _one(object, id), Record, params={"properties": path, "propertiesWithHistory": path}
        )
        return [
            Change(
                value=entry.value,
                at=micros(entry.timestamp),
                ours=entry.source_type in webhooks.INTEGRATION and entry.source_id == self._app(),
                actor=webhooks.actor(entry.source_type, entry.source_id),
            )
            for entry in record.properties_with_history.get(path, [])
        ]

    # ---- writing ----

    def write(self, object: str, writes: Sequence[Write], paths: Sequence[str]) -> list[Receipt]:
        """One call, and for updates that name `company_id` one or two more (see `writes`)."""
        return self._writer.write(object, writes)

    def job(
        self, object: str, job: str, writes: Sequence[Write], paths: Sequence[str]
    ) -> list[Receipt] | None:
        raise Refused("HubSpot answers writes at once; there are no jobs", system=self._account.system)

    # ---- deliveries ----

    def answer_check(self, delivery: Delivery) -> str | None:
        return None

    def authenticate(self, delivery: Delivery) -> None:
        webhooks.authenticate(delivery, secrets(self._account.credentials))

    def delivery_id(self, delivery: Delivery) -> str:
        return webhooks.delivery_id(delivery)

    def sample(self, url: str, at: Micros) -> Delivery:
        return webhooks.sample(url, at, secrets(self._account.credentials)[0])

    def hooks(self, url: str, objects: Sequence[str]) -> list[Hook]:
        raise webhooks.no_api(url, objects, self._account.system)

    def register(self, url: str, objects: Sequence[str]) -> Hook:
        raise webhooks.no_api(url, objects, self._account.system)

    def events(self, delivery: Delivery) -> list[Event]:
        return webhooks.events(delivery)

    # ---- inside ----

    def _changed(self, object: str, paths: Sequence[str], at: _Position) -> Records:
        since = {"propertyName": MODIFIED[object], "operator": "GTE", "value": str(at.since)}
        return self._search(object, [since], paths, sort=MODIFIED[object], after=at.after)

    def _matching(self, object: str, keys: Mapping[str, Any], paths: Sequence[str]) -> list[Record]:
        """The first 200; who finds that many has no key."""
        filters = [
            {"propertyName": name, "operator": "EQ", "value": text(value)} for name, value in keys.items()
        ]
        return self._search(object, filters, paths, sort="hs_object_id").results

    def _search(
        self,
        object: str,
        filters: Sequence[Mapping[str, str]],
        paths: Sequence[str],
        *,
        sort: str,
        after: int = 0,
    ) -> Records:
        body = {
            "filterGroups": [{"filters": filters}],
            "sorts": [{"propertyName": sort, "direction": "ASCENDING"}],
            "properties": [*dict.fromkeys([*_properties(paths), MODIFIED[object]])],
            "limit": SEARCH_LIMIT,
            "after": str(after),
        }
        return self._api.call("POST", f"{OBJECTS}/{object}/search", Records, json=body, repeatable=True)

    def _batch_read(
        self, object: str, ids: Sequence[str], paths: Sequence[str], *, by: str = "", archived: bool = False
    ) -> list[Record]:
        if not ids:
            return []
        body: dict[str, Any] = {
            "inputs": [{"id": id} for id in ids],
            "properties": _properties(paths),
            "propertiesWithHistory": [],
        }
        if by:
            body["idProperty"] = by
        params = {"archived": "true"} if archived else None
        path = f"{OBJECTS}/{object}/batch/read"
        return self._api.call("POST", path, Batch, json=body, params=params, repeatable=True).results

    def _items(self, object: str, records: Sequence[Record], paths: Sequence[str]) -> list[Item]:
        """Neither batch read nor search gives associations (developers.hubspot.com/docs/api-reference/latest/crm/
        using-object-apis), so those come from a second call."""
        if not _linked(object, paths):
            return [item(each) for each in records]
        companies = self._associations.primaries([each.id for each in records])
        return [item(each, companies[each.id]) for each in records]

    def _gone(self, object: str, id: str) -> Item:
        try:
            record = self._api.call("GET", _one(object, id), Record)
        except Missing:
            return Item(id=id, fields={}, deleted=True)
        if record.id == id:  # it appeared between the two reads
            raise Unavailable(
                f"HubSpot does not agree with itself about {object} {id}", system=self._account.system
            )
        return Item(id=id, fields={}, complete=False, merged_into=record.id)

    def _unique(self, object: str) -> list[str]:
        own = [self._stamp] if self._stamp else []
        return [*own, "email"] if object == "contacts" else own

    def _lookup(self, object: str, values: Mapping[str, Any]) -> str:
        if object != "contacts" or not values.get("email"):
            return ""
        found = self._batch_read(object, [text(values["email"])], [], by="email")
        return found[0].id if found else ""

    def _app(self) -> str:
        """The id under which this account's own writes stand in histories."""
        if not self._app_id:
            path = "/oauth/v2/private-apps/get/access-token-info"
            try:
                info = self._api.call(
                    "POST", path, _TokenInfo, json={"tokenKey": self._token}, repeatable=True
                )
            except Reject as error:
                raise BadSetting(
                    "HubSpot does not tell to which app the access token belongs",
                    hint="write the app's id as option app_id",
                    system=self._account.system,
                ) from error
            self._app_id = str(info.app_id)
        return self._app_id


class _TokenInfo(msgspec.Struct, frozen=True, rename="camel"):
    app_id: int


class _Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where a poll stands: times in ms, `after` is an offset among the records from `since` on."""

    since: int
    after: int = 0
    newest: int

    def __str__(self) -> str:
        return f"{self.since}:{self.after}:{self.newest}"

    @classmethod
    def parse(cls, written: str) -> _Position:
        since, after, newest = map(int, written.split(":"))
        return cls(since=since, after=after, newest=newest)


def _properties(paths: Sequence[str]) -> list[str]:
    """What to ask for: always also the ids of records that were merged into one, its aliases."""
    return [*(path for path in dict.fromkeys(paths) if path not in (COMPANY, MERGED)), MERGED]


def _linked(object: str, paths: Sequence[str]) -> bool:
    return object == "contacts" and COMPANY in paths


def _modified(object: str, record: Record) -> int:
    """ms, of the property that polls filter by."""
    held = record.properties.get(MODIFIED[object])
    try:
        return micros(convert(held, Moment)) // 1000
    except msgspec.ValidationError as error:
        raise Unavailable(f"HubSpot's search shows no {MODIFIED[object]}: {error}") from error


def _one(object: str, id: str) -> str:
    return f"{OBJECTS}/{object}/{quote(id, safe='')}"


def _without(ids: Sequence[str], items: Sequence[Item]) -> list[str]:
    known = {each.id for each in items}
    return [id for id in ids if id not in known]
