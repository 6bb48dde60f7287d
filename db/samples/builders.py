"""Players made to order: the default one, and what differs, in the terms of a scenario's `given`.

`player` gives Rows for either store, `legacy_row` the whole legacy `users` row of the same player. A wrong key or value
raises BadGiven.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from random import Random
from types import MappingProxyType
from typing import Any

from db.legacy import declared_tables
from db.samples import legacy_documents, progression, unmodelled_columns
from db.samples.given import BadGiven, checked, instant, mapping, numbered, template, whole
from game import tables
from game.json_text import dumps
from game.legacy.codec.arrays import STEP
from game.legacy.codec.mapping import KINDS
from game.legacy.sqlite_values import Cell
from game.rows import Record, Rows
from game.rules import catalog
from game.rules.options import fresh_options

DEFAULT: Mapping[str, object] = MappingProxyType(
    {
        "gold": 0,
        "diamonds": 0,
        "level": 2,
        "forge": 1,
        "places": 30,
        "bag": {},
        "worn": [],
        "mail": {},
        "presets": {},
        "quests": {},
        "milestones": {},
        "missions": {},
        "stages": [],
        "progress": 0,
        "tournaments": {},
        "league": "새싹",
        "action_points": 30,
    }
)
"""The default player. `level` is the sum of the strategy and playful levels; `places` those of each type in the bag."""

TABLES = tuple(table.name for table in tables.PLAYER_STATE)
_TYPES = (catalog.EQUIPMENT, catalog.MATERIAL, catalog.CONSUMABLE)


def player(player_id: str, **given: object) -> Rows:
    """Return rows of all PLAYER_STATE tables for the default player with what `given` says.

    gold, diamonds: amounts. level: >= 2. forge: level, or {level, xp}. places: a number for all types, or by type.
    bag: {item id: name | {name, stars, quantity, fails, options}}. worn: [item id].
    mail: {id: {gold, diamonds, action_points, items: {name: n}, expires, claimed}}; expires: ISO time or epoch ms.
    tournaments: {kind: {status, rank, gold, materials, boxes, claimed, played}}.
    presets: {name: {slot: item id}}; an item need not be in the bag.
    quests: {period: {id: {target, progress, reward, activity_points, claimed}}}; reward: as what a mail carries.
    milestones: {period: {activity, claimed: [20, 40, ...], reset}}; a period with quests has them in any case.
    missions: {id: {started, level, amount, collected, since}}.
    stages: [name] cleared and rewarded, or {name: {cleared, rewarded}}. progress: a number.
    Besides, for seeds: username, nickname, admin.
    """
    extra = {"username": player_id, "nickname": player_id, "admin": False}
    values = checked(given, {**DEFAULT, **extra}, player_id)
    rows = Rows({table: {} for table in TABLES})
    rows["users"][(player_id,)] = _user(player_id, values)
    rows["user_inventory"] = numbered(player_id, "id", mapping(values["bag"], "bag"), _bag_item)
    rows["user_equipment"] = _worn(player_id, values["worn"], rows["user_inventory"].values())
    rows["user_mail"] = numbered(player_id, "id", mapping(values["mail"], "mail"), _mail)
    rows |= progression.records(player_id, values)
    for kind, entry in mapping(values["tournaments"], "tournaments").items():
        rows["user_tournaments"][(player_id, kind)] = {"user_id": player_id, **_tournament(kind, entry)}
    return rows


def legacy_row(made: Rows | str, **given: object) -> dict[str, Cell]:
    """Return the whole legacy `users` row, every column in order, for a player made here (or for an id and `given`)."""
    rows = player(made, **given) if isinstance(made, str) else made
    (user,) = rows["users"].values()
    draw = Random(str(user["id"]))  # noqa: S311 - variety, not secrecy
    row: dict[str, Cell] = dict.fromkeys(declared_tables.names("users"))
    row |= _plain_columns(user) | unmodelled_columns.columns(user, draw)
    row |= _bag_columns(rows, draw) | progression.columns(rows, draw)
    row["mail"] = dumps([legacy_documents.mail(record, draw=draw) for record in rows["user_mail"].values()])
    for record in rows["user_tournaments"].values():
        kind = str(record["kind"])
        name = KINDS[kind]
        row[f"last{name}Tournament"] = dumps(legacy_documents.tournament(record, player=user, draw=draw))
        row[f"last{name}PlayedDate"] = _cell(record["played_at"])
        row[f"{kind}RewardClaimed"] = int(bool(record["claimed"]))
    return row


def _plain_columns(user: Record) -> dict[str, Cell]:
    return {
        "id": _cell(user["id"]),
        "username": _cell(user["username"]),
        "nickname": _cell(user["nickname"]),
        "isAdmin": int(bool(user["is_admin"])),
        "strategyLevel": _cell(user["strategy_level"]),
        "strategyXp": _cell(user["strategy_xp"]),
        "playfulLevel": _cell(user["playful_level"]),
        "playfulXp": _cell(user["playful_xp"]),
        "gold": _cell(user["gold"]),
        "diamonds": _cell(user["diamonds"]),
        "league": _cell(user["league"]),
        "tournamentScore": _cell(user["tournament_score"]),
        "cumulativeTournamentScore": _cell(user["cumulative_tournament_score"]),
        "blacksmithLevel": _cell(user["forge_level"]),
        "blacksmithXp": _cell(user["forge_xp"]),
        "singlePlayerProgress": _cell(user["stage_progress"]),
        "actionPoints": dumps({"current": user["action_points"], "max": user["action_points_max"]}),
        "inventorySlots": dumps({kind: user[f"places_{kind}"] for kind in ("equipment", "consumable", "material")}),
    }


def _bag_columns(rows: Rows, draw: Random) -> dict[str, Cell]:
    equipment = {str(record["slot"]): record["item_id"] for record in rows["user_equipment"].values()}
    worn = set(equipment.values())
    bag = [
        legacy_documents.item(record, worn=record["id"] in worn, draw=draw)
        for record in rows["user_inventory"].values()
    ]
    return {"inventory": dumps(bag), "equipment": dumps(equipment)}


def _cell(value: object) -> Cell:
    assert value is None or isinstance(value, int | str)
    return value


def _user(player_id: str, values: Mapping[str, object]) -> Record:
    level, forge = whole(values["level"], "level", least=2), values["forge"]
    steps = checked(forge if isinstance(forge, Mapping) else {"level": forge}, {"level": 1, "xp": 0}, "forge")
    places = values["places"]
    by_type = places if isinstance(places, Mapping) else dict.fromkeys(_TYPES, places)
    room = checked(by_type, dict.fromkeys(_TYPES, 30), "places")
    return {
        "id": player_id,
        "username": str(values["username"]),
        "nickname": str(values["nickname"]),
        "is_admin": bool(values["admin"]),
        "strategy_level": level - 1,
        "strategy_xp": 0,
        "playful_level": 1,
        "playful_xp": 0,
        "gold": whole(values["gold"], "gold"),
        "diamonds": whole(values["diamonds"], "diamonds"),
        "league": str(values["league"]),
        "tournament_score": 0,
        "cumulative_tournament_score": 0,
        "forge_level": whole(steps["level"], "forge.level", least=1),
        "forge_xp": whole(steps["xp"], "forge.xp"),
        "action_points": whole(values["action_points"], "action_points"),
        "action_points_max": 30,
        "stage_progress": whole(values["progress"], "progress"),
        "places_equipment": whole(room["equipment"], "places.equipment"),
        "places_material": whole(room["material"], "places.material"),
        "places_consumable": whole(room["consumable"], "places.consumable"),
        "held": False,
    }


def _bag_item(item_id: str, entry: object) -> Record:
    where = f"bag.{item_id}"
    fields = entry if isinstance(entry, Mapping) else {"name": entry}
    values = checked(fields, {"name": None, "stars": 0, "quantity": 1, "fails": 0, "options": None}, where)
    kind = template(values["name"], where)
    stars = whole(values["stars"], f"{where}.stars")
    options = values["options"] if values["options"] is not None else default_options(kind, stars)
    return {
        "name": kind.name,
        "type": kind.type,
        "slot": kind.slot,
        "grade": kind.grade,
        "stars": stars,
        "quantity": whole(values["quantity"], f"{where}.quantity", least=1),
        "fails": whole(values["fails"], f"{where}.fails"),
        "options": None if options is None else dumps(options),
        "worn_flag": None,
    }


def default_options(of: catalog.Template, stars: int) -> legacy_documents.JsonDocument | None:
    """Return the options of equipment of these stars when nobody says otherwise; None for anything else."""
    if of.slot is None or of.grade is None:
        return None
    options: dict[str, Any] = json.loads(str(fresh_options(of)))
    grade = catalog.GRADES[of.grade]
    base = options["main"]["baseValue"]
    options["main"]["value"] += sum(catalog.main_gain(base, star) for star in range(1, stars + 1))
    options["combatSubs"] = [_sub(n, stars, grade.sub_range) for n in range(min(4, stars))]
    return options


def _sub(n: int, stars: int, sub_range: tuple[int, int]) -> legacy_documents.JsonDocument:
    """Return the n-th combat sub from 0: each star beyond the fourth raised one of the four, in turn, by the least."""
    low, high = sub_range
    raised = (stars - 1 - n) // 4
    return {
        "type": catalog.CORE_STATS[n],
        "value": low * (1 + raised),
        "isPercentage": False,
        "range": [low, high],
        "enhancements": raised,
    }


def _worn(player_id: str, ids: object, bag: Iterable[Record]) -> dict[tuple[str | int, ...], Record]:
    if not isinstance(ids, list | tuple):
        raise BadGiven(f"worn: expected a list of item ids; found {ids!r}")
    slots = {record["id"]: record["slot"] for record in bag}
    worn: dict[tuple[str | int, ...], Record] = {}
    for n, item_id in enumerate(ids):
        slot = slots.get(item_id)
        if not isinstance(slot, str) or (player_id, slot) in worn:
            raise BadGiven(f"worn: expected an item of the bag for each slot once; found {item_id!r}")
        record: Record = {"user_id": player_id, "slot": slot, "position": n * STEP, "item_id": item_id, "kept": None}
        worn[(player_id, slot)] = record
    return worn


def _mail(mail_id: str, entry: object) -> Record:
    where = f"mail.{mail_id}"
    default = {"gold": 0, "diamonds": 0, "action_points": 0, "items": {}, "expires": None, "claimed": False}
    values = checked(mapping(entry, where), default, where)
    items = mapping(values["items"], f"{where}.items")
    return {
        "gold": whole(values["gold"], f"{where}.gold"),
        "diamonds": whole(values["diamonds"], f"{where}.diamonds"),
        "action_points": whole(values["action_points"], f"{where}.action_points"),
        "items": dumps([[template(name, where).name, whole(n, where, least=1)] for name, n in items.items()]),
        "expires_at": instant(values["expires"], f"{where}.expires"),
        "claimed": bool(values["claimed"]),
    }


def _tournament(kind: str, entry: object) -> Record:
    where = f"tournaments.{kind}"
    if kind not in KINDS:
        raise BadGiven(f"tournaments: expected one of {', '.join(KINDS)}; found {kind!r}")
    default: dict[str, object] = {
        "status": "bracket_ready",
        "rank": None,
        "gold": 0,
        "materials": {},
        "boxes": {},
        "claimed": False,
        "played": None,
    }
    values = checked(mapping(entry, where), default, where)
    return {
        "kind": kind,
        "status": None if values["status"] is None else str(values["status"]),
        "rank": None if values["rank"] is None else whole(values["rank"], f"{where}.rank", least=1),
        "gold": whole(values["gold"], f"{where}.gold"),
        "materials": dumps(dict(mapping(values["materials"], f"{where}.materials"))),
        "boxes": dumps(dict(mapping(values["boxes"], f"{where}.boxes"))),
        "claimed": bool(values["claimed"]),
        "played_at": instant(values["played"], f"{where}.played"),
    }
