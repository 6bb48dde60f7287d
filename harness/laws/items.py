"""Entries of items: what is worn, the forge and the bag."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_UP, Decimal

from game.rows import Record, text, whole_number
from game.rules import catalog
from harness.laws.account import Account, Answer, as_json
from harness.laws.breach import need

PLACES_FIRST, PLACES_MORE, PLACES_MOST = 30, 10, 100


def equip(account: Account, fields: Answer, _outcome: Answer) -> Answer:
    """Wear the item in its slot, in place of what is worn there."""
    item = account.item(fields["item"])
    need(fields["item"] not in account.worn.values(), "an item that is not worn", "one that is")
    return {
        "slot": item["slot"],
        "item": fields["item"],
        "replaced": _wear(account, text(item, "slot"), fields["item"]),
    }


def unequip(account: Account, fields: Answer, _outcome: Answer) -> Answer:
    """Take off what the slot wears."""
    return {"slot": fields["slot"], "item": _take_off(account, fields["slot"])}


def save_preset(account: Account, fields: Answer, _outcome: Answer) -> Answer:
    """Keep what is worn under the name."""
    record = account.rows.table("user_equipment_presets").setdefault((account.player, fields["name"]), {})
    record["equipment"] = json.dumps(account.worn)
    return {"name": fields["name"], "equipment": account.worn}


def apply_preset(account: Account, fields: Answer, _outcome: Answer) -> Answer:
    """Wear exactly the preset's items."""
    kept = as_json(account.record("user_equipment_presets", fields["name"])["equipment"])
    assert isinstance(kept, dict)
    items = {slot: item_id for slot, item_id in kept.items() if item_id is not None}
    worn = account.worn
    for slot in worn.keys() - items.keys():
        _take_off(account, slot)
    for slot, item_id in items.items():
        if worn.get(slot) != item_id:
            _wear(account, slot, item_id)
    return {"worn": items}


def enhance(account: Account, fields: Answer, outcome: Answer) -> Answer:
    """Enter the price of the next star, which a failure costs too; the star, or one failure more."""
    item = account.item(fields["item"])
    grade, stars = _grade(item), whole_number(item, "stars")
    need(stars < catalog.MAX_STARS, f"fewer than {catalog.MAX_STARS} stars", stars)
    tier, number = grade.materials[stars]
    account.add({"gold": -_half_up(grade.enhance_gold * Decimal("1.5") ** stars)})
    account.spend(catalog.MATERIALS[tier - 1], number)
    account.gain_forge_xp(*grade.enhance_xp)
    account.note("enhance", fields["item"])
    success = bool(outcome["success"])
    item |= {"stars": stars + success, "fails": 0 if success else whole_number(item, "fails") + 1}
    account.improved[fields["item"]] += success
    return {"success": success, "stars": stars + success}


def combine(account: Account, fields: Answer, outcome: Answer) -> Answer:
    """Enter three items of one grade, none of them worn, for one of that grade or of the next."""
    items = [account.item(item_id) for item_id in fields["items"]]
    need(len({item["grade"] for item in items}) == 1 and len(set(fields["items"])) == 3, "three of one grade", items)
    for item_id, item in zip(fields["items"], items, strict=True):
        need(item_id not in account.worn.values(), "items that are not worn", item_id)
        account.spend(text(item, "name"), 1)
    grade = _grade(items[0])
    slots = catalog.SLOTS if fields["random"] else [item["slot"] for item in items]
    need(outcome["slot"] in slots, f"a slot of {', '.join(map(str, slots))}", outcome["slot"])
    grades = list(catalog.GRADES)
    made = grades[min(grades.index(grade.name) + bool(outcome["success"]), len(grades) - 1)]
    name = catalog.EQUIPMENT_OF[outcome["slot"], made].name
    account.gain([(name, 1)])
    account.gain_forge_xp(*grade.combine_xp)
    account.note("combine", outcome["item"])
    return {**outcome, "success": bool(outcome["success"]), "name": name, "grade": made}


