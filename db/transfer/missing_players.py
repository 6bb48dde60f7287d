"""Finds the players of the legacy file whom Postgres no longer has: to carry the rest back would delete them.

The game deletes no player. A TRUNCATE, a DELETE by hand or a restored snapshot does.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from db import ops
from db.counts import count, few
from db.errors import Refusal
from db.files.json_files import shown
from db.legacy.source import Source
from game import tables
from game.legacy import sqlite_values
from game.legacy.sqlite_values import Cell

NAMED = 3
"""Missing players that a refusal names, at most."""

_PLAYERS = """
select l.key, case when l.key is null then l.cells end
from legacy_rows l
where l.source = 'users' and (l.key is null or exists (select from users u where u.id = l.key))
"""


@dataclass(frozen=True, slots=True)
class MissingPlayers:
    """players: of the legacy file. missing: how many of them Postgres lacks; named: the first of these."""

    players: int
    missing: int
    named: tuple[str, ...]

    @property
    def expected(self) -> str:
        """Return what a rollback expects, for its refusal."""
        return f"all {count(self.players, 'player')} of the legacy file in Postgres"

    @property
    def found(self) -> str:
        """Return how many players are missing, with the ids of the first."""
        return f"{self.missing:,} missing: {few(self.named, NAMED, total=self.missing)}"


def require_none(source: Source, conn: ops.Connection) -> None:
    """Raise Refusal if Postgres lacks a player of the file: to carry the rest back would delete him."""
    missing = find(source, conn)
    if missing.missing:
        raise Refusal(
            missing.expected,
            missing.found,
            where=ops.place(conn),
            do=f"Nothing was written of them. To see what to do: invoke rollback --env {ops.named(conn)} --dry-run",
        )


def find(source: Source, conn: ops.Connection) -> MissingPlayers:
    """Compare the ids of both stores. Reads one column of the file; leaves out what a smoke test left in it.

    By id, not by rowid: a VACUUM of the file may give its rows other rowids.
    """
    if "users" not in source.tables:
        return MissingPlayers(0, 0, ())
    known: Counter[Cell] = Counter()
    for key, cells in conn.execute(_PLAYERS):
        # A row whose id no player can have, or another row has too, is kept whole and has no key.
        known[key if key is not None else sqlite_values.decode(cells)["id"]] += 1
    players = missing = 0
    named: list[str] = []
    for (player,) in source.connection.execute("SELECT id FROM users"):
        if isinstance(player, str) and player.startswith(tables.CANARY_PREFIX):
            continue
        players += 1
        if known[player]:
            known[player] -= 1
            continue
        missing += 1
        if len(named) < NAMED:
            named.append(shown(sqlite_values.original(player).decode(errors="replace")))
    return MissingPlayers(players, missing, tuple(named))
