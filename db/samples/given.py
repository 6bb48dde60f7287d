"""Typed properties of a sample player: the differences from the default one, for scenarios, seeds and builders alike.

Frozen and checked when it is made: an unknown key, a wrong type and a number out of range raise pydantic's
ValidationError, which names the place. The game's own names are checked by those who use it: a scenario before anything
runs, a builder while it makes the player.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    PlainValidator,
    StringConstraints,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from db.samples import moments
from db.samples.legacy_documents import EPOCH_MS
from game.rules.commands import Milestone, Period, Slot, TournamentKind

DEFAULT_CLOCK = "2026-01-05T12:00:00+09:00"
START_OF_DAY = "2026-01-05T00:00:00+09:00"
NAME = r"^[a-z][a-z0-9_-]*$"
MOMENTS = {"mail": "expires", "milestones": "reset", "missions": "since", "tournaments": "played"}
"""Of what is given, the field of each entry that is a moment: it may be written as a distance from the clock."""
UNKNOWN_KEYS: Final = "unknown_keys"
EMPTY_KEYS: Final = "empty_keys"


class BadGiven(ValueError):
    """Raised for a name that there is not; the message says where, what was expected and what was found."""


def _moment(value: object) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise ValueError(moments.EXPECTED)  # noqa: TRY004 - pydantic makes an error of a ValueError alone
    moments.moved(EPOCH_MS, value)
    return value


AsList: Final = Field(strict=False)
"""On a tuple: a list is taken for one; its elements stay strict."""
Count: TypeAlias = Annotated[int, Field(ge=0)]
Positive: TypeAlias = Annotated[int, Field(ge=1)]
Name: TypeAlias = Annotated[str, StringConstraints(pattern=NAME)]
Title: TypeAlias = Annotated[str, StringConstraints(min_length=1)]
Level: TypeAlias = Annotated[int, Field(ge=1, le=20)]
Moment: TypeAlias = Annotated[str | int, PlainValidator(_moment), WithJsonSchema({"type": "string"})]
"""An ISO time, a distance from a clock, or epoch milliseconds; these are for code, and no scenario may have them."""


class Model(BaseModel):
    """Frozen; an unknown key is an error, and nothing is converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    nullable: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_and_empty_keys(cls, data: Any) -> Any:
        """Do as `extra="forbid"` does, but say which keys there are; refuse a key without a value."""
        if not isinstance(data, dict):
            return data
        known = [field.alias or name for name, field in cls.model_fields.items()]
        if unknown := [key for key in data if key not in known]:
            context = {"unknown": unknown, "known": known}
            raise PydanticCustomError(UNKNOWN_KEYS, "Keys should be of {known}, not {unknown}", context)
        if empty := [key for key, value in data.items() if value is None and key not in cls.nullable]:
            raise PydanticCustomError(EMPTY_KEYS, "Keys should have values, and {empty} have none", {"empty": empty})
        return data


class Bagged(Model):
    """An item in a bag; its type, slot and grade follow from its name."""

    name: str
    stars: Annotated[int, Field(ge=0, le=10)] = 0
    quantity: Positive = 1
    fails: Count = 0
    options: dict[str, JsonValue] | None = None


class Letter(Model):
    """A mail and what is attached to it."""

    gold: Count = 0
    diamonds: Count = 0
    action_points: Count = 0
    items: dict[str, Positive] = {}
    expires: Moment | None = None
    claimed: bool = False


class Places(Model):
    """The number of places of a bag, by type."""

    equipment: Count = 30
    material: Count = 30
    consumable: Count = 30


class Forge(Model):
    """The forge's level, and the experience gathered at it."""

    level: Level = 1
    xp: Count = 0


class Tournament(Model):
    """The last tournament of a kind: its state, and what was gathered in its matches."""

    nullable = frozenset({"status"})
    status: str | None = "bracket_ready"
    rank: Annotated[int, Field(ge=1, le=16)] | None = None
    gold: Count = 0
    materials: dict[str, Positive] = {}
    boxes: dict[str, Positive] = {}
    claimed: bool = False
    played: Moment | None = None


class QuestReward(Model):
    """The reward of a quest; of experience one kind."""

    gold: Count = 0
    diamonds: Count = 0
    action_points: Count = 0
    xp: Annotated[dict[Literal["strategy", "playful"], Positive], Field(max_length=1)] = {}
    items: dict[str, Positive] = {}


class Quest(Model):
    """A quest of a period, and how far it is."""

    target: Count = 1
    progress: Count = 0
    reward: QuestReward = QuestReward()
    activity_points: Count = 0
    claimed: bool = False


class Milestones(Model):
    """A period's activity points, which of its milestones were claimed, and when its quests were handed out."""

    nullable = frozenset({"reset"})
    activity: Count = 0
    claimed: Annotated[tuple[Milestone, ...], AsList] = ()
    reset: Moment | None = START_OF_DAY


class Mission(Model):
    """A training mission: amount is what can be collected, collected what was at this level, since when it produces."""

    nullable = frozenset({"since"})
    started: bool = True
    level: Annotated[int, Field(ge=1, le=10)] = 1
    amount: Count = 0
    collected: Count = 0
    since: Moment | None = DEFAULT_CLOCK


class Stage(Model):
    """A single-play stage: whether it was cleared, and whether its first-clear reward was granted."""

    cleared: bool = True
    rewarded: bool = True

    @model_validator(mode="after")
    def _require_one_of_both(self) -> Stage:
        if not (self.cleared or self.rewarded):
            raise ValueError("a stage that was cleared or rewarded")
        return self


def _name_or_item(value: Any) -> str:
    return "name" if isinstance(value, str) else "item"


def _list_or_mapping(value: Any) -> str:
    return "list" if isinstance(value, list | tuple) else "mapping"


BagItem: TypeAlias = Annotated[
    Annotated[str, Tag("name")] | Annotated[Bagged, Tag("item")], Discriminator(_name_or_item)
]


Stages: TypeAlias = Annotated[
    Annotated[tuple[Title, ...], AsList, Tag("list")] | Annotated[dict[Title, Stage], Tag("mapping")],
    Discriminator(_list_or_mapping),
]


class Given(Model):
    """The properties of a player; the defaults are the default player. legacy: raw values of legacy columns."""

    # level is the sum of the strategy and playful levels. Of the bag: worn names items of it, presets need not. A
    # period with quests has milestones in any case. Only a scenario's stage heeds `legacy`, not the builder.
    gold: Count = 0
    diamonds: Count = 0
    level: Annotated[int, Field(ge=2)] = 2
    forge: Level | Forge = 1
    places: Count | Places = 30
    bag: dict[Name, BagItem] = {}
    worn: Annotated[tuple[Name, ...], AsList] = ()
    mail: dict[Name, Letter] = {}
    presets: dict[Title, dict[Slot, Name]] = {}
    quests: dict[Period, dict[Name, Quest]] = {}
    milestones: dict[Period, Milestones] = {}
    missions: dict[Name, Mission] = {}
    stages: Stages = ()
    progress: Count = 0
    league: str = "새싹"
    action_points: Count = 30
    tournaments: dict[TournamentKind, Tournament] = {}
    legacy: dict[str, str | int | float | None] = {}
