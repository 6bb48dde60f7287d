"""Anomalies that a transfer carries, or sets aside, while the player plays on."""

from __future__ import annotations

import json
from random import Random

from db.samples.anomaly import PAST_64_BITS, Anomaly, Catalogue, DocumentOf, LegacyRow
from db.samples.legacy_documents import EPOCH_MS
from game.legacy.sqlite_values import BadText

SHARED_ITEM_ID = "item-00000000-0000-4000-8000-00000000d0b1"

ANOMALIES = Catalogue()
_anomaly = ANOMALIES.add


@_anomaly("equipment", share=0.04)
def _worn_item_in_no_bag(row: LegacyRow, _draw: Random) -> None:
    with DocumentOf(row, "equipment") as worn:
        worn["fan"] = "item-ffffffff-0000-4000-8000-000000000000"
        worn["halo"] = "item-ffffffff-0000-4000-8000-000000000001"


@_anomaly("inventory", share=0.01)
def _worn_flag_that_disagrees(row: LegacyRow, _draw: Random) -> None:
    with DocumentOf(row, "inventory") as bag:
        bag[0]["isEquipped"] = not bag[0]["isEquipped"]


@_anomaly("inventory", share=0.01)
def _worn_item_whose_flag_disagrees(row: LegacyRow, _draw: Random) -> None:
    with DocumentOf(row, "inventory") as bag:
        worn = json.loads(str(row["equipment"])).values()
        item = next((item for item in bag if item["id"] in worn), bag[0])
        item["isEquipped"] = not item["isEquipped"]


@_anomaly("inventorySlots", share=0.02)
def _places_as_an_integer(row: LegacyRow, _draw: Random) -> None:
    row["inventorySlots"] = 40


_NEWER = ("equipmentPresets", "appSettings", "cumulativeTournamentScore", "clearedSinglePlayerStages")


@_anomaly(*_NEWER, share=0.02)
def _newer_columns_null(row: LegacyRow, _draw: Random) -> None:
    row.update(dict.fromkeys(_NEWER))


_EMPTIED = ("equipmentPresets", "guildApplications", "guildShopPurchases", "lastWorldTournament", "mail")


def _nothing_as(name: str, nothing: str | None) -> None:
    def change(row: LegacyRow, _draw: Random) -> None:
        row.update(dict.fromkeys(_EMPTIED, nothing))

    ANOMALIES.append(Anomaly(f"nothing_as_{name}", _EMPTIED, change, holds=False, share=0.002, least=1))


_nothing_as("null", None)
_nothing_as("empty_text", "")
_nothing_as("empty_object", "{}")
_nothing_as("empty_array", "[]")
_nothing_as("null_text", "null")

_TIMES = ("lastLoginAt", "chatBanUntil", "lastNeighborhoodPlayedDate", "lastActionPointQuizDate")


@_anomaly(*_TIMES, share=0.004)
def _times_of_zero(row: LegacyRow, _draw: Random) -> None:
    row.update(dict.fromkeys(_TIMES, 0))


@_anomaly(*_TIMES, share=0.004)
def _times_of_null(row: LegacyRow, _draw: Random) -> None:
    row.update(dict.fromkeys(_TIMES))


@_anomaly("mannerScore", "strategyXp", "tournamentScore")
def _decimals_in_integers(row: LegacyRow, _draw: Random) -> None:
    row.update(mannerScore=198.5, strategyXp=1200.25, tournamentScore=-0.5)


@_anomaly("nickname")
def _invalid_utf8_in_a_nickname(row: LegacyRow, _draw: Random) -> None:
    row["nickname"] = BadText(str(row["nickname"]).encode() + b"\xc3\x28")


@_anomaly("appSettings")
def _invalid_utf8_in_a_document(row: LegacyRow, _draw: Random) -> None:
    row["appSettings"] = BadText(b'{"theme":"' + "어두움".encode("euc-kr") + b'"}')


@_anomaly("appSettings")
def _surrogate_bytes(row: LegacyRow, _draw: Random) -> None:
    row["appSettings"] = BadText(b'{"emoji":"\xed\xa0\xbd"}')


@_anomaly("nickname", "pendingPenaltyNotification")
def _nul_bytes(row: LegacyRow, _draw: Random) -> None:
    row["nickname"] = str(row["nickname"]) + "\x00끝"
    row["pendingPenaltyNotification"] = "\x00"


@_anomaly("inventory", "appSettings")
def _nul_escapes(row: LegacyRow, _draw: Random) -> None:
    with DocumentOf(row, "inventory") as bag:
        bag[0]["description"] = "설명\x00없음"
    row["appSettings"] = '{"memo":"a\\u0000b"}'


@_anomaly("mail", "seasonHistory")
def _lone_surrogate_escapes(row: LegacyRow, _draw: Random) -> None:
    row["mail"] = str(row["mail"]).replace('"title":"', '"title":"\\ud83d', 1)
    row["seasonHistory"] = '{"2025-1":"\\udc00"}'


@_anomaly("appSettings", "lastNationalTournament")
def _truncated_documents(row: LegacyRow, _draw: Random) -> None:
    row["appSettings"] = str(row["appSettings"])[:40]
    row["lastNationalTournament"] = '{"type":"national","status":"compl'


