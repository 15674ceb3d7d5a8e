"""What was found wrong or worth a warning, collected instead of raised, so that a person sees everything at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from syncbroker.errors import Problem


class Place(Protocol):
    """Anything that knows where it stands: a node, a key."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


@dataclass(slots=True)
class Findings:
    """Errors stop the mapping from being used; warnings do not."""

    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def error(self, file: str, at: Place, message: str, hint: str = "") -> None:
        self.errors.append(Problem(file, at.line, at.column, message, hint))

    def warn(self, file: str, at: Place, message: str, hint: str = "") -> None:
        self.warnings.append(Problem(file, at.line, at.column, message, hint))
