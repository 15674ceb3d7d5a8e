"""Every table of the store. Times are µs since the epoch; `body`, `state` and `golden` hold JSON text.

The wide rows (`records`, `links`) are apart from the narrow `fingerprints`, which a sweep probes for every row it sees.
Each index names the query that it serves.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

Big = BigInteger().with_variant(Integer(), "sqlite")

meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

sequences = Table(
    "sequences", metadata, Column("name", Text, primary_key=True), Column("last", Big, nullable=False)
)

NUMBERS = "numbers_of_"
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
"""What is numbered: by a row of `sequences` on SQLite, by a sequence of its own on PostgreSQL (see `Tx.numbers`)."""

for _name in NUMBERED:
    Sequence(f"{NUMBERS}{_name}", metadata=metadata)

mappings = Table(
    "mappings",
    metadata,
    Column("version", Text, primary_key=True),
    Column("first_used", Big, nullable=False),
    Column("last_used", Big, nullable=False),
    Column("body", Text),  # the rules, so that decisions made under them can be resolved again
    Index("mappings_by_use", "last_used"),  # which version was active before this one
)

records = Table(
    "records",
    metadata,
    Column("id", Text, primary_key=True),
    Column("entity", Text, nullable=False),
    Column("golden", Text, nullable=False),
    Column("seal", Text),  # the head of its chain of decisions
    Index("records_by_entity", "entity", "id"),  # status counts; recomputing an entity in chunks
    sqlite_with_rowid=False,
)

links = Table(
    "links",
    metadata,
    Column("n", Big, primary_key=True, autoincrement=False),
    Column("system", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("external_id", Text),  # NULL until a create is confirmed
    Column("entity", Text, nullable=False),
    Column("record_id", Text),  # NULL while a review asks which record it is
    Column(
        "status", Text, nullable=False
    ),  # live, planned (create owed), queued (match review), gone (delete review)
    Column("ord", Big, nullable=False),
    Column("state", Text, nullable=False),
    UniqueConstraint("system", "object", "external_id", "entity", name="links_by_external_id"),
    Index("links_by_record", "record_id"),
    Index(
        "links_by_status", "status", "system", "object", "n"
    ),  # status counts; what waits; whom a sweep missed
)

aliases = Table(
    "aliases",
    metadata,
    Column("system", Text, primary_key=True),
    Column("object", Text, primary_key=True),
    Column("external_id", Text, primary_key=True),
    Column("now", Text, nullable=False),
    Index("aliases_by_now", "system", "object", "now"),  # a record that gets another id once more
    sqlite_with_rowid=False,
)

fingerprints = Table(
    "fingerprints",
    metadata,
    Column("system", Text, primary_key=True),
    Column("object", Text, primary_key=True),
    Column("external_id", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("n", Big, nullable=False),
    sqlite_with_rowid=False,
)

match_keys = Table(
    "match_keys",
    metadata,
    Column("entity", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("record_id", Text, primary_key=True),
    sqlite_with_rowid=False,
)

pending_references = Table(
    "pending_references",
    metadata,
    Column("system", Text, primary_key=True),
    Column("entity", Text, primary_key=True),  # the entity referred to
    Column("external_id", Text, primary_key=True),
    Column("link", Big, primary_key=True, autoincrement=False),
    Index("pending_references_by_link", "link"),
    sqlite_with_rowid=False,
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("system", Text, primary_key=True),
    Column("object", Text, primary_key=True),
    Column("digest", Text, primary_key=True),  # keyed hash of the external id, or of the record id
    Column("at", Big, nullable=False),
    Column("reason", Text, nullable=False),
    sqlite_with_rowid=False,
)

shapes = Table(
    "shapes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("outcomes", Text, nullable=False, unique=True),
)

shape_outcomes = Table(
    "shape_outcomes",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("field", Text, primary_key=True),
    Column("shape", Integer, primary_key=True),
    Column("times", Integer, nullable=False),
    sqlite_with_rowid=False,
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=False),
    Column("record_id", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("shape", Integer, nullable=False),
    Column("run", Big, nullable=False),
    Column("at", Big, nullable=False),
    Column("actor", Text, nullable=False),  # who decided: "rules" or a person's name
    Column("mapping", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column(
        "seal", Text
    ),  # the hash that chains it to the record's decision before; NULL: older than the chain
    Index("decisions_by_record", "record_id", "id"),  # explain
    Index("decisions_by_shape", "shape", "id"),  # decisions --kind, --field; status counts
    Index("decisions_by_run", "run", "id"),  # a run's summary
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=False),
    Column("system", Text, nullable=False),
    Column("dedupe", Text, nullable=False),
    Column("received", Big, nullable=False),
    Column("request", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),  # new, done, rejected, poison
    Column("error", Text),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("due", Big, nullable=False, server_default="0"),
    Column(
        "trace", Text, nullable=False, server_default=""
    ),  # follows it into the log, up to the writes it causes
    UniqueConstraint("system", "dedupe", name="deliveries_by_dedupe"),
    Index("deliveries_by_state", "state", "system", "due", "id"),
    Index("deliveries_by_time", "state", "received"),  # lag; what is kept no longer
)

inbox = Table(
    "inbox",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=False),
    Column("run", Big, nullable=False),
    Column("system", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("due", Big, nullable=False),
    Column("body", Text, nullable=False),
    Column(
        "shard", Integer, nullable=False, server_default="0"
    ),  # who may decide it beside whom (store.shards)
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("error", Text),  # why it was set aside
    Index("inbox_by_run", "run", "due", "id"),
    Index("inbox_by_shard", "run", "shard", "due", "id", info={"only": "postgresql"}).ddl_if(
        dialect="postgresql"
    ),  # SQLite has one decider
    Index(
        "inbox_set_aside",
        "system",
        "object",
        sqlite_where=text("error IS NOT NULL"),
        postgresql_where=text("error IS NOT NULL"),
    ),  # what could not be decided: status, retry
    Index("inbox_by_external_id", "system", "object", "external_id"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("link", Big, primary_key=True, autoincrement=False),
    Column("system", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("op", Text, nullable=False),
    Column(
        "state", Text, nullable=False
    ),  # due, claimed, pending (a job at the vendor), unknown, refused, waiting, staged (until guards pass)
    Column("due", Big, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("run", Big, nullable=False),
    Column("body", Text, nullable=False),
    Column("error", Text),
    Index("outbox_by_due", "system", "state", "due"),
    Index(
        "outbox_staged",
        "run",
        "link",
        sqlite_where=text("state = 'staged'"),
        postgresql_where=text("state = 'staged'"),
    ),  # what a run would write; costs nothing where nothing is staged
)

reviews = Table(
    "reviews",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),  # decisions.ReviewKind
    Column("entity", Text, nullable=False),
    Column("record_id", Text),
    Column("link", Big),
    Column("field", Text, nullable=False),
    Column("system", Text, nullable=False),
    Column("opened", Big, nullable=False),
    Column("closed", Big),
    Column("body", Text, nullable=False),
    Column("person", Text),
    Index("reviews_open", "closed", "opened"),
    Index("reviews_by_record", "record_id", "closed"),
    Index("reviews_by_link", "link", "closed"),
    Index("reviews_alike", "closed", "kind", "entity", "field", "system"),  # one answer for all alike
)

alarms = Table(
    "alarms",
    metadata,
    Column("record_id", Text, primary_key=True),
    Column("due", Big, nullable=False),  # when the record must be looked at again, without any news of it
    Index("alarms_by_due", "due"),
    sqlite_with_rowid=False,
)

receipts = Table(
    "receipts",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=False),
    Column("record_id", Text, nullable=False),
    Column("link", Big, nullable=False),
    Column("run", Big, nullable=False),  # the run whose decisions owed the write
    Column("at", Big, nullable=False),
    Column("op", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index("receipts_by_record", "record_id", "id"),  # explain
    Index("receipts_by_run", "run", "id"),  # undo: what a run created
)

merges = Table(
    "merges",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=False),  # its decision on the survivor
    Column("survivor", Text, nullable=False),
    Column("absorbed", Text, nullable=False),
    Column("at", Big, nullable=False),
    Column("undone", Big),
    Column("body", Text, nullable=False),
    Index("merges_by_survivor", "survivor", "id"),
    Index("merges_by_absorbed", "absorbed", "id"),
)

referrals = Table(
    "referrals",
    metadata,
    Column("target", Text, primary_key=True),  # the record referred to
    Column("referrer", Text, primary_key=True),
    Index("referrals_by_referrer", "referrer"),
    sqlite_with_rowid=False,
)

drift = Table(
    "drift",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=False),
    Column("run", Big, nullable=False),
    Column("entity", Text, nullable=False),
    Column("record_id", Text, nullable=False),
    Column("link", Big, nullable=False),
    Column("system", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("field", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("found", Big, nullable=False),
    Column("healed", Big),
    Column("body", Text, nullable=False),
    Index("drift_by_time", "found"),  # drift --since
    Index("drift_by_link", "healed", "link"),  # what heals, what is open
    Index("drift_by_run", "run"),
)

windows = Table(
    "windows",
    metadata,
    Column("system", Text, primary_key=True),
    Column("object", Text, primary_key=True),
    Column("entity", Text, primary_key=True),
    Column("what", Text, primary_key=True),  # changed, emptied, deleted; push_changed, push_created ...
    Column("minute", Big, primary_key=True, autoincrement=False),
    Column("count", Big, nullable=False),
    sqlite_with_rowid=False,
)

pauses = Table(
    "pauses",
    metadata,
    Column("system", Text, primary_key=True),
    Column("entity", Text, primary_key=True),
    Column("field", Text, primary_key=True),
    Column("since", Big, nullable=False),
    Column("why", Text, nullable=False),
    Column("review", Big, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),  # pull, sweep, push, live, undo
    Column("system", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("state", Text, nullable=False),  # reading, released, done, failed, held
    Column("started", Big, nullable=False),
    Column("ended", Big),
    Column("body", Text, nullable=False),
    Column(
        "held", Text
    ),  # while a guard holds it: what waits, for which review, and how to go on (runs.Held)
    Index("runs_by_state", "state", "id"),
    Index("runs_by_source", "system", "object", "id"),
)

cursors = Table(
    "cursors",
    metadata,
    Column("system", Text, primary_key=True),
    Column("object", Text, primary_key=True),
    Column("cursor", Text),
    Column("first_read", Big),  # when a complete first read of the object had been matched
    Column("swept", Big),
    Column("pulled", Big),
    Column(
        "rules", Text
    ),  # the reading rules of the last complete read; others mean that it must be read whole again
)

breakers = Table(
    "breakers",
    metadata,
    Column("system", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("open_until", Big, nullable=False),
    Column("message", Text, nullable=False),
)

counters = Table(
    "counters",
    metadata,
    Column("what", Text, primary_key=True),
    Column("system", Text, primary_key=True),
    Column("object", Text, primary_key=True),
    Column("count", Big, nullable=False),
    sqlite_with_rowid=False,
)

turns = Table(
    "turns",
    metadata,
    Column("system", Text, primary_key=True),
    Column("object", Text, primary_key=True),
    Column("kind", Text, primary_key=True),  # pull, sweep
    Column("due", Big, nullable=False),
    Column("plan", Text, nullable=False),  # the schedule that `due` follows from; another one counts anew
    Column("started", Big),
    Column("ended", Big),
    Index("turns_by_due", "due"),
    sqlite_with_rowid=False,
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", Big, nullable=False),
    sqlite_with_rowid=False,
)

stops = Table(
    "stops",
    metadata,
    Column("system", Text, primary_key=True),  # a system that a person has paused
    Column("since", Big, nullable=False),
    Column("person", Text, nullable=False),
    Column("why", Text, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=False),
    Column("at", Big, nullable=False),
    Column("person", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index("audit_by_time", "at"),
)

credentials = Table(
    "credentials",
    metadata,
    Column("name", Text, primary_key=True),
    Column("token", Text, nullable=False),  # encrypted under the newest of the keys in the environment
    Column("changed", Big, nullable=False),
)
