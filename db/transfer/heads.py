"""Gives each player the number and the chain of the newest receipt, and proves that they are the file's."""

from __future__ import annotations

from collections.abc import Iterator

from db import ops
from db.legacy.source import Source
from game.legacy import numbering

_OF_FILE = f"SELECT user_id, max(seq), chain FROM {numbering.RECEIPTS} WHERE seq IS NOT NULL GROUP BY user_id"
"""SQLite takes `chain` from the row of the greatest seq."""

_OF_PLAYERS = "select id, seq, chain from users where id = any(%s)"
_MOST = 5_000


def give(conn: ops.Connection, source: Source) -> None:
    """Set the heads of all players as the file's receipts have them, in the open transaction."""
    conn.execute("create temp table heads (id text primary key, seq bigint, chain text) on commit drop")
    with conn.cursor() as cursor, cursor.copy("copy heads from stdin") as lines:
        for head in of_file(source):
            lines.write_row(head)
    conn.execute(
        "update users u set seq = h.seq, chain = h.chain from heads h"
        " where u.id = h.id and (u.seq, u.chain) is distinct from (h.seq, h.chain)"
    )


def give_of_receipts(conn: ops.Connection, player: str) -> None:
    """Set the head of one player by the receipts in the database, if one is newer: after a row was loaded later."""
    conn.execute(
        "update users u set seq = r.seq, chain = r.chain from action_receipts r"
        " where u.id = %(player)s and r.user_id = u.id and r.seq > u.seq"
        " and r.seq = (select max(n.seq) from action_receipts n where n.user_id = u.id)",
        {"player": player},
    )


def differences(source: Source, conn: ops.Connection) -> Iterator[str]:
    """Yield the players whose head in the database is not the file's, as of the snapshot that is open."""
    heads = list(of_file(source))
    for start in range(0, len(heads), _MOST):
        part = heads[start : start + _MOST]
        known = {row[0]: row for row in conn.execute(_OF_PLAYERS, ([head[0] for head in part],))}
        yield from (f"users {head[0]}: the newest receipt" for head in part if known.get(head[0], head) != head)


def of_file(source: Source) -> Iterator[tuple[str, int, str]]:
    """Yield each player of the file's receipts with the number and the chain of the newest."""
    if numbering.RECEIPTS in source.tables:
        yield from ((str(player), int(seq), str(chain)) for player, seq, chain in source.connection.execute(_OF_FILE))
