"""Refuses a schema that would have SQLite run what is without bounds, before anything of it is run.

CHECKs, generated columns and indexes on expressions run while a file is only read: a check of its soundness evaluates
them for each row. SQLite itself says what they call: the tables are made again in memory, without rows.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing

from db.errors import Refusal
from db.legacy.schema import Statement, in_the_file
from game.legacy import sqlite_values
from game.legacy.guarding import guard, strictly

MOST_STATEMENTS = 5_000

MOST_BYTES = 16_000_000
"""The size of all statements together: each connection reads them anew, and takes several times as much memory."""

MOST_STEPS = 20 * MOST_STATEMENTS
"""SQLite takes some ten steps to read a statement of the schema, and as many to measure it afterwards."""

_DENIED = re.compile(r"not authorized.*")
_MISSING = re.compile(r"(?:no such|unknown) (function|collation sequence): (.+?)(?:\(\))?")
_MOST_STAND_INS = 100


def check(statements: Iterable[Statement], where: str) -> None:
    """Refuse CHECKs, generated columns, defaults and indexes that call functions of unbounded cost.

    Takes milliseconds: it runs nothing, but makes the tables in memory, and compiles what reads and fills them.
    """
    with closing(guard(sqlite3.connect(":memory:", isolation_level=None))) as memory:
        # Names that begin with sqlite_ are allowed then: such a table has CHECKs too.
        memory.execute("PRAGMA writable_schema=ON")
        attempts = _Attempts(memory, where)
        for kind in ("table", "index"):
            for statement in statements:
                if statement.type == kind and statement.sql is not None and not statement.is_virtual:
                    attempts.make(statement)


class _Attempts:
    """Makes statements in memory, with stand-ins for functions and collations that this SQLite lacks.

    Without them the first name that is missing would hide what stands behind it.
    """

    def __init__(self, memory: sqlite3.Connection, where: str) -> None:
        self._memory = memory
        self._where = where
        self._stand_ins: set[str] = set()

    def make(self, statement: Statement) -> None:
        """Make it, and compile what reads each of its columns. Raises Refusal if a part of it is denied."""
        self._attempt(statement, str(statement.sql))
        if statement.type != "table":
            return
        # SQLite looks at defaults and at what generated columns name only when they are used.
        about = self._memory.execute("SELECT dflt_value FROM pragma_table_xinfo(?)", (statement.name,)).fetchall()
        for (default,) in about:
            if default is not None:
                self._attempt(statement, f"EXPLAIN SELECT ({default}\n)")
        self._attempt(statement, f"EXPLAIN SELECT * FROM {sqlite_values.quote(statement.name)}")

    def _attempt(self, statement: Statement, sql: str) -> None:
        for _ in range(_MOST_STAND_INS):
            try:
                with strictly(self._memory, also=self._stand_ins):
                    self._memory.execute(sql).close()
            except MemoryError:
                raise _costly(statement, "it compiles to too large a program", self._where) from None
            except (sqlite3.Error, sqlite3.Warning) as error:
                if denied := _DENIED.search(str(error)):
                    raise _costly(statement, denied[0], self._where) from None
                if not (missing := _MISSING.fullmatch(str(error))):
                    return  # It is refused where the schema is made again.
                self._stand_in(*missing.groups())
            else:
                return
        raise _costly(statement, f"more than {_MOST_STAND_INS} names that SQLite does not know", self._where)

    def _stand_in(self, kind: str, name: str) -> None:
        self._stand_ins.add(name.lower())
        if kind == "function":
            self._memory.create_function(name, -1, lambda *_values: None, deterministic=True)
        else:
            self._memory.create_collation(name, lambda left, right: (left > right) - (left < right))


def _costly(statement: Statement, call: str, where: str) -> Refusal:
    """Return the refusal of a statement that calls a function whose cost is not bounded."""
    drop = in_the_file(f"DROP INDEX {sqlite_values.quote(statement.name)};")
    return Refusal(
        "a schema that calls only functions whose cost is bounded",
        f"{statement.type} {statement.name}: {call}",
        where=where,
        do=drop if statement.type == "index" else f"Rebuild {statement.name} without it.",
    )


def too_large(where: str) -> Refusal:
    """Make the Refusal of a schema that SQLite did not read to its end within MOST_STEPS, or in its memory."""
    return Refusal(
        f"a schema of at most some {MOST_STATEMENTS:,} tables, indexes, views and triggers, in {MOST_BYTES:,} bytes",
        "a larger one",
        where=where,
        do="Drop or move away the tables that are not the game's, in a copy.",
    )
