"""A move works the more of the time, the less players notice of it; nothing is slept in a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from db.console.progress import Advance
from db.transfer.live import leeway
from db.transfer.live.leeway import (
    FORGETTING,
    LEARNING,
    LEAST_PAUSE_SECONDS,
    LEAST_REQUESTS,
    LEAST_ROUND_SHARE,
    LEAST_SHARE,
    LESS,
    LONGER,
    MORE,
    MOST_PACED_SECONDS,
    MOST_PAUSE_SECONDS,
    MOST_SECONDS,
    MUCH_LONGER,
    Leeway,
    Paced,
    of_reader,
    pausing_after,
)

USUAL = 0.004
ROUNDS_TO_ALL = round((1 - LEAST_SHARE) / MORE)


def heard(of: Leeway, took: float, *, requests: float = LEAST_REQUESTS, during: float = 1.0) -> float:
    """Note requests that took so many seconds each beside work; return the share that follows."""
    of.for_work()
    of.note(requests, requests * took, during)
    return of.share


@pytest.fixture
def begun() -> Leeway:
    """A leeway that has heard how long requests take without the move."""
    of = Leeway()
    of.begin()
    heard(of, USUAL)
    return of


def test_a_move_that_asks_nobody_works_all_the_time() -> None:
    assert Leeway().share == 1.0


def test_it_begins_with_the_least_and_takes_the_first_figure_for_the_usual_one() -> None:
    of = Leeway(share=1.0, usual=7.0)
    of.begin()
    assert (of.share, of.usual) == (LEAST_SHARE, 0.0)
    assert heard(of, USUAL) == LEAST_SHARE
    assert of.usual == pytest.approx(USUAL)


def test_what_was_heard_before_the_beginning_does_not_count() -> None:
    of = Leeway()
    of.note(LEAST_REQUESTS - 1, 1000.0, MOST_SECONDS / 2)
    of.begin()
    assert heard(of, USUAL, requests=1, during=MOST_SECONDS / 2) == LEAST_SHARE
    assert of.usual == 0


def test_while_requests_take_hardly_longer_it_works_more_up_to_all_of_the_time(begun: Leeway) -> None:
    shares = [heard(begun, USUAL * LONGER * 0.99) for _ in range(ROUNDS_TO_ALL + 2)]
    assert shares[:2] == [pytest.approx(LEAST_SHARE + MORE), pytest.approx(LEAST_SHARE + 2 * MORE)]
    assert shares[-2:] == [1.0, 1.0]
    assert begun.usual == pytest.approx(USUAL), "what requests take beside a move that works more is not the usual"


def test_it_works_no_more_after_a_time_in_which_it_did_not_work(begun: Leeway) -> None:
    begun.note(LEAST_REQUESTS, LEAST_REQUESTS * USUAL, 1.0)
    heard(begun, USUAL)
    begun.note(LEAST_REQUESTS, LEAST_REQUESTS * USUAL, 1.0)
    assert begun.share == pytest.approx(LEAST_SHARE + MORE), "how requests do without it says nothing of it"


def test_the_usual_stays_while_nothing_works(begun: Leeway) -> None:
    begun.note(LEAST_REQUESTS, LEAST_REQUESTS * USUAL * 10, 1.0)
    assert begun.usual == pytest.approx(USUAL), "what is waited for would come by itself"
    assert not begun.is_calm


def test_who_is_free_works_all_the_time_and_is_calm(begun: Leeway) -> None:
    heard(begun, USUAL * 10)
    begun.free()
    assert (begun.share, begun.usual, begun.is_calm) == (1.0, 0.0, True)


def test_it_is_calm_while_requests_take_hardly_longer_than_usual(begun: Leeway) -> None:
    assert begun.is_calm
    heard(begun, USUAL * MUCH_LONGER * 1.01)
    assert not begun.is_calm
    heard(begun, USUAL)
    assert begun.is_calm


def test_after_a_rest_it_is_calm_once_requests_were_heard_of_again(begun: Leeway) -> None:
    with begun.resting():
        pass
    assert not begun.is_calm
    heard(begun, USUAL)
    assert begun.is_calm


def test_a_game_that_nobody_plays_is_calm(begun: Leeway) -> None:
    with begun.resting():
        pass
    heard(begun, USUAL, requests=0, during=MOST_SECONDS)
    assert begun.is_calm
    unheard = Leeway()
    with unheard.resting():
        pass
    assert unheard.is_calm, "nobody listens, so nothing would ever be heard"


def test_where_requests_take_much_longer_it_works_less_down_to_the_least(begun: Leeway) -> None:
    begun.share = 0.5
    assert heard(begun, USUAL * MUCH_LONGER * 1.01) == pytest.approx(0.5 * LESS)
    assert [heard(begun, USUAL * MUCH_LONGER * 1.01) for _ in range(4)][2:] == [LEAST_SHARE, LEAST_SHARE]


def test_what_is_neither_hardly_nor_much_longer_changes_nothing(begun: Leeway) -> None:
    begun.share = 0.5
    assert heard(begun, USUAL * (LONGER + MUCH_LONGER) / 2) == 0.5
    assert begun.usual == pytest.approx(USUAL)


def test_the_usual_stays_while_the_move_works_more_than_the_least(begun: Leeway) -> None:
    begun.share = 0.5
    heard(begun, USUAL * 3)
    assert begun.usual == pytest.approx(USUAL)


@pytest.mark.parametrize("times", [(LONGER + MUCH_LONGER) / 2, 3.0])
def test_where_requests_take_longer_for_other_reasons_the_usual_follows_slowly(begun: Leeway, times: float) -> None:
    assert heard(begun, USUAL * times) == LEAST_SHARE
    assert begun.usual == pytest.approx(USUAL + USUAL * (times - 1) * FORGETTING)
    shares = [heard(begun, USUAL * times) for _ in range(40)]
    assert max(shares) > LEAST_SHARE, "the move works as little as it may for ever"
    assert begun.usual <= USUAL * times


def test_where_requests_take_less_than_in_the_beginning_the_usual_follows_quickly(begun: Leeway) -> None:
    heard(begun, USUAL / 2)
    assert begun.usual == pytest.approx(USUAL * (1 - LEARNING / 2)), "a service that has just started sets the measure"


def test_too_few_requests_say_nothing_until_the_time_is_over(begun: Leeway) -> None:
    begun.share = 0.5
    assert heard(begun, USUAL, requests=1, during=MOST_SECONDS * 0.9) == 0.5
    assert heard(begun, USUAL, requests=1, during=MOST_SECONDS * 0.2) == 1.0, "nobody is held up"
    assert begun.usual == pytest.approx(USUAL)
    assert heard(begun, USUAL, requests=1, during=MOST_SECONDS * 0.9) == 1.0, "the time begins again"


def test_requests_that_are_few_because_they_take_long_slow_the_move(begun: Leeway) -> None:
    begun.share = 0.5
    assert heard(begun, USUAL * 500, requests=2, during=MOST_SECONDS) == pytest.approx(0.5 * LESS)
    assert not begun.is_calm


def test_a_few_requests_at_a_time_are_judged_together(begun: Leeway) -> None:
    half = LEAST_REQUESTS / 2
    assert heard(begun, 0.0, requests=half) == LEAST_SHARE
    assert heard(begun, USUAL * 2, requests=half) == pytest.approx(LEAST_SHARE + MORE), "half of them took no time"
    begun.share = 0.5
    assert heard(begun, USUAL, requests=half) == 0.5
    assert heard(begun, USUAL, requests=half) == pytest.approx(0.5 + MORE), "those judged before are not judged again"


def test_it_rests_for_the_block_and_no_longer() -> None:
    of = Leeway()
    with of.resting():
        assert of.is_resting
    assert not of.is_resting
    with pytest.raises(ZeroDivisionError), of.resting():
        raise ZeroDivisionError
    assert not of.is_resting


class Clock:
    """The time of the module, which goes on when a task works or pauses."""

    def __init__(self) -> None:
        self.at = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.at += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(leeway, "time", made)
    return made


class Noted:
    """A progress that notes all that it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        self.told.append((title, total, unit))
        yield self.told.append
        self.told.append("ended")

    def say(self, line: str) -> None:
        self.told.append(line)


