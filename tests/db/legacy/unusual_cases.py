"""Unusual legacy files by name: statements that the program that made a file ran on it, with functions of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from tests.db.transfer.transferring import seeded

Step: TypeAlias = str | tuple[str, Sequence[Any]]
"""A statement, or one with the rows to run it with."""

PLAYERS = 6


@dataclass(frozen=True)
class Case:
    """A seeded file of six players after `steps`."""

    name: str
    steps: tuple[Step, ...]

    def write(self, path: Path) -> Path:
        """Make the file at `path`, in the journal mode that leaves nothing beside it."""
        seeded(path, PLAYERS)
        run(path, "PRAGMA journal_mode=DELETE", *self.steps)
        return path


def case(name: str, *steps: Step) -> Case:
    return Case(name, steps)


def in_schema(name: str, sql: str) -> tuple[Step, ...]:
    """Write another statement into the schema, as an older or another SQLite might have left it."""
    return (
        "PRAGMA writable_schema=ON",
        (f"UPDATE sqlite_master SET sql = ? WHERE name = '{name}'", [(sql,)]),
        "PRAGMA writable_schema=RESET",
    )


def run(path: Path, *steps: Step) -> None:
    """Run the steps as the file's own program, which has a function `norm` and a collation `unicase`."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.create_function("norm", 1, lambda text: text, deterministic=True)
    connection.create_collation("unicase", lambda left, right: (left > right) - (left < right))
    try:
        for step in steps:
            if isinstance(step, str):
                connection.execute(step).fetchall()
            else:
                connection.executemany(*step)
    finally:
        connection.close()


def run_elsewhere(path: Path, script: str) -> None:
    """Run SQL as any other program would, which has no functions of its own."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.executescript(script)
    finally:
        connection.close()
