"""Made players: an id and what is `given`, drawn from a seed. The same for Postgres and for a legacy file.

Most players can play: gold and materials to enhance with, something to wear, mail to claim, room for what it brings.
Some own none, one, or the most possible of one kind of thing (`db.samples.sizes`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from uuid import UUID

from faker import Faker

from db.samples import builders, quoted_names, sizes
from db.samples.builders import PlayerAccount
from db.samples.given import Given, Stage
from db.samples.legacy_documents import DAY_MS, EPOCH_MS, LEAGUES
from db.samples.progression import TODAY_MS
from game.legacy.codec.mapping import PERIODS
from game.rows import Rows
from game.rules import catalog

_GRADES = tuple(catalog.GRADES)[:5]
_GRADE_WEIGHTS = (34, 28, 20, 12, 6)
_EQUIPMENT = {grade: [item for item in catalog.TEMPLATES.values() if item.grade == grade] for grade in _GRADES}
_MATERIALS = [item for item in catalog.TEMPLATES.values() if item.type == catalog.MATERIAL]
_CONSUMABLES = [item for item in catalog.TEMPLATES.values() if item.type == catalog.CONSUMABLE]
_NEVER, _LONG_PAST, _FAR_AHEAD = None, EPOCH_MS - 40 * DAY_MS, EPOCH_MS + 3_650 * DAY_MS
_STATES = ("absent", "bracket_ready", "round_in_progress", "complete", "claimed", "eliminated", "absent")

_QUESTS = ("attend", "play", "league", "enhance", "combine", "quiz", "single")
_TARGETS = (1, 3, 1, 1, 1, 5, 2)
_STAGE_LEVELS = ("입문", "초급", "중급", "고급", "유단자")
_STAGES_A_LEVEL = 20
_CLEARED = Stage()  # one for all: a player has up to a hundred of them, and each costs a validation
_MISSIONS = {
    "mission_attendance": (1, 50),
    "mission_complete_game": (20, 150),
    "mission_rival_match": (40, 300),
    "mission_study_joseki": (60, 2),
    "mission_league": (80, 500),
    "mission_ai_match": (100, 3),
}
"""Training missions: how many stages must be cleared, and how much there is of its first level at most."""


@dataclass(frozen=True, slots=True)
class RandomPlayer:
    """A player to make, by `rows`. quoted: the names in the rows are those of `db.samples.quoted_names`."""

    id: str
    account: PlayerAccount
    given: Given
    quoted: bool = False

    def rows(self) -> Rows:
        """Return the player's rows of all PLAYER_STATE tables."""
        rows = builders.rows(self.id, self.given, account=self.account)
        return quoted_names.renamed(rows) if self.quoted else rows


def random_players(players: int, seed: int) -> Iterator[RandomPlayer]:
    """Yield that many players; those of a smaller number are the first of a larger one."""
    names = Faker("ko_KR")
    names.seed_instance(seed)
    for n in range(players):
        yield _random_player(n, names, Random(f"{seed}/{n}"))  # noqa: S311 - variety, not secrecy


def new_uuid(draw: Random) -> str:
    """Return an id that depends on the draws alone."""
    return str(UUID(int=draw.getrandbits(128), version=4))