def paused(clock: Clock, shares: list[float], *, works: float) -> list[float]:
    """Have a task work for so long before each advance; return the pauses."""
    left = iter(shares)
    with Paced(Noted(), lambda: next(left)).bar("players", len(shares), "players") as advance:
        for _ in shares:
            clock.at += works
            advance(1)
    return clock.pauses


def test_a_paced_progress_tells_what_it_is_told() -> None:
    noted = Noted()
    paced = Paced(noted, lambda: 1.0)
    with paced.bar("proof", 3, "players") as advance:
        advance(2)
    paced.say("a line")
    assert noted.told == [("proof", 3, "players"), 2, "ended", "a line"]


@pytest.mark.parametrize("share", [0.75, 0.5, 0.25, 0.1])
def test_a_task_pauses_in_proportion_to_its_share(clock: Clock, share: float) -> None:
    pauses = paused(clock, [share] * 10, works=0.02)
    assert pauses == [pytest.approx(0.02 * (1 / share - 1))] * 10
    assert 10 * 0.02 / clock.at == pytest.approx(share)


def test_a_task_with_all_of_the_time_never_pauses(clock: Clock) -> None:
    assert paused(clock, [1.0] * 10, works=1000.0) == []


def test_the_share_is_asked_each_time(clock: Clock) -> None:
    assert paused(clock, [1.0, 0.5, 1.0, 0.25], works=0.02) == [pytest.approx(0.02), pytest.approx(0.06)]


