"""The test server itself."""

from __future__ import annotations

import sqlalchemy


def test_each_test_gets_an_empty_store_that_takes_writes(store_url: str) -> None:
    engine = sqlalchemy.create_engine(store_url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE thing (id INTEGER)"))
        assert sqlalchemy.inspect(connection).get_table_names() == ["thing"]
    engine.dispose()


def test_a_second_test_sees_nothing_of_the_first(store_url: str) -> None:
    engine = sqlalchemy.create_engine(store_url)
    with engine.connect() as connection:
        assert sqlalchemy.inspect(connection).get_table_names() == []
    engine.dispose()
