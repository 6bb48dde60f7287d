"""A difference between two states of the same players, and the one way in which a row or a value of them is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from game.rows import Key, Record, Rows, Value, compare
from harness.play.aliases import Aliases
from harness.scenarios.yaml_reader import Data, flow

NO_ROW = "no such row"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs, in words: a value, a row, an answer. Of two stores compared, `found` is the second one's.

    Nothing in it is judged: a scenario's expectation that fails is a `ScenarioProblem`, which has a place in the file.
    """

    what: str
    expected: str
    found: str

    def named(self, aliases: Aliases) -> Difference:
        """Return the same with ids as a scenario writes them."""
        return Difference(*(aliases.in_text(text) for text in (self.what, self.expected, self.found)))


def of_rows(expected: Rows, found: Rows) -> Iterator[Difference]:
    """Yield every value and every row in which the rows differ, table by table."""
    for table, change in compare(expected, found).items():
        for key, columns in change.updates.items():
            for column, (left, right) in columns.items():
                yield Difference(f"{place(table, key)}.{column}", shown(left), shown(right))
        for key, record in change.deletes.items():
            yield Difference(place(table, key), shown_record(record), NO_ROW)
        for key, record in change.inserts.items():
            yield Difference(place(table, key), NO_ROW, shown_record(record))


def place(table: str, key: Key) -> str:
    """Return the place of a row in words: the table, then what tells the row from others."""
    return f"{table}.{'/'.join(map(str, key))}"


def shown(value: Value) -> str:
    """Return a column's value as YAML writes it on one line; bytes in hexadecimal."""
    return flow(as_data(value))


def shown_record(record: Record) -> str:
    """Return a whole row as YAML writes it on one line."""
    return flow({column: as_data(value) for column, value in record.items()})


def as_data(value: Value) -> Data:
    """Return a column's value as a document can hold it: bytes in hexadecimal."""
    return value.hex() if isinstance(value, bytes) else value
