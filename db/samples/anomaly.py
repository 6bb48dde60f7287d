"""One anomaly of real files: a change to a legacy `users` row, by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

from game.json_text import dumps
from game.legacy.sqlite_values import Cell

LegacyRow: TypeAlias = dict[str, Cell]
Alteration: TypeAlias = Callable[[LegacyRow, Random], None]

PAST_64_BITS = 10**20


@dataclass(frozen=True, slots=True)
class Anomaly:
    """columns: those that it changes. holds: the player can't play. share: of all players, but at least `least`."""

    name: str
    columns: tuple[str, ...]
    change: Alteration
    holds: bool
    share: float
    least: int


class Catalogue(list[Anomaly]):
    """The anomalies of one module, in the order of its functions."""

    def add(
        self, *columns: str, holds: bool = False, share: float = 0.001, least: int = 1
    ) -> Callable[[Alteration], Alteration]:
        """Return the decorator that adds a function under its own name."""

        def register(change: Alteration) -> Alteration:
            self.append(Anomaly(change.__name__.strip("_"), columns, change, holds, share, least))
            return change

        return register


class DocumentOf:
    """A column's document to change in place; written back compact."""

    def __init__(self, row: LegacyRow, column: str) -> None:
        self._row = row
        self._column = column
        self._document: Any = None

    def __enter__(self) -> Any:
        self._document = json.loads(str(self._row[self._column]))
        return self._document

    def __exit__(self, *_error: object) -> None:
        self._row[self._column] = dumps(self._document)