@_anomaly("appSettings", "inventory", "equipment")
def _duplicate_keys(row: LegacyRow, _draw: Random) -> None:
    row["appSettings"] = '{"theme":"dark","theme":"light","theme":null}'
    row["inventory"] = str(row["inventory"]).replace('"level":1,', '"level":1,"stars":9,"level":2,', 1)
    row["equipment"] = '{"fan":"item-gone-1","fan":"item-gone-2"}'


@_anomaly("currencyLogs", "lastLeagueUpdate")
def _integers_past_64_bits(row: LegacyRow, _draw: Random) -> None:
    row["currencyLogs"] = f'[{{"timestamp":{EPOCH_MS},"amount":{PAST_64_BITS},"reason":"-{PAST_64_BITS}"}}]'
    row["lastLeagueUpdate"] = float(PAST_64_BITS)


@_anomaly("stats", "lastWeeklyCompetitorsUpdate", "guildCoins")
def _nan_and_infinity(row: LegacyRow, _draw: Random) -> None:
    row["stats"] = '{"클래식 바둑":{"wins":NaN,"losses":Infinity,"rankingScore":-Infinity}}'
    row["lastWeeklyCompetitorsUpdate"] = float("inf")
    row["guildCoins"] = "NaN"


@_anomaly("inventory", least=2)
def _an_item_id_that_two_players_have(row: LegacyRow, _draw: Random) -> None:
    with DocumentOf(row, "inventory") as bag:
        next(item for item in reversed(bag) if not item["isEquipped"])["id"] = SHARED_ITEM_ID


@_anomaly("guildCoins", "mannerScore", "bonusStatPoints")
def _negative_amounts(row: LegacyRow, _draw: Random) -> None:
    row.update(guildCoins=-5, mannerScore=-200, bonusStatPoints=-1)


@_anomaly("strategyLevel", "playfulLevel", "lastLoginAt")
def _text_in_integers(row: LegacyRow, _draw: Random) -> None:
    row.update(strategyLevel="십", playfulLevel="", lastLoginAt="2025-12-31T00:00:00Z")


@_anomaly("mbti", "avatarId", "guildCoins")
def _blobs_in_text(row: LegacyRow, _draw: Random) -> None:
    row.update(mbti=b"INTJ", avatarId=b"\x00\xff\x10", guildCoins=b"")


@_anomaly("mail", "inventory", "actionPoints")
def _json_written_otherwise(row: LegacyRow, _draw: Random) -> None:
    """Write valid JSON that JSON.stringify would write otherwise: spaces, escapes, decimals, exponents."""
    row["mail"] = json.dumps(json.loads(str(row["mail"])), indent=2, ensure_ascii=True)
    bag = str(row["inventory"])
    row["inventory"] = bag.replace('"stars":0', '"stars":0.0').replace('"quantity":20', '"quantity":2e1')

    row["actionPoints"] = ' { "max" : 30.0 , "current" : 12, "bonus": -0.0 } '


@_anomaly("inventory", "mail")
def _unknown_keys(row: LegacyRow, _draw: Random) -> None:
    with DocumentOf(row, "inventory") as bag:
        bag[0] |= {"isDivineMythic": True, "새 열쇠": [None, {"a": 1}]}
    with DocumentOf(row, "mail") as mail:
        mail[0]["attachments"] = {"xp": {"type": "strategy", "amount": 50}, **mail[0].get("attachments", {})}


@_anomaly("singlePlayerMissions", share=0.01)
def _missions_without_a_sum(row: LegacyRow, _draw: Random) -> None:
    with DocumentOf(row, "singlePlayerMissions") as missions:
        for mission in missions.values():
            del mission["accumulatedCollection"]


@_anomaly("singlePlayerMissions", share=0.004)
def _mission_with_a_decimal_amount(row: LegacyRow, _draw: Random) -> None:
    with DocumentOf(row, "singlePlayerMissions") as missions:
        missions |= {"mission_attendance": {"isStarted": True, "accumulatedAmount": 12.5, "level": 1}}


@_anomaly("clearedSinglePlayerStages", share=0.01)
def _no_cleared_stages_beside_a_progress(row: LegacyRow, _draw: Random) -> None:
    row["clearedSinglePlayerStages"] = None


@_anomaly("claimedFirstClearRewards", "clearedSinglePlayerStages")
def _stages_twice_and_no_stages(row: LegacyRow, _draw: Random) -> None:
    row["clearedSinglePlayerStages"] = '["입문-1","입문-2", "입문-1",3]'
    row["claimedFirstClearRewards"] = '["입문-2","\\uc785\\ubb38-1",null]'


@_anomaly("equipmentPresets")
def _unusual_presets(row: LegacyRow, _draw: Random) -> None:
    row["equipmentPresets"] = (
        '[{"name":"하나","equipment":null},{"name":"하나"}, {"equipment":{}},{"name":"둘","equipment":[]}]'
    )


@_anomaly("quests", share=0.004)
def _quests_of_an_unknown_period(row: LegacyRow, _draw: Random) -> None:
    with DocumentOf(row, "quests") as quests:
        quests |= {"yearly": quests["daily"], "monthly": None}
        del quests["weekly"]["claimedMilestones"], quests["weekly"]["quests"][0]["isClaimed"]


@_anomaly("seasonHistory")
def _deep_nesting(row: LegacyRow, _draw: Random) -> None:
    row["seasonHistory"] = "[" * 2_000 + "]" * 2_000
