"""Records a live move while it is made: lines of the journal for the report, and the same for whoever shows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from db.console.live_view import CopyProgress, RoundProgress
from db.cutover.context import RunContext
from db.transfer.live.rounds import RoundResult
from db.transfer.live_back.rounds import RoundOfWriteBack

COPYING = "copying"
ROUND = "round"

EVERY_SECONDS = 1.0
"""A line of the journal is flushed to the disk that players write to; a batch takes a tenth of a second."""


@contextmanager
def of_batches(context: RunContext) -> Iterator[Callable[[CopyProgress], None]]:
    """Give what a copy is to call after each batch. The journal gets the first, one a second, and the last."""
    noted_at = -EVERY_SECONDS
    noted = last = None

    def note(progress: CopyProgress) -> None:
        nonlocal noted, noted_at
        noted, noted_at = progress, time.monotonic()
        context.journal.write(COPYING, **asdict(progress))

    def seen(progress: CopyProgress) -> None:
        nonlocal last
        last = progress
        context.config.view.copied(progress)
        if time.monotonic() - noted_at >= EVERY_SECONDS:
            note(progress)

    yield seen
    if last is not None and last != noted:
        note(last)


def of_round(context: RunContext, result: RoundResult, left: int | None = None) -> None:
    """Record a round at the time of its commit. left: changes that wait on the log."""
    _note(context, RoundProgress(result.players, result.rows, result.written, result.seconds, result.read_at, left))


def of_write_back(context: RunContext, result: RoundOfWriteBack, left: int | None) -> None:
    """Record a round of the way back. Its rows are the lines of the log that it applied."""
    written = result.cells + result.inserted + result.deleted + result.lines
    _note(context, RoundProgress(result.players, result.log_lines, written, result.seconds, result.read_at, left))


def _note(context: RunContext, done: RoundProgress) -> None:
    context.config.view.applied(done)
    context.journal.write(
        ROUND,
        when=time.time() - (time.monotonic() - done.read_at - done.seconds),
        players=done.players,
        rows=done.rows,
        written=done.written,
        seconds=round(done.seconds, 4),
        left=done.left,
    )
