"""A kind of hostile legacy file: how it is made, and what is expected of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.db.transfer.transferring import seeded

PLAYERS = 6

End = Literal["carried", "refused"]


@dataclass(frozen=True)
class Hostile:
    """end: what becomes of the file. carried: loaded, and equal on the way back."""

    name: str
    make: Callable[[Path], None]
    end: End

    def write(self, path: Path) -> Path:
        """Make the file at `path`, in the journal mode that leaves nothing beside it."""
        seeded(path, PLAYERS)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
        self.make(path)
        return path


def statements(*texts: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement in texts:
                connection.execute(statement).fetchall()

    return make
