"""Alembic's environment: always runs on a connection that the store opened, one migration a transaction of its own."""

from typing import Any

from alembic import context

from syncbroker.store.tables import metadata

connection = context.config.attributes["connection"]
if (
    connection.dialect.name == "postgresql"
):  # two upgrades at once wait for each other, and nobody waits for ever
    connection.exec_driver_sql("SET LOCAL lock_timeout = '10s'")
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7203948)")


def is_here(item: Any, _name: str | None, _type: str, _reflected: bool, _compared: Any) -> bool:
    """An index that one kind of store has alone names it."""
    return bool(item.info.get("only", connection.dialect.name) == connection.dialect.name)


context.configure(
    connection=connection,
    target_metadata=metadata,
    compare_type=True,
    render_as_batch=False,
    include_object=is_here,
)
context.run_migrations()