def disassemble(account: Account, fields: Answer, outcome: Answer) -> Answer:
    """Enter an item for a share of its next star's materials; of what has all stars, its last star's."""
    item = account.item(fields["item"])
    need(fields["item"] not in account.worn.values(), "an item that is not worn", "one that is")
    grade = _grade(item)
    tier, most = grade.materials[min(whole_number(item, "stars"), catalog.MAX_STARS - 1)]
    low, high = (max(1, _half_up(Decimal(most * share) / 100)) for share in catalog.DISASSEMBLE_PERCENT)
    name = catalog.MATERIALS[tier - 1]
    account.spend(text(item, "name"), 1)
    account.gain([(name, _drawn(outcome["items"].get(name), low, high, 2 if outcome["jackpot"] else 1))])
    account.gain_forge_xp(*grade.disassemble_xp)
    return {"items": {name: outcome["items"].get(name)}, "jackpot": outcome["jackpot"]}


def convert(account: Account, fields: Answer, outcome: Answer) -> Answer:
    """Enter materials for those of the tier above or below; no forge XP."""
    up, times = fields["to"] == "up", fields["times"]
    name = catalog.MATERIALS[catalog.MATERIALS.index(fields["material"]) + (1 if up else -1)]
    spent = times * (catalog.CONVERT_UP if up else 1)
    low, high = (1, 1) if up else catalog.CONVERT_DOWN
    account.spend(fields["material"], spent)
    gained = _drawn(outcome["items"].get(name), low, high, times * (2 if outcome["jackpot"] else 1))
    return {
        "spent": {fields["material"]: spent},
        "items": account.gain([(name, gained)]),
        "jackpot": outcome["jackpot"],
    }


def open_bundle(account: Account, fields: Answer, outcome: Answer) -> Answer:
    """Enter a bundle for an amount within its bounds."""
    name = text(account.item(fields["item"]), "name")
    bundle = catalog.BUNDLES[name]
    account.spend(name, 1)
    paid = {"gold": 0, "diamonds": 0, bundle.currency: _drawn(outcome[bundle.currency], *bundle.amount, 1)}
    account.add(paid)
    return paid


def sell_item(account: Account, fields: Answer, _outcome: Answer) -> Answer:
    """Enter so many of an item that is not worn, for gold."""
    item, number = account.item(fields["item"]), fields["quantity"]
    need(fields["item"] not in account.worn.values(), "an item that is not worn", "one that is")
    if item["type"] == catalog.MATERIAL:
        price = catalog.material_price(1 + catalog.MATERIALS.index(text(item, "name")))
    else:
        price = int(_grade(item).price * Decimal("1.2") ** whole_number(item, "stars"))
    account.spend(text(item, "name"), number)
    account.add({"gold": price * number})
    return {"gold": price * number}


def expand_bag(account: Account, fields: Answer, _outcome: Answer) -> Answer:
    """Enter ten places more, for diamonds: more each time."""
    column = f"places_{fields['type']}"
    places = whole_number(account.user, column)
    need(places < PLACES_MOST, f"fewer than {PLACES_MOST} places", places)
    more = min(PLACES_MORE, PLACES_MOST - places)
    account.add({"diamonds": -(100 + 20 * max(0, (places - PLACES_FIRST) // PLACES_MORE)), column: more})
    return {"type": fields["type"], "places": places + more}


def _wear(account: Account, slot: str, item_id: str) -> str | None:
    need(account.item(item_id)["slot"] == slot, f"an item for {slot}", item_id)
    replaced = account.worn.get(slot)
    if replaced is not None:
        account.note("unequip", replaced)
    key = (account.player, slot)
    account.rows.table("user_equipment")[key] = {"slot": slot, "item_id": item_id, "kept": None}
    account.note("equip", item_id)
    return replaced


def _take_off(account: Account, slot: str) -> str:
    item_id = account.worn.get(slot)
    need(item_id is not None, f"something worn as {slot}", "nothing")
    assert item_id is not None
    del account.rows["user_equipment"][(account.player, slot)]
    account.note("unequip", item_id)
    return item_id


def _grade(item: Record) -> catalog.Grade:
    need(item["grade"] in catalog.GRADES, "equipment of a grade that the rules know", item["grade"])
    return catalog.GRADES[text(item, "grade")]


def _drawn(number: object, low: int, high: int, times: int) -> int:
    """Return what dice decided, so many times over. NotGranted beyond its bounds."""
    fits = isinstance(number, int) and number % times == 0 and low <= number // times <= high
    need(fits, f"{times} times a number from {low} to {high}", number)
    assert isinstance(number, int)
    return number


def _half_up(value: Decimal) -> int:
    return int(value.quantize(Decimal(1), ROUND_HALF_UP))
