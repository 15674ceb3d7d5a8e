"""What a mapping asks of a vendor, against what its connector says can be done."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from syncbroker.core.types import Type
from syncbroker.mapping.facts import ObjectFacts
from syncbroker.mapping.findings import Findings, Place
from syncbroker.mapping.schema import closest
from syncbroker.mapping.written import WrittenEntity, WrittenField, WrittenFieldLink, WrittenLink, words

Objects = Mapping[str, Mapping[str, ObjectFacts]]
"""System -> object -> what the vendor's collection is like. A system that is not here has no known connector."""


def check_vendor(
    entity: WrittenEntity, entities: Mapping[str, WrittenEntity], objects: Objects, findings: Findings
) -> None:
    """Links and fields of one entity against the objects they use."""
    for link in entity.links.values():
        known = objects.get(link.system.text)
        if known is None or link.object is None:
            continue
        spec = known.get(link.object.text)
        if spec is None:
            message = f"the system {link.system.text!r} has no object {link.object.text!r}"
            findings.error(entity.file, link.object, message, closest(link.object.text, list(known)))
            continue
        check = _LinkCheck(entity, link, spec, findings)
        for field in entity.fields.values():
            here = field.links.get(link.system.text)
            if here is not None:
                check.path(field, here)
                check.reference(field, here, entities)
        check.deletes(objects)
        check.creates()


class _LinkCheck:
    """One entity on one system, where it uses one object of the vendor."""

    def __init__(
        self, entity: WrittenEntity, link: WrittenLink, spec: ObjectFacts, findings: Findings
    ) -> None:
        self.entity = entity
        self.link = link
        self.spec = spec
        self.findings = findings
        self.system = repr(link.system.text)

    def error(self, at: Place, message: str, hint: str) -> None:
        self.findings.error(self.entity.file, at, message, hint)

    def warn(self, at: Place, message: str, hint: str) -> None:
        self.findings.warn(self.entity.file, at, message, hint)

    def path(self, field: WrittenField, here: WrittenFieldLink) -> None:
        """The vendor's field: is it there, and can it be written, emptied, trusted."""
        path, what = here.path.text, self.spec.fields.get(here.path.text)
        hint = f"write {{field: {path}, direction: pull}}"
        if what is None:
            self._unknown(here)
        elif here.push and not what.writable:
            self.error(here.path, f"{self.system} does not let `{path}` be written", hint)
        elif here.push and not what.clearable and field.word("empty") == "clear":
            message = f"{self.system} does not let `{path}` be emptied"
            self.warn(here.path, message, "with `empty: clear`, each clearing will end in a review there")
        grows = self.link.create != "never" and "create" in self.spec.batch
        if here.push and "update" not in self.spec.batch and not grows:
            message = f"{self.system} cannot change its {self.spec.name}, so nothing can be pushed there"
            self.error(here.path, message, hint)
        loosens = {one.text for one in words(field.node.get("loosen_by"))}
        if self.link.system.text in loosens and self.spec.consent_path != path:
            message = f"{self.system} shows no evidence of consent for `{path}`"
            self.warn(here.path, message, "a loosening from there will be reverted")

    def _unknown(self, here: WrittenFieldLink) -> None:
        """No such field; where there may be custom fields, only a very likely slip of the pen is worth a word."""
        path, known = here.path.text, list(self.spec.fields)
        message = f"the {self.spec.name} of {self.system} have no field `{path}`"
        if not self.spec.open_fields:
            self.error(here.path, message, closest(path, known))
        elif (
            len(path) >= 5 and "." not in path and (close := get_close_matches(path, known, n=1, cutoff=0.8))
        ):
            self.warn(
                here.path, f"{message} of their own", f"did you mean {close[0]}? Or is it a custom field?"
            )

    def reference(
        self, field: WrittenField, here: WrittenFieldLink, entities: Mapping[str, WrittenEntity]
    ) -> None:
        """The ids in a reference must be those of the object that the referred entity uses there."""
        target = entities.get(field.word("entity")) if field.type is Type.REFERENCE else None
        aim = target.links.get(here.system.text) if target is not None else None
        what = self.spec.fields.get(here.path.text)
        if target is None or aim is None or aim.object is None or what is None or not what.refers_to:
            return
        if aim.object.text != what.refers_to:
            message = (
                f"`{here.path.text}` of {self.system} refers to its {what.refers_to}, "
                f"but {target.name.text!r} is its {aim.object.text}"
            )
            self.error(here.path, message, "check `entity`, or the object of that entity's link")

    def deletes(self, objects: Objects) -> None:
        """What follows from a deletion here must be possible: in this system, or in the others."""
        place = self.link.place("delete")
        if self.link.delete == "recreate" and "create" not in self.spec.batch:
            message = f"{self.system} cannot create its {self.spec.name}, so nothing can be recreated there"
            self.error(place, message, "use detach or review")
        elif self.link.delete == "recreate" and self.link.create == "never":
            message = f"nothing is ever created in {self.system}, so nothing can be recreated there"
            self.error(place, message, "use detach or review, or let the mapping create there")
        if self.link.delete != "propagate":
            return
        for other in self.entity.links.values():
            known = objects.get(other.system.text, {}).get(
                other.object.text if other.object is not None else ""
            )
            if other is not self.link and known is not None and "delete" not in known.batch:
                message = f"{other.system.text!r} cannot delete its {known.name}, so no deletion can go there"
                self.error(place, message, "use detach or review")

    def creates(self) -> None:
        """A create needs the vendor's ability, something to send, and all that the vendor requires."""
        if self.link.create == "never":
            return
        place = self.link.place("create")
        if "create" not in self.spec.batch:
            self.error(place, f"{self.system} cannot create its {self.spec.name}", "write `create: never`")
            return
        if not self.entity.complete or not all(field.whole for field in self.entity.fields.values()):
            return  # what is missing may have been cut out
        name = self.link.system.text
        here = [(field.links.get(name), field) for field in self.entity.fields.values()]
        pushed = {link.path.text: field for link, field in here if link is not None and link.push}
        if not pushed:
            message = f"no field is pushed to {self.system}, so nothing can be created there"
            self.error(place, message, "push a field there, or write `create: never`")
        for path in [path for path, what in self.spec.fields.items() if what.required]:
            if path not in pushed:
                message = f"{self.system} needs `{path}` to create its {self.spec.name}, and no field is pushed there"
                self.error(place, message, "map it with direction: both or push, or write `create: never`")
            elif not pushed[path].flag("required"):
                field = repr(pushed[path].name.text)
                message = (
                    f"{self.system} needs `{path}` to create its {self.spec.name}, but {field} may be empty"
                )
                self.warn(
                    place, message, "write `required: true` at the field, or such creates end in a review"
                )
