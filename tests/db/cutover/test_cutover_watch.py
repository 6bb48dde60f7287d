"""The watch after a cutover: the times of its checks, its findings, and its output."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from rich.console import Console

from db import environments
from db.console.progress import Plain, Progress, Silent, TerminalBars
from db.cutover import services, switch, watch
from db.cutover.context import RunConfig, RunContext
from db.cutover.deadline import Deadline
from db.cutover.journal import Journal
from db.cutover.ports import SmokeResult
from db.environments import Hooks, Policy
from db.errors import Failure
from game.urls import PostgresUrl

BREACH = "reward/claim: found refused bag_full"
SERVING = services.Ready("http://127.0.0.1:1", 200, "postgres", "the store", "open", 1, "")
NOWHERE = PostgresUrl("127.0.0.1", 1, "nobody", "", "nothing")


@dataclass
class Clock:
    """Time passes where the watch sleeps, and in each look by what it costs. From `breaks_at` on the smoke fails."""

    breaks_at: float = float("inf")
    look_seconds: float = 0.0
    now: float = 1000.0
    looks: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def play(self, *_arguments: object, **_named: object) -> SmokeResult:
        self.looks.append(round(self.now - 1000.0, 6))
        failed = (BREACH,) if self.now - 1000.0 >= self.breaks_at else ()
        self.now += self.look_seconds
        return SmokeResult(1, failed)


@pytest.fixture
def watching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str | None]:
    """A watch of so many seconds by the clock; every service serves Postgres."""
    monkeypatch.setattr(services, "ask", lambda url: SERVING)

    def run(seconds: float, clock: Clock, *, progress: Progress | None = None, **hooks: str) -> str | None:
        monkeypatch.setattr(watch, "now", lambda: clock.now)
        monkeypatch.setattr(watch, "sleep", clock.sleep)
        monkeypatch.setattr(switch, "store_identity", lambda _place: "the store")
        env = environments.throwaway(
            owner=NOWHERE,
            service=NOWHERE,
            legacy=tmp_path / "game.db",
            folder=tmp_path,
            policy=Policy(watch_seconds=seconds),
            hooks=Hooks(**hooks),
            services=("http://127.0.0.1:1",),
        )
        config = RunConfig(clock.play, progress=progress or Silent(), folder=tmp_path)
        return watch.watch(RunContext("cutover", env, config, Journal(tmp_path / "run"), Deadline(math.inf)))

    return run


@pytest.mark.parametrize("look_seconds", [0.0, 0.3, 7.0])
@pytest.mark.parametrize("seconds", [0.5, 8.0, 30.0, 59.0, 61.0, 119.5, 600.0, 3600.0])
def test_it_looks_at_once_each_interval_and_at_the_end(
    watching: Callable[..., str | None], seconds: float, look_seconds: float
) -> None:
    clock = Clock(look_seconds=look_seconds)

    assert watching(seconds, clock) is None

    assert clock.looks[0] == 0
    assert clock.looks[-1] >= seconds
    assert clock.looks[-1] <= seconds + look_seconds
    gaps = [after - before for before, after in zip(clock.looks, clock.looks[1:], strict=False)]
    assert max(gaps) <= max(watch.interval(seconds), look_seconds) + 1e-6
    assert watch.interval(seconds) <= 60


@pytest.mark.parametrize("seconds", [0.5, 8.0, 30.0, 61.0, 600.0])
@pytest.mark.parametrize("part", [0.0, 0.27, 0.5, 0.99, 1.0])
def test_a_breach_at_any_moment_of_it_is_found(
    watching: Callable[..., str | None], seconds: float, part: float
) -> None:
    clock = Clock(breaks_at=seconds * part)

    assert BREACH in (watching(seconds, clock) or "")
    assert clock.looks[-1] >= seconds * part
    assert clock.looks[-1] - seconds * part <= 60


def test_one_of_no_seconds_does_not_look(watching: Callable[..., str | None]) -> None:
    clock = Clock(breaks_at=0)

    assert watching(0, clock) is None
    assert clock.looks == []


@pytest.mark.parametrize(
    "raised", [Failure("an answer", "none"), psycopg.OperationalError("it went away"), OSError(28, "disk full")]
)
def test_whatever_a_look_meets_is_a_breach(
    watching: Callable[..., str | None], raised: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(*_arguments: object) -> None:
        raise raised

    monkeypatch.setattr(watch, "play", play)

    assert watching(0.5, Clock())


def test_a_service_that_does_not_answer_is_a_breach(
    watching: Callable[..., str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smoke of this test would not notice."""
    clock = Clock()
    monkeypatch.setattr(watch, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(services, "ask", lambda url: SERVING if clock.now < 1008 else None)

    assert "does not answer" in (watching(30, clock) or "")
    assert clock.now <= 1008 + watch.interval(30)


def test_the_health_hook_is_asked_in_each_look(watching: Callable[..., str | None], tmp_path: Path) -> None:
    failing = f"echo asked >> {tmp_path}/asked; test $(wc -l < {tmp_path}/asked) -lt 2"

    assert "health" in (watching(0.5, Clock(), health=failing) or "")
    assert (tmp_path / "asked").read_text() == "asked\n" * 2


@pytest.mark.parametrize("seconds", [0.5, 8.0, 30.0, 90.0, 600.0, 3600.0])
def test_a_log_has_a_line_for_the_first_look_and_the_last_and_none_closer_than_ten_seconds(
    watching: Callable[..., str | None], seconds: float
) -> None:
    clock = Clock()
    lines: list[tuple[float, str]] = []

    watching(seconds, clock, progress=Plain(lambda line: lines.append((clock.now - 1000, line))), health="true")

    _begin, first, *middle, at_last, last, _end = lines
    assert re.fullmatch(r" +watching, \S+ left: \d\d:\d\d:\d\d: 1 process, smoke, health passed", first[1])
    assert first[0] == 0
    assert "the last look" in at_last[1]
    assert last[1].endswith("smoke, health passed")
    assert last[0] >= seconds
    assert "0:00 left" in last[1]
    times = [0.0, *(at for at, _ in middle)]
    assert all(after - before >= 10 for before, after in pairwise(times))
    assert len(lines) >= 5 + min(seconds, 600) // 60 - 1


@pytest.mark.parametrize("seconds", [0.5, 30.0, 600.0, 35_999.0])
def test_a_terminal_of_80_columns_shows_the_time_left_and_what_was_seen_last(
    watching: Callable[..., str | None], seconds: float
) -> None:
    screen = io.StringIO()

    watching(
        seconds, Clock(), progress=TerminalBars(Console(file=screen, force_terminal=True, width=80)), health="true"
    )

    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    bars = [line.rstrip() for line in re.split(r"[\r\n]", drawn) if " left" in line]
    assert re.search(r"watching \S+ 0:00 left \d\d:\d\d:\d\d: 1 process, smoke, health passed$", bars[-1]), bars[-1]
    assert "…" not in drawn
    assert max(map(len, bars)) <= 80


def test_a_breach_in_the_last_look_follows_the_line_that_announces_it(watching: Callable[..., str | None]) -> None:
    lines: list[str] = []

    assert watching(30, Clock(breaks_at=30), progress=Plain(lines.append))

    assert "the last look" in lines[-1]
    assert "quiet" not in "".join(lines)
