"""Every error of the broker, in one tree, grouped by what the caller must do next.

    SyncbrokerError
    ├── Retry              the same call may succeed later
    │   ├── Busy           another process was in the way; nothing of the transaction was done
    │   ├── RateLimited    the vendor said when (`delay`)
    │   ├── Unavailable    the other side is down, slow or answering nonsense
    │   └── OutcomeUnknown a write was sent and nothing tells whether it arrived: settle before any repeat
    ├── Reject             this input will never succeed; it becomes a review or a 4xx
    │   ├── Refused        the vendor understood and said no
    │   ├── Missing        the vendor has no such record (evidence of a deletion)
    │   ├── Stale          a conditional write met a newer state
    │   └── BadDelivery    a webhook that is forged, expired, too large or malformed
    ├── FixSetup           a person must change configuration before anything can go on
    │   ├── BadMapping     mapping files with errors, all of them at once
    │   ├── BadSetting     an environment variable or a credential is missing or wrong
    │   ├── Unauthorised   a vendor refuses the credentials
    │   └── StoreUnusable  the database is missing, old, full, read-only or held by another process
    └── Ask                a person must answer first
        └── BadAnswer      an answer to a review that cannot be taken

Each error says what happened, where, and what to do (`hint`). Messages never carry secrets or personal data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Problem(NamedTuple):
    """One finding in a mapping file. `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        tail = f"\n    hint: {self.hint}" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.message}{tail}"


class SyncbrokerError(Exception):
    """`message` says what happened and where; `hint` says what to do; `system` names the system, if one is meant."""

    def __init__(self, message: str, *, hint: str = "", system: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.system = system

    def __str__(self) -> str:
        where = f"{self.system}: " if self.system else ""
        tail = f"\n    hint: {self.hint}" if self.hint else ""
        return f"{where}{self.message}{tail}"


class Retry(SyncbrokerError):
    """Try again after `delay` seconds (0: as the caller's own schedule says)."""

    def __init__(self, message: str, *, delay: float = 0.0, hint: str = "", system: str = "") -> None:
        super().__init__(message, hint=hint, system=system)
        self.delay = delay


class Busy(Retry):
    """Two transactions met in the store, and this one was undone as a whole."""


class RateLimited(Retry):
    """The vendor's limit is reached."""


class Unavailable(Retry):
    """No usable answer to a call that changed nothing."""


class OutcomeUnknown(Retry):
    """No usable answer to a call that may have changed something."""


class Reject(SyncbrokerError):
    """Never worth repeating. `status` is the vendor's HTTP status, `code` the vendor's own error code."""

    def __init__(
        self, message: str, *, status: int = 0, code: str = "", hint: str = "", system: str = ""
    ) -> None:
        super().__init__(message, hint=hint, system=system)
        self.status = status
        self.code = code


class Refused(Reject):
    """The vendor's permanent refusal, in the vendor's words."""


class Missing(Reject):
    """404 or 410 on an id."""


class Stale(Reject):
    """409 or 412: the record changed since it was read."""


class BadDelivery(Reject):
    """`status` is what the webhook endpoint answers (401, 400, 413)."""


class FixSetup(SyncbrokerError):
    """Stop and tell a person."""


class BadMapping(FixSetup):
    """All problems of the mapping files, in file and line order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        count = len(problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} in the mapping files")
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join([*map(str, self.problems), self.message])


class BadSetting(FixSetup):
    """A setting or credential that is missing or cannot be used."""


class Unauthorised(FixSetup):
    """401 or 403 on credentials that worked or never worked."""


class StoreUnusable(FixSetup):
    """The store cannot be used as it is."""


class Ask(SyncbrokerError):
    """Nothing can go on before a person answers."""


class BadAnswer(Ask):
    """The review is closed, changed meanwhile, or the answer is none that it offers."""
