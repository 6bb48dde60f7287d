"""Remembers documents that were decoded and did not hold their player.

A command must refuse a held player, so it decodes every document that may hold one: for most commands two thirds of the
work. The same text always decodes alike, so each is decoded once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from game.legacy.codec.decoded import Decoded
from game.legacy.codec.document import Group, RowMapping
from game.legacy.codec.mapping import USERS
from game.legacy.digests import DigestSet
from game.legacy.sqlite_values import Cell


@dataclass(slots=True)
class HarmlessDocuments:
    """Digests of documents that were decoded without a finding that holds the player. Safe to use from any thread."""

    mapping: RowMapping = USERS
    digests: DigestSet = field(default_factory=DigestSet)

    def without(self, row: Mapping[str, Cell], tables: Collection[str]) -> dict[str, Cell]:
        """Return the row without the documents that these tables do not need and that are known as harmless."""
        spared = {
            column
            for group in self._only_to_hold(tables)
            if self._digest(row, group) in self.digests
            for column in group.columns
        }
        return {column: cell for column, cell in row.items() if column not in spared}

    def learn(self, row: Mapping[str, Cell], tables: Collection[str], decoded: Decoded) -> None:
        """Remember the documents of a decoded row that these tables do not need, unless a finding holds the player."""
        if any(finding.kind == "held" for finding in decoded.findings):
            return
        for group in self._only_to_hold(tables):
            if group.columns[0] in row:
                self.digests.add(self._digest(row, group))

    def _only_to_hold(self, tables: Collection[str]) -> list[Group]:
        """Return the groups that these tables do not need, and that are decoded because they may hold the player."""
        return [group for group in self.mapping.groups if group.holds and group.tables.isdisjoint(tables)]

    def _digest(self, row: Mapping[str, Cell], group: Group) -> bytes:
        """Return a digest of the group's cells and of their columns: two groups may decode one text in two ways."""
        cells = [(column, row.get(column)) for column in group.columns]
        return self.digests.digest(repr(cells).encode("utf-8", "surrogatepass"))
