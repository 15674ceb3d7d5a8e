"""What processes share, and what people did: turns, leases, stops, audit, credentials, and the decisions' chain."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NUMBERED = (
    "audit",
    "decisions",
    "deliveries",
    "drift",
    "inbox",
    "links",
    "receipts",
    "reviews",
    "runs",
    "shapes",
)


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "turns",
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("due", big, nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("started", big, nullable=True),
        sa.Column("ended", big, nullable=True),
        sa.PrimaryKeyConstraint("system", "object", "kind"),
        sqlite_with_rowid=False,
    )
    op.create_index("turns_by_due", "turns", ["due"], unique=False)
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until", big, nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "stops",
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("since", big, nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("system"),
    )
    op.create_table(
        "audit",
        sa.Column("id", big, autoincrement=False, nullable=False),
        sa.Column("at", big, nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("audit_by_time", "audit", ["at"], unique=False)
    op.create_table(
        "credentials",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("changed", big, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.add_column("records", sa.Column("seal", sa.Text(), nullable=True))
    op.add_column("decisions", sa.Column("seal", sa.Text(), nullable=True))
    _begin_chains()
    op.add_column("deliveries", sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("deliveries", sa.Column("due", big, nullable=False, server_default="0"))
    op.add_column("deliveries", sa.Column("trace", sa.Text(), nullable=False, server_default=""))
    op.drop_index("deliveries_by_state", table_name="deliveries")
    op.create_index("deliveries_by_state", "deliveries", ["state", "system", "due", "id"], unique=False)
    op.create_index("deliveries_by_time", "deliveries", ["state", "received"], unique=False)
    op.add_column("inbox", sa.Column("shard", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("inbox", sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("inbox", sa.Column("error", sa.Text(), nullable=True))
    unjudged = sa.text("error IS NOT NULL")
    op.create_index(
        "inbox_set_aside",
        "inbox",
        ["system", "object"],
        unique=False,
        sqlite_where=unjudged,
        postgresql_where=unjudged,
    )
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("inbox_by_shard", "inbox", ["run", "shard", "due", "id"], unique=False)
        _count_apart()


def _count_apart() -> None:
    """A sequence each in place of a row each, which would be locked until a transaction ends."""
    for name in NUMBERED:
        op.execute(f"CREATE SEQUENCE numbers_of_{name}")
        last = f"SELECT setval('numbers_of_{name}', last) FROM sequences"  # noqa: S608  # our own names
        op.execute(f"{last} WHERE name = '{name}' AND last > 0")
    op.execute("DELETE FROM sequences")


def _count_together() -> None:
    for name in NUMBERED:
        op.execute(
            f"INSERT INTO sequences (name, last) SELECT '{name}', last_value FROM numbers_of_{name} WHERE is_called"  # noqa: S608  # as above
        )
        op.execute(f"DROP SEQUENCE numbers_of_{name}")


def _begin_chains() -> None:
    """What was decided before is known to be unsealed; a new store begins its chains with its first decision."""
    last = op.get_bind().execute(sa.text("SELECT max(id) FROM decisions")).scalar()
    if last is not None:
        meta = sa.table("meta", sa.column("key"), sa.column("value"))
        chains = {"chain_key": secrets.token_hex(32), "chain_since": str(last)}
        op.bulk_insert(meta, [{"key": key, "value": value} for key, value in chains.items()])


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _count_together()
        op.drop_index("inbox_by_shard", table_name="inbox")
    op.drop_index("inbox_set_aside", table_name="inbox")
    for name in ("error", "attempts", "shard"):
        op.drop_column("inbox", name)
    op.drop_index("deliveries_by_time", table_name="deliveries")
    op.drop_index("deliveries_by_state", table_name="deliveries")
    op.create_index("deliveries_by_state", "deliveries", ["state", "id"], unique=False)
    for name in ("trace", "due", "attempts"):
        op.drop_column("deliveries", name)
    op.execute("DELETE FROM meta WHERE key IN ('chain_key', 'chain_since')")
    op.drop_column("decisions", "seal")
    op.drop_column("records", "seal")
    op.drop_table("credentials")
    op.drop_index("audit_by_time", table_name="audit")
    op.drop_table("audit")
    op.drop_table("stops")
    op.drop_table("leases")
    op.drop_index("turns_by_due", table_name="turns")
    op.drop_table("turns")
