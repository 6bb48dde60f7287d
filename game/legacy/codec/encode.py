"""Puts one legacy row together again from its records, with what was kept in its place."""

from __future__ import annotations

from game.json_text import Fields
from game.legacy.codec import arrays, elements, equipment, mapping, quests, stages
from game.legacy.sqlite_values import Cell
from game.rows import Record, Rows, Value
from game.rules.json_columns import UNREADABLE_KEY, UNREADABLE_STATUS

_DOCUMENTS = {
    "inventory": "user_inventory",
    "equipment": "user_equipment",
    "mail": "user_mail",
    "equipmentPresets": "user_equipment_presets",
    "singlePlayerMissions": "user_missions",
}

UNREAD = "unread"
"""A table of keys alone, (player, column): cells that the version which loaded them could not read."""


class Implosion:
    """Puts one row together again."""

    def __init__(self, rows: Rows, kept: dict[str, Cell]) -> None:
        (self.user,) = rows["users"].values()
        self.rows = rows
        self.kept = kept

    def run(self, wanted: frozenset[str] | None) -> dict[str, Cell]:
        row: dict[str, Cell] = {"id": str(self.user["id"])}
        for column, scalar in mapping.SCALARS.items():
            row[column] = self._scalar(column, scalar, self.user[scalar.column])
        row["actionPoints"] = self._object("actionPoints", mapping.ACTION_POINTS)
        row["inventorySlots"] = self._object("inventorySlots", mapping.PLACES)
        self._documents(row)
        for kind, name in mapping.KINDS.items():
            self._tournament(row, kind, name)
        private = arrays.PRIVATE
        row |= {c: cell for c, cell in self.kept.items() if c not in row and not c.startswith(private)}
        return row if wanted is None else {column: cell for column, cell in row.items() if column in wanted}

    def _scalar(self, column: str, scalar: mapping.Scalar, value: Value) -> Cell:
        if column not in self.kept:
            return scalar.write(value)
        unread = (str(self.user["id"]), column) in self.rows.get(UNREAD, {})
        return scalar.written_over(self.kept[column], value, unread=unread)

    def _object(self, column: str, wanted: Fields) -> Cell:
        if column in self.kept:
            return arrays.object_again(self.kept[column], wanted, self.user)
        form = self.kept.get(arrays.private(column))
        return arrays.write_object(form if isinstance(form, str) else None, wanted, self.user)

    def _documents(self, row: dict[str, Cell]) -> None:
        dressed = self._records("user_equipment")
        if "user_inventory" in self.rows or "user_equipment" in self.rows:
            bag = elements.item_texts(self._records("user_inventory"), dressed)
            row["inventory"] = arrays.write_array(bag, self._frame("inventory"))
            row["equipment"] = equipment.write_equipment(dressed, self._frame("equipment"))
        if "user_mail" in self.rows:
            mail = elements.mail_texts(self._records("user_mail"))
            row["mail"] = arrays.write_array(mail, self._frame("mail"))
        if "user_equipment_presets" in self.rows:
            presets = elements.preset_texts(self._records("user_equipment_presets"))
            row["equipmentPresets"] = arrays.write_array(presets, self._frame("equipmentPresets"))
        if "user_missions" in self.rows:
            missions = elements.mission_texts(self._records("user_missions"))
            frame = self._frame("singlePlayerMissions")
            row["singlePlayerMissions"] = arrays.write_array(missions, frame, "{}")
        for column, table in _DOCUMENTS.items():
            if column in row and column in self.kept and not self._records(table):
                row[column] = self.kept[column]
        self._quests(row)
        self._stages(row)

    def _quests(self, row: dict[str, Cell]) -> None:
        if "user_quests" not in self.rows and "user_milestones" not in self.rows:
            return
        handed_out, milestones = self._records("user_quests"), self._records("user_milestones")
        if not handed_out and not milestones:
            row["quests"] = self.kept.get("quests", "{}")
            return
        found = {period: self._frame(f"quests.{period}") for period in mapping.PERIODS}
        frames = {period: frame for period, frame in found.items() if frame is not None}
        row["quests"] = quests.write_quests(self._frame("quests"), milestones, handed_out, frames)

    def _stages(self, row: dict[str, Cell]) -> None:
        if "user_stages" not in self.rows:
            return
        in_order = sorted(self._records("user_stages"), key=elements.position)
        for flag, column in mapping.STAGES.items():
            names = [str(record["stage"]) for record in in_order if record[flag]]
            if not names and column in self.kept:
                row[column] = self.kept[column]
            else:
                row[column] = stages.write_names(names, self._frame(column))

    def _records(self, table: str) -> list[Record]:
        """Return the table's records, without the one that marks its document as unreadable."""
        return [record for key, record in self.rows.get(table, {}).items() if key[-1] != UNREADABLE_KEY]

    def _frame(self, column: str) -> str | None:
        frame = self.kept.get(arrays.private(column))
        return frame if isinstance(frame, str) else None

    def _tournament(self, row: dict[str, Cell], kind: str, name: str) -> None:
        record = self.rows.get("user_tournaments", {}).get((str(self.user["id"]), kind))
        if record is None:
            return
        column = f"last{name}Tournament"
        if record["status"] not in (None, UNREADABLE_STATUS) or record.get("form") is not None:
            row[column] = elements.write_tournament(record)
        elif column in self.kept:
            row[column] = self.kept[column]
        played, claimed = f"last{name}PlayedDate", f"{kind}RewardClaimed"
        row[played] = self._scalar(played, mapping.PLAYED_AT, record["played_at"])
        row[claimed] = self._scalar(claimed, mapping.CLAIMED, record["claimed"])
