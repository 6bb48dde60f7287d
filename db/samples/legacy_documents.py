"""Documents as the legacy service writes them, for what the game models: items, mail, quests, tournaments.

Each takes a record of game/tables.py and gives the object that stands for it in the legacy JSON, with all that the
game does not model (descriptions, pictures, rosters) filled in. Deterministic: what varies is drawn from `draw`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from random import Random
from typing import TypeAlias

from game.rows import Record, Value
from game.rules import catalog

JsonDocument: TypeAlias = dict[str, object]

EPOCH_MS = 1_767_582_000_000
"""2026-01-05T12:00:00+09:00, the scenarios' default clock; the made players' past lies before it."""
DAY_MS = 86_400_000
LEAGUES = ("새싹", "루키", "라이징", "에이스", "다이아", "마스터", "그랜드마스터", "챌린저")
TITLES = {"neighborhood": "동네바둑리그", "national": "전국바둑대회", "world": "월드챔피언십"}
ROUND_NAMES = {2: "결승", 4: "4강", 8: "8강", 16: "16강"}

QUESTS = (
    ("출석하기", "게임에 접속하기"),
    ("대국 참여하기", "전략 또는 놀이 바둑 대국에 참여하기"),
    ("동네바둑리그 참여하기", "동네바둑리그에 참여하기"),
    ("장비 강화하기", "대장간에서 장비를 강화하기"),
    ("재료 합성하기", "대장간에서 재료를 합성하기"),
    ("행동력 퀴즈 풀기", "행동력 퀴즈를 맞히기"),
    ("싱글플레이 도전하기", "싱글플레이 스테이지에 도전하기"),
)

_SURNAMES = "김이박최정강조윤장임한오서신권황안송류홍"
_GIVEN = ("민준", "서연", "도윤", "지우", "하은", "시우", "예준", "수아", "주원", "지호")
_COMMENTARY = (
    ("early", "양 선수가 화점과 소목에 돌을 놓으며 차분하게 포석을 펼칩니다."),
    ("mid", "중앙의 대마를 둘러싼 공방이 벌어집니다. 한 수의 가치가 큽니다!"),
    ("end", "끝내기에 들어섰습니다. 반집을 다투는 승부입니다."),
)


def item(record: Record, *, worn: bool, draw: Random) -> JsonDocument:
    """Return one object of `inventory`; `worn` says what isEquipped says."""
    name, kind, slot, grade = (
        None if record[key] is None else str(record[key]) for key in ("name", "type", "slot", "grade")
    )
    document: JsonDocument = {
        "id": record["id"],
        "name": name,
        "description": f"{name}입니다.",
        "type": kind,
        "slot": slot,
        "grade": grade,
        "level": 1,
        "stars": record["stars"],
        "isEquipped": worn,
        "createdAt": EPOCH_MS - draw.randrange(400 * DAY_MS),
        "image": f"/images/{kind}/{slot or 'item'}_{grade or 'common'}.webp",
    }
    if kind != "equipment" or record["quantity"] != 1:
        document["quantity"] = record["quantity"]
    if record["options"] is not None:
        document["options"] = json.loads(str(record["options"]))
    if record["fails"]:
        document["enhancementFails"] = record["fails"]
    return document


def mail(record: Record, *, draw: Random) -> JsonDocument:
    """Return one object of `mail`; attachments only where there is something attached."""
    received = EPOCH_MS - draw.randrange(1, 30 * DAY_MS)
    document: JsonDocument = {
        "id": record["id"],
        "from": "System",
        "title": draw.choice(("출석 보상", "주간 리그 보상", "점검 보상", "이벤트 당첨 안내")),
        "message": "언제나 찾아 주셔서 감사합니다. 첨부된 보상을 기간 안에 받아 주세요.\n좋은 대국 되세요!",
    }
    if attachments := _attachments(record):
        document["attachments"] = attachments
    document["receivedAt"] = received
    if record["expires_at"] is not None:
        document["expiresAt"] = record["expires_at"]
    document["isRead"] = bool(record["claimed"]) or draw.random() < 0.3
    document["attachmentsClaimed"] = record["claimed"]
    return document


def _attachments(record: Record) -> JsonDocument:
    keys = {"gold": "gold", "diamonds": "diamonds", "action_points": "actionPoints"}
    attached: JsonDocument = {key: record[column] for column, key in keys.items() if record[column]}
    if items := json.loads(str(record["items"])):
        attached["items"] = [{"itemId": name, "quantity": quantity} for name, quantity in items]
    return attached


def tournament(record: Record, *, player: Record, draw: Random) -> JsonDocument:
    """Return the state of the last tournament of one kind: roster, rounds, what was gathered in its matches."""
    kind = str(record["kind"])
    roster = [_entrant(str(player["id"]), str(player["nickname"]), str(player["league"]), draw)]
    roster += [_bot(kind, n, str(player["league"]), draw) for n in range(1, catalog.TOURNAMENTS[kind].league)]
    finished = record["status"] in {"complete", "eliminated"}
    document: JsonDocument = {
        "type": kind,
        "status": record["status"],
        "title": TITLES[kind],
        "players": roster,
        "rounds": (_league_rounds if kind == "neighborhood" else _knock_out)(roster, draw, finished),
        "currentSimulatingMatch": None,
        "currentMatchCommentary": [],
        "lastPlayedDate": record["played_at"],
        "nextRoundStartTime": None,
        "timeElapsed": 140 if finished else 0,
    }
    if record["rank"] is not None:
        document["finalRank"] = record["rank"]
    gathered: dict[str, Value | JsonDocument] = {
        "accumulatedGold": record["gold"],
        "accumulatedMaterials": json.loads(str(record["materials"])),
        "accumulatedEquipmentBoxes": json.loads(str(record["boxes"])),
    }
    return document | {key: value for key, value in gathered.items() if value}


def preset(record: Record) -> JsonDocument:
    """Make one object of the list `equipmentPresets`."""
    return {"name": record["name"], "equipment": json.loads(str(record["equipment"]))}


def period(record: Record, quests: Iterable[Record], *, draw: Random) -> JsonDocument:
    """Return one period of `quests`: its record of user_milestones, and its quests."""
    return {
        "quests": [_quest(quest, draw) for quest in quests],
        "activityProgress": record["activity"],
        "claimedMilestones": json.loads(str(record["claimed"])),
        "lastReset": record["reset_at"],
    }


def _quest(record: Record, draw: Random) -> JsonDocument:
    title, description = draw.choice(QUESTS)
    return {
        "id": record["id"],
        "title": title,
        "description": description,
        "progress": record["progress"],
        "target": record["target"],
        "reward": json.loads(str(record["reward"])),
        "activityPoints": record["activity_points"],
        "isClaimed": record["claimed"],
    }


def mission(record: Record) -> JsonDocument:
    """Make one value of the object `singlePlayerMissions`."""
    return {
        "isStarted": record["started"],
        "lastCollectionTime": record["since"],
        "accumulatedAmount": record["amount"],
        "level": record["level"],
        "accumulatedCollection": record["collected"],
    }


def _entrant(entrant: str, nickname: str, league: str, draw: Random) -> JsonDocument:
    return {
        "id": entrant,
        "nickname": nickname,
        "avatarId": f"profile_{draw.randrange(1, 12)}",
        "borderId": "default",
        "league": league,
        "stats": {name: draw.randrange(80, 400) for name in catalog.CORE_STATS},
        "wins": draw.randrange(4),
        "losses": draw.randrange(4),
        "condition": draw.randrange(40, 101),
    }


def _bot(kind: str, n: int, league: str, draw: Random) -> JsonDocument:
    return _entrant(f"bot-{kind}-{n}", draw.choice(_SURNAMES) + draw.choice(_GIVEN), league, draw)


def _league_rounds(roster: list[JsonDocument], draw: Random, finished: bool) -> list[JsonDocument]:
    """Return the rounds in which everybody plays everybody once, three matches a round: the circle method."""
    wheel = list(roster)
    rounds = []
    for number in range(1, len(roster)):
        pairs = [(wheel[n], wheel[-1 - n]) for n in range(len(wheel) // 2)]
        rounds.append(_round(number, f"{number}회차", pairs, draw, finished or number == 1))
        wheel = [wheel[0], wheel[-1], *wheel[1:-1]]
    return rounds


def _knock_out(roster: list[JsonDocument], draw: Random, finished: bool) -> list[JsonDocument]:
    left: list[JsonDocument] = list(roster)
    rounds: list[JsonDocument] = []
    while len(left) > 1:
        pairs = list(zip(left[::2], left[1::2], strict=True))
        rounds.append(_round(len(rounds) + 1, ROUND_NAMES[len(left)], pairs, draw, finished or not rounds))
        left = [pair[0] for pair in pairs]
        if not finished:
            break
    return rounds


def _round(
    number: int, name: str, pairs: list[tuple[JsonDocument, JsonDocument]], draw: Random, played: bool
) -> JsonDocument:
    matches = [_match(number, n, pair, draw, played) for n, pair in enumerate(pairs)]
    return {"id": number, "name": name, "matches": matches}


def _match(number: int, n: int, pair: tuple[JsonDocument, JsonDocument], draw: Random, played: bool) -> JsonDocument:
    lead = draw.randrange(51, 70)
    brief = [{"id": entrant["id"]} for entrant in pair]
    return {
        "id": f"match-{number}-{n}",
        "players": brief,
        "winner": brief[0] if played else None,
        "isFinished": played,
        "commentary": [{"phase": phase, "text": text} for phase, text in _COMMENTARY] if played and n == 0 else [],
        "isUserMatch": n == 0,
        "finalScore": {"player1": lead, "player2": 100 - lead} if played else None,
    }
