"""Anomalies for which a transfer holds the player: nobody may play with values that can't be read."""

from __future__ import annotations

from random import Random

from db.samples.anomaly import PAST_64_BITS, Catalogue, DocumentOf, LegacyRow
from game.legacy.sqlite_values import BadText

ANOMALIES = Catalogue()
_anomaly = ANOMALIES.add


@_anomaly("inventory", holds=True)
def _truncated_bag(row: LegacyRow, draw: Random) -> None:
    text = str(row["inventory"])
    row["inventory"] = text[: draw.randrange(len(text) // 2, len(text) - 1)]


@_anomaly("mail", holds=True)
def _broken_mail(row: LegacyRow, _draw: Random) -> None:
    row["mail"] = str(row["mail"]).replace(",", ";", 1)


@_anomaly("quests", holds=True)
def _broken_quests(row: LegacyRow, _draw: Random) -> None:
    row["quests"] = str(row["quests"])[:-2]


@_anomaly("inventory", holds=True)
def _item_without_an_id(row: LegacyRow, _draw: Random) -> None:
    with DocumentOf(row, "inventory") as bag:
        del bag[-1]["id"]


@_anomaly("inventory", holds=True)
def _one_id_twice_in_a_bag(row: LegacyRow, _draw: Random) -> None:
    with DocumentOf(row, "inventory") as bag:
        bag.append(dict(bag[0]))


@_anomaly("gold", holds=True)
def _negative_gold(row: LegacyRow, _draw: Random) -> None:
    row["gold"] = -50


@_anomaly("inventory", holds=True)
def _negative_quantity(row: LegacyRow, _draw: Random) -> None:
    with DocumentOf(row, "inventory") as bag:
        next(item for item in bag if "quantity" in item)["quantity"] = -3


@_anomaly("mail", holds=True)
def _mail_with_negative_gold(row: LegacyRow, _draw: Random) -> None:
    with DocumentOf(row, "mail") as mail:
        mail[0]["attachments"] = {"gold": -10}


@_anomaly("mail", holds=True)
def _mail_with_gold_past_64_bits(row: LegacyRow, _draw: Random) -> None:
    with DocumentOf(row, "mail") as mail:
        mail[0]["attachments"] = {"gold": PAST_64_BITS}


@_anomaly("mail", holds=True)
def _mail_with_nan(row: LegacyRow, _draw: Random) -> None:
    with DocumentOf(row, "mail") as mail:
        mail[-1]["attachments"] = {"gold": float("nan")}


@_anomaly("gold", holds=True)
def _gold_past_64_bits(row: LegacyRow, _draw: Random) -> None:
    row["gold"] = float(PAST_64_BITS)


@_anomaly("gold", holds=True)
def _text_for_gold(row: LegacyRow, _draw: Random) -> None:
    row["gold"] = "많음"


@_anomaly("diamonds", holds=True)
def _decimals_for_diamonds(row: LegacyRow, _draw: Random) -> None:
    row["diamonds"] = 12.5


@_anomaly("mail", holds=True)
def _blob_for_mail(row: LegacyRow, _draw: Random) -> None:
    row["mail"] = str(row["mail"]).encode()


@_anomaly("mail", holds=True)
def _invalid_utf8_in_mail(row: LegacyRow, _draw: Random) -> None:
    row["mail"] = BadText(str(row["mail"]).encode().replace("보상".encode(), b"\xff\xfe", 1))


@_anomaly("inventory", holds=True)
def _nul_escape_in_an_items_name(row: LegacyRow, _draw: Random) -> None:
    with DocumentOf(row, "inventory") as bag:
        bag[0]["name"] = "이름\x00없음"


@_anomaly("quests", holds=True)
def _quest_without_an_id(row: LegacyRow, _draw: Random) -> None:
    with DocumentOf(row, "quests") as quests:
        del quests["weekly"]["quests"][0]["id"]


@_anomaly("quests", holds=True)
def _quest_with_negative_points(row: LegacyRow, _draw: Random) -> None:
    with DocumentOf(row, "quests") as quests:
        quests["daily"]["quests"][-1]["activityPoints"] = -20


@_anomaly("quests", holds=True)
def _four_milestones(row: LegacyRow, _draw: Random) -> None:
    with DocumentOf(row, "quests") as quests:
        del quests["monthly"]["claimedMilestones"][-1]


@_anomaly("clearedSinglePlayerStages", holds=True)
def _truncated_stages(row: LegacyRow, _draw: Random) -> None:
    row["clearedSinglePlayerStages"] = '["입문-1","입문'


@_anomaly("strategyXp", holds=True)
def _text_for_experience(row: LegacyRow, _draw: Random) -> None:
    row["strategyXp"] = "천이백"


@_anomaly("actionPoints", holds=True)
def _decimals_for_action_points(row: LegacyRow, _draw: Random) -> None:
    row["actionPoints"] = '{"current":12.5,"max":30}'
