"""The endpoints of the simulated HubSpot: what a request does to the portal and how its answer looks.

Objects v3, properties v3, associations v4 between contacts and companies. Answers have the members of the models of
hubspot-api-client 12.0.0; what recorded answers show beyond them is said where it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from connectors.hubspot.simulator_answers import (
    LABELS,
    Json,
    described,
    failure,
    histories,
    link,
    linked,
    not_found,
    shown,
)
from connectors.hubspot.simulator_portal import Portal
from connectors.hubspot.simulator_records import KINDS, Property, Record, Refusal, Source, iso
from connectors.hubspot.simulator_search import search
from syncbroker.decoding import convert
from syncbroker.sdk.simulator import Request, Response

MOST_INPUTS = 100
OBJECTS = {alias: name for name, kind in KINDS.items() for alias in (name, kind.singular, kind.type_id)}

Parts = Mapping[str, str]


class Route(NamedTuple):
    """`name` is what the log shows after the object; `call` answers (request, decoded body, parts of the path)."""

    name: str
    write: bool
    call: Callable[[Request, Json, Parts], Response]


class Api:
    """`app`: the source that writes through the API are attributed to. `ceiling`: see `search`."""

    def __init__(self, portal: Portal, app: Source, *, ceiling: int) -> None:
        self._portal = portal
        self._app = app
        self._ceiling = ceiling

    def routes(self) -> list[tuple[str, str, Route]]:
        objects = "/crm/v3/objects/{object}"
        one, batch = objects + "/{id}", objects + "/batch/"
        properties = "/crm/v3/properties/{object}"
        between = "/crm/v4/associations/{from}/{to}/batch/"
        return [
            ("POST", batch + "read", Route("batch_read", False, self._batch_read)),
            ("POST", batch + "create", Route("batch_create", True, self._batch_create)),
            ("POST", batch + "update", Route("batch_update", True, self._batch_update)),
            ("POST", batch + "archive", Route("batch_archive", True, self._batch_archive)),
            ("POST", objects + "/search", Route("search", False, self._search)),
            ("POST", objects + "/merge", Route("merge", True, self._merge)),
            ("GET", objects, Route("list", False, self._list)),
            ("POST", objects, Route("create", True, self._create)),
            ("GET", one, Route("read", False, self._read)),
            ("PATCH", one, Route("update", True, self._update)),
            ("DELETE", one, Route("archive", True, self._archive)),
            ("GET", properties, Route("properties", False, self._properties)),
            ("POST", properties, Route("define", True, self._define)),
            ("POST", between + "read", Route("batch_read", False, self._links_read)),
            ("POST", between + "create", Route("batch_create", True, self._links_create)),
            ("POST", between + "archive", Route("batch_archive", True, self._links_archive)),
        ]

    # ---- single records ----

    def _list(self, request: Request, body: Json, parts: Parts) -> Response:
        """Ascending ids; `after` is the id of the next record (/using-object-apis)."""
        object = _object(parts["object"])
        limit, after = _number(request, "limit", 10), _number(request, "after", 0)
        if not 1 <= limit <= 100:
            raise _bad("limit must be between 1 and 100")
        held = self._portal.archived(object) if _archived(request) else self._portal.live(object)
        left = [record for record in held if int(record.id) >= after]
        answer: Json = {"results": [self._asked(record, request) for record in left[:limit]]}
        if len(left) > limit:
            following = left[limit].id
            answer["paging"] = {"next": {"after": following, "link": f"{request.path}?after={following}"}}
        return Response(json=answer)

    def _read(self, request: Request, body: Json, parts: Parts) -> Response:
        return Response(json=self._asked(self._one(request, parts), request))

    def _create(self, request: Request, body: Json, parts: Parts) -> Response:
        return Response(status=201, json=self._created(_object(parts["object"]), body))

    def _update(self, request: Request, body: Json, parts: Parts) -> Response:
        return Response(json=self._updated(self._one(request, parts), body))

    def _archive(self, request: Request, body: Json, parts: Parts) -> Response:
        if record := self._portal.get(_object(parts["object"]), parts["id"]):
            self._portal.archive(record, self._app)
        return Response(status=204)

    def _merge(self, request: Request, body: Json, parts: Parts) -> Response:
        object = _object(parts["object"])
        primary = self._portal.get(object, str(body.get("primaryObjectId")))
        other = self._portal.get(object, str(body.get("objectIdToMerge")))
        if primary is None or other is None or primary is other:
            raise _bad("a merge needs two different records")
        survivor = self._portal.merge(primary, other, self._app)
        return Response(json=shown(self._portal, survivor, KINDS[object].shown))

    def _search(self, request: Request, body: Json, parts: Parts) -> Response:
        object = _object(parts["object"])
        if len(request.body) > 3000:
            raise _bad("the request is longer than 3000 characters")
        held, known = self._portal.searchable(object), self._portal.properties[object]
        total, page, after = search(body, held, known, ceiling=self._ceiling)
        names = body.get("properties") or KINDS[object].shown
        results = [shown(self._portal, record, names, values=values) for record, values in page]
        paging = {"paging": {"next": {"after": after}}} if after else {}
        return Response(json={"total": total, "results": results, **paging})

    # ---- batches ----

    def _batch_read(self, request: Request, body: Json, parts: Parts) -> Response:
        object, by = _object(parts["object"]), body.get("idProperty") or ""
        archived = _archived(request)
        results, missing = [], []
        for given in _inputs(body):
            record = self._portal.get(object, str(given.get("id")), by=by, archived=archived)
            if record is None:
                missing.append(str(given.get("id")))
                continue
            result = shown(self._portal, record, body.get("properties") or KINDS[object].shown)
            if names := body.get("propertiesWithHistory"):
                result["propertiesWithHistory"] = histories(record, names)
            results.append(result)
        return self._batch(results, not_found(object, missing))

    def _batch_create(self, request: Request, body: Json, parts: Parts) -> Response:
        object = _object(parts["object"])
        return self._each(
            [(given, None) for given in _inputs(body)],
            object,
            lambda given, _: self._created(object, given),
            status=201,
        )

    def _batch_update(self, request: Request, body: Json, parts: Parts) -> Response:
        object, inputs = _object(parts["object"]), _inputs(body)
        ids = [str(given.get("id")) for given in inputs]
        if twice := sorted({id for id in ids if ids.count(id) > 1}):
            message = f"Duplicate IDs found in batch input: [{', '.join(twice)}]. IDs must be unique"
            raise Refusal(400, "VALIDATION_ERROR", message, context={"ids": twice})
        held = [
            self._portal.get(object, id, by=str(given.get("idProperty") or ""))
            for id, given in zip(ids, inputs, strict=True)
        ]
        pairs = [(given, record) for given, record in zip(inputs, held, strict=True) if record]
        missing = [id for id, record in zip(ids, held, strict=True) if record is None]
        return self._each(
            pairs,
            object,
            lambda given, record: self._updated(record, given),
            errors=not_found(object, missing),
        )

    def _batch_archive(self, request: Request, body: Json, parts: Parts) -> Response:
        """204 for records that are gone, too (unverified)."""
        for given in _inputs(body):
            if record := self._portal.get(_object(parts["object"]), str(given.get("id"))):
                self._portal.archive(record, self._app)
        return Response(status=204)

    def _each(
        self,
        pairs: Sequence[tuple[Json, Any]],
        object: str,
        apply: Callable[[Json, Any], Json],
        *,
        status: int = 200,
        errors: Iterable[Json] = (),
    ) -> Response:
        """With a trace id on every input each input stands for itself; otherwise the first refusal refuses them all.

        Documented for create (/error-handling), recorded by others for upsert, unverified for update. Results come in
        no particular order: here the last input comes first.
        """
        if not all(given.get("objectWriteTraceId") for given, _ in pairs):
            self._check_all(pairs, object)
        results, wrong = [], list(errors)
        for given, record in pairs:
            trace = given.get("objectWriteTraceId")
            try:
                result = apply(given, record)
            except Refusal as error:
                context = {**error.context, "objectWriteTraceId": [trace]}
                wrong.append(failure(error.category, error.message, context))
                continue
            results.append(result | {"objectWriteTraceId": trace} if trace else result)
        return self._batch(results[::-1], wrong, status=status)

    def _check_all(self, pairs: Sequence[tuple[Json, Any]], object: str) -> None:
        emails = set()
        for given, record in pairs:
            email = self._portal.check(object, given.get("properties", {}), record).get("email")
            if email and email in emails:
                raise Refusal(409, "CONFLICT", "Contact already exists")
            emails.add(email)

    def _batch(self, results: list[Json], errors: list[Json], *, status: int = 200) -> Response:
        now = iso(self._portal.now())
        answer: Json = {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}
        if not errors:
            return Response(status=status, json=answer)
        return Response(status=207, json=answer | {"numErrors": len(errors), "errors": errors})

    # ---- properties ----

    def _properties(self, request: Request, body: Json, parts: Parts) -> Response:
        known = self._portal.properties[_object(parts["object"])].values()
        return Response(json={"results": [described(each) for each in known]})

    def _define(self, request: Request, body: Json, parts: Parts) -> Response:
        object = _object(parts["object"])
        options = tuple(str(each["value"]) for each in body.get("options", []))
        given = {"name": body.get("name"), "type": body.get("type", "string"), "options": options}
        try:
            new = convert({**given, "unique": body.get("hasUniqueValue", False)}, Property)
        except msgspec.ValidationError as error:
            raise _bad(str(error)) from error
        if new.name in self._portal.properties[object]:
            raise Refusal(409, "OBJECT_ALREADY_EXISTS", f"A property named '{new.name}' already exists.")
        self._portal.define(object, new)
        return Response(status=201, json=described(new))

    # ---- associations ----

    def _links_read(self, request: Request, body: Json, parts: Parts) -> Response:
        """Records without an association are errors of a 207, as recorded answers show."""
        _contact_to_company(parts)
        results, errors = [], []
        for given in _inputs(body, most=1000):
            contact = str(given.get("id"))
            linked = self._portal.companies(contact)
            if linked:
                results.append({"from": {"id": contact}, "to": [link(*each) for each in linked.items()]})
                continue
            context = {"fromObjectId": [contact], "fromObjectType": ["contact"], "toObjectType": ["company"]}
            entry = failure("OBJECT_NOT_FOUND", f"No company is associated with contact {contact}.", context)
            errors.append(entry | {"subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND"})
        return self._batch(results, errors)

    def _links_create(self, request: Request, body: Json, parts: Parts) -> Response:
        """The shape of an error here is unverified."""
        _contact_to_company(parts)
        results, errors = [], []
        for given in _inputs(body, most=2000):
            contact, company = str(given["from"]["id"]), str(given["to"]["id"])
            if not (self._portal.get("contacts", contact) and self._portal.get("companies", company)):
                context = {"fromObjectId": [contact], "toObjectId": [company]}
                message = "One or more of the objects to associate do not exist"
                errors.append(failure("OBJECT_NOT_FOUND", message, context))
                continue
            for type_ in given["types"]:
                self._portal.associate(contact, company, int(type_["associationTypeId"]), self._app)
            labels = [LABELS.get(each) for each in self._portal.links[contact][company]]
            results.append(
                {
                    "fromObjectTypeId": "0-1",
                    "fromObjectId": contact,
                    "toObjectTypeId": "0-2",
                    "toObjectId": company,
                    "labels": [label for label in labels if label],
                }
            )
        return self._batch(results, errors, status=201)

    def _links_archive(self, request: Request, body: Json, parts: Parts) -> Response:
        _contact_to_company(parts)
        for given in _inputs(body, most=2000):
            for company in given["to"]:
                self._portal.dissociate(str(given["from"]["id"]), str(company["id"]), self._app)
        return Response(status=204)

    # ---- inside ----

    def _asked(self, record: Record, request: Request) -> Json:
        answer = shown(self._portal, record, _listed(request, "properties") or KINDS[record.object].shown)
        if kept := _listed(request, "propertiesWithHistory"):
            answer["propertiesWithHistory"] = histories(record, kept)
        wanted = [OBJECTS.get(each) for each in _listed(request, "associations")]
        if (
            record.object == "contacts"
            and "companies" in wanted
            and (links := linked(self._portal, record.id))
        ):
            answer["associations"] = links
        return answer

    def _created(self, object: str, given: Json) -> Json:
        companies = [
            (str(link["to"]["id"]), int(type_["associationTypeId"]))
            for link in given.get("associations") or []
            for type_ in link["types"]
        ]
        record = self._portal.create(object, given.get("properties", {}), self._app, companies=companies)
        return shown(self._portal, record, list(record.values))

    def _updated(self, record: Record, given: Json) -> Json:
        """What was sent, and no other property but those HubSpot keeps itself (as recorded answers show)."""
        self._portal.update(record, given.get("properties", {}), self._app)
        return shown(self._portal, record, given.get("properties", {}), empties=False)

    def _one(self, request: Request, parts: Parts) -> Record:
        """By id or unique property. The id of a record that was merged away gives the survivor: single requests take
        such ids, batches do not (/using-object-apis)."""
        by = request.query.get("idProperty", "")
        record = self._portal.get(
            _object(parts["object"]), parts["id"], by=by, archived=_archived(request), follow=True
        )
        if record is None:
            raise Refusal(404, "OBJECT_NOT_FOUND", "resource not found")
        return record


def _object(name: str) -> str:
    if name not in OBJECTS:
        raise _bad(f"Unable to infer object type from: {name}")
    return OBJECTS[name]


def _contact_to_company(parts: Parts) -> None:
    if (_object(parts["from"]), _object(parts["to"])) != ("contacts", "companies"):
        raise _bad("only associations from contacts to companies are simulated")


def _inputs(body: Json, *, most: int = MOST_INPUTS) -> list[Json]:
    inputs = body.get("inputs")
    if not (
        isinstance(inputs, list)
        and 1 <= len(inputs) <= most
        and all(isinstance(each, dict) for each in inputs)
    ):
        raise _bad(f"inputs must hold between 1 and {most} objects")
    return inputs


def _number(request: Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isdecimal():
        raise _bad(f"{name} must be an integer")
    return int(text)


def _listed(request: Request, name: str) -> list[str]:
    """Separated by commas, or the name repeated as HubSpot's own client does."""
    return [each for text in request.query_all.get(name, []) for each in text.split(",") if each]


def _archived(request: Request) -> bool:
    return request.query.get("archived", "").lower() == "true"  # HubSpot's own client sends "True"


def _bad(message: str) -> Refusal:
    return Refusal(400, "VALIDATION_ERROR", message)
