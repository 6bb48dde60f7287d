"""The bag: items by place, stacks and what fits; nothing in it ever changes without a line of history."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable

from game.errors import Refused
from game.rows import Key, Record, Rows, Value, text, whole_number
from game.rules import catalog
from game.rules.catalog import Template
from game.rules.chance import new_id
from game.rules.journals import ItemAction, Journals
from game.rules.json_columns import to_json
from game.rules.options import fresh_options

POSITION_GAP = 1024
"""Between a new record's position and the last one's: positions are sort keys, never renumbered."""


class Bag:
    """One player's bag within one request. Methods change the rows, and raise Refused half way."""

    def __init__(self, rows: Rows, request_id: str, journals: Journals) -> None:
        (self._user,) = rows["users"].values()
        self._rows = rows
        self._player_id = text(self._user, "id")
        self._request_id = request_id
        self._journals = journals
        self._made = 0
        self._known: _Places | None = None

    def items(self) -> list[Record]:
        """Return the items in the bag's order."""
        return in_order(self._items().values())

    def contents(self) -> str:
        """Return the places that there are, and each item's id and number, as text: the same on either store."""
        kinds = (catalog.EQUIPMENT, catalog.MATERIAL, catalog.CONSUMABLE)
        items = sorted([text(item, "id"), whole_number(item, "quantity")] for item in self._items().values())
        return to_json([[self._user[f"places_{kind}"] for kind in kinds], items])

    def item(self, item_id: str) -> Record:
        """Return the item of that id. Refused no_such_item."""
        item = self._items().get((self._player_id, item_id))
        if item is None:
            raise Refused("no_such_item", item_id)
        return item

    def equipment(self, item_id: str) -> Record:
        """Return the item, of a slot and grade that the rules know. Refused no_such_item, not_equipment."""
        item = self.item(item_id)
        if not is_equipment(item):
            raise Refused("not_equipment", item_id)
        return item

    def note(self, action: ItemAction, item: Record) -> None:
        """Add a line of history for what happened to an item whose number stays."""
        self._journals.item(action, text(item, "id"), 0, whole_number(item, "quantity"))

    def gain(self, items: Iterable[tuple[str, int]]) -> None:
        """Put (name, number) into the bag. Refused bag_full, no_such_item for a name that no item bears."""
        for name, number in items:
            template = catalog.TEMPLATES.get(name)
            if template is None:
                raise Refused("no_such_item", name)
            stack = _most(template.type)
            left = number if stack == 1 else self._fill_stacks(template, number)
            # Before any is made: a legacy mail may carry more than memory holds.
            self._need_places(template.type, -(-left // stack))
            while left > 0:
                self.make(template, min(left, stack))
                left -= stack

    def make(self, template: Template, quantity: int = 1, options: str | None = None) -> Record:
        """Make an item in a place of its own, whether or not one is free; with its first options, or those given."""
        self._made += 1
        item_id = new_id(self._request_id, self._made)
        places = self._places()
        item: Record = {
            "user_id": self._player_id,
            "id": item_id,
            "position": places.next,
            "name": template.name,
            "type": template.type,
            "slot": template.slot,
            "grade": template.grade,
            "stars": 0,
            "quantity": quantity,
            "fails": 0,
            "options": fresh_options(template) if options is None else options,
            "worn_flag": None,
        }
        self._items()[(self._player_id, item_id)] = item
        places.count(item)
        places.next += POSITION_GAP
        self._journals.item("gain", item_id, quantity, quantity)
        return item

    def spend(self, name: str, number: int) -> None:
        """Take so many of the material from the bag, first place first. Refused not_enough_material."""
        places = [item for item in self.items() if item["name"] == name and item["type"] == catalog.MATERIAL]
        have = sum(whole_number(item, "quantity") for item in places)
        if have < number:
            raise Refused("not_enough_material", f"{number} of {name} are asked for, there are {have}")
        for item in places:
            taken = min(number, whole_number(item, "quantity"))
            if taken:
                self.take(item, taken)
            number -= taken

    def take(self, item: Record, number: int = 1) -> None:
        """Take so many of one place. Refused not_enough_material."""
        left = whole_number(item, "quantity") - number
        if left < 0:
            raise Refused("not_enough_material", f"{number} are asked for, there are {left + number}")
        self._known = None
        if left:
            item["quantity"] = left
        else:
            del self._items()[(self._player_id, text(item, "id"))]
        self._journals.item("spend", text(item, "id"), -number, left)

    def _items(self) -> dict[Key, Record]:
        return self._rows.table("user_inventory")

    def _fill_stacks(self, template: Template, number: int) -> int:
        """Top up the stacks that have room, first place first. Return how many are left over."""
        stacks = self._places().stacks[template.type, template.name]
        while stacks and number > 0:
            item = stacks[0]
            added = min(_room(item), number)
            item["quantity"] = whole_number(item, "quantity") + added
            self._journals.item("gain", text(item, "id"), added, whole_number(item, "quantity"))
            number -= added
            if not _room(item):
                stacks.popleft()
        return number

    def _need_places(self, kind: str, number: int) -> None:
        taken = self._places().taken[kind]
        places = whole_number(self._user, f"places_{kind}")
        if number > 0 and taken + number > places:
            raise Refused("bag_full", f"{taken} of {places} places for {kind} are taken")

    def _places(self) -> _Places:
        """Return the bag's places. Looked for once until something is taken, not for each of thousands of mails."""
        if self._known is None:
            self._known = _Places(self.items())
        return self._known


class _Places:
    """A bag's places as what is gained needs them. next: the position of the next item.

    stacks: those with room by (type, name), first place first; taken: places by type.
    """

    def __init__(self, items: list[Record]) -> None:
        self.next = next_position(items)
        self.taken: Counter[Value] = Counter()
        self.stacks: defaultdict[tuple[Value, Value], deque[Record]] = defaultdict(deque)
        for item in items:
            self.count(item)

    def count(self, item: Record) -> None:
        """Count the place of an item that is the last one, and note it among the stacks if it has room."""
        self.taken[item["type"]] += 1
        if _room(item) > 0:
            self.stacks[item["type"], item["name"]].append(item)


def _room(item: Record) -> int:
    """Return how many more the item's place can hold."""
    return _most(item["type"]) - whole_number(item, "quantity")


def _most(kind: Value) -> int:
    """Return how many items a place of the type can hold."""
    return 1 if kind == catalog.EQUIPMENT else catalog.STACK


def is_equipment(item: Record) -> bool:
    """Return True if the item is equipment of a slot and grade that the rules know."""
    return item["type"] == catalog.EQUIPMENT and item["slot"] in catalog.SLOTS and item["grade"] in catalog.GRADES


def in_order(records: Iterable[Record]) -> list[Record]:
    """Return records that have a position and an id, by the position."""
    return sorted(records, key=_place)


def next_position(records: Iterable[Record]) -> int:
    """Return the position of a record that comes after all of these."""
    return max((whole_number(record, "position") for record in records), default=-POSITION_GAP) + POSITION_GAP


def _place(record: Record) -> tuple[int, str]:
    return whole_number(record, "position"), text(record, "id")
