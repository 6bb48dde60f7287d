"""The shape of a scenario file, frozen. The JSON Schema for editors is made from these models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    StringConstraints,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from game import tables
from game.rules.commands import Slot, TournamentKind
from game.rules.journals import ItemAction, Reason
from harness.scenarios import moments
from harness.scenarios.yaml_reader import Path

DEFAULT_CLOCK = "2026-01-05T12:00:00+09:00"
START_OF_DAY = "2026-01-05T00:00:00+09:00"
OK = "ok"
GONE: Literal["gone"] = "gone"
NAME = r"^[a-z][a-z0-9_-]*$"
JOURNALS = ("ledger", "history")
MOMENTS = {"mail": "expires", "milestones": "reset", "missions": "since", "tournaments": "played"}
"""Of what is given, the field of each entry that is a moment: it may be written as a distance from the clock."""
UNKNOWN_KEYS: Final = "unknown_keys"
EMPTY_KEYS: Final = "empty_keys"
SENTENCE = r"\S.*[.]$"


def _moment(text: str) -> str:
    moments.moved(moments.absolute(DEFAULT_CLOCK), text)
    return text


def _absolute(text: str) -> str:
    moments.absolute(text)
    return text


AsList: Final = Field(strict=False)
"""On a tuple: a list is taken for one; its elements stay strict."""
Count: TypeAlias = Annotated[int, Field(ge=0)]
Positive: TypeAlias = Annotated[int, Field(ge=1)]
Name: TypeAlias = Annotated[str, StringConstraints(pattern=NAME)]
Title: TypeAlias = Annotated[str, StringConstraints(min_length=1)]
Sentence: TypeAlias = Annotated[str, StringConstraints(pattern=SENTENCE)]
Period: TypeAlias = Literal["daily", "weekly", "monthly"]
Milestone: TypeAlias = Literal[20, 40, 60, 80, 100]
Moment: TypeAlias = Annotated[str, AfterValidator(_moment)]


class Model(BaseModel):
    """Frozen; an unknown key is an error, and nothing is converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    nullable: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_and_empty_keys(cls, data: Any) -> Any:
        """As `extra="forbid"` does, but saying which keys there are; and no key stands there without a value."""
        if not isinstance(data, dict):
            return data
        known = [field.alias or name for name, field in cls.model_fields.items()]
        if unknown := [key for key in data if key not in known]:
            raise PydanticCustomError(UNKNOWN_KEYS, "no such key", {"unknown": unknown, "known": known})
        if empty := [key for key, value in data.items() if value is None and key not in cls.nullable]:
            raise PydanticCustomError(EMPTY_KEYS, "no value", {"empty": empty})
        return data


Level: TypeAlias = Annotated[int, Field(ge=1, le=20)]


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

    equipment: Positive = 30
    material: Positive = 30
    consumable: Positive = 30


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


class Reward(Model):
    """The reward of a quest; of experience one kind."""

    gold: Count = 0
    diamonds: Count = 0
    action_points: Count = 0
    xp: Annotated[dict[Literal["strategy", "playful"], Positive], Field(max_length=1)] = {}
    items: dict[str, Positive] = {}


class Quest(Model):
    """A quest of a period."""

    target: Count = 1
    progress: Count = 0
    reward: Reward = Reward()
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
    """The differences from the default player. legacy: raw values, laid over the columns of the legacy row."""

    gold: Count | None = None
    diamonds: Count | None = None
    level: Annotated[int, Field(ge=2)] | None = None
    forge: Level | Forge | None = None
    places: Positive | Places | None = None
    bag: dict[Name, BagItem] = {}
    worn: Annotated[tuple[Name, ...], AsList] = ()
    mail: dict[Name, Letter] = {}
    presets: dict[Title, dict[Slot, Name]] = {}
    quests: dict[Period, dict[Name, Quest]] = {}
    milestones: dict[Period, Milestones] = {}
    missions: dict[Name, Mission] = {}
    stages: Stages = ()
    progress: Count | None = None
    league: str | None = None
    action_points: Count | None = None
    tournaments: dict[TournamentKind, Tournament] = {}
    legacy: dict[str, str | int | float | None] = {}


