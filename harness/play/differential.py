"""Twins: a scenario on two stores in step; after every command the same answer, the same rows, the same journals."""

from __future__ import annotations

import json
from collections.abc import Iterator

from game import tables
from game.rows import Rows, Value
from harness.play import invariants
from harness.play.arena import PlayedStore
from harness.play.differences import Difference, of_rows
from harness.play.expectations import JSON_COLUMNS
from harness.play.replay import Play, Taken, in_orders, order_of, orders
from harness.scenarios.model import Scenario
from harness.scenarios.problems import ScenarioProblem
from harness.scenarios.yaml_reader import Path


def replay_twins(scenario: Scenario, left: PlayedStore, right: PlayedStore) -> list[ScenarioProblem]:
    """Return the first difference between the two stores, in each serial order, else what no store may do.

    Nothing if they never differ, and the standing checks hold on both.
    """
    problems: list[list[ScenarioProblem]] = []
    for turns in orders(scenario):
        plays = Play(scenario, left), Play(scenario, right)
        differing = list(_different_rows(("given",), *plays))
        for turn in turns:
            if differing:
                break
            taken = plays[0].take(turn), plays[1].take(turn)
            differing = [*_different_answers(turn.path, plays, taken), *_different_rows(turn.path, *plays)]
        problems.append(differing or list(dict.fromkeys(problem for play in plays for problem in play.standing)))
    return list(dict.fromkeys(in_orders(problems, [order_of(turns) for turns in orders(scenario)])))


def _different_answers(
    path: Path, plays: tuple[Play, Play], taken: tuple[Taken | None, Taken | None]
) -> Iterator[ScenarioProblem]:
    left, right = (_in_words(one) for one in taken)
    if left != right:
        yield _problem(path, plays, Difference("answer", left, right))


def _in_words(taken: Taken | None) -> str:
    if taken is None:
        return "no answer"
    outcome = "" if taken.outcome is None else f" {json.dumps(taken.outcome, sort_keys=True, ensure_ascii=False)}"
    return f"{taken.result}{outcome}{' (from its receipt)' if taken.replayed else ''}"


def differences(left: Rows, right: Rows) -> Iterator[Difference]:
    """Yield where two stores differ in the same players; what only one engine has, such as a position, is left out."""
    yield from of_rows(comparable(left), comparable(right))
    for table in invariants.ORDERED:
        for (player,) in left.get("users", {}):
            first, second = (", ".join(invariants.in_order(rows, table, player)) for rows in (left, right))
            if first != second:
                yield Difference(f"{table} of {player} in order", first, second)


def _different_rows(path: Path, left: Play, right: Play) -> Iterator[ScenarioProblem]:
    for difference in differences(left.rows, right.rows):
        yield _problem(path, (left, right), difference.named(left.aliases))


def _problem(path: Path, plays: tuple[Play, Play], difference: Difference) -> ScenarioProblem:
    left, right = (play.stage.name for play in plays)
    return ScenarioProblem(
        path, f"{difference.what} on {left}: {difference.expected}", f"on {right}: {difference.found}"
    )


def comparable(rows: Rows) -> Rows:
    """Leave out what only rebuilds a legacy row, and positions (orders are compared as orders); spell JSON one way."""
    return Rows(
        {
            name: {key: {c: _spelled(c, record.get(c)) for c in _columns(name)} for key, record in records.items()}
            for name, records in rows.items()
        }
    )


def _columns(table: str) -> list[str]:
    return [column.name for column in tables.game_columns(tables.BY_NAME[table]) if column.name != "position"]


def _spelled(column: str, value: Value) -> Value:
    if column not in JSON_COLUMNS or not isinstance(value, str):
        return value
    try:
        return json.dumps(json.loads(value), sort_keys=True, ensure_ascii=False)
    except ValueError:
        return value
