"""A list that is cut says how many are left out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.counts import few, first_of, lines_of

ROOT = Path(__file__).parents[2]
NAMES = ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("given", "most", "text"),
    [([], 2, ""), (["a"], 2, "a"), (["a", "b"], 2, "a, b"), (NAMES, 2, "a, b and 2 more"), (NAMES, 4, "a, b, c, d")],
)
def test_the_rest_is_counted(given: list[str], most: int, text: str) -> None:
    assert few(given, most) == text


def test_the_rest_is_counted_where_not_all_are_given() -> None:
    assert few(NAMES[:2], 5, between="; ", total=1_019) == "a; b and 1,017 more"


def test_what_is_too_much_to_be_counted_says_that_there_is_more() -> None:
    assert first_of(iter(NAMES), 2) == "a; b and more"
    assert first_of(iter(NAMES), 4) == "a; b; c; d"


def test_lines_end_with_the_number_of_those_left_out() -> None:
    assert lines_of(NAMES, 3, "problems") == ["a", "b", "c", "and 1 more problem"]
    assert lines_of(NAMES, 1, "failures", see="--json has them all")[-1] == "and 3 more failures; --json has them all"
    assert lines_of(NAMES, 4) == NAMES


CUTS = {
    "db/counts.py": "the functions that count the rest",
    "db/conversion/table_pages.py": "the pages of a file are no list to be read",
    "db/monitor/look.py": "the line before it counts the rest",
    "db/monitor/checks/game.py": "three say where to look; `invoke status` names all",
    "db/monitor/checks/indexes.py": "the value is their number",
    "db/monitor/checks/service.py": "the value is their number",
    "db/monitor/checks/tables.py": "the value is their number",
    "game/env_file.py": "the line after it counts the rest",
    "db/samples/sizes.py": "the size of a made player is how much of the whole he has",
    "game/printable.py": "`named` counts the rest",
    "harness/load/virtual_users.py": "a burst takes few requests of each player",
    "harness/strikes/events.py": "two words name a kind of statement",
    "harness/pytest_plugin/items.py": "`shown` counts the rest in a line of its own",
    "harness/pytest_plugin/fault_report.py": "the line after it names the places of the rest",
    "harness/cli/commands/quarantine.py": "the line after it counts the rest, and names the option that lists it",
}
"""Modules that cut a list themselves, and why they may."""


def cuts(tree: ast.AST) -> Iterator[int]:
    """Yield the lines on which a list that is cut after a number of elements is joined, or gone through."""
    for node in ast.walk(tree):
        is_join = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join"
        looked_at = node.args if is_join and isinstance(node, ast.Call) else []
        if isinstance(node, ast.For | ast.comprehension):
            looked_at = [node.iter]
        for argument in looked_at:
            for inner in ast.walk(argument):
                if isinstance(inner, ast.Subscript) and isinstance(inner.slice, ast.Slice) and _is_cut(inner.slice):
                    yield inner.lineno


def _is_cut(part: ast.Slice) -> bool:
    return part.lower is None and part.upper is not None and not isinstance(part.upper, ast.UnaryOp)


@pytest.mark.core
def test_no_other_module_cuts_a_list_in_silence() -> None:
    modules = {
        f"{path.relative_to(ROOT)}:{line}"
        for folder in ("db", "harness", "game")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if str(path.relative_to(ROOT)) not in CUTS
        for line in cuts(ast.parse(path.read_text("utf-8")))
    }
    assert modules == set()
