"""Takes one legacy row apart: columns to values, documents to records, and whatever does not fit to cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from game.json_text import Fields, Unreadable
from game.legacy import sqlite_values
from game.legacy.codec import arrays, equipment, mapping, quests, stages
from game.legacy.codec.arrays import Apart
from game.legacy.codec.decoded import MODELLED, NOTHING, Decoded, Finding, Kind
from game.legacy.sqlite_values import Cell
from game.rows import Record, Rows, Value
from game.rules.catalog import EQUIPMENT
from game.rules.json_columns import UNREADABLE_KEY, UNREADABLE_STATUS
from game.rules.missions import MISSIONS

_NOT_REACHED: Record = dict.fromkeys(mapping.STAGES, False)

_UNREADABLE: dict[str, Record] = {
    "user_equipment": {"slot": UNREADABLE_KEY, "item_id": None, "kept": "null"},
    "user_equipment_presets": {**arrays.absent(mapping.PRESET), "name": UNREADABLE_KEY, "form": None},
    "user_missions": {**arrays.absent(mapping.MISSION), "id": UNREADABLE_KEY, "form": None},
}
"""The records that make commands refused, by table. They act even after an operator lets a held player go.

Other unreadable documents only hold the player."""


class Explosion:
    """Takes one row apart; each method moves one kind of column from the row to rows and cells."""

    def __init__(self, row: Mapping[str, Cell], player: str, units: Mapping[str, int]) -> None:
        self.row = row
        self.player = player
        self.units = units
        self.cells: dict[str, Cell] = {}
        self.user: Record = {"id": player}
        self.out = Decoded(Rows({"users": {(player,): self.user}}), counts=Counter(dict.fromkeys(row, 1)))

    def run(self, rowid: int) -> Decoded:
        self._scalars()
        self._object("actionPoints", mapping.ACTION_POINTS)
        self._object("inventorySlots", mapping.PLACES)
        self._bag()
        self._mail()
        self._presets()
        self._quests()
        self._missions()
        self._stages()
        for kind, name in mapping.KINDS.items():
            self._tournament(kind, name)
        self._rest()
        self.user["held"] = any(finding.kind == "held" for finding in self.out.findings)
        record: Record = {
            "source": "users",
            "position": rowid,
            "key": self.player,
            "cells": sqlite_values.encode(self.cells),
        }
        self.out.rows["legacy_rows"] = {("users", rowid): record}
        return self.out

    def found(
        self,
        kind: Kind,
        column: str,
        trouble: Unreadable,
        *,
        path: str = "$",
        position: int | None = None,
        original: bytes | None = None,
    ) -> None:
        cell = self.row[column]
        kept = sqlite_values.original(cell) if original is None else original
        rule, reason = f"{column}.{trouble.rule}", trouble.reason
        self.out.findings.append(
            Finding(kind, "users", self.player, column, path, position, sqlite_values.storage(cell), kept, rule, reason)
        )

    def _scalars(self) -> None:
        for column, scalar in mapping.SCALARS.items():
            self.user[scalar.column] = self._scalar(column, scalar)

    def _scalar(self, column: str, scalar: mapping.Scalar) -> Value:
        if column not in self.row:
            return scalar.absent
        cell = self.row[column]
        try:
            value = scalar.read(cell)
        except Unreadable as trouble:
            value = scalar.stand_in(cell)
            holds = scalar.holds or (scalar.added and self._is_lost(column, scalar))
            self.found("held" if holds else "aside", column, trouble)
        if not sqlite_values.same(scalar.write(value), cell):
            self.cells[column] = cell
        return value

    def _is_lost(self, column: str, scalar: mapping.Scalar) -> bool:
        """Whether the column says something of which not even a whole part is known."""
        cell = self.row.get(column)
        return cell not in NOTHING and not scalar.counts(cell)

    def _object(self, column: str, wanted: Fields) -> None:
        cell = self.row.get(column)
        if (
            cell is None
            or (cell in NOTHING and cell != "{}")
            or (wanted is mapping.PLACES and isinstance(cell, int) and cell >= 0)
        ):
            self._object_whole(column, wanted)
            return
        try:
            form, values = arrays.read_object(cell, wanted)
        except Unreadable as trouble:
            self.found("held", column, trouble)
            self._object_whole(column, wanted)
            return
        self.user |= values
        if form != arrays.plain_form(wanted):
            self.cells[arrays.private(column)] = form

    def _object_whole(self, column: str, wanted: Fields) -> None:
        self.user |= arrays.read_whole(self.row.get(column), wanted)
        if column in self.row:
            self.cells[column] = self.row[column]

    def _bag(self) -> None:
        if "inventory" not in self.row and "equipment" not in self.row:
            return
        bag = self._elements("inventory", "user_inventory", _items, "held")
        dressed = self._equipment({str(item["id"]): str(item["slot"]) for item in bag if item["type"] == EQUIPMENT})
        for record in bag:
            shown = record.pop("worn")
            agrees = shown == (record["id"] in dressed)
            record["worn_flag"] = None if agrees else shown
            if not agrees:
                place = int(record["position"] or 0) // arrays.STEP
                flag = Unreadable("disagrees", f"isEquipped is {str(shown).lower()}, equipment says otherwise")
                text = str(shown).lower().encode()
                self.found("aside", "inventory", flag, path=f"$[{place}].isEquipped", position=place, original=text)

    def _mail(self) -> None:
        if "mail" in self.row:
            self._elements("mail", "user_mail", _letters, "held")

    def _presets(self) -> None:
        if "equipmentPresets" in self.row:
            self._elements("equipmentPresets", "user_equipment_presets", _presets, "aside", key="name")

    def _missions(self) -> None:
        if "singlePlayerMissions" in self.row:
            self._elements("singlePlayerMissions", "user_missions", _missions, "held", empty="{}")

    def _elements(
        self,
        column: str,
        table: str,
        read: Callable[[Cell, int | None], Apart],
        kind: Kind,
        *,
        key: str = "id",
        empty: str = "[]",
    ) -> list[Record]:
        """The records of a document of elements; `empty` is how one without any is written plainly."""
        records = self.out.rows.table(table)
        cell = self.row.get(column)
        if cell in NOTHING and cell != empty:
            self._keep_nothing(column)
            return []
        try:
            apart = read(cell, self.units.get(column))
        except Unreadable as trouble:
            self.found(kind, column, trouble)
            self._keep_whole(column)
            self._refuse_commands(table)
            return []
        self._count(column, apart, kind)
        if apart.frame is not None:
            self.cells[arrays.private(column)] = apart.frame
        elif not apart.records and cell != empty:
            self.cells[column] = cell
        for record in apart.records:
            records[self.player, str(record[key])] = {"user_id": self.player, **record}
        readable = list(records.values())
        if apart.refuses:
            self._refuse_commands(table)
        return readable

    def _refuse_commands(self, table: str) -> None:
        """Add the record that makes every command on the table refused, if the table has one."""
        if table in _UNREADABLE:
            record: Record = {"user_id": self.player, "position": 0, **_UNREADABLE[table]}
            self.out.rows.table(table)[self.player, UNREADABLE_KEY] = record

    def _count(self, column: str, apart: Apart, kind: Kind) -> None:
        self.out.counts[column] = apart.units
        for place, what, raw in apart.troubles:
            found: Kind = "aside" if what.aside else kind
            self.found(found, column, what, path=f"$[{place}]", position=place, original=raw.encode())

    def _quests(self) -> None:
        if "quests" not in self.row:
            return
        cell = self.row["quests"]
        tables = self.out.rows.table("user_quests"), self.out.rows.table("user_milestones")
        if cell in NOTHING:
            if cell != "{}":
                self._keep_nothing("quests")
            return
        try:
            apart = quests.read_quests(cell)
        except Unreadable as trouble:
            self.found("held", "quests", trouble)
            self._keep_whole("quests")
            return
        for path, what, raw in apart.troubles:
            self.found("held", "quests", what, path=path, original=raw.encode())
        if not apart.milestones:
            self._keep_whole("quests")
        elif not apart.is_plain:
            self.cells[arrays.private("quests")] = apart.form
        self.cells |= {arrays.private(f"quests.{period}"): frame for period, frame in apart.frames.items()}
        for quest in apart.quests:
            tables[0][self.player, str(quest["period"]), str(quest["id"])] = {"user_id": self.player, **quest}
        for period in apart.milestones:
            tables[1][self.player, str(period["period"])] = {"user_id": self.player, **period}

    def _stages(self) -> None:
        columns = {flag: column for flag, column in mapping.STAGES.items() if column in self.row}
        if not columns:
            return
        records = self.out.rows.table("user_stages")
        read = {flag: self._names(column) for flag, column in columns.items()}
        for flag, names in read.items():
            for name in names or ():
                new: Record = {"user_id": self.player, "stage": name, "position": len(records) * arrays.STEP}
                records.setdefault((self.player, name), new | _NOT_REACHED)[flag] = True
        for flag, column in columns.items():
            in_order = [str(record["stage"]) for record in records.values() if record[flag]]
            if read[flag] is not None and stages.write_names(in_order, None) != self.row[column]:
                self.cells[arrays.private(column)] = self.row[column]

    def _names(self, column: str) -> list[str] | None:
        """The stages that the column names; None where it is no array."""
        cell = self.row[column]
        if cell in NOTHING and cell != "[]":
            self._keep_nothing(column)
            return None
        try:
            names, apart = stages.read_names(cell, self.units.get(column))
        except Unreadable as trouble:
            # Were it "no stage cleared", a first-clear reward could be granted a second time.
            self.found("held", column, trouble)
            self._keep_whole(column)
            return None
        self._count(column, apart, "aside")
        return names

    def _equipment(self, slots: dict[str, str]) -> set[str]:
        records = self.out.rows.table("user_equipment")
        cell = self.row.get("equipment")
        if cell in NOTHING and cell != "{}":
            self._keep_nothing("equipment")
            return set()
        try:
            apart = equipment.read_equipment(cell, slots, self.units.get("equipment"))
        except Unreadable as trouble:
            self.found("aside", "equipment", trouble)
            self._keep_whole("equipment")
            self._refuse_commands("user_equipment")
            return set()
        self._count("equipment", apart, "aside")
        if apart.frame is not None:
            self.cells[arrays.private("equipment")] = apart.frame
        elif not apart.records and cell != "{}":
            self.cells["equipment"] = cell
        for record in apart.records:
            records[self.player, str(record["slot"])] = {"user_id": self.player, **record}
        if apart.refuses:
            self._refuse_commands("user_equipment")
        return {str(record["item_id"]) for record in apart.records if record["item_id"] is not None}

    def _keep_nothing(self, column: str) -> None:
        if column in self.row:
            self.cells[column] = self.row[column]

    def _keep_whole(self, column: str) -> None:
        self.cells[column] = self.row[column]
        self.out.counts[column] = self.units.get(column, 1)

    def _tournament(self, kind: str, name: str) -> None:
        column, played, claimed = f"last{name}Tournament", f"last{name}PlayedDate", f"{kind}RewardClaimed"
        cell = self.row.get(column)
        try:
            form, values = arrays.read_object(cell, mapping.TOURNAMENT)
        except Unreadable as trouble:
            if cell not in NOTHING:
                self.found("aside", column, trouble)
            form = None
        unknown = self._is_lost(played, mapping.PLAYED_AT) or self._is_lost(claimed, mapping.CLAIMED)
        if form is None or cell in NOTHING or unknown:
            self._keep_nothing(column)
            if cell in NOTHING and not unknown and not self.row.get(played) and not self.row.get(claimed):
                self.cells |= {other: self.row[other] for other in (played, claimed) if other in self.row}
                return
            # Day and flag count without a document too: else it could be played twice a day, or lost to a start; and
            # where one of them can't be read, it could be claimed twice.
            status = None if cell in NOTHING and not unknown else UNREADABLE_STATUS
            form, values = None, arrays.absent(mapping.TOURNAMENT) | {"status": status}
        record: Record = {"user_id": self.player, "kind": kind, **values, "form": form}
        record["played_at"] = self._scalar(played, mapping.PLAYED_AT)
        record["claimed"] = self._scalar(claimed, mapping.CLAIMED)
        self.out.rows.table("user_tournaments")[self.player, kind] = record

    def _rest(self) -> None:
        known = {"id", *MODELLED}
        self.cells |= {column: cell for column, cell in self.row.items() if column not in known}


def _items(cell: Cell, units: int | None) -> Apart:
    return arrays.read_array(cell, mapping.ITEM, mapping.ITEM_NEEDS, units)


def _letters(cell: Cell, units: int | None) -> Apart:
    return arrays.read_array(cell, mapping.MAIL, mapping.MAIL_NEEDS, units, mapping.check_mail)


def _presets(cell: Cell, units: int | None) -> Apart:
    return arrays.read_array(cell, mapping.PRESET, mapping.PRESET_NEEDS, units)


def _missions(cell: Cell, units: int | None) -> Apart:
    return arrays.read_entries(cell, mapping.MISSION, "id", units, MISSIONS)
