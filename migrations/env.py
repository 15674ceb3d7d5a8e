"""Alembic's environment: always runs on a connection that the store opened.

On PostgreSQL an upgrade waits for another one that is under way, and then finds nothing to do. For a table that live
traffic uses it waits only briefly: whoever comes after it would wait behind it.
"""

from typing import Any

from alembic import context

from syncbroker.store.tables import metadata

OTHER, TABLE = "60s", "3s"
"""How long it waits for another upgrade, and for a table."""

connection = context.config.attributes["connection"]
if connection.dialect.name == "postgresql":
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{OTHER}'")
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7203948)")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{TABLE}'")


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
