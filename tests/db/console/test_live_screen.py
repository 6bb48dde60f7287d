"""The screen of a live move: every figure within 80 columns, unknown is never zero, nothing is drawn in the window."""

from __future__ import annotations

import io
import os
import pty
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from db.console import live_screen
from db.console.live_figures import MoveFigures, seconds_text
from db.console.live_screen import LiveLines, LiveScreen, shown_by
from db.console.live_view import CopyProgress, MoveState, RoundProgress, Unseen, durations
from db.console.progress import Plain, Silent, TerminalBars

PARTS = {"fence": 4.0, "lock": 6.0, "live": 14.25, "moved": 20.0}


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def copying(figures: MoveFigures, clock: Clock) -> None:
    for players in (0, 1_000, 3_100):
        figures.copied(CopyProgress(players, 20_000, players * 3, players * 37_000))
        clock.at += 5.0


def test_the_figures_follow_from_what_was_reported() -> None:
    clock = Clock()
    figures = MoveFigures(clock)
    copying(figures, clock)
    assert figures.rates == (310.0, 310.0 * 37_000)
    assert figures.left_seconds == pytest.approx(16_900 / 310)
    figures.applied(RoundProgress(40, 1_000, 900, 0.5, read_at=clock.at))
    clock.at += 2.0
    figures.applied(RoundProgress(10, 360, 360, 0.2, read_at=clock.at))
    clock.at += 0.4
    assert (figures.arrival, figures.applying) == (180.0, 2_000.0)
    assert figures.lag_seconds == pytest.approx(0.4)
    assert figures.window_ms == pytest.approx(600.0)


def test_the_rate_is_that_of_the_last_seconds() -> None:
    clock = Clock()
    figures = MoveFigures(clock)
    for number in range(100):
        figures.copied(CopyProgress(number * (1 if number < 50 else 10), 20_000, 0, 0))
        clock.at += 1.0
    assert figures.rates is not None
    assert figures.rates[0] == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("share", "said"), [(1.0, "not throttled"), (0.96, "not throttled"), (0.4, "throttled to 40 %")]
)
def test_the_throttle_is_told_while_players_are_copied_and_then_no_more(share: float, said: str) -> None:
    figures = MoveFigures(clock := Clock())
    copying(figures, clock)
    figures.copied(CopyProgress(3_100, 20_000, 9_300, 114_700_000, share))
    assert dict(figures.rows())["copied"].endswith(f", {said}")
    assert f", {said}, " in figures.line()
    figures.state = MoveState.CATCHING_UP
    assert "throttled" not in figures.line() + str(figures.rows())


def test_what_is_not_known_is_never_zero() -> None:
    figures = MoveFigures()
    assert (figures.lag_seconds, figures.rates, figures.arrival, figures.window_ms) == (None, None, None, None)
    shown = dict(figures.rows())
    assert shown["lag"] == shown["waiting"] == shown["window"] == "not known yet"
    assert "0" not in "".join(shown.values())


def test_parts_of_a_window_are_told_by_how_long_each_took() -> None:
    assert durations(PARTS) == {"fence": 4.0, "lock": 2.0, "live": 8.25, "moved": 5.75}


