"""The one declaration of a legacy row: each column and document that the game models, its keys, and where they go.

Whatever is not named here stays in forms and cells, byte for byte. `USERS` drives everything: decode, encode, SQLite's
own counts, the columns that a command reads, and `invoke transfer.mapping`. To model one more value of a document, add
its key to the document's fields; to model one more document, add it to `USERS`.
"""

from __future__ import annotations

from collections.abc import Container

from game.json_text import Json, Unreadable, dumps
from game.legacy.codec import readers
from game.legacy.codec.document import Document, Elements, OtherTable, RowMapping
from game.legacy.codec.forms import Field, Fields
from game.legacy.codec.readers import BIGINT, MILESTONES, NO_FLAGS, write_items, write_text
from game.legacy.codec.scalar import Scalar
from game.rows import Record
from game.rules.missions import MISSIONS

KINDS = {"neighborhood": "Neighborhood", "national": "National", "world": "World"}
"""Tournament kinds, and how the legacy columns name them."""

STAGES = {"cleared": "clearedSinglePlayerStages", "rewarded": "claimedFirstClearRewards"}
"""The flags of a single-play stage, and the legacy column that lists the stages which have it."""

PERIODS = ("daily", "weekly", "monthly")
"""The periods of quests and milestones."""


def _id(column: str) -> Field:
    return Field(column, readers.key, dumps, None, "id")


def _text(column: str) -> Field:
    return Field(column, readers.text, dumps, None, "text")


def _text_or_null(column: str) -> Field:
    return Field(column, readers.text_or_nothing, dumps, None, "text or null")


def _number(column: str, low: int = 0, high: int = BIGINT, absent: int | None = 0) -> Field:
    return Field(column, readers.integer(low, high, absent), dumps, absent, f"number{_range(low, high)}")


def _range(low: int, high: int) -> str:
    """Return the range as words; nothing for every number that the column holds."""
    if high == BIGINT:
        return "" if low == -BIGINT else f" ≥ {low}"
    return f" {low} to {high}"


def _flag(column: str) -> Field:
    return Field(column, readers.flag, dumps, absent=False, type="flag")


ITEM: Fields = {
    "id": _id("id"),
    "name": _text("name"),
    "type": _text("type"),
    "slot": _text_or_null("slot"),
    "grade": _text_or_null("grade"),
    "stars": _number("stars", 0, 10),
    "isEquipped": _flag("worn"),
    "quantity": _number("quantity", 1, absent=1),
    "enhancementFails": _number("fails"),
    "options": Field("options", readers.source_text, write_text, None, "any JSON"),
}

ATTACHMENTS: Fields = {
    "gold": _number("gold"),
    "diamonds": _number("diamonds"),
    "actionPoints": _number("action_points"),
    "items": Field("items", readers.attached_items, write_items, "[]", "[{itemId, quantity}]"),
}
MAIL: Fields = {
    "id": _id("id"),
    "attachments": ATTACHMENTS,
    "expiresAt": _number("expires_at", -BIGINT, absent=None),
    "attachmentsClaimed": _flag("claimed"),
}
_ATTACHED = {"itemId", "quantity"}


