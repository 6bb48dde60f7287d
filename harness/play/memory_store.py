"""A store that keeps its players in memory, to run the rules without a database. A command costs some 0.3 ms."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

from game import idempotency, tables
from game.chain import Head
from game.rows import Rows, text, whole_number
from game.unit_of_work import Engine, LoadedPlayer, StoreStatus

RECEIPTS = tables.action_receipts.name
OPENINGS = tables.player_openings.name
BAG = tables.user_inventory.name
JOURNALS = frozenset(table.name for table in tables.JOURNALS)


class MemoryStore:
    """A store of one thread, and its only unit of work.

    saved: the rows before and after the last command that was saved; None at first, and once it is set to None.
    heads: the newest receipt of each player. epoch: the draw epoch, see `game.unit_of_work.LoadedPlayer`.
    """

    engine: ClassVar[Engine] = "postgres"

    def __init__(self, players: Mapping[str, Rows], epoch: str = "") -> None:
        # Two levels deep is enough: dispatch changes a copy of its own of the records.
        self._players = {player: Rows(rows) for player, rows in players.items()}
        self._player = ""
        self.saved: tuple[Rows, Rows] | None = None
        self.heads = {player: head_of(rows) for player, rows in players.items()}
        self.epoch = epoch

    @contextmanager
    def begin(self, fence_pass: str | None = None) -> Iterator[MemoryStore]:
        """Begin a unit of work. Takes no lock: one thread plays."""
        del fence_pass
        yield self

    def load(self, player: str, request_id: str, names: Collection[str]) -> LoadedPlayer | None:
        """Return the rows asked for, and no others; see `Unit`. Remember the player, whom `save` writes."""
        kept = self._players.get(player)
        if kept is None:
            return None
        self._player = player
        openings = kept.get(OPENINGS, {})
        wanted = {"users", *names} | (set() if openings else {BAG})
        rows = Rows({name: kept.get(name, {}) for name in wanted})
        receipts = kept.get(RECEIPTS, {})
        own = [(player, form) for form in idempotency.forms(request_id)]
        rows[RECEIPTS] = {key: receipts[key] for key in own if key in receipts}
        rows[OPENINGS] = openings
        return LoadedPlayer(rows, "open", self.heads[player], self.epoch)

    def save(self, before: Rows, after: Rows) -> None:
        """Keep both in memory for `commit`, which makes them the player's rows."""
        self.saved = before, after

    def commit(self) -> None:
        """Write what was saved into the store's memory."""
        assert self.saved is not None
        kept = self._players[self._player]
        for name, records in self.saved[1].items():
            kept[name] = {**kept.get(name, {}), **records} if name in JOURNALS else records
        self.heads[self._player] = max(self.heads[self._player], head_of(self.saved[1]), key=lambda head: head.seq)

    def state(self, player: str) -> Rows | None:
        """Return the player's rows; see `Store`."""
        return self.read(player)

    def read(self, player: str) -> Rows | None:
        """Return all of the player's rows, which the caller must not change; see `Store`."""
        rows = self._players.get(player)
        return None if rows is None else Rows(rows)

    def put(self, player: str, rows: Rows) -> None:
        """Put a player back to how `read` gave him; the head stays as it is."""
        self._players[player] = Rows(rows)

    def status(self) -> StoreStatus:
        """Return the status of a store that no environment has."""
        return StoreStatus(self.engine, "memory", None, None, "open")

    def close(self) -> None:
        """Do nothing: this store holds no resource."""


def head_of(rows: Rows) -> Head:
    """Return the newest receipt of one player's rows that has a number."""
    numbered = [row for row in rows.get(RECEIPTS, {}).values() if row["seq"] is not None]
    newest = max(numbered, key=lambda row: whole_number(row, "seq"), default=None)
    return Head() if newest is None else Head(whole_number(newest, "seq"), text(newest, "chain"))
