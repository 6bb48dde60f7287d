"""Decodes a legacy file as a load does, without writing: counts the players to be held, and measures the time."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from db.console.progress import Advance, Progress
from db.legacy import schema as schemas
from db.legacy.source import Source, chunks, opened
from db.transfer.batches import BatchBuilder
from db.transfer.preconditions import NAMED, check_ids, check_journals
from db.transfer.reconcile import Reconciliation
from game.legacy.codec import Finding


@dataclass(frozen=True, slots=True)
class Assessed:
    """The result of a trial decoding. held: players whose commands would be refused. named: some of them, with reasons.

    aside: findings after which the player can still play. seconds: the duration of the decoding.
    """

    players: int
    held: int
    named: tuple[str, ...]
    aside: int
    seconds: float


def assess(path: Path, progress: Progress) -> Assessed:
    """Read and decode the whole file, with the memory that a load needs. Raises Refusal and Failure as a load does."""
    with opened(path) as source:
        schemas.rehearse(source.schema)
        check_journals(source)
        check_ids(source)
        return _Assessment(source).run(progress)


class _Assessment:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._reconciliation = Reconciliation()
        self._held: set[str] = set()
        self._named: list[str] = []
        self._aside = 0

    def run(self, progress: Progress) -> Assessed:
        began = time.monotonic()
        players = self._source.count("users")
        with progress.bar("decoding", players, "players") as advance:
            for name in self._source.tables:
                self._table(name, advance if name == "users" else lambda _rows: advance(0))
        self._reconciliation.check()
        seconds = time.monotonic() - began
        return Assessed(players, len(self._held), tuple(self._named), self._aside, seconds)

    def _table(self, name: str, advance: Advance) -> None:
        self._reconciliation.expect(name, self._source.units(name))
        builder = BatchBuilder(self._source.tables[name], self._known)
        for chunk in chunks(self._source.rows(name)):
            many = len(chunk)
            batch = builder.pack(chunk)
            chunk.clear()
            self._reconciliation.add(name, batch.taken, batch.quarantined)
            for finding in batch.findings:
                self._count(finding)
            advance(many)

    def _count(self, finding: Finding) -> None:
        """Count as the load counts its quarantine: each player once, and each finding without a player."""
        if finding.kind != "held":
            self._aside += 1
            return
        before = len(self._held)
        self._held.add(finding.key if finding.key is not None else f"n {before}")
        if len(self._held) > before and before < NAMED:
            self._named.append(f"{finding.key or '(no id)'}: {finding.column}, {finding.reason}")

    def _known(self, ids: Iterable[str]) -> set[str]:
        """Return the ids that the file has. A load would ask the target; a trial decoding has none."""
        query = "SELECT 1 FROM users WHERE id = ?"
        return {player for player in set(ids) if self._source.connection.execute(query, (player,)).fetchone()}
