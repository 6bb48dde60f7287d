"""What real files do that nobody declared, one function each: it changes a legacy `users` row into one that does it.

Each was seen in a real file, or in another SQLite source and is to be survived.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

from db.samples.legacy_documents import EPOCH_MS
from game.json_text import dumps
from game.legacy.sqlite_values import BadText, Cell

Row: TypeAlias = dict[str, Cell]
Change: TypeAlias = Callable[[Row, Random], None]

SHARED_ITEM_ID = "item-00000000-0000-4000-8000-00000000d0b1"
PAST_64_BITS = 10**20


@dataclass(frozen=True, slots=True)
class Oddity:
    """columns: what it touches. holds: the player can't play any more. share: of all players, but at least `least`."""

    name: str
    columns: tuple[str, ...]
    change: Change
    holds: bool
    share: float
    least: int


ODDITIES: list[Oddity] = []


def assign(players: int, draw: Random) -> dict[int, list[Oddity]]:
    """Which players get which oddities: each oddity at least `least` times, never two on one column of a player.

    Where there are too few players for all, the first oddities of the list are found in them; at most half are odd.
    """
    order = draw.sample(range(players), players)
    apart = sum(1 for oddity in ODDITIES if oddity.holds)
    odd = order[: max(apart + 8, players // 8) if players >= 50 else players // 2]
    assigned: dict[int, list[Oddity]] = {}
    for oddity in ODDITIES:
        for n in _places(oddity, odd, assigned, max(oddity.least, round(players * oddity.share))):
            assigned.setdefault(n, []).append(oddity)
    return assigned


def _places(oddity: Oddity, odd: list[int], assigned: dict[int, list[Oddity]], wanted: int) -> list[int]:
    """The players with the fewest oddities so far whose columns are still free; a held player is one oddity's alone."""
    free = [n for n in odd if _fits(oddity, assigned.get(n, []))]
    return sorted(free, key=lambda n: len(assigned.get(n, ())))[:wanted]


def _fits(oddity: Oddity, others: list[Oddity]) -> bool:
    if any(other.holds for other in others) or (oddity.holds and others):
        return False
    taken = {column for other in others for column in other.columns}
    return taken.isdisjoint(oddity.columns)


def _odd(*columns: str, holds: bool = False, share: float = 0.001, least: int = 1) -> Callable[[Change], Change]:
    def register(change: Change) -> Change:
        ODDITIES.append(Oddity(change.__name__.strip("_"), columns, change, holds, share, least))
        return change

    return register


# Those that hold a player come first: they need one each to themselves.


@_odd("inventory", holds=True)
def _truncated_bag(row: Row, draw: Random) -> None:
    text = str(row["inventory"])
    row["inventory"] = text[: draw.randrange(len(text) // 2, len(text) - 1)]


@_odd("mail", holds=True)
def _broken_mail(row: Row, _draw: Random) -> None:
    row["mail"] = str(row["mail"]).replace(",", ";", 1)


@_odd("quests", holds=True)
def _broken_quests(row: Row, _draw: Random) -> None:
    row["quests"] = str(row["quests"])[:-2]


@_odd("inventory", holds=True)
def _item_without_an_id(row: Row, _draw: Random) -> None:
    with _Json(row, "inventory") as bag:
        del bag[-1]["id"]


@_odd("inventory", holds=True)
def _one_id_twice_in_a_bag(row: Row, _draw: Random) -> None:
    with _Json(row, "inventory") as bag:
        bag.append(dict(bag[0]))


@_odd("gold", holds=True)
def _negative_gold(row: Row, _draw: Random) -> None:
    row["gold"] = -50


@_odd("inventory", holds=True)
def _negative_quantity(row: Row, _draw: Random) -> None:
    with _Json(row, "inventory") as bag:
        next(item for item in bag if "quantity" in item)["quantity"] = -3


@_odd("mail", holds=True)
def _mail_with_negative_gold(row: Row, _draw: Random) -> None:
    with _Json(row, "mail") as mail:
        mail[0]["attachments"] = {"gold": -10}


@_odd("mail", holds=True)
def _mail_with_gold_past_64_bits(row: Row, _draw: Random) -> None:
    with _Json(row, "mail") as mail:
        mail[0]["attachments"] = {"gold": PAST_64_BITS}


@_odd("mail", holds=True)
def _mail_with_nan(row: Row, _draw: Random) -> None:
    with _Json(row, "mail") as mail:
        mail[-1]["attachments"] = {"gold": float("nan")}


@_odd("gold", holds=True)
def _gold_past_64_bits(row: Row, _draw: Random) -> None:
    row["gold"] = float(PAST_64_BITS)


@_odd("gold", holds=True)
def _text_for_gold(row: Row, _draw: Random) -> None:
    row["gold"] = "많음"


@_odd("diamonds", holds=True)
def _decimals_for_diamonds(row: Row, _draw: Random) -> None:
    row["diamonds"] = 12.5


@_odd("mail", holds=True)
def _blob_for_mail(row: Row, _draw: Random) -> None:
    row["mail"] = str(row["mail"]).encode()


@_odd("mail", holds=True)
def _invalid_utf8_in_mail(row: Row, _draw: Random) -> None:
    row["mail"] = BadText(str(row["mail"]).encode().replace("보상".encode(), b"\xff\xfe", 1))


@_odd("inventory", holds=True)
def _nul_escape_in_an_items_name(row: Row, _draw: Random) -> None:
    with _Json(row, "inventory") as bag:
        bag[0]["name"] = "이름\x00없음"


@_odd("quests", holds=True)
def _quest_without_an_id(row: Row, _draw: Random) -> None:
    with _Json(row, "quests") as quests:
        del quests["weekly"]["quests"][0]["id"]


@_odd("quests", holds=True)
def _quest_with_negative_points(row: Row, _draw: Random) -> None:
    with _Json(row, "quests") as quests:
        quests["daily"]["quests"][-1]["activityPoints"] = -20


@_odd("quests", holds=True)
def _four_milestones(row: Row, _draw: Random) -> None:
    with _Json(row, "quests") as quests:
        del quests["monthly"]["claimedMilestones"][-1]


@_odd("clearedSinglePlayerStages", holds=True)
def _truncated_stages(row: Row, _draw: Random) -> None:
    row["clearedSinglePlayerStages"] = '["입문-1","입문'


@_odd("strategyXp", holds=True)
def _text_for_experience(row: Row, _draw: Random) -> None:
    row["strategyXp"] = "천이백"


@_odd("actionPoints", holds=True)
def _decimals_for_action_points(row: Row, _draw: Random) -> None:
    row["actionPoints"] = '{"current":12.5,"max":30}'


@_odd("equipment", share=0.04)
def _worn_item_in_no_bag(row: Row, _draw: Random) -> None:
    with _Json(row, "equipment") as worn:
        worn["fan"] = "item-ffffffff-0000-4000-8000-000000000000"
        worn["halo"] = "item-ffffffff-0000-4000-8000-000000000001"


@_odd("inventory", share=0.01)
def _worn_flag_that_disagrees(row: Row, _draw: Random) -> None:
    with _Json(row, "inventory") as bag:
        bag[0]["isEquipped"] = not bag[0]["isEquipped"]


@_odd("inventorySlots", share=0.02)
def _places_as_an_integer(row: Row, _draw: Random) -> None:
    row["inventorySlots"] = 40


_NEWER = ("equipmentPresets", "appSettings", "cumulativeTournamentScore", "clearedSinglePlayerStages")


@_odd(*_NEWER, share=0.02)
def _newer_columns_null(row: Row, _draw: Random) -> None:
    row.update(dict.fromkeys(_NEWER))


_EMPTIED = ("equipmentPresets", "guildApplications", "guildShopPurchases", "lastWorldTournament", "mail")


def _nothing_as(name: str, nothing: str | None) -> None:
    def change(row: Row, _draw: Random) -> None:
        row.update(dict.fromkeys(_EMPTIED, nothing))

    ODDITIES.append(Oddity(f"nothing_as_{name}", _EMPTIED, change, holds=False, share=0.002, least=1))


_nothing_as("null", None)
_nothing_as("empty_text", "")
_nothing_as("empty_object", "{}")
_nothing_as("empty_array", "[]")
_nothing_as("null_text", "null")

_TIMES = ("lastLoginAt", "chatBanUntil", "lastNeighborhoodPlayedDate", "lastActionPointQuizDate")


@_odd(*_TIMES, share=0.004)
def _times_of_zero(row: Row, _draw: Random) -> None:
    row.update(dict.fromkeys(_TIMES, 0))


@_odd(*_TIMES, share=0.004)
def _times_of_null(row: Row, _draw: Random) -> None:
    row.update(dict.fromkeys(_TIMES))


@_odd("mannerScore", "strategyXp", "tournamentScore")
def _decimals_in_integers(row: Row, _draw: Random) -> None:
    row.update(mannerScore=198.5, strategyXp=1200.25, tournamentScore=-0.5)


@_odd("nickname")
def _invalid_utf8_in_a_nickname(row: Row, _draw: Random) -> None:
    row["nickname"] = BadText(str(row["nickname"]).encode() + b"\xc3\x28")


@_odd("appSettings")
def _invalid_utf8_in_a_document(row: Row, _draw: Random) -> None:
    row["appSettings"] = BadText(b'{"theme":"' + "어두움".encode("euc-kr") + b'"}')


@_odd("appSettings")
def _surrogate_bytes(row: Row, _draw: Random) -> None:
    row["appSettings"] = BadText(b'{"emoji":"\xed\xa0\xbd"}')


@_odd("nickname", "pendingPenaltyNotification")
def _nul_bytes(row: Row, _draw: Random) -> None:
    row["nickname"] = str(row["nickname"]) + "\x00끝"
    row["pendingPenaltyNotification"] = "\x00"


@_odd("inventory", "appSettings")
def _nul_escapes(row: Row, _draw: Random) -> None:
    with _Json(row, "inventory") as bag:
        bag[0]["description"] = "설명\x00없음"
    row["appSettings"] = '{"memo":"a\\u0000b"}'


@_odd("mail", "seasonHistory")
def _lone_surrogate_escapes(row: Row, _draw: Random) -> None:
    row["mail"] = str(row["mail"]).replace('"title":"', '"title":"\\ud83d', 1)
    row["seasonHistory"] = '{"2025-1":"\\udc00"}'


@_odd("appSettings", "lastNationalTournament")
def _truncated_documents(row: Row, _draw: Random) -> None:
    row["appSettings"] = str(row["appSettings"])[:40]
    row["lastNationalTournament"] = '{"type":"national","status":"compl'


@_odd("appSettings", "inventory", "equipment")
def _duplicate_keys(row: Row, _draw: Random) -> None:
    row["appSettings"] = '{"theme":"dark","theme":"light","theme":null}'
    row["inventory"] = str(row["inventory"]).replace('"level":1,', '"level":1,"stars":9,"level":2,', 1)
    row["equipment"] = '{"fan":"item-gone-1","fan":"item-gone-2"}'


@_odd("currencyLogs", "lastLeagueUpdate")
def _integers_past_64_bits(row: Row, _draw: Random) -> None:
    row["currencyLogs"] = f'[{{"timestamp":{EPOCH_MS},"amount":{PAST_64_BITS},"reason":"-{PAST_64_BITS}"}}]'
    row["lastLeagueUpdate"] = float(PAST_64_BITS)


@_odd("stats", "lastWeeklyCompetitorsUpdate", "guildCoins")
def _nan_and_infinity(row: Row, _draw: Random) -> None:
    row["stats"] = '{"클래식 바둑":{"wins":NaN,"losses":Infinity,"rankingScore":-Infinity}}'
    row["lastWeeklyCompetitorsUpdate"] = float("inf")
    row["guildCoins"] = "NaN"


@_odd("inventory", least=2)
def _an_item_id_that_two_players_have(row: Row, _draw: Random) -> None:
    with _Json(row, "inventory") as bag:
        next(item for item in reversed(bag) if not item["isEquipped"])["id"] = SHARED_ITEM_ID


@_odd("guildCoins", "mannerScore", "bonusStatPoints")
def _negative_amounts(row: Row, _draw: Random) -> None:
    row.update(guildCoins=-5, mannerScore=-200, bonusStatPoints=-1)


@_odd("strategyLevel", "playfulLevel", "lastLoginAt")
def _text_in_integers(row: Row, _draw: Random) -> None:
    row.update(strategyLevel="십", playfulLevel="", lastLoginAt="2025-12-31T00:00:00Z")


@_odd("mbti", "avatarId", "guildCoins")
def _blobs_in_text(row: Row, _draw: Random) -> None:
    row.update(mbti=b"INTJ", avatarId=b"\x00\xff\x10", guildCoins=b"")


@_odd("mail", "inventory", "actionPoints")
def _json_written_otherwise(row: Row, _draw: Random) -> None:
    """Valid, but not as JSON.stringify writes it: spaces, escapes, decimals, exponents."""
    row["mail"] = json.dumps(json.loads(str(row["mail"])), indent=2, ensure_ascii=True)
    bag = str(row["inventory"])
    row["inventory"] = bag.replace('"stars":0', '"stars":0.0').replace('"quantity":20', '"quantity":2e1')

    row["actionPoints"] = ' { "max" : 30.0 , "current" : 12, "bonus": -0.0 } '


@_odd("inventory", "mail")
def _unknown_keys(row: Row, _draw: Random) -> None:
    with _Json(row, "inventory") as bag:
        bag[0] |= {"isDivineMythic": True, "새 열쇠": [None, {"a": 1}]}
    with _Json(row, "mail") as mail:
        mail[0]["attachments"] = {"xp": {"type": "strategy", "amount": 50}, **mail[0].get("attachments", {})}


@_odd("singlePlayerMissions", share=0.01)
def _missions_without_a_sum(row: Row, _draw: Random) -> None:
    with _Json(row, "singlePlayerMissions") as missions:
        for mission in missions.values():
            del mission["accumulatedCollection"]


@_odd("singlePlayerMissions", share=0.004)
def _mission_with_a_decimal_amount(row: Row, _draw: Random) -> None:
    with _Json(row, "singlePlayerMissions") as missions:
        missions |= {"mission_attendance": {"isStarted": True, "accumulatedAmount": 12.5, "level": 1}}


@_odd("clearedSinglePlayerStages", share=0.01)
def _no_cleared_stages_beside_a_progress(row: Row, _draw: Random) -> None:
    row["clearedSinglePlayerStages"] = None


@_odd("claimedFirstClearRewards", "clearedSinglePlayerStages")
def _stages_twice_and_no_stages(row: Row, _draw: Random) -> None:
    row["clearedSinglePlayerStages"] = '["입문-1","입문-2", "입문-1",3]'
    row["claimedFirstClearRewards"] = '["입문-2","\\uc785\\ubb38-1",null]'


@_odd("equipmentPresets")
def _odd_presets(row: Row, _draw: Random) -> None:
    row["equipmentPresets"] = (
        '[{"name":"하나","equipment":null},{"name":"하나"}, {"equipment":{}},{"name":"둘","equipment":[]}]'
    )


@_odd("quests", share=0.004)
def _quests_of_an_unknown_period(row: Row, _draw: Random) -> None:
    with _Json(row, "quests") as quests:
        quests |= {"yearly": quests["daily"], "monthly": None}
        del quests["weekly"]["claimedMilestones"], quests["weekly"]["quests"][0]["isClaimed"]


@_odd("seasonHistory")
def _deep_nesting(row: Row, _draw: Random) -> None:
    row["seasonHistory"] = "[" * 2_000 + "]" * 2_000


class _Json:
    """A column's document to change in place; written back compact."""

    def __init__(self, row: Row, column: str) -> None:
        self._row = row
        self._column = column
        self._document: Any = None

    def __enter__(self) -> Any:
        self._document = json.loads(str(self._row[self._column]))
        return self._document

    def __exit__(self, *_error: object) -> None:
        self._row[self._column] = dumps(self._document)


def names() -> Iterator[str]:
    return (oddity.name for oddity in ODDITIES)
