"""Puts one legacy row together again from its records, with what was kept in its place."""

from __future__ import annotations

from game.legacy import documents, fields
from game.legacy.cells import Cell
from game.legacy.forms import Fields, Unreadable
from game.rows import Record, Rows, Value

_DOCUMENTS = {"inventory": "user_inventory", "equipment": "user_equipment", "mail": "user_mail"}


class Implosion:
    """Puts one row together again."""

    def __init__(self, rows: Rows, kept: dict[str, Cell]) -> None:
        (self.user,) = rows["users"].values()
        self.rows = rows
        self.kept = kept

    def run(self, wanted: frozenset[str] | None) -> dict[str, Cell]:
        row: dict[str, Cell] = {"id": str(self.user["id"])}
        for column, scalar in fields.SCALARS.items():
            row[column] = self._scalar(column, scalar, self.user[scalar.column])
        row["actionPoints"] = self._object("actionPoints", fields.ACTION_POINTS)
        row["inventorySlots"] = self._object("inventorySlots", fields.PLACES)
        self._documents(row)
        for kind, name in fields.KINDS.items():
            self._tournament(row, kind, name)
        private = documents.PRIVATE
        row |= {c: cell for c, cell in self.kept.items() if c not in row and not c.startswith(private)}
        return row if wanted is None else {column: cell for column, cell in row.items() if column in wanted}

    def _scalar(self, column: str, scalar: fields.Scalar, value: Value) -> Cell:
        if column in self.kept:
            cell = self.kept[column]
            try:
                read = scalar.read(cell)
            except Unreadable:
                read = scalar.absent
            if type(read) is type(value) and read == value:
                return cell
        return scalar.write(value)

    def _object(self, column: str, wanted: Fields) -> Cell:
        if column in self.kept:
            return documents.object_again(self.kept[column], wanted, self.user)
        form = self.kept.get(documents.private(column))
        return documents.write_object(form if isinstance(form, str) else None, wanted, self.user)

    def _documents(self, row: dict[str, Cell]) -> None:
        worn = self._records("user_equipment")
        if "user_inventory" in self.rows or "user_equipment" in self.rows:
            bag = documents.item_texts(self._records("user_inventory"), worn)
            row["inventory"] = documents.write_array(bag, self._frame("inventory"))
            row["equipment"] = documents.write_equipment(worn, self._frame("equipment"))
        if "user_mail" in self.rows:
            row["mail"] = documents.write_array(documents.mail_texts(self._records("user_mail")), self._frame("mail"))
        for column, table in _DOCUMENTS.items():
            if column in row and column in self.kept and not self.rows.get(table):
                row[column] = self.kept[column]

    def _records(self, table: str) -> list[Record]:
        return list(self.rows.get(table, {}).values())

    def _frame(self, column: str) -> str | None:
        frame = self.kept.get(documents.private(column))
        return frame if isinstance(frame, str) else None

    def _tournament(self, row: dict[str, Cell], kind: str, name: str) -> None:
        record = self.rows.get("user_tournaments", {}).get((str(self.user["id"]), kind))
        if record is None:
            return
        row[f"last{name}Tournament"] = documents.write_tournament(record)
        played, claimed = f"last{name}PlayedDate", f"{kind}RewardClaimed"
        row[played] = self._scalar(played, fields.PLAYED_AT, record["played_at"])
        row[claimed] = self._scalar(claimed, fields.CLAIMED, record["claimed"])
