"""The table of pairs: which commands are raced with each other, from which start, and what each of them is asked.

The table is `scenarios/pairs.toml`; all that is wrong with it is told with its places, as for a scenario.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, JsonValue, ValidationError

from db.samples import moments
from db.samples.given import DEFAULT_CLOCK, AsList, Given, Model
from game import tables
from game.rows import Rows
from game.rules.commands import COMMANDS
from harness.play import requests
from harness.play.aliases import Aliases
from harness.play.arena import StartingPlayer, start
from harness.play.requests import PreparedRequest
from harness.scenarios import BadScenario, checks, reading, shapes, toml_reader
from harness.scenarios.model import Action, Turn
from harness.scenarios.problems import ScenarioProblem, known
from harness.scenarios.toml_reader import BadToml
from harness.scenarios.yaml_reader import YamlDocument
from harness.sweeps import pair_rows, parties
from harness.sweeps.race_run import NAMES
from harness.sweeps.races import PreparedRace
from harness.sweeps.threes import PreparedThree

FILE = "pairs.toml"
PLAYER = "hana"
MOST_IN_GATE = 30
MOST_THREES = 8


class BadPairs(Exception):
    """The table can't be used; one line for each thing that is wrong."""


class Written(Model):
    """The table as it is written. player: as a scenario's `given`. rows: by table, beside those of the player.

    threes: two commands, and a third or another party, such as the fence.
    """

    gate: Annotated[tuple[Annotated[tuple[str, str], AsList], ...], AsList]
    threes: Annotated[tuple[Annotated[tuple[str, str, str], AsList], ...], AsList] = ()
    player: Given
    rows: dict[str, Annotated[tuple[dict[str, JsonValue], ...], AsList]] = Field(default_factory=dict)
    fields: Annotated[dict[str, dict[str, JsonValue]], Field(alias="with")]


@dataclass(frozen=True)
class PairTable:
    """The start that all races have in common, what each command is asked, the gate's pairs, and the races of three."""

    start: StartingPlayer
    fields: Mapping[str, Mapping[str, Any]]
    gate: tuple[tuple[str, str], ...]
    threes: tuple[tuple[str, str, str], ...] = ()

    def pairs(self, *, every: bool) -> list[tuple[str, str]]:
        """Return the pairs of the gate; with `every`, then all others whose tables meet."""
        if not every:
            return list(self.gate)
        others = [pair for pair in combinations_with_replacement(self.fields, 2) if _meet(*pair)]
        known = {frozenset(pair) for pair in self.gate}
        return [*self.gate, *(pair for pair in others if frozenset(pair) not in known)]

    def race(self, pair: tuple[str, str]) -> PreparedRace:
        """Return the race of two commands, requests a and b."""
        first, second = (prepared for _, prepared in self._commands(pair))
        return PreparedRace((self.start,), (), (first, second), ())

    def three(self, names: tuple[str, str, str]) -> PreparedThree:
        """Return the race of three: requests a, b and c, or another party in the place of c."""
        openings = {name: parties.command(prepared) for name, prepared in self._commands(names)}
        others = parties.others(PLAYER)
        openings |= {place: others[name] for place, name in zip(NAMES, names, strict=True) if name not in self.fields}
        return PreparedThree("+".join(names), (self.start,), {place: openings[place] for place in NAMES})

    def _commands(self, names: Sequence[str]) -> Iterator[tuple[str, PreparedRequest]]:
        """Yield the commands among the names, ready to be asked, by the place of each."""
        now_ms = moments.absolute(DEFAULT_CLOCK)
        for place, action in zip(NAMES, names, strict=False):
            if action in self.fields:
                turn = _turn(action, self.fields[action], place)
                yield place, requests.prepare(turn, now_ms, Aliases(NAMES))


def read(path: Path, name: str | None = None) -> PairTable:
    """Return the table in the file, of the actions that the game has. Raises BadPairs.

    name: how the file is named in what is wrong with it.
    """
    shown = name or path.name
    try:
        document = toml_reader.read(reading.read_text(path, shown))
        written = Written.model_validate(document.data)
    except BadScenario as error:
        raise BadPairs(str(error)) from None
    except BadToml as error:
        raise BadPairs(f"{shown}:{error}") from None
    except ValidationError as error:
        raise BadPairs(reading.lines(shown, document, shapes.problems(document, error))) from None
    if problems := list(_problems(written, document)):
        raise BadPairs(reading.lines(shown, document, problems))
    fields = {action: given for action, given in written.fields.items() if action in COMMANDS}
    gate = tuple((first, second) for first, second in written.gate if first in fields and second in fields)
    known_names = {*fields, *parties.others(PLAYER)}
    threes = tuple(three for three in written.threes if known_names.issuperset(three))
    rows = start(PLAYER, written.player, moments.absolute(DEFAULT_CLOCK)).rows
    for table, records in written.rows.items():
        _add(rows, table, records)
    return PairTable(StartingPlayer(rows, {}), fields, gate, threes)


def _problems(written: Written, document: YamlDocument) -> Iterator[ScenarioProblem]:
    yield from checks.check_given(("player",), written.player)
    yield from checks.check_moments(("player",), written.player, moments.absolute(DEFAULT_CLOCK))
    strangers = [action for action in written.fields if action not in COMMANDS]
    for action in COMMANDS:
        if action not in written.fields:
            hint = f"Did you mean it by {near[0]!r}?" if (near := get_close_matches(action, strangers, n=1)) else ""
            yield ScenarioProblem(("with",), f"what {action} is asked", "nothing", hint)
    for action, fields in written.fields.items():
        if action in COMMANDS:
            yield from checks.check_action(_turn(action, fields), {PLAYER: written.player}, document)
    for n, pair in enumerate(written.gate):
        for place, action in enumerate(pair):
            yield from known(("gate", n, place), action, written.fields, "an action out of `with`")
    yield from _problems_of_threes(written)
    for key, races, most in (("gate", written.gate, MOST_IN_GATE), ("threes", written.threes, MOST_THREES)):
        if len(races) > most:
            yield ScenarioProblem((key,), f"{most} of them at most", str(len(races)))
    yield from pair_rows.check(written.rows)


def _problems_of_threes(written: Written) -> Iterator[ScenarioProblem]:
    for n, three in enumerate(written.threes):
        for place, name in enumerate(three):
            names = (*written.fields, *parties.others(PLAYER)) if place == len(three) - 1 else tuple(written.fields)
            yield from known(("threes", n, place), name, names, "an action out of `with`, or at the end a party")


def _turn(action: str, fields: Mapping[str, JsonValue], request: str = "") -> Turn:
    validated = Action.model_validate({"by": PLAYER, "do": action, "with": dict(fields)})
    return Turn(("with", action), validated, request, None)


def _add(rows: Rows, table: str, records: Iterable[Mapping[str, JsonValue]]) -> None:
    for record in records:
        table_rows = rows.table(table)
        position = {"position": 1024 * len(table_rows)} if "position" in tables.BY_NAME[table].columns else {}
        whole: dict[str, Any] = {**pair_rows.empty(table), "user_id": PLAYER, **position, **record}
        table_rows[tuple(whole[column] for column in tables.KEYS[table])] = whole


def _meet(first: str, second: str) -> bool:
    """Return True if the commands share a table. One that loads only the player's own row meets every other."""
    first_tables, second_tables = set(COMMANDS[first].tables), set(COMMANDS[second].tables)
    return bool(first_tables & second_tables) or not first_tables or not second_tables
