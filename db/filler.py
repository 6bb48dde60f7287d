"""What a legacy row holds beside what the game models: quests, missions, logs, records, settings.

Shapes and spellings are the legacy service's; the values are drawn from `draw`, so the same player looks the same.
"""

from __future__ import annotations

from random import Random

from db.documents import DAY_MS, EPOCH_MS, Document
from game import catalog
from game.legacy.forms import dumps
from game.rows import Record

_QUESTS = (
    ("출석하기", "게임에 접속하기", 1),
    ("대국 참여하기", "전략 또는 놀이 바둑 대국에 참여하기", 3),
    ("동네바둑리그 참여하기", "동네바둑리그에 참여하기", 1),
    ("장비 강화하기", "대장간에서 장비를 강화하기", 1),
    ("재료 합성하기", "대장간에서 재료를 합성하기", 1),
    ("행동력 퀴즈 풀기", "행동력 퀴즈를 맞히기", 5),
    ("싱글플레이 도전하기", "싱글플레이 스테이지에 도전하기", 2),
)
_MISSIONS = (
    "mission_attendance", "mission_complete_game", "mission_rival_match", "mission_study_joseki", "mission_league",
    "mission_ai_match",
)  # fmt: skip
_MODES = ("클래식 바둑", "따내기 바둑", "스피드 바둑", "베이스 바둑", "히든 바둑", "주사위 바둑", "알까기")
_LEVELS = ("입문", "초급", "중급", "고급", "유단자")
_LOG_KINDS = ("gold_gain", "gold_spend", "diamond_gain", "diamond_spend")
_REASONS = ("대국 보상", "동네바둑리그 경기 보상", "장비 강화", "상점 구매", "일일 퀘스트 보상")


def columns(player: Record, draw: Random) -> dict[str, int | str | None]:
    """Columns of the player's row that the game does not model, by name; those of no use today are None."""
    cleared = draw.randrange(1, 60)
    stages = [f"{_LEVELS[n // 20]}-{n % 20 + 1}" for n in range(cleared)]
    return {
        "stats": dumps({mode: _record(draw) for mode in _MODES}),
        "lastActionPointUpdate": EPOCH_MS - draw.randrange(DAY_MS),
        "mannerScore": 200,
        "quests": dumps({period: _period(period, draw) for period in ("daily", "weekly", "monthly")}),
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
        "singlePlayerProgress": cleared,
        "singlePlayerMissions": dumps({name: _mission(draw) for name in _MISSIONS}),
        "bonusStatPoints": draw.randrange(30),
        "towerProgress": dumps({"highestFloor": draw.randrange(100), "lastClearTimestamp": EPOCH_MS - DAY_MS}),
        "claimedFirstClearRewards": dumps(stages),
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
        "clearedSinglePlayerStages": dumps(stages),
    }


def _record(draw: Random) -> Document:
    wins, losses = draw.randrange(200), draw.randrange(200)
    return {"wins": wins, "losses": losses, "rankingScore": 1200 + wins - losses, "aiWins": 3, "aiLosses": 1}


def _period(period: str, draw: Random) -> Document:
    quests = [_quest(f"q-{period}-{n}", *quest, draw) for n, quest in enumerate(_QUESTS)]
    return {
        "quests": quests,
        "activityProgress": 20 * draw.randrange(6),
        "claimedMilestones": [draw.random() < 0.3 for _ in range(5)],
        "lastReset": EPOCH_MS - DAY_MS // 2,
    }


def _quest(quest: str, title: str, description: str, target: int, draw: Random) -> Document:
    progress = draw.randrange(target + 1)
    return {
        "id": quest,
        "title": title,
        "description": description,
        "progress": progress,
        "target": target,
        "reward": {"gold": draw.choice((50, 100, 200)), "xp": {"type": "strategy", "amount": 50}},
        "activityPoints": 20,
        "isClaimed": progress == target and draw.random() < 0.5,
    }


def _mission(draw: Random) -> Document:
    return {
        "isStarted": True,
        "lastCollectionTime": EPOCH_MS - draw.randrange(DAY_MS),
        "accumulatedAmount": draw.randrange(50),
        "level": draw.randrange(1, 11),
        "accumulatedCollection": draw.randrange(2000),
    }


def _competitor(n: int, draw: Random) -> Document:
    return {
        "id": f"bot-competitor-{n}",
        "nickname": f"경쟁자{n}",
        "avatarId": f"profile_{draw.randrange(1, 12)}",
        "borderId": "default",
        "league": "루키",
        "initialScore": draw.randrange(3000),
    }


def _logs(player: Record, draw: Random) -> list[Document]:
    """Newest first, cut off by age: no full ledger."""
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


def _settings(draw: Random) -> Document:
    return {
        "graphics": {"theme": "dark", "panelColor": "#1f2937", "textColor": "#d1d5db"},
        "sound": {"masterVolume": draw.randrange(11), "masterMuted": False, "categoryMuted": {"notification": False}},
        "features": {"mobileConfirm": True, "moveConfirmButtonBox": False, "stonePreview": True},
    }
