"""The files that SQLite keeps beside a database: its write-ahead log, the log's index, and its rollback journal."""

from __future__ import annotations

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
