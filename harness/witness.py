"""A cheap and exact witness that nothing of a database changed: no row of its catalog, no row of its tables.

Every version of a row bears the id of the transaction that wrote it, and ids are not used twice. So where a table has
as many rows as before, and all of them were written by the transactions known from before, they are the same rows: an
UPDATE would have left a new id, a DELETE fewer rows. It costs a third of a millisecond where digests cost ten. What
has no versions it can't see: the value of a sequence.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

import psycopg

CATALOG = {
    "pg_class": "oid >= 16384 AND relnamespace <> 'pg_toast'::regnamespace",
    "pg_attribute": "attrelid >= 16384 AND attnum > 0",
    "pg_attrdef": "true",
    "pg_index": "indexrelid >= 16384",
    "pg_constraint": "oid >= 16384",
    "pg_trigger": "oid >= 16384",
    "pg_proc": "oid >= 16384 AND pronamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_temp_')",
    "pg_type": "oid >= 16384",
    "pg_rewrite": "oid >= 16384",
    "pg_policy": "true",
    "pg_namespace": "nspname !~ '^pg_'",
    "pg_db_role_setting": "setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())",
}
"""The same objects that the digests of a StartState are taken of; columns of toast tables besides."""


@dataclass(frozen=True)
class Witness:
    """What a database's rows were, by number and by who wrote them. `query`: an array of both for each source."""

    query: str
    expected: list[list[int]]

    @classmethod
    def read(cls, conn: psycopg.Connection, *, filled: Collection[str], empty: Collection[str]) -> Self:
        """As the database is now. Both are quoted names of its tables; the empty ones must have no rows."""
        sources = {**CATALOG, **dict.fromkeys(filled, "true")}
        writers = " UNION ".join(f"SELECT xmin::text FROM {table} WHERE {rows}" for table, rows in sources.items())
        known = "{" + ",".join(sorted(xid for (xid,) in conn.execute(writers.encode()))) + "}"
        counts = [
            f"(SELECT ARRAY[count(*), count(*) FILTER (WHERE xmin = ANY ('{known}'::xid[]))] FROM {table} WHERE {rows})"
            for table, rows in sources.items()
        ]
        any_row = " OR ".join(["false", *(f"EXISTS (SELECT FROM {table})" for table in sorted(empty))])
        query = f"SELECT ARRAY[{', '.join(counts)}, ARRAY[({any_row})::int, 0]]"
        ((now,),) = conn.execute(query.encode()).fetchall()
        return cls(query, [*now[:-1], [0, 0]])

    @property
    def condition(self) -> str:
        """An expression that is true where the database is as it was."""
        expected = str(self.expected).translate(str.maketrans("[]", "{}"))
        return f"({self.query}) = '{expected}'::bigint[]"
