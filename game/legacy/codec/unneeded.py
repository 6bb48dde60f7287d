"""Remembers documents that were decoded and did not hold their player.

A command must refuse a held player, so it decodes every document that may hold one: for most commands two thirds of the
work. The same text always decodes alike, so each is decoded once.
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

MOST_DIGESTS = 50_000
"""The most digests kept, some 5 MB. Before there would be more, all are dropped."""

DIGEST_BYTES = 16


@dataclass(slots=True)
class HarmlessDocuments:
    """Digests of documents that were decoded without a finding that holds the player. Safe to use from any thread."""

    mapping: RowMapping = USERS
    _digests: set[bytes] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def without(self, row: Mapping[str, Cell], tables: Collection[str]) -> dict[str, Cell]:
        """Return the row without the documents that these tables do not need and that are known as harmless."""
        spared = {
            column
            for group in self._only_to_hold(tables)
            if _digest(row, group) in self._digests
            for column in group.columns
        }
        return {column: cell for column, cell in row.items() if column not in spared}

    def learn(self, row: Mapping[str, Cell], tables: Collection[str], decoded: Decoded) -> None:
        """Remember the documents of a decoded row that these tables do not need, unless a finding holds the player."""
        if any(finding.kind == "held" for finding in decoded.findings):
            return
        digests = {_digest(row, group) for group in self._only_to_hold(tables) if group.columns[0] in row}
        with self._lock:
            if len(self._digests) + len(digests) > MOST_DIGESTS:
                self._digests.clear()
            self._digests |= digests

    def _only_to_hold(self, tables: Collection[str]) -> list[Group]:
        """Return the groups that these tables do not need, and that are decoded because they may hold the player."""
        return [group for group in self.mapping.groups if group.holds and group.tables.isdisjoint(tables)]


def _digest(row: Mapping[str, Cell], group: Group) -> bytes:
    """Return a digest of the group's cells and of their columns: two groups may decode one text in two ways."""
    cells = [(column, row.get(column)) for column in group.columns]
    return blake2b(repr(cells).encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()
