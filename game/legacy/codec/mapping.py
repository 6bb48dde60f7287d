"""What the game models of a legacy row: which JSON keys and columns, how each is read, and how it is written.

Whatever is not named here stays in forms and cells, byte for byte.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Container
from dataclasses import dataclass

from game.json_text import Field, Fields, Json, Unreadable, dumps
from game.legacy.sqlite_values import Cell
from game.rows import Record, Value
from game.rules.json_columns import UNREADABLE, from_json

BIGINT = 2**63 - 1
KINDS = {"neighborhood": "Neighborhood", "national": "National", "world": "World"}
"""Tournament kinds, and how the legacy columns name them."""

STAGES = {"cleared": "clearedSinglePlayerStages", "rewarded": "claimedFirstClearRewards"}
"""The flags of a single-play stage, and the legacy column that lists the stages which have it."""

PERIODS = ("daily", "weekly", "monthly")
"""Of quests and milestones."""

MILESTONES = 5
NO_FLAGS = "[false,false,false,false,false]"

KEY_BYTES = 800
"""The longest text that is a key: an index row of Postgres holds 2,704 bytes, and a key is at most three texts."""


def storable(text: str) -> bool:
    """Whether Postgres can hold the text: no NUL, no lone surrogate."""
    if "\x00" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def text(parsed: Json, _raw: str) -> str:
    if not isinstance(parsed, str) or not parsed:
        raise Unreadable("not_a_text", "expected a text that is not empty")
    if not storable(parsed):
        raise Unreadable("not_storable", "the text holds NUL or a lone surrogate")
    return parsed


def indexable(text: str) -> bool:
    """Whether Postgres can hold the text as part of a key."""
    return storable(text) and len(text.encode()) <= KEY_BYTES


def key(parsed: Json, raw: str) -> str:
    found = text(parsed, raw)
    if not indexable(found):
        raise Unreadable("too_long", f"expected an id of at most {KEY_BYTES} bytes")
    return found


def text_or_nothing(parsed: Json, raw: str) -> str | None:
    return None if parsed is None else "" if parsed == "" else text(parsed, raw)


def integer(low: int, high: int, nothing: int | None) -> Callable[[Json, str], int | None]:
    """A reader of whole numbers from `low` to `high`; null reads as `nothing`."""

    def read(parsed: Json, _raw: str) -> int | None:
        if parsed is None:
            return nothing
        if isinstance(parsed, float) and parsed.is_integer():
            parsed = int(parsed)
        if not isinstance(parsed, int) or isinstance(parsed, bool):
            raise Unreadable("not_an_integer", "expected a whole number")
        if not low <= parsed <= high:
            raise Unreadable("out_of_range", f"expected {low} to {high}")
        return parsed

    return read


def flag(parsed: Json, _raw: str) -> bool:
    if parsed is None or parsed is False or parsed is True:
        return bool(parsed)
    if parsed in (0, 1):
        return bool(parsed)
    raise Unreadable("not_a_flag", "expected true or false")


def source_text(parsed: Json, raw: str) -> str | None:
    return None if parsed is None else raw


def any_text(parsed: Json, raw: str) -> str:
    """Whatever stands there, as its source text; null reads as an empty object."""
    return "{}" if parsed is None else raw


def worn_texts(parsed: Json, raw: str) -> str:
    """{slot: item id or null} as its source text."""
    if parsed is None:
        return "{}"
    if not isinstance(parsed, dict) or (raw and from_json(raw) is UNREADABLE):
        raise Unreadable("not_an_object", "expected {slot: item id}, each slot once")
    for slot, item in parsed.items():
        if not storable(slot) or not (item is None or (isinstance(item, str) and storable(item))):
            raise Unreadable("not_an_item", "expected {slot: item id}")
    return raw


def five_flags(parsed: Json, _raw: str) -> str:
    """Five flags as JSON text."""
    if parsed is None:
        return NO_FLAGS
    if not isinstance(parsed, list) or len(parsed) != MILESTONES or not all(isinstance(one, bool) for one in parsed):
        raise Unreadable("not_flags", f"expected {MILESTONES} of true or false")
    return dumps(parsed)


def counts(parsed: Json, _raw: str) -> str:
    """{name: quantity} as JSON text."""
    if parsed is None:
        return "{}"
    if not isinstance(parsed, dict):
        raise Unreadable("not_an_object", "expected {name: quantity}")
    for name, quantity in parsed.items():
        text(name, "")
        integer(0, BIGINT, 0)(quantity, "")
    return dumps(parsed)


def attached_items(parsed: Json, _raw: str) -> str:
    """[{itemId, quantity}] as JSON text [[name, quantity], …]."""
    if parsed is None:
        return "[]"
    if not isinstance(parsed, list):
        raise Unreadable("not_an_array", "expected [{itemId, quantity}]")
    return dumps([_attached(item) for item in parsed])


def _attached(item: Json) -> list[Value]:
    if not isinstance(item, dict):
        raise Unreadable("not_an_object", "expected {itemId, quantity}")
    return [text(item.get("itemId"), ""), integer(1, BIGINT, 1)(item.get("quantity"), "")]


def _unknown(found: Json, known: Container[str]) -> list[str]:
    """The keys that hold something and are not among the known."""
    assert isinstance(found, dict)
    return [key for key, value in found.items() if key not in known and value]


def write_text(value: Value) -> str:
    return str(value) if value is not None else "null"


def write_items(value: Value) -> str:
    return dumps([{"itemId": name, "quantity": quantity} for name, quantity in json.loads(str(value))])


def _number(column: str, low: int = 0, high: int = BIGINT, absent: int | None = 0) -> Field:
    return Field(column, integer(low, high, absent), dumps, absent)


ITEM: Fields = {
    "id": Field("id", key, dumps, None),
    "name": Field("name", text, dumps, None),
    "type": Field("type", text, dumps, None),
    "slot": Field("slot", text_or_nothing, dumps, None),
    "grade": Field("grade", text_or_nothing, dumps, None),
    "stars": _number("stars", 0, 10),
    "isEquipped": Field("worn", flag, dumps, False),  # noqa: FBT003 - what an absent flag means
    "quantity": _number("quantity", 1, absent=1),
    "enhancementFails": _number("fails"),
    "options": Field("options", source_text, write_text, None),
}
ITEM_NEEDS = ("id", "name", "type")

ATTACHMENTS: Fields = {
    "gold": _number("gold"),
    "diamonds": _number("diamonds"),
    "actionPoints": _number("action_points"),
    "items": Field("items", attached_items, write_items, "[]"),
}
MAIL: Fields = {
    "id": Field("id", key, dumps, None),
    "attachments": ATTACHMENTS,
    "expiresAt": _number("expires_at", -BIGINT, absent=None),
    "attachmentsClaimed": Field("claimed", flag, dumps, False),  # noqa: FBT003 - what an absent flag means
}
MAIL_NEEDS = ("id",)
_ATTACHED = {"itemId", "quantity"}


def check_mail(letter: Json, record: Record) -> None:
    """Unreadable, to be kept aside, where the mail still carries something that the rules don't know.

    Claimed it would be gone with the mail. What was claimed before, and a key that holds nothing, lose nothing.
    """
    attachments = letter.get("attachments") if isinstance(letter, dict) else None
    if record["claimed"] or not isinstance(attachments, dict):
        return
    unknown = _unknown(attachments, ATTACHMENTS)
    items = attachments.get("items")
    for item in items if isinstance(items, list) else []:
        unknown += _unknown(item, _ATTACHED)
    if unknown:
        raise Unreadable("unknown_attachment", f"it carries what no rule knows: {', '.join(unknown)[:100]}", aside=True)


TOURNAMENT: Fields = {
    "status": Field("status", text_or_nothing, dumps, None),
    "finalRank": _number("rank", 1, 16, absent=None),
    "accumulatedGold": _number("gold"),
    "accumulatedMaterials": Field("materials", counts, write_text, "{}"),
    "accumulatedEquipmentBoxes": Field("boxes", counts, write_text, "{}"),
}

PRESET: Fields = {
    "name": Field("name", key, dumps, None),
    "equipment": Field("equipment", worn_texts, write_text, "{}"),
}
PRESET_NEEDS = ("name",)

QUEST: Fields = {
    "id": Field("id", key, dumps, None),
    "progress": _number("progress"),
    "target": _number("target"),
    "reward": Field("reward", any_text, write_text, "{}"),
    "activityPoints": _number("activity_points"),
    "isClaimed": Field("claimed", flag, dumps, False),  # noqa: FBT003 - what an absent flag means
}
QUEST_NEEDS = ("id",)

PERIOD: Fields = {
    "quests": Field("quests", source_text, write_text, None),
    "activityProgress": _number("activity"),
    "claimedMilestones": Field("claimed", five_flags, write_text, NO_FLAGS),
    "lastReset": _number("reset_at", -BIGINT, absent=None),
}
"""`quests` is no column: its value is the text of the array, which is taken apart in its turn."""

MISSION: Fields = {
    "isStarted": Field("started", flag, dumps, False),  # noqa: FBT003 - what an absent flag means
    "lastCollectionTime": _number("since", -BIGINT, absent=None),
    "accumulatedAmount": _number("amount"),
    "level": _number("level", 1, 10, absent=1),
    "accumulatedCollection": _number("collected"),
}

ACTION_POINTS: Fields = {
    "current": _number("action_points"),
    "max": _number("action_points_max", absent=30),
}
PLACES: Fields = {
    "equipment": _number("places_equipment", absent=30),
    "consumable": _number("places_consumable", absent=30),
    "material": _number("places_material", absent=30),
}


@dataclass(frozen=True, slots=True)
class Scalar:
    """A plain legacy column: the column it goes to, the value that stands in for what can't be read, and its range."""

    column: str
    kind: type
    absent: Value
    low: int = -BIGINT
    holds: bool = False
    """Whether a player whose value can't be read is held."""
    added: bool = False
    """Whether commands add to it: then a player is held where nothing can be added to the value without losing it."""
    unique: bool = False
    """Whether no two players may share it, so that it must fit an index."""

    def read(self, cell: Cell) -> Value:
        """The cell's value; NULL reads as `absent`; raises Unreadable."""
        if cell is None:
            return self.absent
        if self.kind is str:
            return self._text(cell)
        if isinstance(cell, bytes) or not isinstance(cell, int | float):
            raise Unreadable("not_an_integer", f"expected a whole number in {self.column}")
        if self.kind is bool:
            return flag(cell, "")
        return integer(self.low, BIGINT, None)(cell, "")

    def stand_in(self, cell: Cell) -> Value:
        """What a cell that can't be read counts as: a decimal as its whole part, anything else as nothing."""
        whole = self._whole_part(cell)
        return self.absent if whole is None else whole

    def counts(self, cell: Cell) -> bool:
        """Whether the cell's value, or at least its whole part, is known."""
        try:
            self.read(cell)
        except Unreadable:
            return self._whole_part(cell) is not None
        return True

    def _whole_part(self, cell: Cell) -> int | None:
        """A decimal's, where it is in the range."""
        if self.kind is not int or not isinstance(cell, float) or not math.isfinite(cell):
            return None
        # floor, not trunc: floor(cell + added) equals floor(cell) + added for negative cells too.
        whole = math.floor(cell)
        return whole if self.low <= whole <= BIGINT else None

    def _text(self, cell: Cell) -> str:
        if not isinstance(cell, str):
            raise Unreadable("not_a_text", f"expected text in {self.column}")
        if not storable(cell):
            raise Unreadable("not_storable", f"the text in {self.column} holds NUL")
        if self.unique and not indexable(cell):
            raise Unreadable("too_long", f"expected at most {KEY_BYTES} bytes in {self.column}")
        return cell

    def write(self, value: Value) -> Cell:
        """The cell that the service of today would write."""
        return int(value) if isinstance(value, bool) else value

    def written_over(self, cell: Cell, value: Value, *, unread: bool = False) -> Cell:
        """The cell that was kept, where it still counts as the value; a decimal and what was added; else our own.

        unread: the value was made by a version that could not read the cell. This one may read it as something else,
        which would look like a change by a command.
        """
        try:
            read = self.stand_in(cell) if unread else self.read(cell)
        except Unreadable:
            read = self.stand_in(cell)
        if type(read) is type(value) and read == value:
            return cell
        whole = self._whole_part(cell)
        if whole is not None and isinstance(cell, float) and not cell.is_integer() and isinstance(value, int):
            added = cell + (value - whole)
            # A sum past 2**53 is not exact, so the whole number is written instead.
            if math.floor(added) == value:
                return added
        return self.write(value)


