"""Checks a legacy file before anything is made or changed.

The transfer, a rehearsal, a snapshot and a cutover's preflight share them, so they refuse with the same text.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from db.counts import first_of
from db.errors import Refusal
from db.legacy import schema as schemas
from db.legacy.clauses import checks
from db.legacy.compiling import find_unwritable
from db.legacy.read_errors import is_not_utf8, unreadable
from db.legacy.source import Source, opened
from db.remedies import RESTORE_FILE
from db.transfer.preconditions import check_ids, check_journals, check_numbers
from game.legacy.guarding import MOST_BYTES, strictly
from game.legacy.sqlite_values import quote

MOST_NAME_BYTES = 2000
"""A table's name is part of a key in Postgres, whose index entries have at most 2,700 bytes."""

ROOM = 2**32
"""The least number of rows that must fit behind a table's last one."""

LAST_PLACE = 2**63 - 1 - ROOM
MOVED_BY = 2**62

_NAMED = 3
_DAMAGED = re.compile(r"\*\*\* in database|Tree \d|Page \d|Freelist|Fragmentation|btree")
"""Beginnings of SQLite's findings about pages. Older versions put a headline first."""


def check(path: Path) -> None:
    """Refuse a file that can't be moved to Postgres and back. Reads the whole file, for SQLite's integrity_check."""
    with opened(path) as source, _refused(path):
        check_soundness(source)
        check_contents(source)


def check_sound(path: Path) -> None:
    """Refuse a damaged file, and one whose rows break its own constraints."""
    with opened(path) as source, _refused(path):
        check_soundness(source)


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Raise a read that fails as Refusal: nothing was begun."""
    try:
        yield
    except (sqlite3.DatabaseError, MemoryError) as error:
        raise unreadable(path, error) from error


def check_contents(source: Source) -> None:
    """Refuse the same, without SQLite's own check: takes milliseconds, for a file of any size."""
    for each in CONTENTS:
        each(source)


def check_soundness(source: Source) -> None:
    """Refuse damage, and rows that break the file's own constraints: they could not be written into a copy."""
    for each in SOUNDNESS:
        each(source)


def check_integrity(source: Source) -> None:
    """Refuse what SQLite's integrity_check finds, and rows that a CHECK of the file refuses."""
    problems = _integrity(source.connection) or list(islice(_broken_checks(source), _NAMED + 1))
    if not problems:
        return
    listed = first_of(problems, _NAMED)
    rebuild = "; ".join(f"REINDEX {quote(index)}" for index in _stale_indexes(source.connection, problems))
    if any(_DAMAGED.match(problem) for problem in problems):
        raise Refusal("a sound SQLite file", listed, where=source.where, do=RESTORE_FILE)
    # SQLite does not evaluate `IS NULL` of a NOT NULL column: it assumes false.
    nulls = (
        " Find these by typeof(COLUMN) = 'null'." if any(problem.startswith("NULL ") for problem in problems) else ""
    )
    raise Refusal(
        "an integral legacy file",
        listed,
        where=source.where,
        do=schemas.in_the_file(f"{rebuild};")
        if rebuild
        else f"Mend these rows in the file, with the game stopped.{nulls}",
    )


def check_sizes(source: Source) -> None:
    """Read each value once, if the file can hold one that is over SQLite's limit: SQLite then raises an error."""
    (size,) = source.connection.execute(
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    ).fetchone()
    if size <= MOST_BYTES:
        return
    for table in source.tables.values():
        for column in table.columns:
            source.connection.execute(
                f"SELECT count(length({quote(column)} || '')) FROM {quote(table.name)}"
            ).fetchone()


def compute_generated(source: Source) -> None:
    """Read each generated column once: what SQLite can't compute within its limits ends in an error of SQLite's."""
    for table in source.tables.values():
        for column in table.generated:
            query = f"SELECT count(typeof({quote(column)})) FROM {quote(table.name)}"
            try:
                source.connection.execute(query).fetchone()
            except sqlite3.OperationalError as error:
                if not _is_missing(error):
                    raise


