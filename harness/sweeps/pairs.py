"""The table of pairs: which commands are raced with each other, from which start, and what each of them is asked.

The table is `scenarios/pairs.toml`; what is wrong with it is said whole, as for a scenario.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

from db import builders
from game import tables
from game.commands import COMMANDS, decode
from game.dispatch import Request
from game.errors import BadRequest
from game.rows import Rows
from harness.play.errands import Errand
from harness.play.expect import Aliases
from harness.play.stage import Start
from harness.scenarios import moments
from harness.scenarios.model import DEFAULT_CLOCK, Action, Turn
from harness.sweeps.races import NAMES, Race

FILE = "pairs.toml"
PLAYER = "hana"
MOST_IN_GATE = 30


class BadPairs(Exception):
    """The table can't be used; one line for each thing that is wrong."""


@dataclass(frozen=True)
class Table:
    """The start that all pairs have in common, what each command is asked, and the pairs of the gate."""

    start: Start
    fields: Mapping[str, Mapping[str, Any]]
    gate: tuple[tuple[str, str], ...]

    def pairs(self, *, every: bool) -> list[tuple[str, str]]:
        """Those of the gate; with `every`, then all others whose tables meet."""
        if not every:
            return list(self.gate)
        others = [pair for pair in combinations_with_replacement(self.fields, 2) if _meet(*pair)]
        known = {frozenset(pair) for pair in self.gate}
        return [*self.gate, *(pair for pair in others if frozenset(pair) not in known)]

    def race(self, pair: tuple[str, str]) -> Race:
        """The race of two commands, requests a and b."""
        aliases = Aliases(NAMES)
        first, second = (self._errand(n, action, aliases) for n, action in enumerate(pair))
        return Race((self.start,), (), (first, second), ())

    def _errand(self, place: int, action: str, aliases: Aliases) -> Errand:
        fields = dict(self.fields[action])
        said = Action.model_validate({"by": PLAYER, "do": action, "with": fields})
        turn = Turn(("with", action), said, NAMES[place], None)
        request = Request(PLAYER, NAMES[place], decode(action, fields))
        return Errand(turn, request, moments.absolute(DEFAULT_CLOCK), aliases)


def read(path: Path) -> Table:
    """The table in the file, of the actions that the game has. Raises BadPairs."""
    data = tomllib.loads(path.read_text("utf-8"))
    if wrong := list(_wrong(data)):
        raise BadPairs("\n".join(f"{path.name}: {line}" for line in wrong))
    fields = {action: said for action, said in data["with"].items() if action in COMMANDS}
    gate = tuple((first, second) for first, second in data["gate"] if first in fields and second in fields)
    rows = builders.player(PLAYER, **data["player"])
    for table, records in data.get("rows", {}).items():
        _add(rows, table, records)
    return Table(Start(rows, {}), fields, gate)


def _wrong(data: Mapping[str, Any]) -> Iterator[str]:
    for action in COMMANDS:
        if action not in data["with"]:
            yield f"with: expected what {action} is asked; found nothing."
    for action, fields in data["with"].items():
        if action in COMMANDS and (said := _undecodable(action, fields)):
            yield f"with.{action}: {said}."
    for pair in data["gate"]:
        if unknown := [action for action in pair if action not in data["with"]]:
            yield f"gate: expected actions out of `with`; found {', '.join(unknown)}."
    if len(data["gate"]) > MOST_IN_GATE:
        yield f"gate: expected {MOST_IN_GATE} pairs at most; found {len(data['gate'])}."


def _undecodable(action: str, fields: Mapping[str, Any]) -> str | None:
    try:
        decode(action, fields)
    except BadRequest as error:
        return str(error)
    return None


def _add(rows: Rows, table: str, records: list[dict[str, Any]]) -> None:
    for record in records:
        there = rows.table(table)
        position = {"position": 1024 * len(there)} if "position" in tables.BY_NAME[table].columns else {}
        whole = {"user_id": PLAYER, **position, **record}
        there[tuple(whole[column] for column in tables.KEYS[table])] = whole


def _meet(first: str, second: str) -> bool:
    """A command that loads no table but the player's own row meets every other there."""
    ours, theirs = set(COMMANDS[first].tables), set(COMMANDS[second].tables)
    return bool(ours & theirs) or not ours or not theirs