@pytest.mark.parametrize(("seconds", "text"), [(0.0004, "0 ms"), (0.25, "250 ms"), (12.34, "12.3 s"), (75, "0:01:15")])
def test_short_times_are_told_in_their_unit(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("state", [MoveState.COPYING, MoveState.STANDING_BY])
def test_the_table_fits_the_terminal(width: int, state: MoveState) -> None:
    screen = LiveScreen(console := Console(file=io.StringIO(), width=width, color_system=None))
    screen.figures.state = state
    screen.figures.dirty = 1_234_567
    screen.figures.now = clock = Clock()
    screen.figures.copied(CopyProgress(0, 12_345_678, 0, 0))
    clock.at += 3_000.0
    screen.figures.copied(CopyProgress(9_345_678, 12_345_678, 99_345_678, 345_000_000_000))
    for number in range(3):
        screen.figures.applied(RoundProgress(123_456, 9_876_543, 9_876_543, 1_234.5, read_at=float(number)))
    console.print(screen._table())
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= width
    assert len(lines) <= 8 or width < 80, lines
    assert str(state) in console.file.getvalue()


REASON = "until a go is ordered: invoke cutover --env production --go"


def test_a_state_that_people_ordered_is_shown_with_its_reason_and_the_next_command() -> None:
    lines: list[str] = []
    view = LiveLines(Plain(lines.append), quiet=False)
    view.figures.now = clock = Clock()
    view._printed_at = clock.at
    console = Console(file=io.StringIO(), width=80, color_system=None)
    screen = LiveScreen(console)
    for each in (view, screen):
        with each.doing(MoveState.CATCHING_UP), each.doing(MoveState.HOLDING, lambda: 7, REASON):
            clock.at += 10.0
            each.applied(RoundProgress(1, 2, 2, 0.1, read_at=clock.at))
            console.print(screen._table())
            with each.doing(MoveState.WAITING, reason="every player is proven again"):
                assert each.figures.line().startswith("waiting because every player is proven again (")
            assert each.figures.line().startswith(f"holding: {REASON} (")
        assert each.figures.reason == ""
    assert lines == [
        f"     holding: {REASON} (7 changes waiting, rounds 1; the last: 2 rows of 1 player in 100 ms, lag 0 ms)"
    ]
    assert isinstance(console.file, io.StringIO)
    assert f"holding: {REASON}" in " ".join(console.file.getvalue().split())


@pytest.mark.parametrize("width", [60, 80])
def test_a_command_in_a_reason_is_never_broken(width: int) -> None:
    screen = LiveScreen(console := Console(file=io.StringIO(), width=width, color_system=None))
    goes_on = "invoke cutover --env production --resume"
    screen.figures.state = MoveState.PAUSED
    screen.figures.reason = f"by anna on db-1 at 2026-01-17 02:30:00 UTC; to go on: {goes_on}"
    console.print(screen._table())
    assert isinstance(console.file, io.StringIO)
    assert goes_on in console.file.getvalue()


def test_a_run_that_copies_nothing_shows_nothing_of_a_copy() -> None:
    figures = MoveFigures()
    assert dict(figures.rows())["copied"] == "not known yet"
    figures.state = MoveState.HOLDING
    assert "copied" not in dict(figures.rows())


def test_the_bar_has_the_recent_rate_and_the_time_left_at_it() -> None:
    amount = live_screen.RecentAmount("copying", 100, 1_100, "players", 500.0, 10.0)
    assert (amount.rate, amount.left) == ("10 players/s", "0:01:40 left")
    unknown = live_screen.RecentAmount("copying", 100, 1_100, "players", 500.0)
    assert (unknown.rate, unknown.left) == ("", "-:--:-- left")


@contextmanager
def terminal() -> Iterator[tuple[Console, int]]:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as file:
        yield Console(file=file, width=80, force_terminal=True), master
    os.close(master)


def test_nothing_is_drawn_in_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_screen, "REFRESH_SECONDS", 0.001)
    drawn = threading.Event()

    class Noted(LiveScreen):
        def _table(self) -> RenderableType:
            drawn.set()
            return super()._table()

    with terminal() as (console, _master):
        screen = Noted(console)
        with screen.doing(MoveState.CATCHING_UP):
            assert drawn.wait(20)
            with screen.doing(MoveState.IN_THE_WINDOW):
                for thread in threading.enumerate():  # A drawing that was under way ends.
                    if thread.name == live_screen.THREAD:
                        thread.join(0.05)
                drawn.clear()
                assert not drawn.wait(0.1)
            assert drawn.wait(20)
            assert screen.figures.state is MoveState.CATCHING_UP


def test_lines_come_each_ten_seconds_and_each_minute_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for quiet, expected in ((False, 6), (True, 1)):
        lines: list[str] = []
        view = LiveLines(Plain(lines.append, quiet=quiet), quiet=quiet)
        view.figures.now = clock = Clock()
        view._printed_at = clock.at
        with view.doing(MoveState.COPYING, lambda: 1_204):
            for second in range(60):
                clock.at += 1.0
                view.copied(CopyProgress(second, 60, second, second * 1_000_000))
        assert len(lines) == expected, lines
        assert "copying: " in lines[0]
        assert "1,204 changes waiting" in lines[0]
        view.passed(PARTS)
        assert "8.2 ms, until 14.2 ms" in "".join(lines)


def test_the_view_is_chosen_by_the_progress() -> None:
    assert isinstance(shown_by(TerminalBars(Console())), LiveScreen)
    assert isinstance(shown_by(Plain(print)), LiveLines)
    assert isinstance(shown_by(Silent()), Unseen)
