"""The store: the only truth about work. SQLAlchemy Core on SQLite or PostgreSQL; one unit of work per transaction.

Read `tables.py` first. Each other module holds the statements of one concept and takes an open `Tx`.
"""
