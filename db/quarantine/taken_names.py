"""Keeps aside a name that can be read by now, but that another player was given while it could not be read."""

from __future__ import annotations

from psycopg import sql

from db import ops
from db.transfer.target import LegacyRow
from game.legacy import sqlite_values
from game.legacy.codec import Decoded, Finding
from game.legacy.codec.mapping import USERS


def keep_aside(conn: ops.Connection, decoded: Decoded, row: LegacyRow) -> None:
    """Give the player no such name, keep its cell of the row, and add a finding: the names of players are unique."""
    for (player,), user in decoded.rows["users"].items():
        for column, scalar in USERS.scalars.items():
            if scalar.unique and _has_another(conn, scalar.column, user[scalar.column], str(player)):
                user[scalar.column] = scalar.absent
                _keep(decoded, column, row)
                decoded.findings.append(_finding(str(player), column, row, scalar.column))


def _has_another(conn: ops.Connection, column: str, name: object, player: str) -> bool:
    query = sql.SQL("select from users where {} = %s and id <> %s").format(sql.Identifier(column))
    return bool(conn.execute(query, (name, player)).rowcount)


def _keep(decoded: Decoded, column: str, row: LegacyRow) -> None:
    """Put the column's original value into the row's kept cells."""
    (record,) = decoded.rows["legacy_rows"].values()
    cells = sqlite_values.decode(str(record["cells"]))
    record["cells"] = sqlite_values.encode(cells | {column: row[column]})


def _finding(player: str, column: str, row: LegacyRow, name: str) -> Finding:
    cell = row[column]
    storage, original = sqlite_values.storage(cell), sqlite_values.original(cell)
    rule, reason = f"{column}.taken", f"another player has this {name}"
    return Finding("aside", "users", player, column, "$", None, storage, original, rule, reason)