def _random_player(n: int, names: Faker, draw: Random) -> RandomPlayer:
    level = draw.randrange(3, 60)
    bag, kinds = _bag(draw)
    worn = _worn(kinds, level, draw)
    account = PlayerAccount(
        username=f"{names.user_name()}{n}", nickname=f"{names.name()}{n}", admin=n == 0, **_numbers(n)
    )
    given: dict[str, object] = {
        "league": LEAGUES[min(level // 8, 7)],
        "gold": draw.randrange(3_000, 60_000),
        "diamonds": draw.randrange(500),
        "level": level,
        "forge": {"level": draw.randrange(1, 20), "xp": draw.randrange(1_000)},
        "places": {"equipment": 40, "material": 40, "consumable": 60},
        "bag": bag,
        "worn": worn,
        "mail": dict(_mail(draw) for _ in range(draw.randrange(5, 11))),
        "tournaments": dict(_tournaments(n, draw)),
    }
    given |= _under_way(n, {str(kinds[item_id].slot): item_id for item_id in worn}, draw)
    if sizes.has_one(n):
        given = sizes.resized(given, n)
    kind = "admin-" if n == 0 else "test-" if n % 97 == 96 else ""
    player = f"user-{kind}{new_uuid(draw)}"
    quoted = quoted_names.has_some(n)
    return RandomPlayer(
        quoted_names.player_name(player) if quoted else player, account, Given.model_validate(given), quoted
    )


def _numbers(n: int) -> dict[str, int]:
    """Return the experience and points that a player has gathered; most have none of a kind."""
    draw = Random(f"numbers/{n}")  # noqa: S311 - variety, not secrecy
    names = ("strategy_xp", "playful_xp", "tournament_score", "cumulative_tournament_score")
    return {name: draw.randrange(1, 5_000) if draw.random() < 0.3 else 0 for name in names}


def _bag(draw: Random) -> tuple[dict[str, dict[str, object]], dict[str, catalog.Template]]:
    bag: dict[str, dict[str, object]] = {}
    kinds = {}
    for grade in draw.choices(_GRADES, _GRADE_WEIGHTS, k=draw.randrange(12, 22)):
        item = draw.choice(_EQUIPMENT[grade])
        stars = min(draw.randrange(7), draw.randrange(7))
        item_id = f"item-{new_uuid(draw)}"
        kinds[item_id] = item
        bag[item_id] = {"name": item.name, "stars": stars, "fails": draw.choice((0, 0, 0, 1, 2))}
    stacks = [
        *_MATERIALS,
        *draw.choices(_MATERIALS, k=draw.randrange(8)),
        *draw.sample(_CONSUMABLES, draw.randrange(5, 14)),
    ]
    for item in stacks:
        bag[f"item-{new_uuid(draw)}"] = {"name": item.name, "quantity": draw.randrange(20, 101)}
    shuffled = list(bag)
    draw.shuffle(shuffled)
    return {item_id: bag[item_id] for item_id in shuffled}, kinds


def _worn(kinds: dict[str, catalog.Template], level: int, draw: Random) -> list[str]:
    by_slot = {
        item.slot: item_id
        for item_id, item in kinds.items()
        if item.grade and level >= catalog.GRADES[item.grade].wear_level
    }
    return [item_id for item_id in by_slot.values() if draw.random() < 0.6]


def _mail(draw: Random) -> tuple[str, dict[str, object]]:
    entry: dict[str, object] = {"claimed": draw.random() < 0.4}
    if (expires := draw.choice((_NEVER, _FAR_AHEAD, _FAR_AHEAD, _FAR_AHEAD, _LONG_PAST))) is not None:
        entry["expires"] = expires
    if draw.random() < 0.8:
        entry["gold"] = draw.randrange(10, 500)
    if draw.random() < 0.3:
        entry["diamonds"] = draw.randrange(1, 30)
    if draw.random() < 0.4:
        entry["items"] = {draw.choice(_CONSUMABLES).name: draw.randrange(1, 4)}
    return f"mail-{new_uuid(draw)}", entry


def _tournaments(n: int, draw: Random) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield each kind in one of the states; which one follows from the player's place, so that each occurs."""
    for turn, kind in enumerate(catalog.TOURNAMENTS):
        state = _STATES[(n + 2 * turn) % len(_STATES)]
        if state != "absent":
            yield kind, _tournament(kind, state, draw)


def _tournament(kind: str, state: str, draw: Random) -> dict[str, object]:
    over = state in {"complete", "claimed", "eliminated"}
    entry: dict[str, object] = {
        "status": "complete" if state == "claimed" else state,
        "played": EPOCH_MS - draw.randrange(DAY_MS),
        "claimed": state == "claimed",
    }
    if over:
        entry["rank"] = draw.randrange(1, catalog.TOURNAMENTS[kind].league + 1)
    if kind == "neighborhood":
        entry["gold"] = draw.randrange(50, 2_000)
    elif kind == "national":
        entry["materials"] = {draw.choice(_MATERIALS).name: draw.randrange(1, 20)}
    else:
        entry["boxes"] = {"장비 상자 I": draw.randrange(1, 4)}
    return entry


def _under_way(n: int, worn: dict[str, str], draw: Random) -> dict[str, object]:
    cleared = draw.randrange(1, len(_STAGE_LEVELS) * _STAGES_A_LEVEL + 1)
    return {
        "presets": _presets(n, worn, draw),
        "quests": {period: dict(_quests(period, draw)) for period in PERIODS},
        "milestones": {period: _milestone(draw) for period in PERIODS},
        "missions": dict(_missions(cleared, draw)),
        "stages": _stages(cleared, draw),
        "progress": cleared,
        "action_points": draw.randrange(31),
    }


def _presets(n: int, worn: dict[str, str], draw: Random) -> dict[str, dict[str, str]]:
    """Return what is worn as a preset, for most; for every fifth player one of which an item is gone."""
    presets = {"기본 세트": worn} if worn and draw.random() < 0.8 else {}
    if n % 5 == 0:
        presets["옛 세트"] = worn | {draw.choice(catalog.SLOTS): f"item-{new_uuid(draw)}"}
    return presets


def _quests(period: str, draw: Random) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the quests of a period: some under way, some done, some claimed."""
    for quest, target in zip(_QUESTS, _TARGETS, strict=True):
        progress = draw.choice((0, target - 1, target, target))
        reward: dict[str, object] = {"gold": draw.choice((50, 100, 200))}
        if draw.random() < 0.2:
            reward["items"] = {draw.choice(_CONSUMABLES).name: 1}
        yield (
            f"q-{period}-{quest}",
            {
                "target": target,
                "progress": progress,
                "reward": reward,
                "activity_points": 20,
                "claimed": progress == target and draw.random() < 0.5,
            },
        )


def _milestone(draw: Random) -> dict[str, object]:
    """Return a period's milestones; most never run out, so that whenever the player is played some can be claimed."""
    activity = 20 * draw.randrange(6)
    return {
        "activity": activity,
        "claimed": [points for points in catalog.MILESTONES if points <= activity and draw.random() < 0.4],
        "reset": draw.choice((0, None, 0, TODAY_MS)),
    }


def _missions(cleared: int, draw: Random) -> Iterator[tuple[str, dict[str, object]]]:
    for mission, (opens_with, most) in _MISSIONS.items():
        if cleared >= opens_with and (opens_with == 1 or draw.random() < 0.9):
            yield (
                mission,
                {
                    "started": draw.random() < 0.9,
                    "level": draw.choice((1, 1, 1, 2, 3, 7, 10)),
                    "amount": draw.randrange(most + 1),
                    "collected": draw.randrange(20 * most),
                    "since": EPOCH_MS - draw.randrange(DAY_MS),
                },
            )


def _stages(cleared: int, draw: Random) -> dict[str, Stage]:
    """Return the first so many stages; for some players the reward of the last one was never granted."""
    names = [f"{_STAGE_LEVELS[n // _STAGES_A_LEVEL]}-{n % _STAGES_A_LEVEL + 1}" for n in range(cleared)]
    return dict.fromkeys(names, _CLEARED) | {names[-1]: Stage(rewarded=draw.random() < 0.8)}
