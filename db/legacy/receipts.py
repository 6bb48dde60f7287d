"""Numbers the receipts that an earlier version left in a legacy file without a number, a few players at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from itertools import islice
from pathlib import Path

from db.legacy.opening import check_file
from game import chain
from game.legacy import fence, numbering, sqlite_values

PLAYERS_AT_ONCE = 20
"""Players numbered in one transaction. Other writers wait for as long as it takes."""

_WITHOUT = f"SELECT DISTINCT user_id FROM {numbering.RECEIPTS} WHERE seq IS NULL"
_TWICE = f"SELECT 1 FROM {numbering.RECEIPTS} WHERE seq IS NOT NULL GROUP BY user_id, seq HAVING count(*) > 1 LIMIT 1"


def number_all(path: Path, *, pass_token: str | None = None) -> int:
    """Number every receipt of the file that has no number, and return how many there were. Safe to call again.

    pass_token: of the run that has fenced the file; None: it is open. What others do meanwhile is numbered by
    themselves. Raises Fenced or Moved if the file is fenced by another.
    """
    with closing(sqlite_values.connect(path)) as conn:
        conn.execute("PRAGMA synchronous=EXTRA")
        if not _has_receipts(conn):
            return 0
        if numbering.absent_columns(conn):
            with _writing(conn, pass_token):
                numbering.add_columns(conn)
        players = iter([player for (player,) in conn.execute(_WITHOUT)])
        numbered = 0
        while together := list(islice(players, PLAYERS_AT_ONCE)):
            with _writing(conn, pass_token):
                numbered += sum(numbering.number(conn, player) for player in together)
        return numbered


def number_open(path: Path) -> int:
    """Number the receipts of a file that is open to players, and return how many; a fenced file stays as it is."""
    if not path.is_file():
        return 0
    check_file(path)
    with closing(sqlite_values.connect(path, readonly=True)) as conn:
        if fence.state(conn) != "open" or not unnumbered(conn):
            return 0
    return number_all(path)


def unnumbered(conn: sqlite3.Connection) -> str:
    """Say what is wrong with the numbers of the file's receipts; "" if each has one, and none has another's."""
    if not _has_receipts(conn):
        return ""
    if numbering.absent_columns(conn) or conn.execute(f"{_WITHOUT} LIMIT 1").fetchone():
        return "receipts of an earlier version, without a number"
    return "two receipts of one number" if conn.execute(_TWICE).fetchone() else ""


def _has_receipts(conn: sqlite3.Connection) -> bool:
    """Return True if the file has a table of receipts that is ours; what else bears its name, a preflight refuses."""
    made = conn.execute("SELECT type FROM sqlite_master WHERE name = ?", (numbering.RECEIPTS,)).fetchone()
    have = {name for (name,) in conn.execute("SELECT name FROM pragma_table_info(?)", (numbering.RECEIPTS,))}
    return made == ("table",) and have.issuperset(chain.RECEIPT)


@contextmanager
def _writing(conn: sqlite3.Connection, pass_token: str | None) -> Iterator[None]:
    """Write in one transaction, past the fence with a pass. Commits after the block, or rolls back if it raises."""
    conn.execute("BEGIN IMMEDIATE")
    try:
        with nullcontext() if pass_token is None else fence.bypass(conn, pass_token):
            yield
        conn.execute("COMMIT")
    finally:
        if conn.in_transaction:
            conn.rollback()
