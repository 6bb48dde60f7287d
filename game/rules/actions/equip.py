"""Puts equipment on and takes it off: at most one item a slot, each item once; presets are worn at once."""

from __future__ import annotations

from game.errors import Refused
from game.rows import Record, text
from game.rules import catalog
from game.rules.actions.outcome import Outcome
from game.rules.bag import is_equipment, next_position
from game.rules.commands import ApplyPreset, Equip, SavePreset, Unequip
from game.rules.json_columns import from_json, to_json
from game.rules.player import Player

MOST_PRESETS = 10
"""Our own figure, the rules name none."""


def equip(player: Player, command: Equip) -> Outcome:
    """Wear the item in its slot, in place of what is worn there.

    Refused: no_such_item, not_equipment, level_too_low, already_worn.
    """
    item = player.bag.equipment(command.item)
    player.need_level(_wear_level(item))
    if command.item in player.worn.values():
        raise Refused("already_worn", command.item)
    replaced = player.wear(item)
    return {"slot": item["slot"], "item": item["id"], "replaced": replaced}


def unequip(player: Player, command: Unequip) -> Outcome:
    """Take off what the slot wears. Refused: slot_empty."""
    return {"slot": command.slot, "item": player.take_off(command.slot)}


def save_preset(player: Player, command: SavePreset) -> Outcome:
    """Remember what is worn now under the name, in place of what that name stood for; nothing worn is a set too.

    Refused: too_many_presets.
    """
    presets = player.rows.table("user_equipment_presets")
    preset = presets.get((player.id, command.name))
    if preset is None:
        if len(presets) >= MOST_PRESETS:
            raise Refused("too_many_presets", f"{len(presets)} are kept")
        preset = {"user_id": player.id, "name": command.name, "position": next_position(presets.values())}
        presets[(player.id, command.name)] = preset
    worn = player.worn
    preset["equipment"] = to_json(worn)
    return {"name": command.name, "equipment": worn}


def apply_preset(player: Player, command: ApplyPreset) -> Outcome:
    """Wear exactly the preset's items, or change nothing. What is worn already and stays is not touched.

    An item that is no equipment of its slot (any more) counts as gone; a slot without an item as empty. A legacy entry
    that is only kept gives way where the preset fills its slot, and nowhere else.
    Refused: no_such_preset, preset_item_gone (which names it), level_too_low.
    """
    items = _preset(player, command.name)
    for item in items.values():
        player.need_level(_wear_level(item))
    worn = player.worn
    for slot in worn:
        if slot not in items:
            player.take_off(slot)
    for slot, item in items.items():
        if worn.get(slot) != item["id"]:
            player.wear(item)
    return {"worn": {slot: item["id"] for slot, item in items.items()}}


def _wear_level(item: Record) -> int:
    return catalog.GRADES[text(item, "grade")].wear_level


def _preset(player: Player, name: str) -> dict[str, Record]:
    """Return the preset's items by slot."""
    preset = player.rows.table("user_equipment_presets").get((player.id, name))
    if preset is None:
        raise Refused("no_such_preset", name)
    equipment = from_json(text(preset, "equipment"))
    if not isinstance(equipment, dict):
        raise Refused("preset_item_gone", "the preset names no items")
    return {slot: _item_for(player, slot, item) for slot, item in equipment.items() if item is not None}


def _item_for(player: Player, slot: str, item_id: object) -> Record:
    item = player.rows.table("user_inventory").get((player.id, item_id)) if isinstance(item_id, str) else None
    if item is None or not is_equipment(item) or item["slot"] != slot:
        raise Refused("preset_item_gone", to_json({slot: item_id}))
    return item
