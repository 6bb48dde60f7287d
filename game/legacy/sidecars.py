"""The files that SQLite keeps beside a database: its write-ahead log, the log's index, and its rollback journal."""

from __future__ import annotations

import stat
from pathlib import Path

LOG, INDEX, JOURNAL = "-wal", "-shm", "-journal"
SUFFIXES = (LOG, INDEX, JOURNAL)
"""The ends of their names, after the name of the database."""


def log_of(path: Path) -> Path:
    """Return where the database's write-ahead log is, if it has one."""
    return path.with_name(path.name + LOG)


def journal_of(path: Path) -> Path:
    """Return where the database's rollback journal is, if it has one."""
    return path.with_name(path.name + JOURNAL)


def beside(path: Path) -> list[Path]:
    """Return where each of the three is, whether or not it is there."""
    return [path.with_name(path.name + suffix) for suffix in SUFFIXES]


def no_file(path: Path) -> Path | None:
    """Return the first of the database and the three that is something else than a regular file, such as a pipe.

    SQLite would wait for ever to open a pipe, and write through a link. path: without links.
    """
    return next((one for one in (path, *beside(path)) if _is_other(one)), None)


def _is_other(path: Path) -> bool:
    try:
        return not stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False  # Nothing is there, or nothing that this user can see: SQLite says what.
