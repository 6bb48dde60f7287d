"""Twins: a scenario on two stores in step; after every command the same answer, the same rows, the same journals."""

from __future__ import annotations

import json
from collections.abc import Iterator

from game import tables
from game.rows import Rows, Value, compare
from harness.play import invariants
from harness.play.arena import Stage
from harness.play.expectations import JSON_COLUMNS
from harness.play.replay import Play, Taken, in_orders, order_of, orders
from harness.scenarios.model import Scenario
from harness.scenarios.problems import Problem
from harness.scenarios.yaml_reader import Data, Path, flow


def replay_twins(scenario: Scenario, left: Stage, right: Stage) -> list[Problem]:
    """Return the first difference between the two stores, in each serial order; nothing if they never differ."""
    problems: list[list[Problem]] = []
    for turns in orders(scenario):
        plays = Play(scenario, left), Play(scenario, right)
        parted = list(_rows_apart(("given",), *plays))
        for turn in turns:
            if parted:
                break
            taken = plays[0].take(turn), plays[1].take(turn)
            parted = [*_answers_apart(turn.path, plays, taken), *_rows_apart(turn.path, *plays)]
        problems.append(parted)
    return list(dict.fromkeys(in_orders(problems, [order_of(turns) for turns in orders(scenario)])))


def _answers_apart(path: Path, plays: tuple[Play, Play], taken: tuple[Taken | None, Taken | None]) -> Iterator[Problem]:
    said = [_said(one) for one in taken]
    if said[0] != said[1]:
        yield _apart(path, "answer", plays, (said[0], said[1]))


def _said(taken: Taken | None) -> str:
    if taken is None:
        return "no answer"
    outcome = "" if taken.outcome is None else f" {json.dumps(taken.outcome, sort_keys=True, ensure_ascii=False)}"
    return f"{taken.result}{outcome}{' (from its receipt)' if taken.replayed else ''}"


def rows_apart(ours: Rows, theirs: Rows) -> Iterator[tuple[str, str, str]]:
    """Return where two stores differ in the same players: (what, in the first, in the second)."""
    for table, change in compare(_comparable(ours), _comparable(theirs)).items():
        for key, columns in change.updates.items():
            for column, pair in columns.items():
                yield f"{_at(table, key)}.{column}", _shown(pair[0]), _shown(pair[1])
        for key in change.deletes:
            yield _at(table, key), "a row", "none"
        for key in change.inserts:
            yield _at(table, key), "none", "a row"
    for table in invariants.ORDERED:
        for (player,) in ours.get("users", {}):
            left, right = (", ".join(invariants.in_order(rows, table, player)) for rows in (ours, theirs))
            if left != right:
                yield f"{table} of {player} in order", left, right


def _rows_apart(path: Path, left: Play, right: Play) -> Iterator[Problem]:
    for what, ours, theirs in rows_apart(left.rows, right.rows):
        yield _apart(path, left.named(what), (left, right), (ours, theirs))


def _apart(path: Path, what: str, plays: tuple[Play, Play], values: tuple[str, str]) -> Problem:
    (left, right), (ours, theirs) = (play.stage.name for play in plays), (plays[0].named(v) for v in values)
    return Problem(path, f"{what} on {left}: {ours}", f"on {right}: {theirs}")


def _at(table: str, key: tuple[str | int, ...]) -> str:
    return f"{table}.{'/'.join(map(str, key))}"


def _comparable(rows: Rows) -> Rows:
    """Without what only rebuilds a legacy row, and positions (orders are compared as orders); JSON in one spelling."""
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


def _shown(value: Value) -> str:
    shown: Data = value.hex() if isinstance(value, bytes) else value
    return flow(shown)