class Action(Model):
    """One command of one player."""

    by: Name
    do: str
    fields: Annotated[dict[str, JsonValue], Field(alias="with")] = {}
    request: Name | None = None
    dice: dict[str, int | float] = {}


class Step(Action):
    """A command, and what must come of it: an outcome, a refusal, or (with neither) that it is granted."""

    clock: Moment | None = None
    expect: dict[str, JsonValue] | None = None
    refused: str | None = None


class Race(Model):
    """Two commands at once; `outcomes` is the set of what the two serial orders give."""

    race: Annotated[tuple[Action, Action], AsList]
    outcomes: Annotated[tuple[dict[Name, str], ...], AsList]


def _step_or_race(value: Any) -> str:
    return "race" if isinstance(value, dict) and "race" in value else "step"


AnyStep: TypeAlias = Annotated[
    Annotated[Step, Tag("step")] | Annotated[Race, Tag("race")], Discriminator(_step_or_race)
]


class Added(Model):
    """A row that was added; columns not named are at their defaults."""

    new: dict[str, JsonValue]


Columns: TypeAlias = dict[str, Annotated[tuple[JsonValue, JsonValue], AsList]]
LedgerLine: TypeAlias = Annotated[tuple[Literal["gold", "diamonds"], int, Reason], AsList]
HistoryLine: TypeAlias = Annotated[tuple[ItemAction, str, int], AsList]


def _kind_of_change(value: Any) -> str:
    if isinstance(value, str):
        return GONE
    return "added" if isinstance(value, Added) or (isinstance(value, dict) and "new" in value) else "columns"


Change: TypeAlias = Annotated[
    Annotated[Literal["gone"], Tag(GONE)] | Annotated[Added, Tag("added")] | Annotated[Columns, Tag("columns")],
    Discriminator(_kind_of_change),
]


class After(Model):
    """The whole difference from start to end. What stands beside `ledger` and `history` is a table."""

    ledger: dict[str, Annotated[tuple[LedgerLine, ...], AsList]] = {}
    history: dict[str, Annotated[tuple[HistoryLine, ...], AsList]] = {}
    tables: dict[str, dict[str, Change]] = {}

    @model_validator(mode="before")
    @classmethod
    def _gather_tables(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = [*JOURNALS, *(table.name for table in tables.PLAYER_STATE)]
        if unknown := [name for name in data if name not in known]:
            raise PydanticCustomError(UNKNOWN_KEYS, "no such table", {"unknown": unknown, "known": known})
        journals = {name: data[name] for name in JOURNALS if name in data}
        return {**journals, "tables": {name: table for name, table in data.items() if name not in journals}}


@dataclass(frozen=True, slots=True)
class Turn:
    """One command of a scenario: where it is written, its request's id, and the step that it is (None in a race)."""

    path: Path
    action: Action
    request: str
    step: Step | None


class Scenario(Model):
    """One behaviour: who there is, what they do, and what must have changed when they are done."""

    about: Sentence
    smoke: bool = False
    clock: Annotated[str, AfterValidator(_absolute)] = DEFAULT_CLOCK
    given: dict[Name, Given] = {}
    steps: Annotated[tuple[AnyStep, ...], Field(strict=False, min_length=1)]
    after: After | None = None

    @cached_property
    def turns(self) -> tuple[Turn, ...]:
        """Every command in the order written, a race's first one first."""
        return tuple(turn for n, step in enumerate(self.steps) for turn in _turns(n, step))

    @cached_property
    def race(self) -> Race | None:
        """The scenario's race, if it has one."""
        return next((step for step in self.steps if isinstance(step, Race)), None)


def _turns(n: int, step: Step | Race) -> Iterator[Turn]:
    if isinstance(step, Step):
        yield Turn(("steps", n), step, step.request or f"s{n + 1}", step)
        return
    for place, (action, request) in enumerate(zip(step.race, ("a", "b"), strict=True)):
        yield Turn(("steps", n, "race", place), action, action.request or request, None)
