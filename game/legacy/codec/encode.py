"""Encodes one legacy row from its records, with what was kept in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

from game.legacy.codec import arrays, equipment, name_arrays, quests
from game.legacy.codec.arrays import KnownElement
from game.legacy.codec.document import Document, DocumentShape, RowMapping
from game.legacy.codec.forms import fill
from game.legacy.codec.scalar import Scalar
from game.legacy.sqlite_values import Cell
from game.rows import Key, Record, Rows, Value
from game.rules.json_columns import UNREADABLE_KEY, UNREADABLE_STATUS

UNREAD = "unread"
"""A table of keys alone, (player, column): cells that the version which loaded them could not read."""


class RowEncoder:
    """Encodes one row; each method writes documents of one shape."""

    def __init__(
        self, rows: Rows, kept: dict[str, Cell], mapping: RowMapping, known: Mapping[tuple[str, Key], KnownElement]
    ) -> None:
        (self.user,) = rows["users"].values()
        self.rows = rows
        self.kept = kept
        self.mapping = mapping
        self.known = known
        self.written: dict[tuple[str, Key], KnownElement] = {}
        """The elements that were written, by table and key."""

    def run(self, wanted: frozenset[str] | None) -> dict[str, Cell]:
        """Encode the columns that the player's tables have values for, and every kept cell; all, or the wanted ones."""
        row: dict[str, Cell] = {"id": str(self.user["id"])}
        for column, scalar in self.mapping.scalars.items():
            row[column] = self._scalar(column, scalar, self.user[scalar.column])
        for document in self.mapping.objects:
            row[document.column] = self._object(document)
        for group in self.mapping.groups:
            if not group.tables.isdisjoint(self.rows):
                for document in group.documents:
                    self._SHAPES[document.shape](self, row, document)
        private = arrays.PRIVATE
        row |= {c: cell for c, cell in self.kept.items() if c not in row and not c.startswith(private)}
        return row if wanted is None else {column: cell for column, cell in row.items() if column in wanted}

    def _scalar(self, column: str, scalar: Scalar, value: Value) -> Cell:
        if column not in self.kept:
            return scalar.write(value)
        unread = (str(self.user["id"]), column) in self.rows.get(UNREAD, {})
        return scalar.written_over(self.kept[column], value, unread=unread)

    def _object(self, document: Document) -> Cell:
        if document.column in self.kept:
            return arrays.object_again(self.kept[document.column], document, self.user)
        form = self.kept.get(arrays.private(document.column))
        return arrays.write_object(form if isinstance(form, str) else None, document, self.user)

    def _array(self, row: dict[str, Cell], document: Document) -> None:
        texts = [(arrays.position(record), text) for _key, record, text in self.elements(document)]
        self._write(row, document, arrays.write_array(texts, self._layout(document), document.empty))

    _entries = _array

    def elements(self, document: Document) -> Iterator[tuple[Key, Record, str]]:
        """Yield key, record and text of each element of an array or of entries; the record has its flag."""
        write = arrays.entry_text if document.shape == "entries" else arrays.element_text
        records = self._by_key(document.table)
        flag = ""
        if document.worn_by:
            flag, kept = document.flags
            named = {one["item_id"] for one in self._records(self.mapping.by_column[document.worn_by].table)}
            records = {
                key: {**one, flag: one["id"] in named if one.get(kept) is None else one[kept]}
                for key, one in records.items()
            }
        for key, record in records.items():
            known = self.known.get((document.table, key))
            is_known = known is not None and (not flag or known.record[flag] == record[flag])
            if known is None or not is_known:
                known = KnownElement(write(document, record), record)
            self.written[document.table, key] = known
            yield key, record, known.text

    def _slots(self, row: dict[str, Cell], document: Document) -> None:
        text = equipment.write_equipment(self._records(document.table), self._layout(document))
        self._write(row, document, text)

    def _write(self, row: dict[str, Cell], document: Document, text: str) -> None:
        """Write the text, unless the document was kept whole and has no records."""
        column = document.column
        kept = column in self.kept and not self._records(document.table)
        row[column] = self.kept[column] if kept else text

    def _periods(self, row: dict[str, Cell], document: Document) -> None:
        column = document.column
        handed_out, milestones = self._records(document.table), self._records(document.outer_table)
        if not handed_out and not milestones:
            row[column] = self.kept.get(column, document.empty)
            return
        layouts = {period: self._private(f"{column}.{period}") for period in document.periods}
        laid_out = {period: layout for period, layout in layouts.items() if layout is not None}
        row[column] = quests.write_quests(document, self._layout(document), milestones, handed_out, laid_out)

    def _names(self, row: dict[str, Cell], document: Document) -> None:
        column = document.column
        in_order = sorted(self._records(document.table), key=arrays.position)
        names = [str(record[document.key]) for record in in_order if record[document.name]]
        if not names and column in self.kept:
            row[column] = self.kept[column]
        else:
            row[column] = name_arrays.write_names(names, self._layout(document))

    def _record(self, row: dict[str, Cell], document: Document) -> None:
        record = self.rows.get(document.table, {}).get((str(self.user["id"]), document.name))
        if record is None:
            return
        column = document.column
        if record[document.status] not in (None, UNREADABLE_STATUS) or record.get("form") is not None:
            row[column] = fill(arrays.form_of(record, document.new_form), document.columns, record, document.keys)
        elif column in self.kept:
            row[column] = self.kept[column]
        for name, scalar in document.beside.items():
            row[name] = self._scalar(name, scalar, record[scalar.column])

    def _records(self, table: str) -> list[Record]:
        return list(self._by_key(table).values())

    def _by_key(self, table: str) -> dict[Key, Record]:
        """Return the table's records, without the one that marks its document as unreadable."""
        return {key: record for key, record in self.rows.get(table, {}).items() if key[-1] != UNREADABLE_KEY}

    def _layout(self, document: Document) -> str | None:
        return self._private(document.column)

    def _private(self, column: str) -> str | None:
        layout = self.kept.get(arrays.private(column))
        return layout if isinstance(layout, str) else None

    _SHAPES: ClassVar[Mapping[DocumentShape, Callable[[RowEncoder, dict[str, Cell], Document], None]]] = {
        "array": _array,
        "entries": _entries,
        "slots": _slots,
        "names": _names,
        "periods": _periods,
        "record": _record,
    }
