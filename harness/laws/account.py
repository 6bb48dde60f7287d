"""The account of one player: an opening, on which receipt after receipt is entered.

An entry says by the rules' tables what a command costs and grants. The lines of the receipt's journals must then say
the same: gold and diamonds by their sums, items by name. That is where items get their ids from: a line of history has
an id and no name, a table has names and no ids. Amounts that dice decide come from the outcome, within their bounds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from game.rows import Record, Rows, text, whole_number
from game.rules import catalog
from harness.laws.breach import need

Answer: TypeAlias = Mapping[str, Any]
"""The fields of a command, or of its outcome, as JSON has them."""

CURRENCIES = ("gold", "diamonds")


@dataclass
class Account:
    """A player's property by the laws. `rows`: a copy of the opening's, which the entries change.

    drawn: the opening's rows, for columns that dice decide; a load of the quarantine changes them, and nothing else.
    forge_xp: the least and the most that there can be, levels included; no outcome tells how much was gained.
    improved: how many stars each item has gained since the opening. at_ms: the instant of the receipt under way.
    """

    player: str
    rows: Rows
    drawn: Rows
    forge_xp: tuple[int, int]
    at_ms: int = 0
    improved: Counter[str] = field(default_factory=Counter)
    gained_forge_xp: bool = False
    _money: Counter[str] = field(default_factory=Counter)
    _gains: list[tuple[str, int]] = field(default_factory=list)
    _spent: Counter[str] = field(default_factory=Counter)
    _notes: Counter[tuple[str, str]] = field(default_factory=Counter)

    @classmethod
    def of(cls, player: str, opening: Rows) -> Account:
        """Open the account with the player's own rows."""
        rows = Rows(
            {
                name: {key: dict(record) for key, record in records.items() if key[0] == player}
                for name, records in opening.items()
            }
        )
        total = forge_total(rows["users"][(player,)])
        return cls(player, rows, rows.copy(), (total, total))

    @property
    def user(self) -> Record:
        """Return the player's own row."""
        return self.rows["users"][(self.player,)]

    @property
    def worn(self) -> dict[str, str]:
        """Return what is worn: slot to item id."""
        entries = self.rows.table("user_equipment").values()
        return {text(entry, "slot"): text(entry, "item_id") for entry in entries if entry["item_id"] is not None}

    def record(self, table: str, *key: str) -> Record:
        """Return a record of the player's. NotGranted if there is none."""
        record = self.rows.table(table).get((self.player, *key))
        need(record is not None, f"a record {'/'.join(key)} in {table}", "none")
        assert record is not None
        return record

    def item(self, item_id: str) -> Record:
        """Return an item of the player's. NotGranted if there is none."""
        return self.record("user_inventory", item_id)

    def once(self, record: Record, flag: str, what: str) -> None:
        """Set a flag. NotGranted if it is set already: it is for something that happens once."""
        need(not record[flag], f"{what} once", "a second time")
        record[flag] = True

    def add(self, amounts: Mapping[str, int]) -> None:
        """Add to columns of the player's row, or take where negative; of gold and diamonds the ledger must tell."""
        for column, amount in amounts.items():
            left = whole_number(self.user, column) + amount
            need(left >= 0 or amount >= 0, f"{-amount} or more of {column}", left - amount)
            self.user[column] = left
            if column in CURRENCIES:
                self._money[column] += amount

    def gain(self, items: Sequence[tuple[str, int]]) -> dict[str, int]:
        """Expect items in the bag, each (name, number). Returns the numbers by name."""
        self._gains += [(name, number) for name, number in items if number]
        total: Counter[str] = Counter()
        for name, number in items:
            total[name] += number
        return dict(total)

    def spend(self, name: str, number: int) -> None:
        """Expect that so many of the name leave the bag."""
        self._spent[name] += number

    def note(self, action: str, item_id: str) -> None:
        """Expect a line of history about an item whose number stays."""
        self._notes[action, item_id] += 1

    def gain_forge_xp(self, low: int, high: int) -> None:
        """Add forge XP between the bounds; who is at the top gains none."""
        if whole_number(self.user, "forge_level") >= catalog.MAX_FORGE_LEVEL:
            return
        least, most = self.forge_xp
        # The first is gained in any case: a legacy file may hold XP for the top with a level below it.
        least += low if least < TOP_TOTAL or not self.gained_forge_xp else 0
        most += high if most < TOP_TOTAL or not self.gained_forge_xp else 0
        self.forge_xp, self.gained_forge_xp = (least, most), True

    def draw_anew(self, loaded: Mapping[str, Sequence[Record]]) -> None:
        """Begin anew what dice decide, where a load of the quarantine, entered in `rows`, told what it was by then."""
        if any("forge_level" in record or "forge_xp" in record for record in loaded.get("users", ())):
            self.drawn["users"][(self.player,)] = dict(self.user)
            total = forge_total(self.user)
            self.forge_xp, self.gained_forge_xp = (total, total), False
        for record in loaded.get("user_inventory", ()):
            if "options" in record:
                item_id = text(record, "id")
                self.drawn.table("user_inventory")[self.player, item_id] = dict(self.item(item_id))
                self.improved.pop(item_id, None)

    def settle(self, ledger: Sequence[Record], history: Sequence[Record]) -> None:
        """Compare what the entry expects with the receipt's lines, in their order. NotGranted where they differ."""
        money: Counter[str] = Counter()
        for line in ledger:
            money[text(line, "currency")] += whole_number(line, "amount")
        for currency in CURRENCIES:
            need(money[currency] == self._money[currency], f"{currency} {self._money[currency]:+}", money[currency])
        for line in history:
            self._line(text(line, "action"), text(line, "item_id"), whole_number(line, "delta"))
        need(not self._gains, f"lines of history for {_listed(self._gains)} gained", "none")
        need(not +self._spent, f"lines of history for {_listed(self._spent.items())} spent", "none")
        need(not +self._notes, f"lines of history for {', '.join(map(str, +self._notes))}", "none")
        self._money.clear()

    def _line(self, action: str, item_id: str, delta: int) -> None:
        if action == "gain":
            self._gained(item_id, delta)
        elif action == "spend":
            item = self.item(item_id)
            name = text(item, "name")
            self._spent[name] += delta
            need(self._spent[name] >= 0, f"no more of {name} spent", f"{-delta} spent")
            item["quantity"] = whole_number(item, "quantity") + delta
            if not item["quantity"]:
                del self.rows["user_inventory"][(self.player, item_id)]
        else:
            need(self._notes[action, item_id] > 0 and not delta, "no such line of history", f"{action} {item_id}")
            self._notes[action, item_id] -= 1

    def _gained(self, item_id: str, number: int) -> None:
        need(self._gains, "nothing gained", f"{number} as {item_id}")
        name, left = self._gains.pop(0)
        need(number <= left, f"{left} of {name} gained", number)
        if number < left:
            self._gains.insert(0, (name, left - number))
        item = self.rows.table("user_inventory").setdefault((self.player, item_id), fresh(name))
        need(item["name"] == name, f"{name} gained", f"as {item_id}, which is {text(item, 'name')}")
        item["quantity"] = whole_number(item, "quantity") + number


def fresh(name: str) -> Record:
    """Return a new item of the name, of which there is none yet. NotGranted for a name that no item bears."""
    template = catalog.TEMPLATES.get(name)
    need(template is not None, "a name of the rules' items", name)
    assert template is not None
    return {
        "name": name,
        "type": template.type,
        "slot": template.slot,
        "grade": template.grade,
        "stars": 0,
        "fails": 0,
        "quantity": 0,
    }


def forge_total(user: Record) -> int:
    """Return all the forge XP that a level and what is left over stand for."""
    level = min(whole_number(user, "forge_level"), catalog.MAX_FORGE_LEVEL)
    return sum(map(catalog.xp_to_leave, range(1, level))) + whole_number(user, "forge_xp")


TOP_TOTAL = sum(map(catalog.xp_to_leave, range(1, catalog.MAX_FORGE_LEVEL)))


def as_json(value: object) -> object:
    """Return the value of a column that holds JSON; text that is none as it stands."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _listed(items: Any) -> str:
    return ", ".join(f"{number} of {name}" for name, number in items)
