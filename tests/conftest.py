"""What every test gets: a clean environment, no network but loopback, and stores of both kinds."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy.engine import URL

from syncbroker.engine.holder import Holder
from syncbroker.store import schema
from syncbroker.store.database import open_store
from tests.support import log, postgres, redis
from tests.support.network import block_outside

# A slow machine is no failure of the code. What a commit is judged by is the same each time; `search` looks further.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("syncbroker", settings.get_profile("search"), derandomize=True)
settings.load_profile("syncbroker")

log.plain()

_KEPT = ("SYNCBROKER_VENDOR_SPECS", "SYNCBROKER_TEST_", "SYNCBROKER_REQUIRE_")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the person who runs the tests are not the tests' settings."""
    for name in [
        name for name in os.environ if name.startswith("SYNCBROKER_") and not name.startswith(_KEPT)
    ]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _hearts_stop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that a test let die says no more that it is alive, which is a thread of this one."""
    begun: list[Holder] = []

    def live(holder: Holder) -> None:
        begun.append(holder)
        real(holder)

    real = Holder._live
    monkeypatch.setattr(Holder, "_live", live)
    yield
    for holder in begun:
        holder._ended.set()


@pytest.fixture(autouse=True, scope="session")
def _loopback_only() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        block_outside(patch)
        yield


@pytest.fixture(autouse=True, scope="session")
def _compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Programs that tests start share their compiled modules, where this one may not write any."""
    with pytest.MonkeyPatch.context() as patch:
        if sys.dont_write_bytecode:
            patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
            shared = tmp_path_factory.getbasetemp().parent / "compiled"
            patch.setenv("PYTHONPYCACHEPREFIX", str(shared))
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A real PostgreSQL, one per test process, started when the first test asks for it."""
    try:
        with postgres.serve() as server:
            yield server
    except postgres.PostgresUnavailableError as error:
        _unavailable(postgres.ENV_REQUIRE, error)


@pytest.fixture(scope="session")
def _redis_server() -> Iterator[str]:
    try:
        with redis.named_or_own() as url:
            yield url
    except redis.RedisUnavailableError as error:
        _unavailable(redis.ENV_REQUIRE, error)


@pytest.fixture
def redis_url(_redis_server: str) -> str:
    """The URL of an empty Redis database."""
    redis.flush(_redis_server)
    return _redis_server


@pytest.fixture
def redis_server() -> Iterator[redis.Server]:
    """A Redis of this test's own, which it may kill."""
    try:
        with redis.serve() as server:
            yield server
    except redis.RedisUnavailableError as error:
        _unavailable(redis.ENV_REQUIRE, error)


def _unavailable(require: str, error: Exception) -> None:
    if os.environ.get(require) == "1":
        pytest.fail(f"{require}=1, but {error}", pytrace=False)
    pytest.skip(str(error))


@pytest.fixture
def postgres_url(postgres_server: postgres.Server) -> Iterator[str]:
    """The SQLAlchemy URL of an empty PostgreSQL database of this test's own."""
    with postgres_server.database() as url:
        yield url.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def _ready_database(postgres_server: postgres.Server) -> Iterator[URL]:
    """A database with all tables. It is emptied for each test: making another one takes ten times as long."""
    with postgres_server.database() as url:
        store = open_store(url.render_as_string(hide_password=False))
        schema.upgrade(store)
        store.close()
        yield url


@pytest.fixture
def ready_postgres_url(postgres_server: postgres.Server, _ready_database: URL) -> str:
    """The SQLAlchemy URL of a PostgreSQL database with tables and no rows. A test must not change its schema."""
    made_by_migrations = {"alembic_version": "true", "meta": "key = 'works_with'"}
    postgres_server.empty(_ready_database, keep=made_by_migrations)
    return _ready_database.render_as_string(hide_password=False)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The SQLAlchemy URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The SQLAlchemy URL of an empty database; the test runs once per kind of store."""
    fixture = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    url: str = request.getfixturevalue(fixture)
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def ready_url(request: pytest.FixtureRequest) -> str:
    """The URL of a store for `rig.open_ready`, which makes what tables are missing; once per kind of store."""
    fixture = {"sqlite": "sqlite_url", "postgresql": "ready_postgres_url"}[request.param]
    url: str = request.getfixturevalue(fixture)
    return url
