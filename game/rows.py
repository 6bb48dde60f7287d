"""A player's records by table and key, as stores, rules and codec pass them on, and what changed between two states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

Value: TypeAlias = str | int | bool | bytes | None
Key: TypeAlias = tuple[str | int, ...]
Record: TypeAlias = dict[str, Value]


class Rows(dict[str, dict[Key, Record]]):
    """Table name to primary key to record.

    Every record names its key's columns too, so a record stands alone. Order within a table is the order of insertion
    and carries no meaning: what has an order has a `position` column.
    """

    def copy(self) -> Rows:
        """Return a copy two levels deep: changing a record of one leaves the other as it was."""
        return Rows({table: {key: dict(record) for key, record in records.items()} for table, records in self.items()})

    def table(self, name: str) -> dict[Key, Record]:
        """Return the table's records, made empty where the table is missing."""
        return self.setdefault(name, {})


@dataclass(frozen=True, slots=True)
class TableChanges:
    """The changes of one table: rows deleted and inserted whole, and (before, after) of each column that changed."""

    deletes: dict[Key, Record] = field(default_factory=dict)
    inserts: dict[Key, Record] = field(default_factory=dict)
    updates: dict[Key, dict[str, tuple[Value, Value]]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.deletes or self.inserts or self.updates)


def whole_number(record: Record, column: str) -> int:
    """Return the value of a column that holds a whole number; NULL reads as 0."""
    value = record[column]
    assert value is None or isinstance(value, int)
    return int(value or 0)


def text(record: Record, column: str) -> str:
    """Return the value of a column that holds text; NULL reads as nothing."""
    value = record[column]
    assert value is None or isinstance(value, str)
    return value or ""


def compare(before: Rows, after: Rows) -> dict[str, TableChanges]:
    """Return the tables that differ, in the order of `after`, then those that only `before` has.

    Types are strict: 1, 1.0 and True differ. A column that one record lacks reads as None.
    """
    changes = {name: _table_changes(before.get(name, {}), after.get(name, {})) for name in _names(before, after)}
    return {name: change for name, change in changes.items() if change}


def is_same(before: Record, after: Record) -> bool:
    """Return True if the records do not differ, as `compare` would find."""
    return not _columns_changed(before, after)


def _names(before: Rows, after: Rows) -> Iterator[str]:
    yield from after
    yield from (name for name in before if name not in after)


def _table_changes(before: dict[Key, Record], after: dict[Key, Record]) -> TableChanges:
    updates = {}
    for key, record in after.items():
        if key in before and before[key] is not record and (columns := _columns_changed(before[key], record)):
            updates[key] = columns
    return TableChanges(
        deletes={key: record for key, record in before.items() if key not in after},
        inserts={key: record for key, record in after.items() if key not in before},
        updates=updates,
    )


def _columns_changed(before: Record, after: Record) -> dict[str, tuple[Value, Value]]:
    if before.keys() != after.keys():
        columns = dict.fromkeys((*before, *after))
        before, after = ({name: record.get(name) for name in columns} for record in (before, after))
    # A copy shares its values, so nearly all of them are the same objects; a call for each would take most of a save.
    return {
        name: (old, after[name]) for name, old in before.items() if old is not after[name] and _differ(old, after[name])
    }


def _differ(left: Value, right: Value) -> bool:
    return type(left) is not type(right) or left != right
