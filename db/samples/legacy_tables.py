"""Rows of the legacy file's other tables: credentials, games in play, and the keyed values."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from db.legacy import declared_tables
from db.samples.legacy_documents import DAY_MS, EPOCH_MS, JsonDocument
from game.json_text import dumps
from game.legacy.sqlite_values import BadText, Cell
from game.rules import catalog

RowCells = tuple[Cell, ...]

_MODES = ("클래식 바둑", "따내기 바둑", "스피드 바둑", "주사위 바둑", "알까기")


def credentials(username: Cell, player_id: Cell, draw: Random) -> RowCells:
    """Return a row of user_credentials; the hash is one of nothing."""
    return username, f"{draw.getrandbits(128):032x}:{draw.getrandbits(512):0128x}", player_id


def live_game(n: int, players: list[Cell], draw: Random) -> dict[str, Cell]:
    """Return a row of live_games: most of its columns NULL, as they are."""
    black, white = draw.sample(players, 2) if len(players) > 1 else (players[0], "bot-ai")
    turns = draw.randrange(80)
    moves = [{"x": draw.randrange(19), "y": draw.randrange(19), "player": 1 + turn % 2} for turn in range(turns)]
    started = EPOCH_MS - draw.randrange(DAY_MS)
    return dict.fromkeys(declared_tables.names("live_games")) | {
        "id": f"game-{draw.getrandbits(64):016x}-{n}",
        "mode": draw.choice(_MODES),
        "player1": dumps({"id": black, "stats": dict.fromkeys(catalog.CORE_STATS, 100)}),
        "player2": dumps({"id": white, "stats": dict.fromkeys(catalog.CORE_STATS, 100)}),
        "blackPlayerId": black,
        "whitePlayerId": white,
        "gameStatus": draw.choice(("playing", "scoring", "pending", "paused")),
        "currentPlayer": 1 + len(moves) % 2,
        "boardState": dumps(_board(moves)),
        "moveHistory": dumps(moves),
        "captures": '{"0":0,"1":3,"2":1}',
        "createdAt": started,
        "lastMove": dumps(moves[-1]) if moves else None,
        "passCount": 0,
        "koInfo": "null",
        "blackTimeLeft": 1_799.25,
        "whiteTimeLeft": 1_800.0,
        "turnDeadline": started + 30_000.5,
        "turnStartTime": float(started),
        "settings": dumps({"boardSize": 19, "komi": 6.5, "timeLimit": 30, "byoyomiTime": 30, "byoyomiCount": 3}),
        "finalKomi": 6.5,
        "isAiGame": 0,
        "isSinglePlayer": 0,
        "gameCategory": "normal",
    }


def _board(moves: list[dict[str, int]]) -> list[list[int]]:
    board = [[0] * 19 for _ in range(19)]
    for move in moves:
        board[move["y"]][move["x"]] = move["player"]
    return board


def key_values(players: list[Cell], draw: Random) -> Iterator[RowCells]:
    """Yield rows of kv. The administrators' log grows with the players: a megabyte at some 5,000."""
    yield "guilds", dumps({guild["id"]: guild for guild in _guilds(players, draw)})
    yield "announcements", dumps([{"id": f"ann-{n}", "message": f"{n}번째 공지: 정기 점검 안내"} for n in range(5)])
    yield "adminLogs", dumps([_admin_log(n, players, draw) for n in range(max(20, len(players)))])
    yield "lastSeasonProcessed", dumps({"season": 4, "at": EPOCH_MS - 5 * DAY_MS})
    yield "gameCounter", "184467"
    yield "maintenance", "false"


def _guilds(players: list[Cell], draw: Random) -> Iterator[JsonDocument]:
    for n in range(max(1, len(players) // 25)):
        members = draw.sample(players, min(len(players), draw.randrange(1, 25)))
        yield {
            "id": f"guild-{n}",
            "name": f"제{n}기원",
            "leaderId": members[0],
            "members": [{"userId": member, "contribution": draw.randrange(9_000)} for member in members],
            "level": draw.randrange(1, 20),
        }


def _admin_log(n: int, players: list[Cell], draw: Random) -> JsonDocument:
    return {
        "id": f"log-{draw.getrandbits(64):016x}",
        "timestamp": EPOCH_MS - n * 3_600_000,
        "adminNickname": "운영자",
        "targetUserId": draw.choice(players),
        "action": draw.choice(("gift", "chat_ban", "reset_stats", "update_user_details")),
        "backupData": {"gold": draw.randrange(10_000), "memo": "관리자가 우편으로 보상을 지급하고 이력을 남겼습니다."},
    }


def unusual_key_values() -> Iterator[RowCells]:
    """Yield keys with values that are no JSON, or no text at all."""
    yield "brokenFlag", '{"on":tru'
    yield "blobFlag", b"\x00\xff"
    yield "badText", BadText(b"\xc3\x28")
    yield "nul\x00key", "null"
    yield "nothing", None
    yield "number", 7.5
