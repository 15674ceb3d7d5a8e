"""The background jobs of the simulated Zendesk: queued at once, run a little later, looked at for a day.

Members of a job from developer.zendesk.com/api-reference/ticketing/ticket-management/job_statuses. At most 30 wait or
run at a time. Unverified: how a failed record is told among the results, and the words for too many jobs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from connectors.zendesk.simulator_records import InvalidError, Json, MissingError, text_of
from connectors.zendesk.simulator_requests import MANY, RefusedError
from syncbroker.sdk.simulator import Response

DAY = 86_400_000_000
AT_ONCE = 30


class Jobs:
    """Jobs by id. `later(seconds, callback)` is the simulator's."""

    def __init__(
        self, now: Callable[[], int], later: Callable[[float, Callable[[], None]], None], seconds: float
    ) -> None:
        self._now = now
        self._later = later
        self._seconds = seconds
        self._jobs: dict[str, tuple[int, Json]] = {}

    def queued(
        self,
        kind: str,
        total: int,
        task: Callable[[int], Json],
        failed: Callable[[int], Mapping[str, object]],
    ) -> Response:
        """A new job that runs `task` for each place; what goes wrong there becomes that place's result."""
        if not 1 <= total <= MANY:
            raise RefusedError(400, "BadRequest", f"between 1 and {MANY} records are needed")
        if sum(job["status"] == "queued" for _, job in self._jobs.values()) >= AT_ONCE:
            words = "Too many jobs are currently queued or running. Try again later."
            raise RefusedError(429, "TooManyJobs", words, {"Retry-After": "5"})
        id = hashlib.sha256(f"job {len(self._jobs)}".encode()).hexdigest()[:32]
        url = f"https://example.zendesk.com/api/v2/job_statuses/{id}.json"
        job: Json = {"id": id, "job_type": kind, "url": url, "total": total}
        job |= {"progress": None, "status": "queued", "message": None, "results": None}
        self._jobs[id] = (self._now(), job)

        def run() -> None:
            results = []
            for place in range(total):
                try:
                    results.append(task(place))
                except (InvalidError, MissingError) as error:
                    name = "RecordNotFound" if isinstance(error, MissingError) else "RecordInvalid"
                    why = {"success": False, "error": name, "details": str(error) or "Not found"}
                    results.append({**failed(place), "status": "Failed", **why})
            message = f"Completed at {text_of(self._now())}"
            job.update(status="completed", progress=total, message=message, results=results)

        self._later(self._seconds, run)
        return Response(json={"job_status": dict(job)})

    def status(self, id: str) -> Json:
        at, job = self._jobs.get(id, (0, {}))
        if not job or self._now() - at > DAY:
            raise MissingError
        return job
