"""Documents that a command need not read: those that could hold the player, and were seen not to.

A command reads every document that may hold its player, so that both stores refuse the same players; of most commands
that is two thirds of what they read. What a document's text means never changes, so it is read once.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from game.legacy.codec.decoded import Decoded
from game.legacy.codec.document import Group, RowMapping
from game.legacy.codec.mapping import USERS
from game.legacy.sqlite_values import Cell

MOST = 50_000
"""So many groups of documents are remembered, some 5 MB; then all are forgotten."""

DIGEST_BYTES = 16


@dataclass(slots=True)
class HoldingNobody:
    """The documents that were read and hold nobody, by a digest of their text. Safe to use from any thread."""

    mapping: RowMapping = USERS
    _digests: set[bytes] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def without(self, row: Mapping[str, Cell], tables: Collection[str]) -> dict[str, Cell]:
        """Return the row without the documents that these tables do not need and that are known to hold nobody."""
        spared = {
            column
            for group in self._read_to_hold(tables)
            if _digest(row, group) in self._digests
            for column in group.columns
        }
        return {column: cell for column, cell in row.items() if column not in spared}

    def learn(self, row: Mapping[str, Cell], tables: Collection[str], decoded: Decoded) -> None:
        """Remember the documents of a row that was decoded, if nothing of it holds the player."""
        if any(finding.kind == "held" for finding in decoded.findings):
            return
        digests = {_digest(row, group) for group in self._read_to_hold(tables) if group.columns[0] in row}
        with self._lock:
            if len(self._digests) + len(digests) > MOST:
                self._digests.clear()
            self._digests |= digests

    def _read_to_hold(self, tables: Collection[str]) -> list[Group]:
        return [group for group in self.mapping.groups if group.holds and group.tables.isdisjoint(tables)]


def _digest(row: Mapping[str, Cell], group: Group) -> bytes:
    """Return a digest of the group's cells and of their columns: two groups may read one text in two ways."""
    cells = [(column, row.get(column)) for column in group.columns]
    return blake2b(repr(cells).encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()