def check_mail(letter: Json, record: Record) -> None:
    """Raise Unreadable, to be kept aside, if the mail still carries something that the rules don't know.

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


def _unknown(holder: Json, known: Container[str]) -> list[str]:
    """Return the keys that hold something and are not among the known."""
    assert isinstance(holder, dict)
    return [key for key, value in holder.items() if key not in known and value]


TOURNAMENT: Fields = {
    "status": _text_or_null("status"),
    "finalRank": _number("rank", 1, 16, absent=None),
    "accumulatedGold": _number("gold"),
    "accumulatedMaterials": Field("materials", readers.counts, write_text, "{}", "{name: quantity}"),
    "accumulatedEquipmentBoxes": Field("boxes", readers.counts, write_text, "{}", "{name: quantity}"),
}

PRESET: Fields = {
    "name": _id("name"),
    "equipment": Field("equipment", readers.worn_texts, write_text, "{}", "{slot: item id}"),
}

QUEST: Fields = {
    "id": _id("id"),
    "progress": _number("progress"),
    "target": _number("target"),
    "reward": Field("reward", readers.any_text, write_text, "{}", "any JSON"),
    "activityPoints": _number("activity_points"),
    "isClaimed": _flag("claimed"),
}

PERIOD: Fields = {
    "quests": Field("quests", readers.source_text, write_text, None, "array of quests"),
    "activityProgress": _number("activity"),
    "claimedMilestones": Field("claimed", readers.five_flags, write_text, NO_FLAGS, f"{MILESTONES} flags"),
    "lastReset": _number("reset_at", -BIGINT, absent=None),
}
"""`quests` is no column: its value is the text of the array, which is taken apart in its turn."""

MISSION: Fields = {
    "isStarted": _flag("started"),
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

_NEW_ITEM = {
    "id": "id",
    "name": "name",
    "description": "",
    "type": "type",
    "slot": "slot",
    "grade": "grade",
    "level": 1,
    "stars": "stars",
    "isEquipped": "worn",
    "createdAt": 0,
    "image": "",
    "quantity": "quantity",
    "options": "options",
    "enhancementFails": "fails",
}
_NEW_MAIL = {
    "id": "id",
    "from": "",
    "title": "",
    "message": "",
    "attachments": {"gold": "gold", "diamonds": "diamonds", "actionPoints": "action_points", "items": "items"},
    "receivedAt": 0,
    "expiresAt": "expires_at",
    "isRead": False,
    "attachmentsClaimed": "claimed",
}
_NEW_QUEST = {
    "id": "id",
    "title": "",
    "description": "",
    "progress": "progress",
    "target": "target",
    "reward": "reward",
    "activityPoints": "activity_points",
    "isClaimed": "claimed",
}


def _tournament(kind: str, name: str) -> Document:
    # A player without the document plays on: the record of the kind says what of it can't be read.
    return Document(
        column=f"last{name}Tournament",
        table="user_tournaments",
        shape="record",
        key="kind",
        name=kind,
        fields=TOURNAMENT,
        template={"type": kind, "status": "status", **{key: one.column for key, one in _flat(TOURNAMENT)}},
        elements="aside",
        unreadable="aside",
        status="status",
        beside={f"last{name}PlayedDate": PLAYED_AT, f"{kind}RewardClaimed": CLAIMED},
    )


def _flat(fields: Fields) -> list[tuple[str, Field]]:
    return [(key, one) for key, one in fields.items() if isinstance(one, Field)]


def _stages(flag: str, column: str) -> Document:
    # Were a column that can't be read "no stage cleared", a first-clear reward could be granted a second time.
    return Document(
        column=column, table="user_stages", shape="names", key="stage", name=flag, fields={}, elements="aside"
    )


USERS = RowMapping(
    SCALARS,
    (
        Document(column="actionPoints", table="users", shape="object", fields=ACTION_POINTS),
        Document(
            column="inventorySlots",
            table="users",
            shape="object",
            fields=PLACES,
            declared="INTEGER",
            one_number=True,
        ),
        Document(
            column="inventory",
            table="user_inventory",
            shape="array",
            key="id",
            fields=ITEM,
            needs=("id", "name", "type"),
            template=_NEW_ITEM,
            worn="isEquipped",
            worn_by="equipment",
            others=("user_equipment",),
        ),
        Document(
            column="equipment",
            table="user_equipment",
            shape="slots",
            key="slot",
            fields={},
            elements="aside",
            unreadable="aside",
            refuses=True,
            worn="inventory",
            others=("user_inventory",),
        ),
        Document(
            column="mail",
            table="user_mail",
            shape="array",
            key="id",
            fields=MAIL,
            needs=("id",),
            template=_NEW_MAIL,
            check=check_mail,
        ),
        Document(
            column="equipmentPresets",
            table="user_equipment_presets",
            shape="array",
            key="name",
            fields=PRESET,
            needs=("name",),
            elements="aside",
            unreadable="aside",
            refuses=True,
        ),
        Document(
            column="quests",
            table="user_quests",
            shape="periods",
            key="id",
            fields=QUEST,
            needs=("id",),
            template=_NEW_QUEST,
            periods=PERIODS,
            outer=Elements(fields=PERIOD),
            outer_table="user_milestones",
        ),
        Document(
            column="singlePlayerMissions",
            table="user_missions",
            shape="entries",
            key="id",
            fields=MISSION,
            elements="aside",
            refuses=True,
            used=MISSIONS,
        ),
        *(_stages(flag, column) for flag, column in STAGES.items()),
        *(_tournament(kind, name) for kind, name in KINDS.items()),
    ),
)
"""The legacy `users`."""

OTHERS: dict[str, OtherTable] = {
    "user_credentials": OtherTable(
        "user_credentials",
        key="username",
        columns={"username": "username", "passwordHash": "password_hash", "userId": "user_id"},
    ),
    "kv": OtherTable("key_values", key="key", columns={"key": "key", "value": "value"}),
    "live_games": OtherTable("live_games", key="id", columns={}),
}
"""The other legacy tables of which something is modelled. Every other table's rows are kept whole."""
