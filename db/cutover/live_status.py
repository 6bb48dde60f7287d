"""Says where a live attempt stands, from the two databases and the file alone, for `invoke status`."""

from __future__ import annotations

from dataclasses import dataclass

from db.console.live_view import MoveState
from db.counts import counted
from db.cutover.probes import CaptureState, CopyState, TargetState
from db.ops import Phase
from game.legacy.fence_schema import FenceMark


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """The state of a live attempt, and why it is in it."""

    state: MoveState
    reason: str

    def __str__(self) -> str:
        return f"{self.state}: {self.reason}"


def of(mark: FenceMark, capture: CaptureState | None, target: TargetState) -> LiveStatus | None:
    """Return the state of the live attempt that is under way; None if none is.

    It is known by the capture on the file, which bears its run until players play on Postgres and all is proven.
    """
    if capture is None or capture.run != target.run:
        return None
    if target.phase is Phase.LIVE:
        return LiveStatus(MoveState.LIVE, "players play on Postgres; the proof of the instant is still to come")
    return _before(mark, capture, target) if target.phase is Phase.LOADING else None


def _before(mark: FenceMark, capture: CaptureState, target: TargetState) -> LiveStatus:
    """Return the state of an attempt that did not come to its point of no return."""
    if mark.state != "open":
        gone = "" if target.holder else "; its run is gone, and the watchdog opens the file within moments: look again"
        return LiveStatus(MoveState.IN_THE_WINDOW, f"the legacy file is {mark.state}{gone}")
    waits = "waits" if capture.waiting == 1 else "wait"
    nobody = "" if target.holder else "; no run is at work on it"
    full = ", as many as the log may have: the next run copies anew" if capture.full else ""
    left = f"{counted(capture.waiting, 'changes')} of players {waits}{full}{nobody}"
    copied = next((copy for copy in target.copies if copy.log == capture.log), CopyState(capture.log, 0, beyond=False))
    if not copied.beyond and copied.players < capture.players:
        return LiveStatus(MoveState.COPYING, f"{copied.players:,} of {counted(capture.players, 'players')}; {left}")
    if not target.proven:
        return LiveStatus(MoveState.CATCHING_UP, f"every player is copied; {left}")
    return LiveStatus(MoveState.STANDING_BY, f"every player was proven at one instant; {left}")
