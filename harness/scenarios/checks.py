"""Checks the meaning of a scenario: every name in it names something, and nothing in it contradicts itself."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from pydantic import JsonValue, TypeAdapter, ValidationError

from db.legacy import declared_tables
from db.samples import moments
from db.samples.given import MOMENTS, Bagged, Given
from game import tables
from game.rules import catalog
from game.rules.commands import COMMANDS
from game.rules.missions import MISSIONS
from game.rules.refusals import REFUSALS
from game.rules.stages import STAGES
from harness.scenarios import game_names, references, shapes
from harness.scenarios.game_names import LEAGUES, STATUSES
from harness.scenarios.model import (
    GONE,
    OK,
    Action,
    Added,
    After,
    Change,
    Race,
    Scenario,
    ScenarioStep,
    Turn,
)
from harness.scenarios.problems import ScenarioProblem, known, nearest, one_of
from harness.scenarios.yaml_reader import Path, YamlDocument

BOXES = tuple(name for name in catalog.TEMPLATES if name.startswith("장비 상자 "))

CODES = "docs/refusals.md lists them."
_DRAWN_AGAIN = re.compile(r"\.(?:[2-9]|[1-9][0-9]+)$")

UNWRITTEN = {"position"}
"""Columns that `after` never names: an order is checked as an order (see `invariants`)."""


def check(scenario: Scenario, document: YamlDocument) -> Iterator[ScenarioProblem]:
    """Yield all problems of meaning of a scenario that passed the check of its shape."""
    for handle, given in scenario.given.items():
        yield from check_given(("given", handle), given)
    for turn in scenario.turns:
        yield from check_action(turn, scenario.given, document)
    for n, step in enumerate(scenario.steps):
        yield from _answers(("steps", n), step)
    yield from _moments(scenario)
    yield from _requests(scenario.turns)
    yield from _races(scenario)
    yield from references.check(scenario)
    yield from game_names.check(scenario)
    if scenario.after:
        yield from _after(scenario.after, scenario)
    if scenario.smoke:
        yield from _smoke(scenario)


def columns(table: str) -> list[str]:
    """Return the columns of a table that `after` may name: all that the game knows but the key's and the order's."""
    names = [column.name for column in tables.game_columns(tables.BY_NAME[table])]
    return [name for name in names if name not in tables.KEYS[table] and name not in UNWRITTEN]


def check_given(path: Path, given: Given) -> Iterator[ScenarioProblem]:
    """Yield the problems of one player."""
    for at, name, choices, what in _names(given):
        yield from known((*path, *at), name, choices, what)
    for kind, tournament in given.tournaments.items():
        league = catalog.TOURNAMENTS[kind].league
        if tournament.rank is not None and tournament.rank > league:
            yield ScenarioProblem((*path, "tournaments", kind, "rank"), f"{league} or less", str(tournament.rank))
    yield from _worn((*path, "worn"), given)


def _names(given: Given) -> Iterator[tuple[Path, str, Collection[str], str]]:
    """Yield each name of the game that is given of a player: where, the name, those there are, and what they name."""
    for at, item in _items(given):
        yield at, item, catalog.TEMPLATES, "the name of an item"
    for kind, tournament in given.tournaments.items():
        at = ("tournaments", kind)
        if tournament.status is not None:
            yield (*at, "status"), tournament.status, STATUSES, "a status"
        for name in tournament.materials:
            yield (*at, "materials", name), name, catalog.MATERIALS, "a material"
        for name in tournament.boxes:
            yield (*at, "boxes", name), name, BOXES, "an equipment box"
    for mission in given.missions:
        yield ("missions", mission), mission, MISSIONS, "a mission"
    for n, stage in enumerate(given.stages):
        yield ("stages", stage if isinstance(given.stages, dict) else n), stage, STAGES, "the name of a stage"
    yield ("league",), given.league, LEAGUES, "a league"
    for column in given.legacy:
        yield ("legacy", column), column, declared_tables.names("users"), "a column of the legacy users"


def _items(given: Given) -> Iterator[tuple[Path, str]]:
    for item, entry in given.bag.items():
        yield (("bag", item, "name"), entry.name) if isinstance(entry, Bagged) else (("bag", item), entry)
    for mail, letter in given.mail.items():
        for name in letter.items:
            yield ("mail", mail, "items", name), name
    for period, quests in given.quests.items():
        for quest_id, quest in quests.items():
            for name in quest.reward.items:
                yield ("quests", period, quest_id, "reward", "items", name), name


def _worn(path: Path, given: Given) -> Iterator[ScenarioProblem]:
    """Check that what is worn are items of the bag, each for a slot of its own."""
    slots: dict[str, str] = {}
    for n, item in enumerate(given.worn):
        yield from known((*path, n), item, given.bag, "an item of the bag")
        entry = given.bag.get(item, "")
        template = catalog.TEMPLATES.get(entry.name if isinstance(entry, Bagged) else entry)
        if template and template.slot is None:
            yield ScenarioProblem((*path, n), "equipment", f"{item!r}, which is {template.type}")
        elif template and template.slot and slots.setdefault(template.slot, item) != item:
            yield ScenarioProblem((*path, n), "one item a slot", f"{item!r} beside {slots[template.slot]!r}")


def check_action(turn: Turn, given: Mapping[str, Given], document: YamlDocument) -> Iterator[ScenarioProblem]:
    """Yield the problems of one command. given: the players that it may name."""
    path, action = turn.path, turn.action
    yield from known((*path, "by"), action.by, given, "a player that `given` names")
    yield from known((*path, "do"), action.do, COMMANDS, "an action")
    if action.do in COMMANDS:
        yield from _fields(path, action, document)
        yield from _dice(path, action)


def _fields(path: Path, action: Action, document: YamlDocument) -> Iterator[ScenarioProblem]:
    fields = dataclasses.fields(COMMANDS[action.do])
    names = [field.name for field in fields]
    needed = [field.name for field in fields if field.default is dataclasses.MISSING]
    unknown = [name for name in action.fields if name not in names]
    missing = [] if unknown else [name for name in needed if name not in action.fields]
    for name in unknown:
        yield from known((*path, "with", name), name, names, "no field")
    for name in missing:
        yield ScenarioProblem((*path, "with"), f"{action.do}'s field {name!r}", ", ".join(action.fields) or "no fields")
    if not unknown and not missing:
        try:
            TypeAdapter(COMMANDS[action.do]).validate_python(action.fields)
        except ValidationError as error:
            yield from shapes.problems(document, error, (*path, "with"))


def _dice(path: Path, action: Action) -> Iterator[ScenarioProblem]:
    """Check that each is a draw of the action: its name, or of a draw that is made again `name.2`, `name.3`."""
    draws = COMMANDS[action.do].draws
    for name in action.dice:
        base = _DRAWN_AGAIN.sub("", name)
        if base in draws:
            continue
        found = f"the draw {name!r}, which {action.do} never makes"
        if draws:
            yield ScenarioProblem((*path, "dice", name), one_of(draws), found, nearest(base, draws))
        else:
            yield ScenarioProblem((*path, "dice"), "no dice", found, "Leave them away.")


def _answers(path: Path, step: ScenarioStep | Race) -> Iterator[ScenarioProblem]:
    if isinstance(step, Race):
        yield from _outcomes(path, step)
        return
    if step.expect is not None and step.refused is not None:
        yield ScenarioProblem((*path, "refused"), "either `expect` or `refused`", "both")
    if step.refused is not None:
        yield from known((*path, "refused"), step.refused, REFUSALS, "a refusal's code", CODES)


def _outcomes(path: Path, race: Race) -> Iterator[ScenarioProblem]:
    requests = [action.request or name for action, name in zip(race.race, "ab", strict=True)]
    for n, outcome in enumerate(race.outcomes):
        if set(outcome) != set(requests):
            found = ", ".join(outcome) or "nothing"
            yield ScenarioProblem(
                (*path, "outcomes", n), f"{OK} or a refusal's code for {' and '.join(requests)}", found
            )
        for request, code in outcome.items():
            at = (*path, "outcomes", n, request)
            yield from known(at, code, (OK, *REFUSALS), f"{OK} or a refusal's code", CODES)


def _moments(scenario: Scenario) -> Iterator[ScenarioProblem]:
    """Check where distances lead when they are added up: each alone may be in range, and their sum may not."""
    clock = moments.absolute(scenario.clock)
    for handle, given in scenario.given.items():
        yield from check_moments(("given", handle), given, clock)
    for turn in scenario.turns:
        if turn.step is not None and turn.step.clock is not None:
            wrong = list(_moment((*turn.path, "clock"), clock, turn.step.clock))
            yield from wrong
            if wrong:
                return
            clock = moments.moved(clock, turn.step.clock)


def check_moments(path: Path, given: Given, clock: int) -> Iterator[ScenarioProblem]:
    """Yield the problems of one player's moments, which may be distances from the clock."""
    for key, field in MOMENTS.items():
        for name, entry in getattr(given, key).items():
            yield from _moment((*path, key, name, field), clock, getattr(entry, field))