def test_pauses_too_short_to_make_are_saved_up(clock: Clock) -> None:
    works = LEAST_PAUSE_SECONDS * 0.3
    assert paused(clock, [0.5] * 8, works=works) == [pytest.approx(4 * works)] * 2


def test_no_pause_is_longer_than_the_longest(clock: Clock) -> None:
    """An interrupted task is asked to end at its next advance."""
    assert paused(clock, [0.1] * 2, works=MOST_PAUSE_SECONDS) == [MOST_PAUSE_SECONDS] * 2


def test_a_task_that_has_paused_for_long_enough_pauses_no_more(clock: Clock) -> None:
    works = MOST_PACED_SECONDS / 4
    assert len(paused(clock, [0.9] * 10, works=works)) == 3


def test_who_keeps_a_snapshot_works_all_the_time_once_the_log_has_grown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leeway, "MOST_LOG_BYTES", 10)
    file, of = tmp_path / "game.db", Leeway(share=0.3)
    log = tmp_path / "game.db-wal"
    share = of_reader(file, of)
    assert share() == 1.0, "without a log writers wait for the reader"
    log.write_bytes(bytes(100))
    assert share() == 0.3, "an earlier reader left it so large"
    log.write_bytes(bytes(110))
    assert share() == 0.3
    log.write_bytes(bytes(111))
    assert share() == 1.0
    log.write_bytes(b"")
    of.share = 0.4
    assert share() == 0.4
    link = tmp_path / "link.db"
    link.symlink_to(file)
    linked = of_reader(link, of)
    assert linked() == 0.4, "the log lies beside the file, not beside a link to it"


def pause_after(clock: Clock, share: float) -> list[float]:
    """Return the pauses of a round of which one transaction took 0.3 seconds."""
    ended: list[str] = []

    @contextmanager
    def transaction() -> Iterator[None]:
        yield
        clock.at += 0.1
        ended.append("committed")

    with pausing_after(transaction, Leeway(share=share)):
        clock.at += 0.2
    assert ended == ["committed"]
    return clock.pauses


@pytest.mark.parametrize(("share", "works"), [(1.0, 1.0), (0.75, 0.75), (LEAST_ROUND_SHARE, 0.5), (LEAST_SHARE, 0.5)])
def test_a_round_pauses_after_each_transaction_but_never_so_long_that_it_does_not_keep_up(
    clock: Clock, share: float, works: float
) -> None:
    assert pause_after(clock, share) == [pytest.approx(0.3 * (1 / works - 1))]


def test_a_transaction_that_fails_is_told_of_at_once(clock: Clock) -> None:
    with pytest.raises(ValueError, match="the row"), pausing_after(nullcontext, Leeway(share=0.1)):
        raise ValueError("the row")
    assert clock.pauses == []


def test_a_move_that_worked_all_the_time_begins_with_little_once_players_come() -> None:
    of = Leeway()
    of.begin()
    of.free()
    assert of.share == 1.0
    of.note(LEAST_REQUESTS, LEAST_REQUESTS * 0.01, 1.0)
    assert (of.share, of.usual) == (LEAST_SHARE, pytest.approx(0.01))
