"""The watch after a cutover: smoke and the health hook each minute, for as long as the policy says."""

from __future__ import annotations

import time

from db.cutover import hooks
from db.cutover.move import Move
from db.cutover.steps import play
from db.errors import Failure

EVERY_SECONDS = 60.0


def watch(move: Move) -> str | None:
    """The first breach, in a sentence; None where there was none in all the time."""
    seconds = move.env.policy.watch_seconds
    if not seconds:
        move.means.progress.say("     no watch: policy.watch_seconds is 0")
        return None
    ends = time.monotonic() + seconds
    move.means.progress.say(f"     watching for {seconds:g} s")
    while (left := ends - time.monotonic()) > 0:
        if breach := _look(move):
            move.journal.write("breach", "watch", found=breach)
            return breach
        time.sleep(min(EVERY_SECONDS, left))
    return None


def _look(move: Move) -> str | None:
    try:
        play(move, move.env.target_direct)
        hooks.run(move.env, "health", move.journal, engine="postgres", timeout_seconds=EVERY_SECONDS)
    except Failure as error:
        return str(error)
    return None
