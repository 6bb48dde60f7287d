"""Scripts of virtual users: commands that are likely to be granted, from what the player owns at the start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import TypeAlias

from game import tables
from game.legacy import codec, sqlite_values
from game.rows import Key, Record, Rows
from game.rules import catalog
from game.rules.actions.tournament import FINISHED
from game.rules.json_columns import UNREADABLE_KEY
from game.rules.missions import MISSIONS

Script: TypeAlias = list[tuple[str, dict[str, object]]]

ENHANCED_ITEMS = 12
WORN_ITEMS = 5
SOLD_STACKS = 4
SALES_OF_A_STACK = 4
OPENED_BUNDLES = 3
PRESETS = ("rehearsal", "of the evening", "'a \\ name'")
"""Few players with long scripts: what shows that an order was kept grows with the square of a player's requests."""

REPEATED = ("equip", "unequip", "save_preset", "apply_preset")
"""Actions that use nothing up."""


def read(path: Path, *, players: int, seed: int = 1) -> dict[str, Script]:
    """Write scripts for at most that many players of the legacy file, none of them held; every second gets none."""
    scripts: dict[str, Script] = {}
    with closing(sqlite_values.connect(path, readonly=True)) as connection:
        count = connection.execute("SELECT count(*) FROM users").fetchone()[0]
        for place in range(0, count, max(2, count // players)):
            # In the table's own order, by offset: a table may have no rowids.
            cursor = connection.execute("SELECT * FROM users NOT INDEXED LIMIT 1 OFFSET ?", (place,))
            row = dict(zip((column[0] for column in cursor.description), cursor.fetchone(), strict=True))
            rows = codec.decode_row(row, rowid=place).rows
            for (player,), user in rows.get("users", {}).items():
                if not user["held"]:
                    scripts[str(player)] = script(rows, Random(f"{seed}/{player}"))  # noqa: S311 - variety, not secrecy
    return scripts


def repeated(script: Script) -> Script:
    """Return the script's commands that a player may ask for again and again; nearly all of them are granted."""
    return [command for command in script if command[0] in REPEATED]


def script(rows: Rows, draw: Random) -> Script:
    """Write one player's script: commands of all kinds in a mixed order; what depends on another comes after it.

    Of a document that can't be read there are no rows: nothing is asked for that depends on it.
    """
    rows = Rows({table.name: _readable(rows.get(table.name, {})) for table in tables.PLAYER_STATE})
    (user,) = rows["users"].values()
    chains: list[Script] = [
        *_mail(rows),
        *_worn(rows, user, draw),
        *_forge(rows, draw),
        *_tournaments(rows),
        *_bag(rows, user, draw),
        *_missions(rows),
        *_presets(),
    ]
    draw.shuffle(chains)
    return [command for chain in chains for command in chain]


def _readable(records: dict[Key, Record]) -> dict[Key, Record]:
    return {key: record for key, record in records.items() if key[-1] != UNREADABLE_KEY}


def _mail(rows: Rows) -> Iterator[Script]:
    """Claim what is unclaimed, and delete what is not."""
    for (_player, mail_id), record in rows["user_mail"].items():
        yield [("delete_mail" if record["claimed"] else "claim_mail", {"mail": mail_id})]


def _worn(rows: Rows, user: Record, draw: Random) -> Iterator[Script]:
    worn = {record["item_id"] for record in rows["user_equipment"].values()}
    level = int(user["strategy_level"] or 0) + int(user["playful_level"] or 0)
    fits = [
        item
        for item in rows["user_inventory"].values()
        if item["id"] not in worn
        and item["grade"] in catalog.GRADES
        and item["slot"] in catalog.SLOTS
        and catalog.GRADES[str(item["grade"])].wear_level <= level
    ]
    for item in draw.sample(fits, min(WORN_ITEMS, len(fits))):
        chain: Script = [("equip", {"item": item["id"]})]
        if draw.random() < 0.3:
            chain += [("unequip", {"slot": item["slot"]}), *chain]
        yield chain


def _presets() -> Iterator[Script]:
    for name in PRESETS:
        yield [("save_preset", {"name": name}), ("apply_preset", {"name": name})]


def _forge(rows: Rows, draw: Random) -> Iterator[Script]:
    known = [item["id"] for item in rows["user_inventory"].values() if item["grade"] in catalog.GRADES and item["slot"]]
    for item_id in draw.sample(known, min(ENHANCED_ITEMS, len(known))):
        yield [("enhance", {"item": item_id})]


def _tournaments(rows: Rows) -> Iterator[Script]:
    for (_player, kind), record in rows["user_tournaments"].items():
        if record["status"] is None or record["claimed"]:
            continue
        first: Script = [] if record["status"] in FINISHED else [("finish_tournament", {"kind": kind})]
        yield [*first, ("claim_tournament_reward", {"kind": kind})]


def _bag(rows: Rows, user: Record, draw: Random) -> Iterator[Script]:
    """Sell some materials one by one, open some bundles, and buy places once if the diamonds are there."""
    bag = rows["user_inventory"].values()
    materials = [item["id"] for item in bag if item["name"] in catalog.MATERIALS]
    bundles = [item["id"] for item in bag if item["name"] in catalog.BUNDLES]
    for item_id in draw.sample(materials, min(SOLD_STACKS, len(materials))):
        for _ in range(SALES_OF_A_STACK):
            yield [("sell_item", {"item": item_id, "quantity": 1})]
    for item_id in draw.sample(bundles, min(OPENED_BUNDLES, len(bundles))):
        yield [("open_bundle", {"item": item_id})]
    if int(user["diamonds"] or 0) >= catalog.places_price(int(user["places_material"] or 0)):
        yield [("expand_bag", {"type": "material"})]


def _missions(rows: Rows) -> Iterator[Script]:
    """Start what is open and not started yet."""
    cleared = {stage for (_player, stage), record in rows["user_stages"].items() if record["cleared"]}
    started = {mission for (_player, mission), record in rows["user_missions"].items() if record["started"]}
    for mission in MISSIONS.values():
        if mission.opens_with in cleared and mission.id not in started:
            yield [("start_mission", {"mission": mission.id})]
