"""Decodes one legacy row: columns to values, documents to records, and whatever does not fit to cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import ClassVar

from game.json_text import Unreadable
from game.legacy import sqlite_values
from game.legacy.codec import arrays, equipment, name_arrays, quests
from game.legacy.codec.arrays import ArrayRecords, KnownTexts
from game.legacy.codec.decoded import NOTHING, Decoded, Finding
from game.legacy.codec.document import Document, DocumentShape, QuarantineKind, RowMapping
from game.legacy.codec.scalar import Scalar
from game.legacy.sqlite_values import Cell
from game.rows import Record, Rows, Value
from game.rules.catalog import EQUIPMENT
from game.rules.json_columns import UNREADABLE_KEY, UNREADABLE_STATUS


class RowDecoder:
    """Decodes one row; each method takes documents of one shape from the row to rows and cells."""

    def __init__(
        self,
        row: Mapping[str, Cell],
        player: str,
        units: Mapping[str, int],
        mapping: RowMapping,
        known: Mapping[str, KnownTexts],
    ) -> None:
        self.row = row
        self.player = player
        self.units = units
        self.mapping = mapping
        self.known = known
        self.cells: dict[str, Cell] = {}
        self.names: dict[str, list[str] | None] = {}
        self.user: Record = {"id": player}
        self.out = Decoded(Rows({"users": {(player,): self.user}}), counts=Counter(dict.fromkeys(row, 1)))

    def run(self, rowid: int) -> Decoded:
        """Decode every column of the row."""
        for column, scalar in self.mapping.scalars.items():
            self.user[scalar.column] = self._scalar(column, scalar)
        for document in self.mapping.objects:
            self._object(document)
        for group in self.mapping.groups:
            if any(column in self.row for column in group.columns):
                for document in group.documents:
                    self._SHAPES[document.shape](self, document)
                for document in group.documents:
                    if document.shape == "names":
                        self._keep_names(document)
        self._unmodelled()
        self.user["held"] = any(finding.kind == "held" for finding in self.out.findings)
        record: Record = {
            "source": "users",
            "position": rowid,
            "key": self.player,
            "cells": sqlite_values.encode(self.cells),
        }
        self.out.rows["legacy_rows"] = {("users", rowid): record}
        return self.out

    def note(
        self,
        kind: QuarantineKind,
        column: str,
        error: Unreadable,
        *,
        path: str = "$",
        position: int | None = None,
        original: bytes | None = None,
    ) -> None:
        """Add a finding; `original` where it is not of the whole cell."""
        cell = self.row[column]
        source = sqlite_values.original(cell) if original is None else original
        rule, reason = f"{column}.{error.rule}", error.reason
        self.out.findings.append(
            Finding(
                kind, "users", self.player, column, path, position, sqlite_values.storage(cell), source, rule, reason
            )
        )

    def _scalar(self, column: str, scalar: Scalar) -> Value:
        if column not in self.row:
            return scalar.absent
        cell = self.row[column]
        try:
            value = scalar.read(cell)
        except Unreadable as trouble:
            value = scalar.stand_in(cell)
            holds = scalar.holds or (scalar.added and self._is_lost(column, scalar))
            self.note("held" if holds else "aside", column, trouble)
        if not sqlite_values.same(scalar.write(value), cell):
            self.cells[column] = cell
        return value

    def _is_lost(self, column: str, scalar: Scalar) -> bool:
        """Return True if the column says something of which not even a whole part is known."""
        cell = self.row.get(column)
        return cell not in NOTHING and not scalar.counts(cell)

    def _object(self, document: Document) -> None:
        column = document.column
        cell = self.row.get(column)
        if cell is None or (cell in NOTHING and cell != document.empty) or arrays.is_number_for_all(cell, document):
            self._object_whole(document)
            return
        try:
            form, values = arrays.read_object(cell, document)
        except Unreadable as trouble:
            self.note(document.unreadable, column, trouble)
            self._object_whole(document)
            return
        self.user |= values
        if form != document.plain_form:
            self.cells[arrays.private(column)] = form

    def _object_whole(self, document: Document) -> None:
        self.user |= arrays.read_whole(self.row.get(document.column), document)
        self._keep_cell(document.column)

    def _array(self, document: Document) -> None:
        known = self.known.get(document.column, arrays.NONE_KNOWN)
        self._elements(document, lambda cell, units: arrays.read_array(cell, document, units, document.check, known))

    def _entries(self, document: Document) -> None:
        known = self.known.get(document.column, arrays.NONE_KNOWN)
        self._elements(document, lambda cell, units: arrays.read_entries(cell, document, units, known))

    def _slots(self, document: Document) -> None:
        bag = self.mapping.by_column[document.worn]
        items = list(self.out.rows.table(bag.table).values())
        slots = {str(item["id"]): str(item["slot"]) for item in items if item["type"] == EQUIPMENT}
        self._elements(document, lambda cell, units: equipment.read_equipment(cell, slots, units))
        records = self.out.rows.table(document.table).values()
        self._flags(bag, items, {record["item_id"] for record in records if record["item_id"] is not None})

    def _flags(self, bag: Document, items: list[Record], named: set[Value]) -> None:
        """Compare each item's own flag with what the slots name; keep it in the record where it disagrees."""
        worn, kept = bag.flags
        for record in items:
            shown = record.pop(worn)
            agrees = shown == (record["id"] in named)
            record[kept] = None if agrees else shown
            if not agrees:
                place = int(record["position"] or 0) // arrays.STEP
                reason = f"{bag.worn} is {str(shown).lower()}, {bag.worn_by} says otherwise"
                original = str(shown).lower().encode()
                path = f"$[{place}].{bag.worn}"
                self.note(
                    "aside", bag.column, Unreadable("disagrees", reason), path=path, position=place, original=original
                )

    def _elements(self, document: Document, read: Callable[[Cell, int | None], ArrayRecords]) -> None:
        """Decode a document of elements, each a record."""
        column, records = document.column, self.out.rows.table(document.table)
        cell = self.row.get(column)
        if cell in NOTHING and cell != document.empty:
            self._keep_cell(column)
            return
        try:
            array = read(cell, self.units.get(column))
        except Unreadable as trouble:
            self.note(document.unreadable, column, trouble)
            self._keep_whole(column)
            self._refuse_commands(document)
            return
        self._count(document, array)
        if array.layout is not None:
            self.cells[arrays.private(column)] = array.layout
        elif not array.records and cell != document.empty:
            self.cells[column] = cell
        for record in array.records:
            key = self.player, str(record[document.key])
            records[key] = {"user_id": self.player, **record}
            if (seen := array.known.get(arrays.position(record))) is not None:
                self.out.known[document.table, key] = seen
        if array.refuses:
            self._refuse_commands(document)

    def _refuse_commands(self, document: Document) -> None:
        """Add the record that makes every command on the table refused, if the document has one."""
        if document.refusing is not None:
            record: Record = {"user_id": self.player, "position": 0, **document.refusing}
            self.out.rows.table(document.table)[self.player, UNREADABLE_KEY] = record

    def _count(self, document: Document, array: ArrayRecords) -> None:
        """Note the number of the array's elements, and each element that could not be read."""
        self.out.counts[document.column] = array.units
        for place, error, raw in array.unreadable:
            kind: QuarantineKind = "aside" if error.aside else document.elements
            self.note(kind, document.column, error, path=f"$[{place}]", position=place, original=raw.encode())

    def _periods(self, document: Document) -> None:
        column, cell = document.column, self.row[document.column]
        inner, outer = self.out.rows.table(document.table), self.out.rows.table(document.outer_table)
        if cell in NOTHING:
            if cell != document.empty:
                self._keep_cell(column)
            return
        try:
            decoded = quests.read_quests(cell, document)
        except Unreadable as trouble:
            self.note(document.unreadable, column, trouble)
            self._keep_whole(column)
            return
        for path, unreadable, raw in decoded.unreadable:
            self.note(document.elements, column, unreadable, path=path, original=raw.encode())
        if not decoded.milestones:
            self._keep_whole(column)
        elif not decoded.is_plain(document.periods):
            self.cells[arrays.private(column)] = decoded.form
        self.cells |= {arrays.private(f"{column}.{period}"): layout for period, layout in decoded.layouts.items()}
        for quest in decoded.quests:
            inner[self.player, str(quest["period"]), str(quest[document.key])] = {"user_id": self.player, **quest}
        for period in decoded.milestones:
            outer[self.player, str(period["period"])] = {"user_id": self.player, **period}

    def _names(self, document: Document) -> None:
        """Decode an array of names into the records that it shares with the other arrays of its table."""
        column, flag = document.column, document.name
        if column not in self.row:
            return
        records = self.out.rows.table(document.table)
        names = self.names[column] = self._listed(document)
        none = self.mapping.flags[document.table]
        for name in names or ():
            new: Record = {"user_id": self.player, document.key: name, "position": len(records) * arrays.STEP}
            records.setdefault((self.player, name), new | none)[flag] = True

    def _keep_names(self, document: Document) -> None:
        """Keep the array where the records, once all arrays of their table are read, would be written otherwise."""
        column, flag = document.column, document.name
        if self.names.get(column) is None:
            return
        records = self.out.rows.table(document.table).values()
        in_order = [str(record[document.key]) for record in records if record[flag]]
        if name_arrays.write_names(in_order, None) != self.row[column]:
            self.cells[arrays.private(column)] = self.row[column]

    def _listed(self, document: Document) -> list[str] | None:
        """Return the names in the column; None where it is no array."""
        column = document.column
        cell = self.row[column]
        if cell in NOTHING and cell != document.empty:
            self._keep_cell(column)
            return None
        try:
            names, array = name_arrays.read_names(cell, self.units.get(column))
        except Unreadable as trouble:
            self.note(document.unreadable, column, trouble)
            self._keep_whole(column)
            return None
        self._count(document, array)
        return names

    def _keep_cell(self, column: str) -> None:
        if column in self.row:
            self.cells[column] = self.row[column]

    def _keep_whole(self, column: str) -> None:
        self.cells[column] = self.row[column]
        self.out.counts[column] = self.units.get(column, 1)

    def _record(self, document: Document) -> None:
        """Decode an object with a record of its own, and the plain columns beside it."""
        column, plain_columns = document.column, document.beside
        cell = self.row.get(column)
        try:
            form, values = arrays.read_object(cell, document)
        except Unreadable as trouble:
            if cell not in NOTHING:
                self.note(document.unreadable, column, trouble)
            form = None
        unknown = any(self._is_lost(name, scalar) for name, scalar in plain_columns.items())
        if form is None or cell in NOTHING or unknown:
            self._keep_cell(column)
            if cell in NOTHING and not unknown and not any(self.row.get(name) for name in plain_columns):
                self.cells |= {name: self.row[name] for name in plain_columns if name in self.row}
                return
            # Day and flag count without a document too: else it could be played twice a day, or lost to a start; and
            # where one of them can't be read, it could be claimed twice.
            status = None if cell in NOTHING and not unknown else UNREADABLE_STATUS
            form, values = None, document.absent | {document.status: status}
        record: Record = {"user_id": self.player, document.key: document.name, **values, "form": form}
        for name, scalar in plain_columns.items():
            record[scalar.column] = self._scalar(name, scalar)
        self.out.rows.table(document.table)[self.player, document.name] = record

    def _unmodelled(self) -> None:
        known = self.mapping.declared
        self.cells |= {column: cell for column, cell in self.row.items() if column not in known and column != "id"}

    _SHAPES: ClassVar[Mapping[DocumentShape, Callable[[RowDecoder, Document], None]]] = {
        "array": _array,
        "entries": _entries,
        "slots": _slots,
        "names": _names,
        "periods": _periods,
        "record": _record,
    }
