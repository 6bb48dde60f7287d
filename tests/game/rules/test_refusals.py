"""Refusals are data: each code that is raised stands in the table, with what the player is told."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import game
from game.rules.refusals import REFUSALS, page

PAGE = Path(__file__).parents[3] / "docs" / "refusals.md"


def test_every_refusal_is_told_in_english_and_in_korean() -> None:
    for code, refusal in REFUSALS.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
        assert refusal.title.endswith("."), code
        assert re.search("[가-힣]", refusal.message), code
        assert 400 <= refusal.status.value < 500, code


def test_the_page_shows_the_table_as_it_is() -> None:
    assert PAGE.read_text("utf-8") == page()


def raised() -> set[str]:
    """The codes of all `Refused(…)` in the game's source, those of a choice between two among them."""
    codes: set[str] = set()
    for path in Path(game.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Refused":
                codes |= set(codes_of(node.args[0]))
    return codes


def codes_of(code: ast.expr) -> Iterator[str]:
    match code:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=first, orelse=second):
            yield from codes_of(first)
            yield from codes_of(second)
        case _:
            raise AssertionError(f"line {code.lineno}: expected a code as text; found {ast.unparse(code)}")


def test_every_code_that_is_raised_is_in_the_table_and_every_code_of_the_table_is_raised() -> None:
    assert raised() == set(REFUSALS)
