"""Explains why SQLite can't read a legacy file. A snapshot lacks what players did since: it is for damage alone."""

from __future__ import annotations

import shlex
import sqlite3
from pathlib import Path

from db.errors import Refusal
from db.remedies import RESTORE_FILE
from game.legacy.bounded_functions import MOST_PRODUCTS
from game.legacy.guarding import HEAP_BYTES, MOST_BYTES, MOST_STATEMENT_BYTES

_HOT = ("SQLITE_READONLY_ROLLBACK", "SQLITE_READONLY_RECOVERY")
_TOO_BIG = "string or blob too big"
_NOT_UTF8 = "user-defined function raised exception"
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


def unreadable(path: Path, error: sqlite3.DatabaseError | MemoryError) -> Refusal:
    """Explain why SQLite can't read the file: a hot journal, a lock, rights, a limit, or damage."""
    name = getattr(error, "sqlite_errorname", "")
    if refusal := _of_a_limit(path, error):
        return refusal
    if name in _HOT:
        return Refusal(
            "a file that no write was cut off in",
            "a hot journal beside it",
            where=str(path),
            do="Have SQLite roll that write back, as the user of the service:"
            f" sqlite3 {shlex.quote(str(path))} 'PRAGMA integrity_check'",
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Refusal(
            "a file that can be read",
            "it is locked by another",
            where=str(path),
            do=f"Stop the process that writes it (lsof {shlex.quote(str(path))}), or wait until it is done.",
        )
    # Which of the two it is depends on what lies beside the file.
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
        return Refusal(
            "a file that SQLite can open",
            str(error),
            where=str(path),
            do="SQLite writes beside a file in WAL mode, also to read it. Allow this user to write in"
            f" {path.resolve().parent}, or run as the user of the service.",
        )
    if name.startswith(_DAMAGED):
        return Refusal("a sound SQLite file", str(error), where=str(path), do=RESTORE_FILE)
    return Refusal(
        "a file that SQLite can read",
        f"{error} ({name or type(error).__name__})",
        where=str(path),
        do="This says nothing against the file. Mend what it names (the disk, its space, this SQLite), and run again.",
    )


def _of_a_limit(path: Path, error: sqlite3.DatabaseError | MemoryError) -> Refusal | None:
    """Explain an error of a connection that is guarded, and of no other."""
    name = getattr(error, "sqlite_errorname", "")
    if isinstance(error, MemoryError) or name == "SQLITE_TOOBIG" or str(error).endswith(_TOO_BIG):
        return Refusal(
            f"values of at most {MOST_BYTES:,} bytes, statements of {MOST_STATEMENT_BYTES:,}, and a schema and rows"
            f" that SQLite can read in {HEAP_BYTES:,}; functions of the schema that compare at most"
            f" {min(MOST_PRODUCTS.values()):,} pairs of characters in a call",
            "more",
            where=str(path),
            do="Make a copy of the file, shorten in it what is not the game's, and name the copy.",
        )
    if is_not_utf8(error):
        return Refusal(
            f"texts in UTF-8, where the schema calls {', '.join(MOST_PRODUCTS)}",
            "one that is not",
            where=str(path),
            do="Correct that text in the file, with the game stopped; or rebuild its table without the call.",
        )
    return None


def is_not_utf8(error: sqlite3.DatabaseError | MemoryError) -> bool:
    """Return True if the file's schema gave a text that is not UTF-8 to a function of `bounded_functions`."""
    return str(error) == _NOT_UTF8
