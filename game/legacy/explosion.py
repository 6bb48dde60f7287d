"""Takes one legacy row apart: columns to values, documents to records, and whatever does not fit to cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from game.legacy import cells, documents, fields
from game.legacy.cells import Cell
from game.legacy.forms import Fields, Unreadable, loads
from game.rows import Record, Rows, Value

Kind = Literal["aside", "held"]

MODELLED = tuple(fields.DECLARED)
"""The legacy columns of `users` that the game models; `id` besides."""

NOTHING: frozenset[Cell] = frozenset((None, "", "null", "{}", "[]"))
"""What the legacy service writes for "nothing": read alike, and each kept as it is."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A source value that could not be loaded as it is, or that disagrees with another. Its bytes are kept in place.

    kind `held`: the player's commands are refused until someone decides; `aside`: the player plays on.
    position: the element's place in its document, from 0; None for a whole cell.
    """

    kind: Kind
    table: str
    key: str | None
    column: str
    path: str
    position: int | None
    storage: str
    original: bytes
    rule: str
    reason: str


@dataclass(slots=True)
class Exploded:
    """One legacy row taken apart. counts: units by column, a cell or each element of a document taken apart."""

    rows: Rows
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def quarantined(self) -> Counter[str]:
        """Units with a finding, by column."""
        return Counter(column for column, _ in {(finding.column, finding.position) for finding in self.findings})


def keep_whole(row: Mapping[str, Cell], rowid: int) -> Exploded:
    """A row whose id is no text that Postgres can hold as a key, as one record of its own."""
    record: Record = {"source": "users", "position": rowid, "key": None, "cells": cells.encode(row)}
    finding = Finding(
        "held", "users", None, "id", "$", None, cells.storage(row["id"]), cells.original(row["id"]),
        "users.id", "the row's id is no text that Postgres can hold as a key; the whole row is kept",
    )  # fmt: skip
    return Exploded(Rows({"legacy_rows": {("users", rowid): record}}), [finding], Counter(dict.fromkeys(row, 1)))


class Explosion:
    """Takes one row apart; each method moves one kind of column from the row to rows and cells."""

    def __init__(self, row: Mapping[str, Cell], player: str, units: Mapping[str, int]) -> None:
        self.row = row
        self.player = player
        self.units = units
        self.cells: dict[str, Cell] = {}
        self.user: Record = {"id": player}
        self.out = Exploded(Rows({"users": {(player,): self.user}}), counts=Counter(dict.fromkeys(row, 1)))

    def run(self, rowid: int) -> Exploded:
        self._scalars()
        self._object("actionPoints", fields.ACTION_POINTS)
        self._object("inventorySlots", fields.PLACES)
        self._bag()
        self._mail()
        for kind, name in fields.KINDS.items():
            self._tournament(kind, name)
        self._rest()
        self.user["held"] = any(finding.kind == "held" for finding in self.out.findings)
        record: Record = {"source": "users", "position": rowid, "key": self.player, "cells": cells.encode(self.cells)}
        self.out.rows["legacy_rows"] = {("users", rowid): record}
        return self.out

    def found(self, kind: Kind, column: str, trouble: Unreadable, *, path: str = "$",
              position: int | None = None, original: bytes | None = None) -> None:  # fmt: skip
        cell = self.row[column]
        kept = cells.original(cell) if original is None else original
        rule, reason = f"{column}.{trouble.rule}", trouble.reason
        self.out.findings.append(
            Finding(kind, "users", self.player, column, path, position, cells.storage(cell), kept, rule, reason)
        )

    def _scalars(self) -> None:
        for column, scalar in fields.SCALARS.items():
            self.user[scalar.column] = self._scalar(column, scalar)

    def _scalar(self, column: str, scalar: fields.Scalar) -> Value:
        if column not in self.row:
            return scalar.absent
        cell = self.row[column]
        try:
            value = scalar.read(cell)
        except Unreadable as trouble:
            value = scalar.absent
            self.found("held" if scalar.holds else "aside", column, trouble)
        if not cells.same(scalar.write(value), cell):
            self.cells[column] = cell
        return value

    def _object(self, column: str, wanted: Fields) -> None:
        cell = self.row.get(column)
        if (
            cell is None
            or (cell in NOTHING and cell != "{}")
            or (wanted is fields.PLACES and isinstance(cell, int) and cell >= 0)
        ):
            self._object_whole(column, wanted)
            return
        try:
            form, values = documents.read_object(cell, wanted)
        except Unreadable as trouble:
            self.found("aside", column, trouble)
            self._object_whole(column, wanted)
            return
        self.user |= values
        if form != documents.plain_form(wanted):
            self.cells[documents.private(column)] = form

    def _object_whole(self, column: str, wanted: Fields) -> None:
        self.user |= documents.read_whole(self.row.get(column), wanted)
        if column in self.row:
            self.cells[column] = self.row[column]

    def _bag(self) -> None:
        if "inventory" not in self.row and "equipment" not in self.row:
            return
        bag = self._elements("inventory", "user_inventory", fields.ITEM, fields.ITEM_NEEDS, "held")
        worn = self._equipment({str(record["id"]) for record in bag.values()})
        for record in bag.values():
            shown = record.pop("worn")
            agrees = shown == (record["id"] in worn)
            record["worn_flag"] = None if agrees else shown
            if not agrees:
                place = int(record["position"] or 0) // documents.STEP
                flag = Unreadable("disagrees", f"isEquipped is {str(shown).lower()}, equipment says otherwise")
                text = str(shown).lower().encode()
                self.found("aside", "inventory", flag, path=f"$[{place}].isEquipped", position=place, original=text)

    def _mail(self) -> None:
        if "mail" in self.row:
            self._elements("mail", "user_mail", fields.MAIL, fields.MAIL_NEEDS, "held")

    def _elements(self, column: str, table: str, wanted: Fields, needs: tuple[str, ...],
                  kind: Kind) -> dict[str, Record]:  # fmt: skip
        records = self.out.rows.table(table)
        cell = self.row.get(column)
        if cell in NOTHING and cell != "[]":
            self._keep_nothing(column)
            return {}
        try:
            array = documents.read_array(cell, wanted, needs, self.units.get(column))
        except Unreadable as trouble:
            self.found(kind, column, trouble)
            self._keep_whole(column)
            return {}
        self.out.counts[column] = array.units
        for place, what, raw in array.troubles:
            self.found(kind, column, what, path=f"$[{place}]", position=place, original=raw.encode())
        if array.frame is not None:
            self.cells[documents.private(column)] = array.frame
        elif not array.records and cell != "[]":
            self.cells[column] = cell
        for record in array.records:
            records[self.player, str(record["id"])] = {"user_id": self.player, **record}
        return {str(key[1]): record for key, record in records.items()}

    def _equipment(self, bag: set[str]) -> set[str]:
        records = self.out.rows.table("user_equipment")
        cell = self.row.get("equipment")
        if cell in NOTHING and cell != "{}":
            self._keep_nothing("equipment")
            return set()
        try:
            worn = documents.read_equipment(cell, bag, self.units.get("equipment"))
        except Unreadable as trouble:
            self.found("aside", "equipment", trouble)
            self._keep_whole("equipment")
            return set()
        self.out.counts["equipment"] = worn.units
        for place, what, raw in worn.troubles:
            self.found("aside", "equipment", what, path=f"$[{place}]", position=place, original=raw.encode())
        if worn.frame is not None:
            self.cells[documents.private("equipment")] = worn.frame
        elif not worn.records and cell != "{}":
            self.cells["equipment"] = cell
        for record in worn.records:
            records[self.player, str(record["slot"])] = {"user_id": self.player, **record}
        return {str(record["item_id"]) for record in worn.records if record["item_id"] is not None}

    def _keep_nothing(self, column: str) -> None:
        if column in self.row:
            self.cells[column] = self.row[column]

    def _keep_whole(self, column: str) -> None:
        self.cells[column] = self.row[column]
        self.out.counts[column] = self.units.get(column, 1)

    def _tournament(self, kind: str, name: str) -> None:
        column, played, claimed = f"last{name}Tournament", f"last{name}PlayedDate", f"{kind}RewardClaimed"
        if column not in self.row:
            self.cells |= {other: self.row[other] for other in (played, claimed) if other in self.row}
            return
        cell = self.row[column]
        try:
            form, values = documents.read_object(cell, fields.TOURNAMENT)
        except Unreadable as trouble:
            if cell not in NOTHING:
                self.found("aside", column, trouble)
            form = None
        if form is None or cell in NOTHING:
            self.cells |= {other: self.row[other] for other in (column, played, claimed) if other in self.row}
            return
        record: Record = {"user_id": self.player, "kind": kind, **values, "form": form}
        record["played_at"] = self._scalar(played, fields.PLAYED_AT)
        record["claimed"] = self._scalar(claimed, fields.CLAIMED)
        self.out.rows.table("user_tournaments")[self.player, kind] = record

    def _rest(self) -> None:
        known = {"id", *MODELLED}
        self.cells |= {column: cell for column, cell in self.row.items() if column not in known}
        quests = self.row.get("quests")
        if quests not in NOTHING and (trouble := _not_an_object(quests)):
            self.found("held", "quests", trouble)


def _not_an_object(cell: Cell) -> Unreadable | None:
    if not isinstance(cell, str):
        return Unreadable("not_a_text", "expected an object as JSON text")
    try:
        value = loads(cell)
    except Unreadable as trouble:
        return trouble
    return None if isinstance(value, dict) else Unreadable("not_an_object", "expected an object")
