"""The independent proof: compares what each player owns, read by SQLite's JSON functions and by SQL of Postgres.

The proof of the rows (`verify`) rebuilds every row by the codec, so a codec that swaps two columns both ways passes it.
This one shares no function with the codec. Values in the quarantine are left out, by player and column, and counted; so
are values that SQLite reads otherwise than the game (see `file_figures`). Tournaments, presets, stages and the items
attached to mail are compared by the proof of the rows alone.

Memory: a run of players, some 2 KB each, and one document of at most a million characters.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice

from db import ops
from db.console.progress import Progress
from db.errors import Failure
from db.legacy.source import Source
from db.remedies import LOAD_ANEW
from db.transfer import file_figures, target_figures
from db.transfer.figures import NAMES
from db.transfer.file_figures import FilePlayer
from db.transfer.target_figures import TargetRun
from game import printable

NAMED = 20
PLAYERS_AT_ONCE = 100
_ID_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class IndependentProof:
    """players: rows of the file; compared, left_out: their columns, which add up to all of them.

    mismatches: figures that differ, and players that only one side has; named: the first 20 of them, without values.
    per_column: how many players each column is left out for; kept_whole: players of whom every column is.
    """

    players: int
    compared: int
    left_out: int
    mismatches: int
    named: tuple[str, ...]
    per_column: dict[str, int] = field(default_factory=dict, repr=False)
    kept_whole: int = 0

    def check(self) -> None:
        """Raise Failure unless every figure that was compared is equal."""
        if self.mismatches:
            raise Failure(
                "the same figures for every player by SQLite's reading of the file and by Postgres's of the target",
                f"{self.mismatches:,} that differ: {'; '.join(self.named)}",
                do=LOAD_ANEW,
            )


def compare(source: Source, conn: ops.Connection, progress: Progress) -> IndependentProof:
    """Compare the figures of every player; both sides are open, each in one snapshot. Nothing is written."""
    comparison = _Comparison()
    with progress.bar("comparing figures", source.count("users"), "players") as advance:
        players = file_figures.players(source)
        while run := list(islice(players, PLAYERS_AT_ONCE)):
            ids = [player.id for player in run if player.id is not None and "\x00" not in player.id]
            comparison.add(run, target_figures.read(conn, ids, [player.position for player in run]))
            advance(len(run))
    comparison.add_rest(target_figures.count_players(conn), target_figures.count_kept_whole(conn))
    return comparison.result()


class _Comparison:
    def __init__(self) -> None:
        self.players = 0
        self.compared = 0
        self.mismatches = 0
        self.named: list[str] = []
        self.left_out: Counter[str] = Counter()
        self.kept_whole = 0
        self.on_both = 0

    def add(self, run: list[FilePlayer], target: TargetRun) -> None:
        """Compare a run of players of the file with what the target has of them."""
        for player in run:
            self.players += 1
            if player.position in target.kept_whole:
                self.kept_whole += 1
                self.left_out.update(NAMES.keys())
            elif player.id is None or player.id not in target.figures:
                self.compared += len(NAMES)
                self._differs(f"users row {player.position}: not in the target")
            else:
                self.on_both += 1
                self._figures(player, player.id, target)

    def add_rest(self, players: int, findings_of_rows: int) -> None:
        """Compare the counts: the file has every player of the target, and every row kept whole has a finding."""
        if players != self.on_both:
            self._differs(f"users: {players:,} players in the target, {self.on_both:,} of them in the file")
        if self.kept_whole > findings_of_rows:
            self._differs(
                f"users: {self.kept_whole:,} rows kept whole, of which the quarantine has {findings_of_rows:,}"
            )

    def result(self) -> IndependentProof:
        return IndependentProof(
            players=self.players,
            compared=self.compared,
            left_out=self.left_out.total(),
            mismatches=self.mismatches,
            named=tuple(self.named),
            per_column=dict(sorted(self.left_out.items())),
            kept_whole=self.kept_whole,
        )

    def _figures(self, player: FilePlayer, name: str, target: TargetRun) -> None:
        figures = target.figures[name]
        for column, expected in player.figures.items():
            if expected is None or (name, column) in target.quarantined:
                self.left_out[column] += 1
                continue
            self.compared += 1
            found = figures[column]
            if found == expected:
                continue
            assert found is not None
            for figure, left, right in zip(NAMES[column], expected, found, strict=True):
                if left != right:
                    place = column if figure == column else f"{column}: {figure}"
                    self._differs(f"player {printable.line(name)[:_ID_CHARACTERS]}, {place}")

    def _differs(self, place: str) -> None:
        self.mismatches += 1
        if len(self.named) < NAMED:
            self.named.append(place)