def _moment(path: Path, clock: int, moment: str | int | None) -> Iterator[ScenarioProblem]:
    if isinstance(moment, int):
        yield ScenarioProblem(path, moments.EXPECTED, str(moment))
        return
    try:
        moments.moved(clock, moment or "+0s")
    except ValueError as error:
        yield ScenarioProblem(path, str(error), str(moment))


def _requests(turns: Iterable[Turn]) -> Iterator[ScenarioProblem]:
    """Check that a request which comes again is a retry, or is to be refused as reused, and stands in no race."""
    first: dict[tuple[str, str], Turn] = {}
    for turn in turns:
        earlier = first.setdefault((turn.action.by, turn.request), turn)
        if earlier is turn:
            continue
        if turn.step is None or earlier.step is None:
            yield ScenarioProblem(turn.path, "requests of its own in a race", f"{turn.request!r} again")
        elif turn.step.refused != "request_reused" and _command(turn) != _command(earlier):
            expected = "the same command again, or `refused: request_reused`"
            yield ScenarioProblem(turn.path, expected, f"request {turn.request!r} with another command")


def _command(turn: Turn) -> tuple[str, dict[str, JsonValue]]:
    return turn.action.do, turn.action.fields


def _races(scenario: Scenario) -> Iterator[ScenarioProblem]:
    races = [n for n, step in enumerate(scenario.steps) if isinstance(step, Race)]
    for n in races[1:]:
        yield ScenarioProblem(("steps", n), "at most one race in a file", "another")


