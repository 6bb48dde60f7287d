"""Players made to order: the default one, and what differs, in the terms of a scenario's `given`.

`rows` makes them for either store of a `Given`, `player` of its fields by name; `legacy_row` makes the whole legacy
`users` row of the same player.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from db.legacy import declared_tables
from db.samples import legacy_documents, progression, unmodelled_columns
from db.samples.given import BadGiven, Bagged, Forge, Given, Letter, Places, Tournament
from db.samples.legacy_documents import EPOCH_MS
from db.samples.progression import instant, item, numbered
from game import tables
from game.json_text import dumps
from game.legacy.codec.arrays import STEP
from game.legacy.codec.mapping import KINDS
from game.legacy.sqlite_values import Cell
from game.rows import Key, Record, Rows
from game.rules import catalog
from game.rules.options import fresh_options

TABLES = tuple(table.name for table in tables.PLAYER_STATE)


@dataclass(frozen=True, slots=True)
class PlayerAccount:
    """The columns of a player that no scenario gives: credentials of the service's other parts, and numbers."""

    username: str
    nickname: str
    admin: bool = False
    strategy_xp: int = 0
    playful_xp: int = 0
    tournament_score: int = 0
    cumulative_tournament_score: int = 0


def rows(player_id: str, given: Given, *, clock_ms: int = EPOCH_MS, account: PlayerAccount | None = None) -> Rows:
    """Return the rows of all PLAYER_STATE tables for a player. Raises BadGiven for a name that names nothing.

    clock_ms: the moment from which distances count, in epoch milliseconds. account: of the id's own name, if None.
    """
    made = Rows({table: {} for table in TABLES})
    made["users"][(player_id,)] = _user(player_id, given, account or PlayerAccount(player_id, player_id))
    bag = {item_id: _bag_item(item_id, entry) for item_id, entry in given.bag.items()}
    made["user_inventory"] = numbered(player_id, "id", bag)
    made["user_equipment"] = _worn(player_id, given.worn, made["user_inventory"].values())
    mail = {mail_id: _mail(mail_id, letter, clock_ms) for mail_id, letter in given.mail.items()}
    made["user_mail"] = numbered(player_id, "id", mail)
    made |= progression.records(player_id, given, clock_ms)
    for kind, tournament in given.tournaments.items():
        made["user_tournaments"][(player_id, kind)] = _tournament(player_id, kind, tournament, clock_ms)
    return made


def player(player_id: str, **given: object) -> Rows:
    """Return the rows of a player with what is given by the names of Given's fields, as a scenario writes it."""
    return rows(player_id, Given.model_validate(given))


def legacy_row(made: Rows | str, **given: object) -> dict[str, Cell]:
    """Return the whole legacy `users` row, every column in order, for a player made here (or an id and `given`)."""
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


def _user(player_id: str, given: Given, account: PlayerAccount) -> Record:
    forge = given.forge if isinstance(given.forge, Forge) else Forge(level=given.forge)
    every = given.places
    places = every if isinstance(every, Places) else Places(equipment=every, material=every, consumable=every)
    return {
        "id": player_id,
        "username": account.username,
        "nickname": account.nickname,
        "is_admin": account.admin,
        "strategy_level": given.level - 1,
        "strategy_xp": account.strategy_xp,
        "playful_level": 1,
        "playful_xp": account.playful_xp,
        "gold": given.gold,
        "diamonds": given.diamonds,
        "league": given.league,
        "tournament_score": account.tournament_score,
        "cumulative_tournament_score": account.cumulative_tournament_score,
        "forge_level": forge.level,
        "forge_xp": forge.xp,
        "action_points": given.action_points,
        "action_points_max": 30,
        "stage_progress": given.progress,
        "places_equipment": places.equipment,
        "places_material": places.material,
        "places_consumable": places.consumable,
        "held": False,
    }


def _bag_item(item_id: str, entry: str | Bagged) -> Record:
    bagged = entry if isinstance(entry, Bagged) else Bagged(name=entry)
    kind = item(bagged.name, f"bag.{item_id}")
    options = bagged.options if bagged.options is not None else default_options(kind, bagged.stars)
    return {
        "name": kind.name,
        "type": kind.type,
        "slot": kind.slot,
        "grade": kind.grade,
        "stars": bagged.stars,
        "quantity": bagged.quantity,
        "fails": bagged.fails,
        "options": None if options is None else dumps(options),
        "worn_flag": None,
    }


def default_options(of: catalog.Template, stars: int) -> legacy_documents.JsonDocument | None:
    """Return the options of equipment of these stars when nobody gives others; None for what is not equipment."""
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


def _worn(player_id: str, ids: Iterable[str], bag: Iterable[Record]) -> dict[Key, Record]:
    slots = {record["id"]: record["slot"] for record in bag}
    worn: dict[Key, Record] = {}
    for n, item_id in enumerate(ids):
        slot = slots.get(item_id)
        if not isinstance(slot, str) or (player_id, slot) in worn:
            raise BadGiven(f"worn: expected an item of the bag for each slot once; found {item_id!r}")
        record: Record = {"user_id": player_id, "slot": slot, "position": n * STEP, "item_id": item_id, "kept": None}
        worn[(player_id, slot)] = record
    return worn


def _mail(mail_id: str, letter: Letter, clock_ms: int) -> Record:
    items = [[item(name, f"mail.{mail_id}").name, quantity] for name, quantity in letter.items.items()]
    return {
        "gold": letter.gold,
        "diamonds": letter.diamonds,
        "action_points": letter.action_points,
        "items": dumps(items),
        "expires_at": instant(letter.expires, clock_ms),
        "claimed": letter.claimed,
    }


def _tournament(player_id: str, kind: str, tournament: Tournament, clock_ms: int) -> Record:
    return {
        "user_id": player_id,
        "kind": kind,
        "status": tournament.status,
        "rank": tournament.rank,
        "gold": tournament.gold,
        "materials": dumps(dict(tournament.materials)),
        "boxes": dumps(dict(tournament.boxes)),
        "claimed": tournament.claimed,
        "played_at": instant(tournament.played, clock_ms),
    }
