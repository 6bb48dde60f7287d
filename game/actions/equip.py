"""What is worn: at most one item a slot, each item once."""

from __future__ import annotations

from game import catalog
from game.actions.reward import Outcome
from game.commands import Equip, Unequip
from game.errors import Refused
from game.player import Player, text


def equip(player: Player, command: Equip) -> Outcome:
    """Wear the item in its slot, in place of what is worn there.

    Refused: no_such_item, not_equipment, level_too_low, already_worn.
    """
    item = player.equipment(command.item)
    player.need_level(catalog.GRADES[text(item, "grade")].wear_level)
    if player.is_worn(command.item):
        raise Refused("already_worn", command.item)
    replaced = player.wear(item)
    return {"slot": item["slot"], "item": item["id"], "replaced": replaced}


def unequip(player: Player, command: Unequip) -> Outcome:
    """Take off what the slot wears. Refused: slot_empty."""
    return {"slot": command.slot, "item": player.take_off(command.slot)}
