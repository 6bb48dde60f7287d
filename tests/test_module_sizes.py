"""No module is longer than a reader keeps in mind."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_LINES = 400
LONGER = {"db/migrations/versions/0001_game.py"}
"""A revision that was applied is never edited."""


def test_no_module_has_more_than_400_lines() -> None:
    modules = [path for package in ("game", "db", "harness", "tests") for path in (ROOT / package).rglob("*.py")]
    assert len(modules) > 200
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in modules}
    assert {name for name, count in lines.items() if count > MOST_LINES} == LONGER
