"""The shape of a scenario file, frozen. The JSON Schema for editors is made from these models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Discriminator, Field, JsonValue, StringConstraints, Tag, model_validator
from pydantic_core import PydanticCustomError

from db.samples import moments
from db.samples.given import DEFAULT_CLOCK, UNKNOWN_KEYS, AsList, Given, Model, Name
from db.samples.legacy_documents import EPOCH_MS
from game import tables
from game.rules.journals import ItemAction, Reason
from harness.scenarios.yaml_reader import Path

OK = "ok"
GONE: Literal["gone"] = "gone"
JOURNALS = ("ledger", "history")
SENTENCE = r"\S.*[.]$"


def _clock(text: str) -> str:
    moments.moved(EPOCH_MS, text)
    return text


def _absolute(text: str) -> str:
    moments.absolute(text)
    return text


Sentence: TypeAlias = Annotated[str, StringConstraints(pattern=SENTENCE)]
Clock: TypeAlias = Annotated[str, AfterValidator(_clock)]


class Action(Model):
    """One command of one player."""

    by: Name
    do: str
    fields: Annotated[dict[str, JsonValue], Field(alias="with", default_factory=dict)]
    request: Name | None = None
    dice: dict[str, int | float] = Field(default_factory=dict)


class ScenarioStep(Action):
    """A command, and what must come of it: an outcome, a refusal, or (with neither) that it is granted."""

    clock: Clock | None = None
    expect: dict[str, JsonValue] | None = None
    refused: str | None = None


class Race(Model):
    """Two commands at once; `outcomes` is the set of what the two serial orders give."""

    race: Annotated[tuple[Action, Action], AsList]
    outcomes: Annotated[tuple[dict[Name, str], ...], AsList]


def _step_or_race(value: Any) -> str:
    return "race" if isinstance(value, dict) and "race" in value else "step"


AnyStep: TypeAlias = Annotated[
    Annotated[ScenarioStep, Tag("step")] | Annotated[Race, Tag("race")], Discriminator(_step_or_race)
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

    ledger: dict[str, Annotated[tuple[LedgerLine, ...], AsList]] = Field(default_factory=dict)
    history: dict[str, Annotated[tuple[HistoryLine, ...], AsList]] = Field(default_factory=dict)
    tables: dict[str, dict[str, Change]] = Field(default_factory=dict)

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
    step: ScenarioStep | None


class Scenario(Model):
    """One behaviour: who there is, what they do, and what must have changed when they are done."""

    about: Sentence
    smoke: bool = False
    clock: Annotated[str, AfterValidator(_absolute)] = DEFAULT_CLOCK
    given: dict[Name, Given] = Field(default_factory=dict)
    steps: Annotated[tuple[AnyStep, ...], Field(strict=False, min_length=1)]
    after: After | None = None

    @cached_property
    def turns(self) -> tuple[Turn, ...]:
        """Return every command in the order written, a race's first one first."""
        return tuple(turn for n, step in enumerate(self.steps) for turn in _turns(n, step))

    @cached_property
    def race(self) -> Race | None:
        """Return the scenario's race, if it has one."""
        return next((step for step in self.steps if isinstance(step, Race)), None)


def _turns(n: int, step: ScenarioStep | Race) -> Iterator[Turn]:
    """Yield the commands of a step, or of a race the two."""
    if isinstance(step, ScenarioStep):
        yield Turn(("steps", n), step, step.request or f"s{n + 1}", step)
        return
    for place, (action, request) in enumerate(zip(step.race, ("a", "b"), strict=True)):
        yield Turn(("steps", n, "race", place), action, action.request or request, None)