SCALARS: dict[str, Scalar] = {
    "username": Scalar("username", str, None, unique=True),
    "nickname": Scalar("nickname", str, None, unique=True),
    "isAdmin": Scalar("is_admin", bool, absent=False),
    "strategyLevel": Scalar("strategy_level", int, 1),
    "strategyXp": Scalar("strategy_xp", int, 0, added=True),
    "playfulLevel": Scalar("playful_level", int, 1),
    "playfulXp": Scalar("playful_xp", int, 0, added=True),
    "gold": Scalar("gold", int, 0, low=0, holds=True),
    "diamonds": Scalar("diamonds", int, 0, low=0, holds=True),
    "league": Scalar("league", str, None),
    "tournamentScore": Scalar("tournament_score", int, 0, added=True),
    "cumulativeTournamentScore": Scalar("cumulative_tournament_score", int, 0, added=True),
    "blacksmithLevel": Scalar("forge_level", int, 1, low=1, added=True),
    "blacksmithXp": Scalar("forge_xp", int, 0, low=0, added=True),
    "singlePlayerProgress": Scalar("stage_progress", int, 0, added=True),
}

PLAYED_AT = Scalar("played_at", int, None)
CLAIMED = Scalar("claimed", bool, absent=False)

DECLARED = {
    **dict.fromkeys(SCALARS, "INTEGER"),
    "username": "TEXT",
    "nickname": "TEXT",
    "league": "TEXT",
    "isAdmin": "BOOLEAN",
    "inventory": "TEXT",
    "equipment": "TEXT",
    "mail": "TEXT",
    "actionPoints": "TEXT",
    "inventorySlots": "INTEGER",
    **{f"last{name}Tournament": "TEXT" for name in KINDS.values()},
    **{f"last{name}PlayedDate": "INTEGER" for name in KINDS.values()},
    **{f"{kind}RewardClaimed": "BOOLEAN" for kind in KINDS},
    "equipmentPresets": "TEXT",
    "quests": "TEXT",
    "singlePlayerMissions": "TEXT",
    **dict.fromkeys(STAGES.values(), "TEXT"),
}
"""The legacy columns that commands may write, with the type to declare where an older file lacks one."""