def _is_missing(error: sqlite3.OperationalError) -> bool:
    """Return True if a function or collation may be missing: check_writable refuses that, with a remedy."""
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_ERROR and not is_not_utf8(error)


def _integrity(connection: sqlite3.Connection) -> list[str]:
    """Return the first problems that SQLite finds: one more than are named, so that a reader knows of the rest."""
    try:
        problems = connection.execute(f"PRAGMA integrity_check({_NAMED + 1})").fetchall()
    except sqlite3.OperationalError as error:
        if not _is_missing(error):
            raise
        return []
    return [first_of(str(problem).splitlines(), _NAMED) for (problem,) in problems if problem != "ok"]


def _broken_checks(source: Source) -> Iterator[str]:
    """Yield how many rows break each CHECK."""
    # integrity_check does not look at CHECKs on a read-only connection.
    for statement in source.schema.tables:
        for expression in checks(str(statement.sql)):
            query = f"SELECT count(*) FROM {quote(statement.name)} WHERE NOT {expression}"
            try:
                with strictly(source.connection):  # SQLite may read the clause otherwise than we do.
                    (many,) = source.connection.execute(query).fetchone()
            except sqlite3.OperationalError as error:
                if not _is_missing(error):
                    raise
                continue
            if many:
                yield f"rows of {statement.name} that CHECK {expression} refuses: {many:,}"


def _stale_indexes(connection: sqlite3.Connection, problems: list[str]) -> list[str]:
    """Return the indexes to rebuild; none if a problem is of another kind."""
    names = [str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")]
    ends = {f" index {name}": name for name in names}
    stale = [next((name for end, name in ends.items() if problem.endswith(end)), None) for problem in problems]
    unique = any(problem.startswith("non-unique") for problem in problems)
    return [] if unique or None in stale else list(dict.fromkeys(name for name in stale if name))


def check_names(source: Source) -> None:
    """Refuse a table whose name is too long for a key."""
    for name in source.tables:
        if len(name.encode()) > MOST_NAME_BYTES:
            raise Refusal(
                f"names of tables of at most {MOST_NAME_BYTES:,} bytes",
                f"{len(name.encode()):,}: {name[:40]}…",
                where=source.where,
                do=schemas.in_the_file(schemas.renaming(name, name[:40])),
            )


def check_places(source: Source) -> None:
    """Refuse a row at the end of SQLite's rowids: a row that is added on Postgres comes behind the last one."""
    for table in source.tables.values():
        if table.rowid is None:
            continue
        name, rowid = quote(table.name), table.rowid
        (last,) = source.connection.execute(f"SELECT max({rowid}) FROM {name}").fetchone()
        if last is not None and last > LAST_PLACE:
            raise Refusal(
                f"room for rows behind the last one of {table.name}",
                f"its last rowid is {last}; SQLite's largest is {2**63 - 1}",
                where=source.where,
                do=schemas.in_the_file(
                    f"UPDATE {name} SET {rowid} = {rowid} - {MOVED_BY} WHERE {rowid} > {LAST_PLACE};"
                ),
            )


def check_writable(source: Source) -> None:
    """Refuse a file with a table that this program's SQLite can't write: the service and the fence must write it."""
    unwritable = find_unwritable(source)
    if unwritable is None:
        return
    raise Refusal(
        f"a table {unwritable.table} that this program can write",
        unwritable.error,
        where=source.where,
        do=schemas.in_the_file(*unwritable.remedy)
        if unwritable.remedy
        else f"Rebuild {unwritable.table} without it, with the program that has it.",
    )


def check_schema(source: Source) -> None:
    """Refuse a file whose schema can't be made again."""
    schemas.rehearse(source.schema)


SOUNDNESS: tuple[Callable[[Source], None], ...] = (check_sizes, compute_generated, check_integrity)
CONTENTS: tuple[Callable[[Source], None], ...] = (
    check_names,
    check_places,
    check_writable,
    check_schema,
    check_journals,
    check_numbers,
    check_ids,
)
