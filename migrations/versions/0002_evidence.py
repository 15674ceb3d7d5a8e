"""What explains, undoes and guards: receipts, merges, drift, alarms, windows, pauses, and who refers to whom."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alarms",
        sa.Column("record_id", sa.Text(), nullable=False),
        sa.Column("due", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("record_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("alarms_by_due", "alarms", ["due"], unique=False)
    op.create_table(
        "drift",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("run", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("record_id", sa.Text(), nullable=False),
        sa.Column("link", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("found", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("healed", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("drift_by_link", "drift", ["healed", "link"], unique=False)
    op.create_index("drift_by_run", "drift", ["run"], unique=False)
    op.create_index("drift_by_time", "drift", ["found"], unique=False)
    op.create_table(
        "merges",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("survivor", sa.Text(), nullable=False),
        sa.Column("absorbed", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("undone", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("merges_by_absorbed", "merges", ["absorbed", "id"], unique=False)
    op.create_index("merges_by_survivor", "merges", ["survivor", "id"], unique=False)
    op.create_table(
        "pauses",
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("review", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("system", "entity", "field"),
    )
    op.create_table(
        "receipts",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("record_id", sa.Text(), nullable=False),
        sa.Column("link", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("op", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("receipts_by_record", "receipts", ["record_id", "id"], unique=False)
    op.create_index("receipts_by_run", "receipts", ["run", "id"], unique=False)
    op.create_table(
        "referrals",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("referrer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("target", "referrer"),
        sqlite_with_rowid=False,
    )
    op.create_index("referrals_by_referrer", "referrals", ["referrer"], unique=False)
    op.create_table(
        "windows",
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column(
            "minute",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("count", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("system", "object", "entity", "what", "minute"),
        sqlite_with_rowid=False,
    )
    op.add_column("mappings", sa.Column("body", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("held", sa.Text(), nullable=True))
    op.create_index(
        "outbox_staged",
        "outbox",
        ["run", "link"],
        unique=False,
        sqlite_where=sa.text("state = 'staged'"),
        postgresql_where=sa.text("state = 'staged'"),
    )
    op.create_index("reviews_alike", "reviews", ["closed", "kind", "entity", "field", "system"], unique=False)


def downgrade() -> None:
    op.drop_index("reviews_alike", table_name="reviews")
    op.drop_index("outbox_staged", table_name="outbox")
    op.drop_column("runs", "held")
    op.drop_column("mappings", "body")
    op.drop_table("windows")
    op.drop_index("referrals_by_referrer", table_name="referrals")
    op.drop_table("referrals")
    op.drop_index("receipts_by_run", table_name="receipts")
    op.drop_index("receipts_by_record", table_name="receipts")
    op.drop_table("receipts")
    op.drop_table("pauses")
    op.drop_index("merges_by_survivor", table_name="merges")
    op.drop_index("merges_by_absorbed", table_name="merges")
    op.drop_table("merges")
    op.drop_index("drift_by_time", table_name="drift")
    op.drop_index("drift_by_run", table_name="drift")
    op.drop_index("drift_by_link", table_name="drift")
    op.drop_table("drift")
    op.drop_index("alarms_by_due", table_name="alarms")
    op.drop_table("alarms")
