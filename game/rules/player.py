"""The player: the rules that actions share, as methods over Rows; gold, diamonds and items never change unjournaled.

Methods change the rows they were given and raise Refused half way; who calls them throws the rows away then.
"""

from __future__ import annotations

from game.errors import Refused
from game.rows import Record, Rows, text, whole_number
from game.rules import catalog
from game.rules.bag import Bag, next_position
from game.rules.chance import Chance
from game.rules.journals import ItemAction, Journals, Reason

LARGEST = 2**63 - 1
"""The largest number that a column holds, on either store."""


class Player:
    """One player's rows within one request, at one instant (`now_ms`, epoch milliseconds).

    `rows` holds `users`, and of the other tables those that the command declares; what is missing is never asked for.
    `asked`: the command as text, of which the draws are: else a roll could be tried out on a refused or a cheap
    command, and the request's id with the good one be used for another.
    """

    def __init__(self, rows: Rows, request_id: str, now_ms: int, chance: Chance, asked: str = "") -> None:
        (self.user,) = rows["users"].values()
        self.rows = rows
        self.now_ms = now_ms
        self.id = text(self.user, "id")
        self._chance = chance
        self._of = f"{self.id}\0{asked}{_nearly_full(self.user)}"
        self._journals = Journals(rows, self.id, request_id)
        self.bag = Bag(rows, request_id, self._journals)

    # What is known

    @property
    def level_sum(self) -> int:
        """Return the sum of the strategy level and the playful level."""
        return whole_number(self.user, "strategy_level") + whole_number(self.user, "playful_level")

    @property
    def worn(self) -> dict[str, str]:
        """Return slot to item id, in the order put on; an entry that is only `kept` counts as nothing worn."""
        entries = sorted(self.rows.table("user_equipment").values(), key=_put_on)
        return {text(entry, "slot"): text(entry, "item_id") for entry in entries if entry["item_id"] is not None}

    def need_level(self, level_sum: int) -> None:
        """Raise Refused level_too_low below this level."""
        if self.level_sum < level_sum:
            raise Refused("level_too_low", f"{level_sum} is asked for, the level sum is {self.level_sum}")

    def need_unworn(self, item_id: str) -> None:
        """Raise Refused item_is_worn if the item is worn."""
        if item_id in self.worn.values():
            raise Refused("item_is_worn", item_id)

    # Chance

    def draw(self, name: str, low: int, high: int) -> int:
        """Draw a named number of this player, both ends included."""
        return self._chance.draw(name, low, high, of=self._of)

    def percent(self, name: str) -> float:
        """Draw a named percentage of this player, from 0.5 to 100 in halves."""
        return self._chance.percent(name, of=self._of)

    def draw_by_the_bag(self) -> None:
        """Let the draws from here on follow from the bag too: for a command that may draw more than fits the bag.

        Such a refusal tells what was drawn. Once the player has made room, the same request draws anew.
        """
        self._of += f"\0{self.bag.contents()}"

    # What changes

    def pay(self, currency: str, amount: int, reason: Reason) -> None:
        """Add to gold or diamonds, or take where negative. Nothing is no line.

        Refused not_enough_gold, not_enough_diamonds, balance_too_high.
        """
        have = whole_number(self.user, currency)
        if have + amount < 0:
            detail = f"{-amount} is asked for, there is {have}"
            raise Refused("not_enough_gold" if currency == "gold" else "not_enough_diamonds", detail)
        if amount:
            add(self.user, currency, amount)
            self._journals.currency(currency, amount, reason, have + amount)

    def wear(self, item: Record) -> str | None:
        """Put the item on, off with what its slot wore, whose id is returned. A kept entry gives way silently."""
        slot = text(item, "slot")
        replaced = self.worn.get(slot)
        if replaced is not None:
            self._touched("unequip", self.bag.item(replaced))
        entries = self.rows.table("user_equipment")
        entry = entries.get((self.id, slot))
        if entry is None:
            entry = {"user_id": self.id, "slot": slot, "position": next_position(entries.values())}
            entries[(self.id, slot)] = entry
        entry |= {"item_id": item["id"], "kept": None}
        self._touched("equip", item)
        return replaced

    def take_off(self, slot: str) -> str:
        """Take off what the slot wears and return its id. Refused slot_empty."""
        item_id = self.worn.get(slot)
        if item_id is None:
            raise Refused("slot_empty", slot)
        del self.rows.table("user_equipment")[(self.id, slot)]
        self._touched("unequip", self.bag.item(item_id))
        return item_id

    def gain_forge_xp(self, xp: int) -> None:
        """Add forge XP, and the levels that it takes the player up; at the top level it changes nothing."""
        level = whole_number(self.user, "forge_level")
        if level >= catalog.MAX_FORGE_LEVEL:
            return
        add(self.user, "forge_xp", xp)
        have = whole_number(self.user, "forge_xp")
        while level < catalog.MAX_FORGE_LEVEL and have >= catalog.xp_to_leave(level):
            have -= catalog.xp_to_leave(level)
            level += 1
        self.user |= {"forge_level": level, "forge_xp": have}

    def _touched(self, action: ItemAction, item: Record) -> None:
        """Clear `worn_flag` of an item that was put on or off, for it agrees again; add to the item's history."""
        item["worn_flag"] = None
        self.bag.note(action, item)


def _nearly_full(user: Record) -> str:
    """Return a suffix for the text that draws follow from: the user's numbers above half of LARGEST; "" if none is."""
    # balance_too_high may tell what would be drawn, so the draws follow from these numbers.
    full = sorted((column, value) for column, value in user.items() if isinstance(value, int) and value > LARGEST // 2)
    return f"\0{full}" if full else ""


def _put_on(entry: Record) -> tuple[int, str]:
    """Return the key by which worn items are sorted."""
    # A store gives its rows in any order.
    return whole_number(entry, "position"), text(entry, "slot")


def add(record: Record, column: str, amount: int) -> None:
    """Add to a number that is kept. Refused balance_too_high beyond what a column holds."""
    value = whole_number(record, column) + amount
    if value > LARGEST:
        raise Refused("balance_too_high", f"{column} would be {value}")
    record[column] = value
