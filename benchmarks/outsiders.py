"""Other people's tools, run as they are meant to be: dlt's merge, and reladiff's two ways of comparing.

This file runs in an environment of its own (`benchmarks/requirements.txt`), so it needs nothing of the project:

    python benchmarks/outsiders.py '{"who": "dlt", "url": "postgresql://...", "files": {"crm": "crm.jsonl"}, ...}'

It prints one line of JSON: {"wall": s, "cpu": s, "base": kB, "peak": kB, "done": rows, "changed": rows}. CPU time holds
that of the processes it started. Imports are not counted.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

FIELDS = ("email", "first_name", "last_name", "company", "city", "phone", "plan", "notes")
CHUNK = 5000

Job = dict[str, Any]
Work = Callable[[], tuple[int, int]]


def dlt_merge(job: Job) -> Work:
    """One table per system, write disposition `merge` by id; CSV as the loader's file format where it takes that."""
    os.environ.update(
        RUNTIME__DLTHUB_TELEMETRY="false",
        RUNTIME__LOG_LEVEL="ERROR",
        NORMALIZE__WORKERS="1",
        LOAD__WORKERS="1",
    )
    import dlt  # type: ignore[import-not-found]  # noqa: PLC0415  # not of the project's environment
    from orjson import loads  # noqa: PLC0415  # as above

    lite = job["url"].startswith("sqlite")
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=job["state"],
        destination=dlt.destinations.sqlalchemy(job["url"], create_primary_keys=True)
        if lite
        else dlt.destinations.postgres(_credentials(job["url"])),
        dataset_name="people",
        dev_mode=False,
    )
    columns = {
        name: {"name": name, "data_type": "text", "nullable": name != "id"} for name in ("id", *FIELDS)
    }

    def rows(path: str) -> Iterator[list[dict[str, Any]]]:
        with open(path, "rb") as lines:  # noqa: PTH123  # as quick as it gets
            while page := [loads(line) for line in islice(lines, CHUNK)]:
                yield page

    def run() -> tuple[int, int]:
        sources = [
            dlt.resource(
                rows(path), name=system, write_disposition="merge", primary_key="id", columns=columns
            )
            for system, path in job["files"].items()
        ]
        pipeline.run(sources, loader_file_format="typed-jsonl" if lite else "csv")
        with pipeline.sql_client() as client:
            counted = [client.execute_sql(f"SELECT COUNT(*) FROM {system}")[0][0] for system in job["files"]]
        return sum(counted), 0

    return run


def reladiff(job: Job) -> Work:
    """The tables `core_<system>` against `before_<system>`, of one database, by hash or by join."""
    import reladiff as tool  # type: ignore[import-not-found]  # noqa: PLC0415  # as above

    how = tool.Algorithm.HASHDIFF if job["who"] == "hashdiff" else tool.Algorithm.JOINDIFF
    where = _parts(job["url"])

    def table(name: str) -> Any:
        return tool.connect_to_table(where, name, "id", extra_columns=FIELDS, thread_count=1)

    pairs = [(table(f"before_{system}"), table(f"core_{system}")) for system in job["files"]]

    def run() -> tuple[int, int]:
        changed: set[tuple[int, str]] = set()
        for number, (before, now) in enumerate(pairs):
            changed.update((number, row[0]) for _, row in tool.diff_tables(before, now, algorithm=how))
        return int(job["done"]), len(changed)

    return run


def _credentials(url: str) -> dict[str, Any]:
    """As dlt wants it, which insists on a password."""
    parts = _parts(url)
    return {
        "database": parts["dbname"],
        "username": parts["user"],
        "password": parts.get("password", "none"),
        "host": "localhost",
        "port": parts.get("port", 5432),
        "query": {"host": parts["host"]},
    }


def _parts(url: str) -> dict[str, Any]:
    """As reladiff wants it; a server may be reached through a Unix socket."""
    found = urlsplit(url)
    host = parse_qs(found.query).get("host", [found.hostname or ""])[0]
    parts = {"driver": "postgresql", "host": host, "dbname": found.path.lstrip("/"), "user": found.username}
    if found.password:
        parts["password"] = unquote(found.password)
    port = parse_qs(found.query).get("port", [found.port])[0]
    return parts | ({"port": int(port)} if port else {})


def main() -> None:
    job = json.loads(sys.argv[1])
    run = dlt_merge(job) if job["who"] == "dlt" else reladiff(job)
    base, before, wall = _peak(), _cpu(), time.perf_counter()
    done, changed = run()
    wall, cpu = time.perf_counter() - wall, _cpu() - before
    print(
        json.dumps(
            {"wall": wall, "cpu": cpu, "base": base, "peak": _peak(), "done": done, "changed": changed}
        )
    )


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
