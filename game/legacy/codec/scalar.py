"""Plain columns of a legacy row: a text, a number or a flag, and how a cell that is none of them still counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from game.json_text import Unreadable
from game.legacy.codec.readers import BIGINT, KEY_BYTES, flag, indexable, integer, storable
from game.legacy.sqlite_values import Cell
from game.rows import Value


@dataclass(frozen=True, slots=True)
class Scalar:
    """A plain legacy column: the column of `users` that it goes to, what its absence reads as, and its range."""

    column: str
    kind: type
    absent: Value
    low: int = -BIGINT
    holds: bool = False
    """A player whose value can't be read is held."""
    added: bool = False
    """Commands add to it: a player is held if nothing can be added to the value without losing it."""
    unique: bool = False
    """No two players may share it, so it must fit an index."""

    @property
    def declared(self) -> str:
        """Return the type to declare where an older file lacks the column."""
        return {str: "TEXT", bool: "BOOLEAN"}.get(self.kind, "INTEGER")

    def read(self, cell: Cell) -> Value:
        """Return the cell's value; NULL reads as `absent`; raises Unreadable."""
        if cell is None:
            return self.absent
        if self.kind is str:
            return self._text(cell)
        if isinstance(cell, bytes) or not isinstance(cell, int | float):
            raise Unreadable("not_an_integer", f"expected a whole number in {self.column}")
        if self.kind is bool:
            return flag(cell, "")
        return integer(self.low, BIGINT, None)(cell, "")

    def stand_in(self, cell: Cell) -> Value:
        """Return what a cell that can't be read counts as: a decimal as its whole part, anything else as nothing."""
        floor = self._whole_part(cell)
        return self.absent if floor is None else floor

    def counts(self, cell: Cell) -> bool:
        """Return True if the cell's value, or at least its whole part, is known."""
        try:
            self.read(cell)
        except Unreadable:
            return self._whole_part(cell) is not None
        return True

    def _whole_part(self, cell: Cell) -> int | None:
        """Return the whole part of a decimal, if it is in the range."""
        if self.kind is not int or not isinstance(cell, float) or not math.isfinite(cell):
            return None
        # floor, not trunc: floor(cell + added) equals floor(cell) + added for negative cells too.
        floor = math.floor(cell)
        return floor if self.low <= floor <= BIGINT else None

    def _text(self, cell: Cell) -> str:
        if not isinstance(cell, str):
            raise Unreadable("not_a_text", f"expected text in {self.column}")
        if not storable(cell):
            raise Unreadable("not_storable", f"the text in {self.column} holds NUL")
        if self.unique and not indexable(cell):
            raise Unreadable("too_long", f"expected at most {KEY_BYTES} bytes in {self.column}")
        return cell

    def write(self, value: Value) -> Cell:
        """Return the cell that the service of today would write."""
        return int(value) if isinstance(value, bool) else value

    def written_over(self, cell: Cell, value: Value, *, unread: bool = False) -> Cell:
        """Return the kept cell if it still counts as the value; else a decimal with what was added; else a new cell.

        unread: the value was made by a version that could not read the cell. This one may read it as something else,
        which would look like a change by a command.
        """
        try:
            read = self.stand_in(cell) if unread else self.read(cell)
        except Unreadable:
            read = self.stand_in(cell)
        if type(read) is type(value) and read == value:
            return cell
        floor = self._whole_part(cell)
        if floor is not None and isinstance(cell, float) and not cell.is_integer() and isinstance(value, int):
            added = cell + (value - floor)
            # A sum past 2**53 is not exact, so the whole number is written instead.
            if math.floor(added) == value:
                return added
        return self.write(value)
