"""Checks that what a scenario refers to is there: what `with` names in a command that is granted, and rows in `after`.

A command that is to be refused may name anything. Where `legacy` columns are given, they may hold ids of their own, so
the ids of that player are not checked.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import get_args

from db.samples.given import Given
from game.rules import catalog
from game.rules.commands import Period, Slot, TournamentKind
from game.rules.missions import MISSIONS
from game.rules.stages import STAGES
from harness.scenarios.model import OK, Race, Scenario, Turn
from harness.scenarios.problems import ScenarioProblem, known
from harness.scenarios.yaml_reader import Path

_MADE = re.compile(r"(.+)\.[1-9][0-9]*")
"""The id of what a request made; how many it makes only the run knows."""


def check(scenario: Scenario) -> Iterator[ScenarioProblem]:
    """Yield a problem for each name that refers to nothing."""
    for turn in scenario.turns:
        if turn.action.by in scenario.given and _granted(scenario, turn):
            yield from _fields(scenario, turn)
    for table, changes in (scenario.after.tables if scenario.after else {}).items():
        for key in changes:
            yield from _row(table, key)


def _granted(scenario: Scenario, turn: Turn) -> bool:
    """Return whether the command is to be granted, in a race in one of its orders."""
    if turn.step is not None:
        return turn.step.refused is None
    races = [step for step in scenario.steps if isinstance(step, Race)]
    return any(outcome.get(turn.request) == OK for race in races for outcome in race.outcomes)


def _fields(scenario: Scenario, turn: Turn) -> Iterator[ScenarioProblem]:
    fields = turn.action.fields
    given = scenario.given[turn.action.by]
    for field, value in fields.items():
        path = (*turn.path, "with", field)
        if field == "items" and isinstance(value, list):
            for n, item in enumerate(value):
                yield from _item((*path, n), item, scenario, given)
        elif field == "item":
            yield from _item(path, value, scenario, given)
        elif isinstance(value, str) and (choices := _named(scenario, turn, field)) is not None:
            names, what = choices
            yield from known(path, value, names, what)


def _named(scenario: Scenario, turn: Turn, field: str) -> tuple[Collection[str], str] | None:
    """Return the names that the field may hold, and what they name; None if the field names nothing that is given."""
    given = scenario.given[turn.action.by]
    of_the_game: dict[str, tuple[Collection[str], str]] = {
        "stage": (STAGES, "the name of a stage"),
        "mission": (MISSIONS, "a mission"),
        "material": (catalog.MATERIALS, "a material"),
    }
    if field in of_the_game or given.legacy:
        return of_the_game.get(field)
    if field == "mail":
        return given.mail, f"a mail of {turn.action.by}"
    if field == "quest":
        period = turn.action.fields.get("period")
        names = [name for of, quests in given.quests.items() if of == period for name in quests]
        return (names, f"a {period} quest of {turn.action.by}") if period in get_args(Period) else None
    if field == "name" and turn.action.do == "apply_preset":
        return _preset_names(scenario, turn.action.by), f"a preset of {turn.action.by}"
    return None


def _preset_names(scenario: Scenario, player: str) -> list[str]:
    """Return the names of presets that the player begins with, or that any turn of the scenario saves for him."""
    saved = [turn.action for turn in scenario.turns if turn.action.do == "save_preset"]
    names = [str(action.fields.get("name")).strip() for action in saved if action.by == player]
    return [*scenario.given[player].presets, *names]


def _item(path: Path, item: object, scenario: Scenario, given: Given) -> Iterator[ScenarioProblem]:
    if isinstance(item, str) and not given.legacy and not _is_made(item, scenario):
        yield from known(path, item, given.bag, "an item of the bag, or <request>.<n> of one that a request made")


def _is_made(item: str, scenario: Scenario) -> bool:
    made = _MADE.fullmatch(item)
    return made is not None and made[1] in {turn.request for turn in scenario.turns}


def _row(table: str, key: str) -> Iterator[ScenarioProblem]:
    """Check names of the game alone: an id that nobody has is a difference, which `--update-scenarios` removes."""
    name = key.partition("/")[2]
    path = ("after", table, key)
    if table in ROWS and name:
        yield from known(path, name, *ROWS[table])


ROWS: dict[str, tuple[Collection[str], str]] = {
    "user_equipment": (get_args(Slot), "a slot"),
    "user_milestones": (get_args(Period), "a period"),
    "user_tournaments": (get_args(TournamentKind), "a kind of tournament"),
    "user_missions": (MISSIONS, "a mission"),
    "user_stages": (STAGES, "the name of a stage"),
}
"""The part after the player in a key of these tables, and its meaning; ids of other tables are a player's own."""
