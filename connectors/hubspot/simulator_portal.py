"""One HubSpot account ("portal") as state, without HTTP: records with the history of each property, associations,
merges, the recycle bin, and a search index that lags behind.

Sources, where no other is named: developers.hubspot.com/docs/api-reference/latest/crm/using-object-apis and
/error-handling, and the models of hubspot-api-client 12.0.0. "Unverified" marks what none of them says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from connectors.hubspot.simulator_records import (
    KINDS,
    PRIMARY,
    PROPERTIES,
    UNLABELED,
    Property,
    Record,
    Refusal,
    Source,
    invalid,
    iso,
    issue,
    wrong,
)


class Portal:
    """All records of one account. `emit(subscription type, body)` hears of every change, whoever made it.

    `lag`: seconds until a change is searchable. `rewrite`: property -> {value as given: value as stored}, a portal
    that standardises what it is told. `merge_makes_new`: the survivor of a merge is a new record (otherwise it is the
    primary one); webhooks document both (`newObjectId`).
    """

    def __init__(
        self,
        *,
        now: Callable[[], int],
        emit: Callable[[str, Mapping[str, Any], Source], None],
        lag: float,
        rewrite: Mapping[str, Mapping[str, str]],
        merge_makes_new: bool,
    ) -> None:
        self._clock = now
        self._emit = emit
        self._lag = round(lag * 1000)
        self._rewrite = rewrite
        self._merge_makes_new = merge_makes_new
        self.properties = {name: dict(known) for name, known in PROPERTIES.items()}
        self.records: dict[str, dict[str, Record]] = {name: {} for name in KINDS}
        self.links: dict[str, dict[str, set[int]]] = {}  # contact -> company -> association types
        self._survivors: dict[tuple[str, str], str] = {}
        self._unique: dict[tuple[str, str, str], str] = {}
        self._last_id = 100

    # ---- looking ----

    def now(self) -> int:
        """Milliseconds, the resolution of all its times."""
        return self._clock() // 1000

    def define(self, object: str, new: Property) -> None:
        self.properties[object][new.name] = new

    def live(self, object: str) -> list[Record]:
        """Ascending ids, as the list endpoint pages."""
        held = self.records[object].values()
        return sorted((record for record in held if record.archived is None), key=lambda each: int(each.id))

    def archived(self, object: str) -> list[Record]:
        held = self.records[object].values()
        return sorted(
            (record for record in held if record.archived is not None), key=lambda each: int(each.id)
        )

    def get(
        self, object: str, id: str, *, by: str = "", archived: bool = False, follow: bool = False
    ) -> Record | None:
        """`by`: a unique property that `id` is a value of. `follow`: a merged id gives the survivor."""
        if by:
            known = self.properties[object].get(by)
            if known is None or not known.unique:
                raise Refusal(400, "VALIDATION_ERROR", f"{by} is not a unique property of {object}")
            id = self._unique.get((object, by, id.strip().lower()), "")
        if follow:
            while (object, id) in self._survivors:
                id = self._survivors[object, id]
        record = self.records[object].get(id)
        return record if record is not None and (record.archived is not None) == archived else None

    def searchable(self, object: str) -> list[tuple[Record, dict[str, str]]]:
        """Each record with its values as the search index knows them by now, ascending ids."""
        seen_until = self.now() - self._lag
        found = []
        for record in self.live(object):
            known = [values for since, values in record.versions if since <= seen_until]
            if known:
                found.append((record, known[-1]))
        return found

    def companies(self, contact: str) -> dict[str, set[int]]:
        """The live companies of a contact, the primary one first."""
        linked = self.links.get(contact, {})
        live = {id: types for id, types in linked.items() if self.get("companies", id)}
        return dict(sorted(live.items(), key=lambda each: (PRIMARY not in each[1], int(each[0]))))

    # ---- checking ----

    def check(self, object: str, given: Mapping[str, Any], record: Record | None) -> dict[str, str]:
        """Values as they would be stored; "" clears. Refusal names every property that is wrong."""
        values: dict[str, str] = {}
        issues = []
        for name, raw in given.items():
            value = "" if raw is None else str(raw)
            value = self._rewrite.get(name, {}).get(value, value)
            known = self.properties[object].get(name)
            if known is None:
                issues.append(issue(name, "PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist'))
            elif known.read_only:
                issues.append(issue(name, "READ_ONLY_VALUE", f'"{name}" is a read only property'))
            elif found := wrong(known, value):
                issues.append(issue(name, *found))
            else:
                values[name] = value.strip().lower() if name == "email" else value
        if issues:
            raise invalid(issues)
        self._check_unique(object, values, record)
        return values

    def _check_unique(self, object: str, values: Mapping[str, str], record: Record | None) -> None:
        for name, value in values.items():
            if not value or not self.properties[object][name].unique:
                continue
            holder = self._unique.get((object, name, value.lower()))
            if holder is None or (record is not None and holder == record.id):
                continue
            if name == "email":
                raise Refusal(
                    409,
                    "CONFLICT",
                    f"Contact already exists. Existing ID: {holder}",
                    context={"existingId": [holder]},
                )
            # The code of this error is unverified.
            taken = f"{holder} already has that value"
            raise invalid([issue(name, "CONFLICTING_UNIQUE_VALUE", taken)])

    # ---- changing ----

    def create(
        self,
        object: str,
        given: Mapping[str, Any],
        source: Source,
        *,
        companies: Sequence[tuple[str, int]] = (),
    ) -> Record:
        """A new record; `companies`: (company id, association type)."""
        values = self.check(object, given, None)
        if object == "companies" and not (values.get("name") or values.get("domain")):
            raise Refusal(400, "VALIDATION_ERROR", "a company needs at least one of name and domain")
        for company, _ in companies:
            if self.get("companies", company) is None:
                raise Refusal(404, "OBJECT_NOT_FOUND", f"No company with ID {company} exists")
        record = self._new(object, self.now())
        self._set(record, values, source)
        self._notice("creation", record, source, changeFlag="CREATED")
        for company, type_ in companies:
            self.associate(record.id, company, type_, source)
        return record

    def update(self, record: Record, given: Mapping[str, Any], source: Source) -> None:
        """Values that are held already change nothing: no time moves, nobody is told (seen in recorded answers)."""
        for name in self._set(record, self.check(record.object, given, record), source):
            self._notice(
                "propertyChange", record, source, propertyName=name, propertyValue=record.values.get(name, "")
            )

    def archive(self, record: Record, source: Source) -> None:
        """Into the recycle bin, from where a person may restore it for 90 days."""
        record.archived = self.now()
        for key in [key for key, id in self._unique.items() if key[0] == record.object and id == record.id]:
            del self._unique[key]
        self._notice("deletion", record, source, changeFlag="DELETED")

    def merge(self, primary: Record, other: Record, source: Source) -> Record:
        """One record of two: the primary's values win, the other fills empties, both ids lead to the survivor."""
        object, now = primary.object, self.now()
        survivor = (
            self._new(object, min(primary.created, other.created)) if self._merge_makes_new else primary
        )
        gone = [primary, other] if survivor is not primary else [other]
        moved = {name: value for name, value in other.values.items() if not primary.values.get(name)}
        survivor.values = {**moved, **primary.values}
        survivor.history = {
            name: sorted(
                primary.history.get(name, []) + other.history.get(name, []),
                key=lambda entry: entry["timestamp"],
                reverse=True,
            )
            for name in {**primary.history, **other.history}
        }
        if object == "contacts" and (second := other.values.get("email")) != survivor.values.get("email"):
            emails = [*survivor.values.get("hs_additional_emails", "").split(";"), second]
            survivor.values["hs_additional_emails"] = ";".join(each for each in emails if each)
        survivor.updated = now
        for record in gone:
            del self.records[object][record.id]
            self._survivors[object, record.id] = survivor.id
            survivor.merged += [*record.merged, record.id]
            self._move_links(object, record.id, survivor.id)
            self._move_keys(record, survivor)
        self._index(survivor)
        self._notice(
            "merge",
            survivor,
            source,
            primaryObjectId=int(primary.id),
            mergedObjectIds=[int(other.id)],
            newObjectId=int(survivor.id),
            numberOfPropertiesMoved=len(moved),
        )
        return survivor

    def associate(self, contact: str, company: str, type_: int, source: Source) -> None:
        """Unlabeled with every label; one primary company at a time. The first company becomes the primary one
        (unverified). No property changes, so neither does a time (unverified)."""
        linked = self.links.setdefault(contact, {})
        before = {id: set(types) for id, types in linked.items()}
        types = linked.setdefault(company, set())
        types.update({type_, UNLABELED})
        if type_ == PRIMARY or not any(PRIMARY in each for each in linked.values()):
            for each in linked.values():
                each.discard(PRIMARY)
            types.add(PRIMARY)
        if linked != before:
            self._notice_link(contact, company, source, removed=False, primary=PRIMARY in types)

    def dissociate(self, contact: str, company: str, source: Source) -> None:
        """Remove the pair with all its labels; no other company becomes the primary one (unverified)."""
        types = self.links.get(contact, {}).pop(company, None)
        if types is not None:
            self._notice_link(contact, company, source, removed=True, primary=PRIMARY in types)

    def restore(
        self, object: str, id: str, given: Mapping[str, Any], source: Source, created: int, updated: int
    ) -> Record:
        """A record as it stood: no checks, no events, searchable at once. Unknown properties become known."""
        for name in given:
            if name not in self.properties[object]:
                self.define(object, Property(name=name))
        record = self._new(object, created, id)
        values = {
            name: str(value)
            for name, value in given.items()
            if value is not None and not self.properties[object][name].read_only
        }
        self._set(record, values, source)
        record.updated = updated
        record.versions = [(0, record.all_values())]
        return record

    # ---- inside ----

    def _new(self, object: str, created: int, id: str = "") -> Record:
        if id:
            self._last_id = max(self._last_id, int(id))
        else:
            self._last_id += 1
            id = str(self._last_id)
        record = Record(object=object, id=id, created=created, updated=created)
        self.records[object][id] = record
        return record

    def _set(self, record: Record, values: Mapping[str, str], source: Source) -> list[str]:
        """Store what is new, with its history; the names that changed."""
        now = self.now()
        changed = [name for name, value in values.items() if record.values.get(name, "") != value]
        for name in changed:
            self._put(record, name, values[name], source, now)
        if "email" in changed:
            domain = values["email"].rpartition("@")[2]
            self._put(record, "hs_email_domain", domain, Source(type="CALCULATED", id=""), now)
        if changed:
            record.updated = now
        if changed or not record.versions:
            self._index(record)
        return changed

    def _put(self, record: Record, name: str, value: str, source: Source, now: int) -> None:
        if self.properties[record.object][name].unique:
            if old := record.values.get(name):
                self._unique.pop((record.object, name, old.lower()), None)
            if value:
                self._unique[record.object, name, value.lower()] = record.id
        if value:
            record.values[name] = value
        else:
            record.values.pop(name, None)
        entry = {"value": value, "timestamp": iso(now), "sourceType": source.type, "sourceId": source.id}
        record.history.setdefault(name, []).insert(0, entry)

    def _index(self, record: Record) -> None:
        now = self.now()
        older = [version for version in record.versions if version[0] <= now - self._lag]
        newer = [version for version in record.versions if version[0] > now - self._lag]
        record.versions = [*older[-1:], *newer, (now, record.all_values())]

    def _move_links(self, object: str, old: str, new: str) -> None:
        if object == "contacts":
            linked = self.links.setdefault(new, {})
            taken = any(PRIMARY in types for types in linked.values())
            for company, types in self.links.pop(old, {}).items():
                linked.setdefault(company, set()).update(types - {PRIMARY} if taken else types)
            return
        for linked in self.links.values():
            if old in linked:
                linked.setdefault(new, set()).update(linked.pop(old))

    def _move_keys(self, old: Record, new: Record) -> None:
        """The survivor is found by all its addresses; of another unique property only its own value counts."""
        for key in [key for key, id in self._unique.items() if key[0] == old.object and id == old.id]:
            if key[1] == "email" or new.values.get(key[1], "").lower() == key[2]:
                self._unique[key] = new.id
            else:
                del self._unique[key]

    def _notice(self, change: str, record: Record, source: Source, **more: Any) -> None:
        name = KINDS[record.object].singular
        self._emit(f"{name}.{change}", {"objectId": int(record.id), **more}, source)

    def _notice_link(
        self, contact: str, company: str, source: Source, *, removed: bool, primary: bool
    ) -> None:
        """Two events, one for each side (developers.hubspot.com/changelog/bugfix-webhook-associationchanges)."""
        sides = (("contact", contact, "company", company), ("company", company, "contact", contact))
        for here, here_id, there, there_id in sides:
            body = {
                "objectId": int(here_id),
                "associationType": f"{here}_to_{there}".upper(),
                "fromObjectId": int(here_id),
                "toObjectId": int(there_id),
                "associationRemoved": removed,
                "isPrimaryAssociation": primary,
            }
            self._emit(f"{here}.associationChange", body, source)
