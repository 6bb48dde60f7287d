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
class SecondReading:
    """The values by what became of them. pairs: the finding that a value still is, by number; within: one around it.

    parts: findings inside values that were loaded, and others that a fresh load would have beside them; new: those that
    keep values, or all values of the player, from being loaded. flags: findings of items that say they are worn and are
    not, or the reverse, once the bag is read again.
    """

    loaded: list[Value] = field(default_factory=list)
    released: list[Value] = field(default_factory=list)
    overwritten: list[Value] = field(default_factory=list)
    pairs: dict[int, Finding] = field(default_factory=dict)
    within: dict[int, Finding] = field(default_factory=dict)
    parts: list[Finding] = field(default_factory=list)
    new: list[Finding] = field(default_factory=list)
    flags: list[Finding] = field(default_factory=list)
    lets_go: bool = False

    @property
    def changes(self) -> bool:
        """Return True if something can be loaded."""
        return bool(self.loaded or self.released)

    def blocker(self, value: Value) -> Finding | None:
        """Return what keeps a value that can be read from being loaded; None if nothing does."""
        beside = [one for one in self.new if _group(one.column) == _group(value.column)]
        return self.within.get(value.n) or next(iter((*beside, *self.new)), None)


def judge(
    values: Sequence[Value], findings: Sequence[Finding], before: Rows, row: LegacyRow, *, mended: Value | None
) -> SecondReading:
    """Compare what could not be read at first with what can't be read now.

    before: the player's rows; row: the legacy row that was read again; mended: the value that was replaced in it.
    """
    reading = SecondReading()
    left = [one for one in findings if not one.rule.endswith(".disagrees")]
    unread = [value for value in values if not value.is_loaded_as_it_is]
    reading.pairs = _pairs([value for value in unread if value is not mended], left)
    for value in unread:
        match (value.kind, reading.pairs[value.n].kind) if value.n in reading.pairs else None:
            case ("held", "aside"):
                reading.released.append(value)
            case ("aside", "held"):
                reading.new.append(reading.pairs[value.n])
    unmatched = [value for value in unread if value.n not in reading.pairs]
    for value in unmatched:
        if around := next((one for one in left if _is_inside(value, one)), None):
            reading.within[value.n] = around
        elif value is mended or not _is_overwritten(value, before, row):
            reading.loaded.append(value)
        else:
            reading.overwritten.append(value)
    (user,) = before["users"].values()
    _accept(reading, left, mended, held=bool(user["held"]))
    if not _BAG.isdisjoint(value.column for value in (*reading.loaded, *reading.released)):
        _judge_flags(reading, values, [one for one in findings if one.rule.endswith(".disagrees")])
    # A fresh load would hold the player for any such finding.
    reading.lets_go = any(value.kind == "held" for value in values) and all(one.kind == "aside" for one in findings)
    return reading


def _pairs(values: Sequence[Value], left: list[Finding]) -> dict[int, Finding]:
    """Take from `left` the finding that each value still is: first those in the same place, then by their bytes."""
    pairs: dict[int, Finding] = {}
    for exactly in (True, False):
        for value in values:
            alike = (one for one in left if _is_same(value, one) and (one.path == value.path or not exactly))
            if value.n not in pairs and (match := next(alike, None)) is not None:
                left.remove(match)
                pairs[value.n] = match
    return pairs


def _accept(reading: SecondReading, findings: Sequence[Finding], mended: Value | None, *, held: bool) -> None:
    """Sort out the findings that no value was before, and take back what they keep from being loaded.

    One inside a value that was loaded is what is left of it: the document can be read by now, but not that element. Any
    other means that something can't be read that could be. Of a held player it is taken as a fresh load would (an item
    that is read by now may make a later one with its id a repetition) if it stands beside what is loaded; otherwise it
    keeps everything back. A player who plays keeps what can be read: values that are written together with it wait.
    """
    stricter = list(reading.new)
    for one in findings:
        outer = next((value for value in reading.loaded if _is_inside(one, value)), None)
        if outer is not None and outer is not mended and (held or (outer.kind, one.kind) != ("aside", "held")):
            reading.parts.append(one)
        else:
            reading.new.append(one)
    if held and mended is None:
        progress = [_group(value.column) for value in (*reading.loaded, *reading.released)]
        beside = [one for one in reading.new if one not in stricter and _group(one.column) in progress]
        reading.parts += beside
        reading.new = [one for one in reading.new if one not in beside]
    if held:
        decided = mended and _group(mended.column)
        reading.new = [one for one in reading.new if one.kind == "held" or _group(one.column) == decided]
    blocked = [_group(one.column) for one in reading.new]
    waits = set(range(-1, len(_WRITTEN_TOGETHER))) if held and blocked else set(blocked)
    reading.loaded = [one for one in reading.loaded if _group(one.column) not in waits]
    reading.released = [one for one in reading.released if _group(one.column) not in waits]
    reading.parts = [one for one in reading.parts if _group(one.column) not in waits]


def _group(column: str) -> int:
    """Return the place in _WRITTEN_TOGETHER of the columns that are written together with this one; -1: none."""
    return next((n for n, (columns, _tables) in enumerate(_WRITTEN_TOGETHER) if column in columns), -1)


def _is_inside(inner: Value | Finding, outer: Value | Finding) -> bool:
    """Return True if the inner one is a part of the outer one: an element of a document, a quest of a period."""
    rest = inner.path.removeprefix(outer.path)
    return inner.column == outer.column and inner.path.startswith(outer.path) and rest[:1] in (".", "[")


def _judge_flags(reading: SecondReading, values: Sequence[Value], findings: list[Finding]) -> None:
    """Compare the flags of the bag with what is worn, by their places; both are read again."""
    places = {one.path: one for one in findings}
    for value in values:
        if value.is_loaded_as_it_is and places.pop(value.path, None) is None:
            reading.loaded.append(value)
    reading.flags = list(places.values())


def merge(before: Rows, after: Rows, reading: SecondReading) -> Rows:
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
    """Return the kept cells: of these columns as they were read again, of every other as they are."""
    was = sqlite_values.decode(str(before["legacy_rows"][key]["cells"]))
    now = sqlite_values.decode(str(after["legacy_rows"][key]["cells"]))
    kept = {name: cell for name, cell in was.items() if _column(name) not in columns}
    return sqlite_values.encode(kept | {name: cell for name, cell in now.items() if _column(name) in columns})


def _column(name: str) -> str:
    """Return the column that a kept cell belongs to; a form or frame may be one of its parts."""
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
