"""The count that decides the exit code: what SQLite counted, against what was loaded and what was quarantined."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from db.counts import few
from db.errors import Failure
from db.remedies import LOAD_ANEW

NAMED = 5


@dataclass(frozen=True, slots=True)
class UnitCount:
    """Units of one column: a cell, or each element of a document that is taken apart."""

    source: int
    loaded: int
    quarantined: int

    @property
    def adds_up(self) -> bool:
        return self.loaded + self.quarantined == self.source


class Reconciliation:
    """Units by table and column, added up chunk by chunk."""

    def __init__(self) -> None:
        self._source: dict[str, Mapping[str, int]] = {}
        self._taken: dict[str, Counter[str]] = {}
        self._quarantined: dict[str, Counter[str]] = {}

    def expect(self, table: str, units: Mapping[str, int]) -> None:
        """Note the units of the table that SQLite counted, by column."""
        self._source[table] = units

    def add(self, table: str, taken: Counter[str], quarantined: Counter[str]) -> None:
        """Add the units of one chunk: those taken, and those of them that were quarantined, by column."""
        self._taken.setdefault(table, Counter()).update(taken)
        self._quarantined.setdefault(table, Counter()).update(quarantined)

    def per_column(self) -> dict[tuple[str, str], UnitCount]:
        """Return every column of the source, and any that only the target counted."""
        return dict(self._counts())

    def _counts(self) -> Iterator[tuple[tuple[str, str], UnitCount]]:
        for table, source in self._source.items():
            taken = self._taken.get(table, Counter())
            aside = self._quarantined.get(table, Counter())
            for column in dict.fromkeys((*source, *taken, *aside)):
                loaded = taken[column] - aside[column]
                yield (table, column), UnitCount(source.get(column, 0), loaded, aside[column])

    def total(self) -> UnitCount:
        """Return the sum over all columns."""
        counts = list(self.per_column().values())
        return UnitCount(
            sum(c.source for c in counts), sum(c.loaded for c in counts), sum(c.quarantined for c in counts)
        )

    def check(self) -> None:
        """Raise Failure, naming columns, unless loaded and quarantined make up the source in each of them."""
        wrong = [(place, count) for place, count in self._counts() if not count.adds_up]
        if not wrong:
            return
        named = [
            f"{table}.{column} has {count.source:,}, loaded {count.loaded:,}, quarantined {count.quarantined:,}"
            for (table, column), count in wrong
        ]
        raise Failure(
            "loaded and quarantined to make up the source in every column",
            f"{len(wrong)} that do not: {few(named, NAMED, between='; ')}",
            do=LOAD_ANEW,
        )


def to_text(taken: Counter[str], quarantined: Counter[str]) -> str:
    """Return one chunk's counts as a checkpoint keeps them: {column: [taken, quarantined]}."""
    return json.dumps({column: [taken[column], quarantined[column]] for column in taken | quarantined})


def from_text(text: str) -> tuple[Counter[str], Counter[str]]:
    """Return the counts that `to_text` wrote."""
    counts = json.loads(text)
    return Counter({c: n[0] for c, n in counts.items()}), Counter({c: n[1] for c, n in counts.items()})
