"""Records a live move while it is made: lines of the journal for the report, and the same for whoever shows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from db.console.live_view import CopyProgress, RoundProgress
from db.cutover.context import RunContext
from db.transfer.live.rounds import RoundResult

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
    view = RoundProgress(result.players, result.rows, result.written, result.seconds, result.read_at, left)
    context.config.view.applied(view)
    context.journal.write(
        ROUND,
        when=time.time() - (time.monotonic() - result.read_at - result.seconds),
        players=result.players,
        rows=result.rows,
        written=result.written,
        seconds=round(result.seconds, 4),
        left=left,
    )
