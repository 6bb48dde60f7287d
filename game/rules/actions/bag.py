"""The bag: bundles are opened, items sold, places added."""

from __future__ import annotations

from game.errors import Refused
from game.rows import Record, text, whole_number
from game.rules import catalog
from game.rules.actions.outcome import Outcome
from game.rules.commands import ExpandBag, OpenBundle, SellItem
from game.rules.player import Player, add


def open_bundle(player: Player, command: OpenBundle) -> Outcome:
    """Open one bundle of gold or diamonds of that place. What boxes hold the rules don't name: they are no bundles.

    Draw: amount. Refused: no_such_item, not_a_bundle, balance_too_high.
    """
    item = player.bag.item(command.item)
    bundle = catalog.BUNDLES.get(text(item, "name"))
    if bundle is None or item["type"] != catalog.CONSUMABLE:
        raise Refused("not_a_bundle", command.item)
    amount = player.draw("amount", *bundle.amount)
    player.bag.take(item)
    player.pay(bundle.currency, amount, "bundle")
    return {"gold": 0, "diamonds": 0, bundle.currency: amount}


def sell_item(player: Player, command: SellItem) -> Outcome:
    """Sell so many of that place for gold; equipment one at a time.

    Refused: no_such_item, cannot_be_sold, not_equipment (of a slot or grade that the rules don't know), item_is_worn,
    not_enough_material (more than there is), balance_too_high.
    """
    item = player.bag.item(command.item)
    price = _price(player, item)
    player.need_unworn(command.item)
    if item["type"] == catalog.EQUIPMENT and command.quantity > 1:
        raise Refused("not_enough_material", f"{command.quantity} are asked for, equipment is sold one at a time")
    player.bag.take(item, command.quantity)
    player.pay("gold", price * command.quantity, "sale")
    return {"gold": price * command.quantity}


def expand_bag(player: Player, command: ExpandBag) -> Outcome:
    """Add places of the type, up to the limit, for diamonds: more each time.

    Refused: bag_at_limit, not_enough_diamonds.
    """
    column = f"places_{command.type}"
    places = whole_number(player.user, column)
    if places >= catalog.MOST_PLACES:
        raise Refused("bag_at_limit", f"{places} places for {command.type}")
    player.pay("diamonds", -catalog.places_price(places), "expand_bag")
    add(player.user, column, min(catalog.MORE_PLACES, catalog.MOST_PLACES - places))
    return {"type": command.type, "places": player.user[column]}


def _price(player: Player, item: Record) -> int:
    """Return the gold that one of the item sells for. Refused cannot_be_sold."""
    if item["type"] == catalog.EQUIPMENT:
        known = player.bag.equipment(text(item, "id"))
        return catalog.equipment_price(catalog.GRADES[text(known, "grade")], whole_number(known, "stars"))
    if item["type"] == catalog.MATERIAL and item["name"] in catalog.MATERIALS:
        return catalog.material_price(1 + catalog.MATERIALS.index(text(item, "name")))
    raise Refused("cannot_be_sold", text(item, "id"))
