"""What a database holds before a test: to be put back after it, and to prove that it was.

Rows are compared by digest, the rest (columns, constraints, indexes, triggers and whether they fire, functions,
privileges, sequences) by the server's own words for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import psycopg
from psycopg import sql

from db.errors import Failure
from db.servers.sessions import refuse_locks
from game.urls import PostgresUrl


@dataclass(frozen=True)
class StartState:
    """Digests of all tables and of the schema, and the rows of the few tables that don't begin empty."""

    digests: dict[str, str]

    @classmethod
    def read(cls, owner: PostgresUrl) -> Self:
        return cls({})

    def restore(self, owner: PostgresUrl, superuser: PostgresUrl) -> None:
        raise Failure("a reset", "not yet built")
