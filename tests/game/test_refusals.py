"""Refusals are data: each code that is raised stands in the table, with what the player is told."""

from __future__ import annotations

import re
from pathlib import Path

from game.refusals import REFUSALS, page

PAGE = Path(__file__).parents[2] / "docs" / "refusals.md"


def test_every_refusal_is_told_in_english_and_in_korean() -> None:
    for code, refusal in REFUSALS.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
        assert refusal.title.endswith("."), code
        assert re.search("[가-힣]", refusal.message), code
        assert 400 <= refusal.status.value < 500, code


def test_the_page_shows_the_table_as_it_is() -> None:
    assert PAGE.read_text("utf-8") == page()
