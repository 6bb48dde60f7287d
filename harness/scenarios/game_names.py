"""Checks the game's own names in what a scenario expects: fields of outcomes, and values of columns.

A name that the game does not have can't be found by any run. Where a player's `legacy` columns are given, the values
may hold any text, so those of outcomes and columns are not checked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TypeAlias, get_args

from pydantic import JsonValue

from game.rules import catalog
from game.rules.actions import tournament
from game.rules.commands import COMMANDS, ItemType, Slot
from game.rules.missions import MISSIONS
from harness.scenarios.model import GONE, Added, Change, Scenario, Turn
from harness.scenarios.problems import ScenarioProblem, known
from harness.scenarios.yaml_reader import Path

Names: TypeAlias = tuple[Collection[str], str]
"""Names that the game has, and what they name."""

STATUSES = (tournament.READY, "round_in_progress", *tournament.FINISHED)
"""The states of a tournament: before its first match, between two, and after the last."""

LEAGUES = tuple(catalog.TOURNAMENTS["neighborhood"].gold_per_match)

_ITEM: Names = (catalog.TEMPLATES, "the name of an item")
_SLOT: Names = (get_args(Slot), "a slot")
_GRADE: Names = (catalog.GRADES, "a grade")
_TYPE: Names = (get_args(ItemType), "a type of item")
_STATUS: Names = (STATUSES, "a status")

_KEYS: Mapping[str, Names] = {
    "items": _ITEM,
    "spent": (catalog.MATERIALS, "a material"),
    "missions": (MISSIONS, "a mission"),
    "xp": (("strategy", "playful"), "a kind of experience"),
    "worn": _SLOT,
    "equipment": _SLOT,
}
"""By field of an outcome: the keys of the mapping that it is."""

_VALUES: Mapping[str, Names] = {"slot": _SLOT, "grade": _GRADE, "type": _TYPE, "status": _STATUS}
"""By field of an outcome: the text that it is."""

_COLUMNS: Mapping[tuple[str, str], Names] = {
    ("users", "league"): (LEAGUES, "a league"),
    ("user_inventory", "name"): _ITEM,
    ("user_inventory", "type"): _TYPE,
    ("user_inventory", "slot"): _SLOT,
    ("user_inventory", "grade"): _GRADE,
    ("user_tournaments", "status"): _STATUS,
}
"""By table and column: the text that it holds."""


def check(scenario: Scenario) -> Iterator[ScenarioProblem]:
    """Yield a problem for each name that the game does not have."""
    any_text = any(given.legacy for given in scenario.given.values())
    for turn in scenario.turns:
        if turn.action.do in COMMANDS and turn.step is not None and turn.step.expect is not None:
            yield from _outcome(turn, turn.step.expect, any_text=any_text)
    if scenario.after is not None and not any_text:
        for table, changes in scenario.after.tables.items():
            for key, change in changes.items():
                yield from _row(("after", table, key), table, change)


def _outcome(turn: Turn, expect: Mapping[str, JsonValue], *, any_text: bool) -> Iterator[ScenarioProblem]:
    for field, value in expect.items():
        path = (*turn.path, "expect", field)
        wrong = list(known(path, field, COMMANDS[turn.action.do].outcome, f"a field of {turn.action.do}'s outcome"))
        yield from wrong
        if not wrong and not any_text:
            yield from _value(path, turn.action.do, field, value)


def _value(path: Path, action: str, field: str, value: JsonValue) -> Iterator[ScenarioProblem]:
    if isinstance(value, dict) and field in _KEYS:
        for key in value:
            yield from known((*path, key), key, *_KEYS[field])
    elif isinstance(value, str) and (field, action) == ("name", "combine"):
        yield from known(path, value, *_ITEM)
    elif isinstance(value, str) and field in _VALUES:
        yield from known(path, value, *_VALUES[field])


def _row(path: Path, table: str, change: Change) -> Iterator[ScenarioProblem]:
    if isinstance(change, Added):
        named: dict[tuple[str | int, ...], tuple[JsonValue, ...]] = {("new", c): (v,) for c, v in change.new.items()}
    elif change == GONE:
        return
    else:
        named = {(column,): pair for column, pair in change.items()}
    for at, values in named.items():
        names = _COLUMNS.get((table, str(at[-1])))
        for n, value in enumerate(values):
            if names is not None and isinstance(value, str):
                yield from known((*path, *at, *((n,) if len(values) > 1 else ())), value, *names)
