"""Replaces SQLite's functions that take the product of their arguments' lengths by ones that refuse a large product.

SQLite can't interrupt a function: neither a progress handler nor Connection.interrupt() is heard before it returns, and
Python handles no signal meanwhile. `trim` of 400 KB by 20,000 characters takes 100 s.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

SqlValue: TypeAlias = int | float | str | bytes | None

MOST_PRODUCTS = {
    "instr": 4_000_000_000,
    "like": 200_000_000,
    "glob": 200_000_000,
    "trim": 50_000_000,
    "ltrim": 50_000_000,
    "rtrim": 50_000_000,
}
"""Of the characters of the first two arguments, by function: what SQLite does in about a second."""

_ARGUMENTS: Mapping[str, tuple[int, ...]] = {"like": (2, 3)}
_NUMBER_CHARACTERS = 25


def install(connection: sqlite3.Connection, limits: Mapping[int, int], check: Callable[[], None]) -> None:
    """Replace the functions on this connection. Their results are SQLite's own.

    limits: SQLite's limits. check: called first by each; what it raises ends the statement. A product over the limit
    ends it with SQLITE_TOOBIG, and a text that is not UTF-8 with SQLITE_ERROR.
    """
    evaluator = _Evaluator(limits)
    for name, most in MOST_PRODUCTS.items():
        for count in _ARGUMENTS.get(name, (2,)):
            function = _Bounded(f"SELECT {name}({', '.join('?' * count)})", most, evaluator, check)
            connection.create_function(name, count, function, deterministic=True)


@dataclass(slots=True)
class _Evaluator:
    """A database in memory whose functions are SQLite's own. It is opened by the first call."""

    limits: Mapping[int, int]
    memory: sqlite3.Connection | None = field(default=None, init=False)

    def call(self, query: str, values: tuple[SqlValue, ...]) -> SqlValue:
        if self.memory is None:
            # A cached statement would keep copies of its arguments.
            self.memory = sqlite3.connect(":memory:", check_same_thread=False, cached_statements=0)
            for limit, most in self.limits.items():
                self.memory.setlimit(limit, most)
        try:
            (result,) = self.memory.execute(query, values).fetchone()
        except sqlite3.OperationalError as error:  # A pattern over the limit.
            raise OverflowError from error
        assert result is None or isinstance(result, int | float | str | bytes)
        return result

    def __del__(self) -> None:
        # The connection whose functions these are was closed: SQLite released them.
        if self.memory is not None:
            self.memory.close()


@dataclass(frozen=True, slots=True)
class _Bounded:
    query: str
    most: int
    evaluator: _Evaluator
    check: Callable[[], None]

    def __call__(self, *values: SqlValue) -> SqlValue:
        self.check()
        if _characters(values[0]) * _characters(values[1]) > self.most:
            raise OverflowError  # The module sqlite3 makes SQLITE_TOOBIG of it.
        return self.evaluator.call(self.query, values)


def _characters(value: SqlValue) -> int:
    return len(value) if isinstance(value, str | bytes) else _NUMBER_CHARACTERS
