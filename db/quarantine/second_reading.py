"""Reads a player's row again, and finds which of the values that could not be read then can be read now."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from db.quarantine.entries import Value
from db.transfer.target import LegacyRow
from game.legacy import sqlite_values
from game.legacy.codec import Finding, arrays
from game.legacy.codec.mapping import USERS
from game.rows import Key, Rows

_WRITTEN_TOGETHER: tuple[tuple[Collection[str], Collection[str]], ...] = (
    (USERS.plain, ("users",)),
    *((group.columns, group.tables) for group in USERS.groups),
)
"""Legacy columns, and the tables that they are read into."""

_BAG = frozenset(("inventory", "equipment"))


@dataclass(slots=True)
class Reading:
    """The values by what became of them. pairs: the finding that a value still is, by number; new: findings of others.

    flags: findings of items that say they are worn and are not, or the reverse, once the bag is read again.
    """

    loaded: list[Value] = field(default_factory=list)
    released: list[Value] = field(default_factory=list)
    overwritten: list[Value] = field(default_factory=list)
    pairs: dict[int, Finding] = field(default_factory=dict)
    new: list[Finding] = field(default_factory=list)
    flags: list[Finding] = field(default_factory=list)
    lets_go: bool = False

    @property
    def changes(self) -> bool:
        """True if something can be loaded and nothing else became unreadable."""
        return bool(self.loaded or self.released) and not self.new


def judge(
    values: Sequence[Value], findings: Sequence[Finding], before: Rows, row: LegacyRow, *, mended: Value | None
) -> Reading:
    """Compare what could not be read at first with what can't be read now.

    before: the player's rows; row: the legacy row that was read again; mended: the value that was replaced in it.
    """
    reading = Reading()
    left = [one for one in findings if not one.rule.endswith(".disagrees")]
    for value in values:
        if value.is_loaded_as_it_is:
            continue
        match = next((one for one in left if value is not mended and _is_same(value, one)), None)
        if match is not None:
            left.remove(match)
            reading.pairs[value.n] = match
            if (value.kind, match.kind) == ("held", "aside"):
                reading.released.append(value)
            elif (value.kind, match.kind) == ("aside", "held"):
                reading.new.append(match)
        elif value is mended or not _is_overwritten(value, before, row):
            reading.loaded.append(value)
        else:
            reading.overwritten.append(value)
    reading.new += left
    if reading.changes and not _BAG.isdisjoint(value.column for value in (*reading.loaded, *reading.released)):
        _judge_flags(reading, values, [one for one in findings if one.rule.endswith(".disagrees")])
    still = {value.n for value in values if value.kind == "held"} - {one.n for one in reading.released}
    still -= {one.n for one in (*reading.loaded, *reading.overwritten)}
    reading.lets_go = any(value.kind == "held" for value in values) and not still
    return reading


def _judge_flags(reading: Reading, values: Sequence[Value], findings: list[Finding]) -> None:
    """Compare the flags of the bag with what is worn, by their places; both are read again."""
    places = {one.path: one for one in findings}
    for value in values:
        if value.is_loaded_as_it_is and places.pop(value.path, None) is None:
            reading.loaded.append(value)
    reading.flags = list(places.values())


def merge(before: Rows, after: Rows, reading: Reading) -> Rows:
    """Return the player's rows with the tables that the values belong to as they were read again.

    Every other table stays as it is: reading it again would give the same row, but number its elements anew.
    """
    read = {value.column for value in (*reading.loaded, *reading.released)}
    groups = [group for group in _WRITTEN_TOGETHER if not read.isdisjoint(group[0])]
    columns = {column for names, _tables in groups for column in names}
    merged = before.copy()
    for name in (name for _names, names in groups for name in names):
        merged[name] = {key: dict(record) for key, record in after.get(name, {}).items()}
    (player,) = before["users"]
    held = bool(before["users"][player]["held"]) and not reading.lets_go
    merged["users"][player]["held"] = held
    (key,) = before["legacy_rows"]
    merged["legacy_rows"][key]["cells"] = _cells(before, after, key, columns)
    return merged


def _cells(before: Rows, after: Rows, key: Key, columns: Collection[str]) -> str:
    """The kept cells: of these columns as they were read again, of every other as they are."""
    was = sqlite_values.decode(str(before["legacy_rows"][key]["cells"]))
    now = sqlite_values.decode(str(after["legacy_rows"][key]["cells"]))
    kept = {name: cell for name, cell in was.items() if _column(name) not in columns}
    return sqlite_values.encode(kept | {name: cell for name, cell in now.items() if _column(name) in columns})


def _column(name: str) -> str:
    """The column that a kept cell belongs to; a form or frame may be one of its parts."""
    return name[len(arrays.PRIVATE) :].partition(".")[0] if name.startswith(arrays.PRIVATE) else name


def _is_same(value: Value, finding: Finding) -> bool:
    """Return True if the finding is of the value's bytes; a cell has one at most, to which play may have added."""
    if value.column != finding.column:
        return False
    is_cell = finding.path == "$" and finding.position is None
    return is_cell if value.is_cell else not is_cell and value.original == finding.original


def _is_overwritten(value: Value, before: Rows, row: LegacyRow) -> bool:
    """Return True if the row does not hold the value any more."""
    cell = row.get(value.column)
    if not value.is_cell:
        return value.original not in sqlite_values.original(cell)
    if sqlite_values.original(cell) == value.original and sqlite_values.storage(cell) == value.storage:
        return False
    scalar = USERS.scalars.get(value.column)
    if scalar is None:
        return True
    # A decimal to which play has added is still no plain number.
    (user,) = before["users"].values()
    return sqlite_values.same(cell, scalar.write(user[scalar.column]))
