"""Repeats the rounds of a live move until one is short enough for a window, or it is clear that none will be."""

from __future__ import annotations

import time
from dataclasses import dataclass

from db.cutover import holding, live_record
from db.cutover.context import RunContext
from db.cutover.runbook import LeftToGoOn
from db.ops import orders
from db.transfer.live.rounds import RoundResult
from db.transfer.live.session import LiveTransfer

SHORT_SECONDS = 0.1
"""A round that takes no longer is short enough: the next one fits a window many times over."""

LONGEST_SECONDS = 0.5
"""Half of the window's budget. Rounds that no longer shrink are short enough if they take no longer."""

MOST_ROUNDS = 60
MOST_AHEAD = 12
MOST_AHEAD_SECONDS = 0.3
AHEAD_SECONDS = 0.03
"""A round right before a window that takes no longer has come down to what players write all the time."""

LEAST_SHRINKING = 0.9
STILL = 4
"""So many rounds in a row that shrink by less than a tenth count as not shrinking."""


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """rounds: how many there were; rows: what they wrote; last: the newest, which tells how long a window takes."""

    rounds: int
    rows: int
    last: RoundResult


def catch_up(context: RunContext, live: LiveTransfer) -> CaughtUp:
    """Apply rounds until one is short. Raises LeftToGoOn if players write faster than rounds apply."""
    before: RoundResult | None = None
    still = rows = 0
    for number in range(1, MOST_ROUNDS + 1):
        context.config.signals.check()
        context.require_lock()
        if holding.wait_while_paused(context):
            before, still = None, 0  # The next round has the whole pause to apply, which says nothing of the rates.
        # How long the first one takes says nothing of the rates.
        result = live.round(context.leeway if number == 1 else None)
        live_record.of_round(context, result, live.waiting)
        rows += result.written
        if number == 1 or result.seconds > SHORT_SECONDS:
            context.config.progress.say(f"     round {number}: {_line(result)}")
        if result.seconds <= SHORT_SECONDS or not result.rows:
            return CaughtUp(number, rows, result)
        shrinks = before is None or result.seconds < before.seconds * LEAST_SHRINKING
        still = 0 if shrinks else still + 1
        if still >= STILL:
            if result.seconds <= LONGEST_SECONDS:
                return CaughtUp(number, rows, result)
            assert before is not None
            raise _too_fast(context, before, result)
        before = result
    assert before is not None
    raise _too_fast(context, before, before)


def close_in(live: LiveTransfer) -> None:
    """Apply rounds right before a window until they no longer shrink: the last round has only what came after them.

    Also wait, for a moment, until a burst is applied: the window would have to apply it.
    """
    until = time.monotonic() + MOST_AHEAD_SECONDS
    before = live.run_ahead()
    for _round in range(1, MOST_AHEAD):
        result = live.run_ahead()
        short = result.seconds <= AHEAD_SECONDS or time.monotonic() >= until
        if short and result.seconds >= before.seconds * LEAST_SHRINKING:
            return
        before = result


def _too_fast(context: RunContext, before: RoundResult, result: RoundResult) -> LeftToGoOn:
    arrival = result.rows / max(before.seconds, 1e-6)
    apply = result.rows / max(result.seconds, 1e-6)
    rates = f"{arrival:.0f} rows a second changed by players, {apply:.0f} a second applied"
    orders.fail(context.conn, context.journal.run, rates)
    return LeftToGoOn(
        "rounds that become shorter",
        f"{rates}; a round takes {result.seconds:.1f} s",
        where=context.env.name,
        do="Players play on the legacy file. Choose a quieter hour and run again: the copy goes on where it is. Or"
        f" undo: invoke cutover --env {context.env.name} --abort",
    )


def _line(result: RoundResult) -> str:
    return f"{result.players:,} players and {result.rows:,} rows had changed, applied in {result.seconds * 1000:.0f} ms"
