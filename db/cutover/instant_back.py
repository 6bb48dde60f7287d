"""The proof of the instant of a live rollback: the legacy file against Postgres, frozen since the window.

Players play on the file meanwhile. A player without a newer receipt is compared as he is now. For a player with newer
receipts, the file must have the newest receipt of Postgres under its number and with its chain.
"""

from __future__ import annotations

from db.console.progress import Progress
from db.counts import few
from db.cutover.instant import NAMED, InstantProof
from db.errors import Failure
from db.legacy.source import Source
from db.transfer import target as targets
from db.transfer.heads import of_file
from db.transfer.verify import differing, pairs
from game.legacy import numbering
from game.legacy.sqlite_values import Cell
from game.urls import PostgresUrl

_CHAIN = f"SELECT chain FROM {numbering.RECEIPTS} WHERE user_id = ? AND seq = ?"


def prove(path: str, file: Source, target: PostgresUrl, progress: Progress) -> InstantProof:
    """Compare every player of Postgres with the file. Raises Failure naming those that differ."""
    heads = {player: seq for player, seq, _chain in of_file(file)}
    wrong: list[str] = []
    as_they_are = by_chain = 0
    with (
        targets.opened(target) as frozen,
        progress.bar("proving", file.count("users"), "players") as advance,
    ):
        there = {
            str(player): (int(seq), str(chain))
            for player, seq, chain in frozen.conn.execute("select id, seq, chain from users")
        }
        table = file.tables["users"]
        for pair in pairs(file.rows("users"), frozen.rows("users")):
            row = pair.row
            if row is None:
                wrong.append(f"users row {pair.position}: not in the file")
                continue
            if pair.line is None:  # A player who came since.
                continue
            cells: dict[str, Cell] = dict(zip(table.columns, row.cells, strict=True))
            player = str(cells["id"])
            seq, chain = there.get(player, (heads.get(player, 0), ""))
            if seq == heads.get(player, 0):
                as_they_are += 1
                wrong += [f"users row {row.position}, {column}" for column in differing(table.columns, row, pair.line)]
            else:
                by_chain += 1
                if seq and file.connection.execute(_CHAIN, (player, seq)).fetchone() != (chain,):
                    wrong.append(f"users row {row.position}: the newest receipt")
            advance(1)
    if wrong:
        raise Failure(
            "every player of Postgres to be in the legacy file as he was",
            f"{len(wrong):,} that differ: {few(wrong, NAMED)}",
            where=path,
            do="Players play on the legacy file, and Postgres keeps what it had. Compare those players by hand.",
        )
    return InstantProof(as_they_are=as_they_are, by_chain=by_chain)