def _after(after: After, scenario: Scenario) -> Iterator[ScenarioProblem]:
    for journal, lines in (("ledger", after.ledger), ("history", after.history)):
        for request in lines:
            asked = dict.fromkeys(turn.request for turn in scenario.turns)
            yield from known(("after", journal, request), request, asked, "a request")
    for table, changes in after.tables.items():
        for key, change in changes.items():
            path: Path = ("after", table, key)
            yield from _key(path, table, key, scenario.given)
            yield from _change(path, table, change)


def _key(path: Path, table: str, key: str, given: Mapping[str, Given]) -> Iterator[ScenarioProblem]:
    columns = tables.KEYS[table][1:]
    handle, *rest = key.split("/", max(1, len(columns)))
    if len(rest) != len(columns) or not all(rest):
        form = "/".join(["<player>", *(f"<{column}>" for column in columns)])
        yield ScenarioProblem(path, f"a key of the form {form}", repr(key))
    else:
        yield from known(path, handle, given, "a player that `given` names")


def _change(path: Path, table: str, change: Change) -> Iterator[ScenarioProblem]:
    if change == GONE:
        return
    named: Mapping[str, JsonValue | tuple[JsonValue, JsonValue]]
    at, named = ((*path, "new"), change.new) if isinstance(change, Added) else (path, change)
    for column, value in named.items():
        yield from known((*at, column), column, columns(table), "a column")
        if isinstance(value, tuple) and value[0] == value[1] and type(value[0]) is type(value[1]):
            yield ScenarioProblem((*at, column), "a value before and another after", "the same twice")


def _smoke(scenario: Scenario) -> Iterator[ScenarioProblem]:
    """Check that nothing is asked for that only a test can arrange: a smoke runs by HTTP, on the live service."""
    expected = "no clock, dice, race or legacy columns in a smoke scenario"
    if "clock" in scenario.model_fields_set:
        yield ScenarioProblem(("clock",), expected, "a clock")
    for handle, given in scenario.given.items():
        if given.legacy:
            yield ScenarioProblem(("given", handle, "legacy"), expected, "legacy columns")
    for n, step in enumerate(scenario.steps):
        if isinstance(step, Race):
            yield ScenarioProblem(("steps", n), expected, "a race")
        elif step.clock or step.dice:
            key = "clock" if step.clock else "dice"
            yield ScenarioProblem(("steps", n, key), expected, f"a step's {key}")
