"""The player: the rules that actions share, as methods over Rows; gold, diamonds and items never change unjournaled.

Methods change the rows they were given and raise Refused half way; who calls them throws the rows away then.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from game import catalog
from game.catalog import Template
from game.chance import Chance, new_id
from game.errors import Refused
from game.rows import Record, Rows

POSITION_GAP = 1024
"""Between a new item's position in the bag and the last one's: positions are sort keys, never renumbered."""


def whole(record: Record, column: str) -> int:
    """A column that holds a whole number; NULL reads as 0."""
    value = record[column]
    assert value is None or isinstance(value, int)
    return int(value or 0)


def text(record: Record, column: str) -> str:
    """A column that holds text; NULL reads as nothing."""
    value = record[column]
    assert value is None or isinstance(value, str)
    return value or ""


class Player:
    """One player's rows within one request, at one instant (`now_ms`, epoch milliseconds).

    `rows` holds `users`, and of the other tables those that the command declares; what is missing is never asked for.
    """

    def __init__(self, rows: Rows, request_id: str, now_ms: int, chance: Chance) -> None:
        (self.user,) = rows["users"].values()
        self.rows = rows
        self.now_ms = now_ms
        self.id = text(self.user, "id")
        self._request_id = request_id
        self._chance = chance
        self._made = 0

    # What is known

    @property
    def level_sum(self) -> int:
        """Strategy level + playful level."""
        return whole(self.user, "strategy_level") + whole(self.user, "playful_level")

    def bag(self) -> list[Record]:
        """The items in the bag's order."""
        return sorted(self.rows.table("user_inventory").values(), key=_place)

    def item(self, item_id: str) -> Record:
        """The item of that id. Refused no_such_item."""
        item = self.rows.table("user_inventory").get((self.id, item_id))
        if item is None:
            raise Refused("no_such_item", item_id)
        return item

    def equipment(self, item_id: str) -> Record:
        """The item, of a slot and grade that the rules know. Refused no_such_item, not_equipment."""
        item = self.item(item_id)
        known = item["slot"] in catalog.SLOTS and item["grade"] in catalog.GRADES
        if item["type"] != catalog.EQUIPMENT or not known:
            raise Refused("not_equipment", item_id)
        return item

    def worn_in(self, slot: str) -> Record | None:
        """The record of what is worn in the slot; one that is only `kept` counts as nothing worn."""
        return self.rows.table("user_equipment").get((self.id, slot))

    def is_worn(self, item_id: str) -> bool:
        """Whether any slot wears it."""
        return any(worn["item_id"] == item_id for worn in self.rows.table("user_equipment").values())

    def need_level(self, level_sum: int) -> None:
        """Refused level_too_low."""
        if self.level_sum < level_sum:
            raise Refused("level_too_low", f"{level_sum} is asked for, the level sum is {self.level_sum}")

    # Chance

    def draw(self, name: str, low: int, high: int) -> int:
        """A named draw of this player, both ends included."""
        return self._chance.draw(name, low, high, of=self.id)

    def percent(self, name: str) -> float:
        """A named percentage of this player, from 0.5 to 100 in halves."""
        return self._chance.percent(name, of=self.id)

    # What changes

    def pay(self, currency: str, amount: int, reason: str) -> None:
        """Add to gold or diamonds, or take where negative. Refused not_enough_<currency>. Nothing is no line."""
        balance = whole(self.user, currency) + amount
        if balance < 0:
            raise Refused(f"not_enough_{currency}", f"{-amount} is asked for, there is {whole(self.user, currency)}")
        if amount:
            self.user[currency] = balance
            self._journal("currency_ledger", currency=currency, amount=amount, reason=reason, balance=balance)

    def note(self, action: str, item_id: str, delta: int, stock: int) -> None:
        """A line of the item's history: `stock` is its quantity after."""
        self._journal("inventory_history", action=action, item_id=item_id, delta=delta, stock=stock)

    def gain(self, items: Iterable[tuple[str, int]]) -> None:
        """Put (name, number) into the bag. Refused bag_full, no_such_item for a name that no item bears."""
        for name, number in items:
            template = catalog.TEMPLATES.get(name)
            if template is None:
                raise Refused("no_such_item", name)
            stack = 1 if template.type == catalog.EQUIPMENT else catalog.STACK
            left = number if stack == 1 else self._fill_stacks(template, number)
            while left > 0:
                self._new_place(template, min(left, stack))
                left -= stack

    def spend(self, name: str, number: int) -> None:
        """Take so many of the material from the bag, first place first. Refused not_enough_material."""
        places = [item for item in self.bag() if item["name"] == name and item["type"] == catalog.MATERIAL]
        have = sum(whole(item, "quantity") for item in places)
        if have < number:
            raise Refused("not_enough_material", f"{number} of {name} are asked for, there are {have}")
        for item in places:
            taken = min(number, whole(item, "quantity"))
            if taken:
                self._take(item, taken)
            number -= taken

    def wear(self, item: Record) -> str | None:
        """Put the item on, off with what its slot wore, whose id is returned. A kept entry gives way silently."""
        slot = text(item, "slot")
        worn = self.worn_in(slot)
        replaced = text(worn, "item_id") if worn is not None and worn["item_id"] is not None else None
        if replaced is not None:
            self._touched("unequip", self.item(replaced))
        if worn is None:
            places = [whole(other, "position") for other in self.rows.table("user_equipment").values()]
            worn = {"user_id": self.id, "slot": slot, "position": _after(places)}
            self.rows.table("user_equipment")[(self.id, slot)] = worn
        worn |= {"item_id": item["id"], "kept": None}
        self._touched("equip", item)
        return replaced

    def take_off(self, slot: str) -> str:
        """Off with what the slot wears; its id. Refused slot_empty."""
        worn = self.worn_in(slot)
        if worn is None or worn["item_id"] is None:
            raise Refused("slot_empty", slot)
        del self.rows.table("user_equipment")[(self.id, slot)]
        item = self.item(text(worn, "item_id"))
        self._touched("unequip", item)
        return text(item, "id")

    def gain_forge_xp(self, xp: int) -> None:
        """Forge XP, and the levels that it takes the player up; at the top it changes nothing."""
        level = whole(self.user, "forge_level")
        if level >= catalog.MAX_FORGE_LEVEL:
            return
        have = whole(self.user, "forge_xp") + xp
        while level < catalog.MAX_FORGE_LEVEL and have >= catalog.xp_to_leave(level):
            have -= catalog.xp_to_leave(level)
            level += 1
        self.user |= {"forge_level": level, "forge_xp": have}

    def _fill_stacks(self, template: Template, number: int) -> int:
        """Top up the stacks that have room, first place first; how many are left over."""
        for item in self.bag():
            room = catalog.STACK - whole(item, "quantity")
            if item["name"] == template.name and item["type"] == template.type and room > 0 and number > 0:
                added = min(room, number)
                item["quantity"] = whole(item, "quantity") + added
                self.note("gain", text(item, "id"), added, whole(item, "quantity"))
                number -= added
        return number

    def _new_place(self, template: Template, quantity: int) -> None:
        bag = self.rows.table("user_inventory")
        taken = sum(1 for item in bag.values() if item["type"] == template.type)
        if taken >= whole(self.user, f"places_{template.type}"):
            raise Refused("bag_full", f"all {taken} places for {template.type} are taken")
        self._made += 1
        item_id = new_id(self._request_id, self._made)
        bag[(self.id, item_id)] = {
            "user_id": self.id,
            "id": item_id,
            "position": _after(whole(item, "position") for item in bag.values()),
            "name": template.name,
            "type": template.type,
            "slot": template.slot,
            "grade": template.grade,
            "stars": 0,
            "quantity": quantity,
            "fails": 0,
            "options": fresh_options(template),
            "worn_flag": None,
        }
        self.note("gain", item_id, quantity, quantity)

    def _take(self, item: Record, number: int) -> None:
        left = whole(item, "quantity") - number
        if left:
            item["quantity"] = left
        else:
            del self.rows.table("user_inventory")[(self.id, text(item, "id"))]
        self.note("spend", text(item, "id"), -number, left)

    def _touched(self, action: str, item: Record) -> None:
        """A worn item's flag agrees again with what is worn as soon as a command puts it on or off."""
        item["worn_flag"] = None
        self.note(action, text(item, "id"), 0, whole(item, "quantity"))

    def _journal(self, table: str, **columns: str | int) -> None:
        lines = self.rows.table(table)
        n = 1 + len(lines)
        lines[(self.id, self._request_id, n)] = {
            "user_id": self.id,
            "request_id": self._request_id,
            "n": n,
            **columns,
        }


def _place(item: Record) -> tuple[int, str]:
    return whole(item, "position"), text(item, "id")


def _after(positions: Iterable[int]) -> int:
    return max(positions, default=-POSITION_GAP) + POSITION_GAP


def fresh_options(template: Template) -> str | None:
    """The options of an item just made, as JSON text: its main option, and no subs. None for what is no equipment."""
    if template.slot is None or template.grade is None:
        return None
    base, percentage = catalog.main_base(template.slot, catalog.GRADES[template.grade])
    stat = catalog.main_stat(template.slot)
    main = {"type": stat, "value": base, "baseValue": base, "isPercentage": percentage}
    return to_json({"main": main, "combatSubs": [], "specialSubs": [], "mythicSubs": []})


def to_json(value: Mapping[str, object]) -> str:
    """JSON text as the legacy service writes it: compact, Korean as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
