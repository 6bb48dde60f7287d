"""A profile of a legacy file: what each column really holds. Sizes and counts, never values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from db.legacy.source import Source, opened
from db.transfer.soundness import check_contents
from game.legacy import sidecars
from game.legacy.sqlite_values import quote

STORAGE = ("null", "integer", "real", "text", "blob")
_COLUMNS_A_QUERY = 100
"""Nine results a column, under the two thousand that SQLite allows."""


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """One column. bytes and largest: of the values as bytes. documents: texts that begin like a JSON array or object;
    broken: those of them that are not valid JSON."""

    name: str
    null: int
    integer: int
    real: int
    text: int
    blob: int
    bytes: int
    largest: int
    documents: int
    broken: int

    @property
    def classes(self) -> dict[str, int]:
        """Count the cells of each storage class that occurs."""
        return {name: count for name in STORAGE if (count := int(getattr(self, name)))}


@dataclass(frozen=True, slots=True)
class TableProfile:
    name: str
    rows: int
    columns: tuple[ColumnProfile, ...]

    @property
    def bytes(self) -> int:
        return sum(column.bytes for column in self.columns)

    def lines(self) -> Iterator[tuple[str, str, int, int, int, int]]:
        """Yield, for each column that holds anything: name, storage classes, bytes, largest, documents, broken ones."""
        for column in self.columns:
            if column.bytes:
                classes = ", ".join(f"{name} {count:,}" for name, count in column.classes.items())
                yield column.name, classes, column.bytes, column.largest, column.documents, column.broken


@dataclass(frozen=True, slots=True)
class Profile:
    """A whole file. bytes: of the file and its log; largest: (table, column, bytes) of the largest value."""

    path: Path
    bytes: int
    journal_mode: str
    tables: tuple[TableProfile, ...]

    @property
    def players(self) -> int:
        return next(table.rows for table in self.tables if table.name == "users")

    @property
    def largest(self) -> tuple[str, str, int]:
        sizes = [(table.name, column.name, column.largest) for table in self.tables for column in table.columns]
        return max(sizes, key=lambda place: place[2])


def profile(path: Path) -> Profile:
    """Read the whole file once and say what is in it; Refusal (exit 2) where it is no legacy file."""
    with opened(path) as source:
        check_contents(source)
        tables = tuple(_table(source, name) for name in source.tables)
        return Profile(path, file_bytes(path), source.schema.settings["journal_mode"], tables)


def file_bytes(path: Path) -> int:
    """Return the size of the file with its write-ahead log."""
    log = sidecars.log_of(path)
    return path.stat().st_size + (log.stat().st_size if log.exists() else 0)


def _table(source: Source, name: str) -> TableProfile:
    columns = source.tables[name].columns
    profiles: list[ColumnProfile] = []
    for start in range(0, len(columns), _COLUMNS_A_QUERY):
        group = columns[start : start + _COLUMNS_A_QUERY]
        measures = ", ".join(_measures(quote(column)) for column in group)
        measured = source.connection.execute(f"SELECT {measures} FROM {quote(name)}").fetchone()
        per_column = len(measured) // len(group)
        for n, column in enumerate(group):
            profiles.append(ColumnProfile(column, *map(int, measured[n * per_column : (n + 1) * per_column])))
    return TableProfile(name, source.count(name), tuple(profiles))


def _measures(column: str) -> str:
    size = f"length(CAST({column} AS BLOB))"
    document = f"typeof({column}) = 'text' AND substr(ltrim({column}), 1, 1) IN ('{{', '[')"
    classes = [f"total(typeof({column}) = '{name}')" for name in STORAGE]
    return ", ".join(
        [
            *classes,
            f"total({size})",
            f"coalesce(max({size}), 0)",
            f"total({document})",
            f"total({document} AND NOT json_valid({column}))",
        ]
    )
