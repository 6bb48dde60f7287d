"""Bars of progress: count and time left are never cut off, whatever the terminal, the label and the numbers."""

from __future__ import annotations

import io
import itertools
import os
import pty
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from db.console.bars import Amount, TaskLine, layout
from db.console.output import Output
from db.console.progress import Plain, TerminalBars, for_people

WIDTHS = (30, 40, 60, 80, 120, 200)
TITLES = (
    "loading",
    "a title of a great many words that no terminal has room for " * 3,
    "아주 긴 이름의 작업 " * 9,
    "x" * 300,
)
COUNTS = ((0, 0), (0, 7), (1, 1), (3, 10**15), (10**15, 10**15), (123_456, 9_876_543), (8, 7))
SECONDS = (0.0, 0.4, 59.0, 3_605.0, 10.0**7)


@pytest.mark.parametrize("width", WIDTHS)
def test_count_and_time_left_are_whole_at_every_width(width: int) -> None:
    for title, (done, total), seconds in itertools.product(TITLES, COUNTS, SECONDS):
        amount = Amount(title, done, total, "players", seconds)
        shown, bar, figures = layout(amount, width)

        line = f"{shown} {'#' * bar}  {figures}" if shown and bar else f"{shown or '#' * bar} {figures}".strip()
        assert cell_len(line) <= width, (amount, line)
        assert amount.left in figures, (amount, line)
        assert any(count in figures for count in amount.counts), (amount, line)
        assert width < 80 or amount.counts[0] in figures or total >= 10**15, (amount, line)


@pytest.mark.parametrize(
    ("done", "seconds", "rate"),
    [
        (0, 5.0, "0 rows/s"),
        (1, 10.0, "6 rows/min"),
        (10, 10.0, "1 rows/s"),
        (12_345, 1.0, "12,345 rows/s"),
        (3, 0.0, ""),
    ],
)
def test_a_slow_rate_is_told_by_the_minute(done: int, seconds: float, rate: str) -> None:
    assert Amount("", done, 10**6, "rows", seconds).rate == rate


@pytest.mark.parametrize(("old", "new"), [(120, 40), (40, 120)])
def test_a_bar_follows_the_terminal_s_width(old: int, new: int) -> None:
    """The same line, drawn before and after somebody changed the window."""
    line = TaskLine(Amount("loading", 1_234, 20_000, "players", 12.0))
    for width in (old, new):
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=True, width=width, color_system=None)
        console.print(line)
        assert cell_len(screen.getvalue().rstrip("\n")) <= width
        assert "0:03:02 left" in screen.getvalue()


@pytest.mark.parametrize(
    ("variables", "bars"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": "unknown"}, False),
    ],
    ids=str,
)
def test_a_terminal_has_bars_if_it_can_redraw_a_line(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], bars: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal, os.fdopen(master, "rb"):
        progress = for_people(Console(file=terminal))
        assert isinstance(progress, TerminalBars if bars else Plain)


def test_a_file_has_lines_also_where_colours_are_forced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with (tmp_path / "log").open("w") as log:
        monkeypatch.setattr(sys, "stderr", log)
        assert isinstance(Output(None).progress, Plain)


def test_ci_is_told_only_of_what_takes_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for ci in (True, False):
        monkeypatch.setenv("CI", "true") if ci else monkeypatch.delenv("CI", raising=False)
        with Output(None).progress.bar("loading", 1, "players") as advance:
            advance(1)
        assert ("loading: 1 player in" in capsys.readouterr().err) is not ci


def test_one_is_not_counted_in_the_plural() -> None:
    assert Amount("indexing", 1, 1, "indexes", 1.0).counts[0] == "1 of 1 index"
    assert Amount("watching", 1, 1, "s", 1.0).counts[0] == "1 of 1 s"
    assert Amount("making", 1, 2, "databases", 1.0).counts[0] == "1 of 2 databases"
