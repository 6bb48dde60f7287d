"""Makes the columns that the game does not model: logs, records, settings.

Shapes and spellings are the legacy service's; the values are drawn from `draw`, so the same player looks the same.
"""

from __future__ import annotations

from random import Random

from db.samples.legacy_documents import DAY_MS, EPOCH_MS, JsonDocument
from game.json_text import dumps
from game.rows import Record
from game.rules import catalog

_MODES = ("클래식 바둑", "따내기 바둑", "스피드 바둑", "베이스 바둑", "히든 바둑", "주사위 바둑", "알까기")
_LOG_KINDS = ("gold_gain", "gold_spend", "diamond_gain", "diamond_spend")
_REASONS = ("대국 보상", "동네바둑리그 경기 보상", "장비 강화", "상점 구매", "일일 퀘스트 보상")


def columns(player: Record, draw: Random) -> dict[str, int | str | None]:
    """Return columns of the player's row that the game does not model, by name; those of no use today are None."""
    return {
        "stats": dumps({mode: _record(draw) for mode in _MODES}),
        "lastActionPointUpdate": EPOCH_MS - draw.randrange(DAY_MS),
        "mannerScore": 200,
        "avatarId": f"profile_{draw.randrange(1, 12)}",
        "borderId": "default",
        "seasonHistory": dumps({f"2025-{n}": {"tier": "루키", "rank": draw.randrange(1, 500)} for n in range(1, 5)}),
        "baseStats": dumps(dict.fromkeys(catalog.CORE_STATS, 100)),
        "spentStatPoints": dumps({name: draw.randrange(20) for name in catalog.CORE_STATS}),
        "actionPointPurchasesToday": 0,
        "dailyShopPurchases": dumps({"action_point_10": {"quantity": 1, "date": EPOCH_MS - DAY_MS}}),
        "mannerMasteryApplied": 0,
        "dailyNeighborhoodWins": draw.randrange(6),
        "dailyNationalWins": draw.randrange(4),
        "dailyWorldWins": draw.randrange(5),
        "weeklyCompetitors": dumps([_competitor(n, draw) for n in range(draw.randrange(4, 9))]),
        "lastWeeklyCompetitorsUpdate": EPOCH_MS - 2 * DAY_MS,
        "lastLeagueUpdate": EPOCH_MS - 2 * DAY_MS,
        "ownedBorders": dumps(["default", "simple_black"]),
        "mbti": draw.choice(("INTJ", "ENFP", "ISTP", None)),
        "isMbtiPublic": 1,
        "bonusStatPoints": draw.randrange(30),
        "towerProgress": dumps({"highestFloor": draw.randrange(100), "lastClearTimestamp": EPOCH_MS - DAY_MS}),
        "actionPointQuizzesToday": draw.randrange(6),
        "lastActionPointQuizDate": EPOCH_MS - draw.randrange(DAY_MS),
        "currencyLogs": dumps(_logs(player, draw)),
        "guildApplications": "[]",
        "guildCoins": draw.randrange(900),
        "guildBossAttempts": draw.randrange(3),
        "lastLoginAt": EPOCH_MS - draw.randrange(3 * DAY_MS),
        "dailyDonations": dumps({"gold": 0, "diamond": 0, "date": EPOCH_MS - DAY_MS}),
        "guildShopPurchases": "{}",
        "dailyMissionContribution": dumps({"amount": 0, "date": EPOCH_MS - DAY_MS}),
        "appSettings": dumps(_settings(draw)),
        "inventorySlotsMigrated": 1,
    }


def _record(draw: Random) -> JsonDocument:
    wins, losses = draw.randrange(200), draw.randrange(200)
    return {"wins": wins, "losses": losses, "rankingScore": 1200 + wins - losses, "aiWins": 3, "aiLosses": 1}


def _competitor(n: int, draw: Random) -> JsonDocument:
    return {
        "id": f"bot-competitor-{n}",
        "nickname": f"경쟁자{n}",
        "avatarId": f"profile_{draw.randrange(1, 12)}",
        "borderId": "default",
        "league": "루키",
        "initialScore": draw.randrange(3000),
    }


def _logs(player: Record, draw: Random) -> list[JsonDocument]:
    """Return log entries, newest first; the oldest are missing, as the game cut them off."""
    return [
        {
            "timestamp": EPOCH_MS - n * 3_600_000,
            "type": draw.choice(_LOG_KINDS),
            "amount": draw.randrange(1, 500),
            "reason": draw.choice(_REASONS),
            "balanceAfter": {"gold": player["gold"], "diamonds": player["diamonds"]},
        }
        for n in range(draw.randrange(10, 25))
    ]


def _settings(draw: Random) -> JsonDocument:
    return {
        "graphics": {"theme": "dark", "panelColor": "#1f2937", "textColor": "#d1d5db"},
        "sound": {"masterVolume": draw.randrange(11), "masterMuted": False, "categoryMuted": {"notification": False}},
        "features": {"mobileConfirm": True, "moveConfirmButtonBox": False, "stonePreview": True},
    }
