"""The actions of the forge: enhance, disassemble, combine and craft."""

from __future__ import annotations

from dataclasses import dataclass

from game.errors import Refused
from game.rows import Record, text, whole_number
from game.rules import catalog
from game.rules.actions.outcome import Outcome
from game.rules.catalog import Grade, Template
from game.rules.commands import Combine, Convert, Disassemble, Enhance
from game.rules.options import divine_options, improved
from game.rules.player import Player, add


def enhance(player: Player, command: Enhance) -> Outcome:
    """Add one star, with luck; gold, materials and XP are the same either way.

    Draws: success (percent), xp; on success of the combat sub: sub.type and sub.value, or sub.index and sub.value.
    Refused: no_such_item, not_equipment, max_stars, level_too_low, not_enough_gold, not_enough_material.
    """
    item = player.bag.equipment(command.item)
    grade = catalog.GRADES[text(item, "grade")]
    stars = whole_number(item, "stars")
    if stars >= catalog.MAX_STARS:
        raise Refused("max_stars", command.item)
    player.need_level(catalog.level_sum_for(stars + 1))
    player.pay("gold", -catalog.enhance_gold(grade, stars), "enhance")
    player.bag.spend(*catalog.enhance_material(grade, stars))
    success = player.percent("success") <= catalog.enhance_chance(grade, stars, whole_number(item, "fails"))
    player.gain_forge_xp(player.draw("xp", *grade.enhance_xp))
    if success:
        options = improved(text(item, "options"), grade, stars + 1, player.draw)
        item |= {"stars": stars + 1, "fails": 0, "options": options}
    else:
        add(item, "fails", 1)
    player.bag.note("enhance", item)
    return {"success": success, "stars": item["stars"]}


def combine(player: Player, command: Combine) -> Outcome:
    """Combine three items of one grade: into the grade above on a great success, else the same; it always fits.

    Three mythics that hit give a divine mythic: one with two mythic subs.
    Draws: success (percent), slot (1 .. 3 of the items in the order given; 1 .. 6 when random), xp; of a divine mythic
    mythic.type and mythic.value, each twice.
    Refused: same_item_twice, no_such_item, not_equipment, item_is_worn, grades_differ, forge_level_too_low.
    """
    items = _combined(player, command)
    grade = catalog.GRADES[text(items[0], "grade")]
    level = whole_number(player.user, "forge_level")
    if level < grade.combine_level:
        raise Refused("forge_level_too_low", f"{grade.combine_level} is asked for, the forge level is {level}")
    success = player.percent("success") <= catalog.great_success(grade, level)
    slots = catalog.SLOTS if command.random else [text(item, "slot") for item in items]
    slot = slots[player.draw("slot", 1, len(slots)) - 1]
    for item in items:
        player.bag.take(item)
    made = _combination(player, grade, slot, success)
    player.gain_forge_xp(player.draw("xp", *grade.combine_xp))
    player.bag.note("combine", made)
    return {"success": success, "item": made["id"], "name": made["name"], "slot": slot, "grade": made["grade"]}


def disassemble(player: Player, command: Disassemble) -> Outcome:
    """Turn equipment into a share of its next star's materials; of what has all stars, its last star's.

    Draws: share (whole percent), jackpot (percent), xp. Half a material rounds up, as all halves do.
    Refused: no_such_item, not_equipment, item_is_worn, bag_full.
    """
    item = player.bag.equipment(command.item)
    player.need_unworn(command.item)
    player.draw_by_the_bag()
    grade = catalog.GRADES[text(item, "grade")]
    share = player.draw("share", *catalog.DISASSEMBLE_PERCENT)
    jackpot = _jackpot(player)
    name, amount = catalog.disassembled(grade, whole_number(item, "stars"), share)
    gained = amount * 2 if jackpot else amount
    player.bag.take(item)
    player.bag.gain([(name, gained)])
    player.gain_forge_xp(player.draw("xp", *grade.disassemble_xp))
    return {"items": {name: gained}, "jackpot": jackpot}


def convert(player: Player, command: Convert) -> Outcome:
    """Convert materials into those of the tier above or below, so many times over; it gives no forge XP.

    Draws: number (downwards: how many come of each, drawn once), jackpot (percent).
    Refused: not_material, top_tier, bottom_tier, not_enough_material, bag_full.
    """
    player.draw_by_the_bag()
    exchange = _exchange(player, command)
    jackpot = _jackpot(player)
    gained = exchange.gained * 2 if jackpot else exchange.gained
    player.bag.spend(command.material, exchange.spent)
    player.bag.gain([(exchange.material, gained)])
    return {"spent": {command.material: exchange.spent}, "items": {exchange.material: gained}, "jackpot": jackpot}


def _combined(player: Player, command: Combine) -> list[Record]:
    """Return the three items, which may be combined."""
    if len(set(command.items)) < len(command.items):
        raise Refused("same_item_twice", ", ".join(command.items))
    items = [player.bag.equipment(item_id) for item_id in command.items]
    for item_id in command.items:
        player.need_unworn(item_id)
    if len({item["grade"] for item in items}) > 1:
        raise Refused("grades_differ", ", ".join(text(item, "grade") for item in items))
    return items


def _combination(player: Player, grade: Grade, slot: str, success: bool) -> Record:
    above = catalog.next_grade(grade) if success else grade
    if above is None:
        options = divine_options(slot, grade.name, player.draw)
        return player.bag.make(_equipment(slot, grade), options=options)
    return player.bag.make(_equipment(slot, above))


def _equipment(slot: str, grade: Grade) -> Template:
    return catalog.EQUIPMENT_OF[(slot, grade.name)]


def _jackpot(player: Player) -> bool:
    level = min(whole_number(player.user, "forge_level"), catalog.MAX_FORGE_LEVEL)
    return player.percent("jackpot") <= catalog.JACKPOT_PERCENT * level


@dataclass(frozen=True, slots=True)
class Exchange:
    """So many of a material are spent, for so many of another."""

    spent: int
    material: str
    gained: int


def _exchange(player: Player, command: Convert) -> Exchange:
    if command.material not in catalog.MATERIALS:
        raise Refused("not_material", command.material)
    place = catalog.MATERIALS.index(command.material)
    if command.to == "up":
        if place == len(catalog.MATERIALS) - 1:
            raise Refused("top_tier", command.material)
        return Exchange(catalog.CONVERT_UP * command.times, catalog.MATERIALS[place + 1], command.times)
    if place == 0:
        raise Refused("bottom_tier", command.material)
    number = player.draw("number", *catalog.CONVERT_DOWN)
    return Exchange(command.times, catalog.MATERIALS[place - 1], command.times * number)
