"""Says where a live attempt stands, from the two databases and the file alone, for `invoke status`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from db.console.live_view import MoveState
from db.counts import counted
from db.cutover.probes import CaptureState, CopyState, TargetState
from db.ops import Phase
from db.ops.orders import Go, Orders
from game.legacy.fence_schema import FenceMark


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """The state of a live attempt, and why it is in it.

    option, does: of the move's next command, and what that does. Without `does` the stores alone decide it.
    """

    state: MoveState
    reason: str
    option: str = ""
    does: str = ""
    verb: str = "cutover"

    def __str__(self) -> str:
        return self.state.explained(self.reason)

    def next(self, environment: str) -> str:
        """Return the next command with what it does; "" where the stores alone decide it."""
        if not self.does:
            return ""
        move = f"invoke {self.verb} --env {environment}"
        option = f" {self.option}" if self.option else ""
        return f"{move}{option} ({self.does.format(move)})"


def of(mark: FenceMark, capture: CaptureState | None, target: TargetState) -> LiveStatus | None:
    """Return the state of the live attempt that is under way; None if none is.

    A cutover is known by the capture on the file, which bears its run until players play on Postgres and all is proven;
    a rollback by its orders, which stand until its last step.
    """
    if target.going_back or target.returned_live:
        return replace(_back(mark, target), verb="rollback")
    if capture is None or capture.run != target.run:
        return None
    if target.phase is Phase.LIVE:
        return LiveStatus(MoveState.LIVE, "players play on Postgres; the proof of the instant is still to come")
    return _before(mark, capture, target) if target.phase is Phase.LOADING else None


def _before(mark: FenceMark, capture: CaptureState, target: TargetState) -> LiveStatus:
    """Return the status of an attempt that is under way and has not passed its point of no return yet."""
    if mark.state != "open":
        gone = "" if target.holder else "; its run is gone, and the watchdog opens the file within moments: look again"
        return LiveStatus(MoveState.IN_THE_WINDOW, f"the legacy file is {mark.state}{gone}")
    nobody = "" if target.holder else "; no run is at work on it"
    full = ", as many as the log may have: the next run copies anew" if capture.full else ""
    left = f"{_waits(capture.waiting)}{full}{nobody}"
    if target.orders is not None and (ordered := _ordered(target.orders, left, at_work=bool(target.holder))):
        return ordered
    copied = next((copy for copy in target.copies if copy.log == capture.log), CopyState(capture.log, 0, beyond=False))
    if not copied.beyond and copied.players < capture.players:
        return LiveStatus(MoveState.COPYING, f"{copied.players:,} of {counted(capture.players, 'players')}; {left}")
    if not target.proven:
        return LiveStatus(MoveState.CATCHING_UP, f"every player is copied; {left}")
    return LiveStatus(MoveState.STANDING_BY, f"every player was proven at one instant; {left}")


def _back(mark: FenceMark, target: TargetState) -> LiveStatus:
    """Return the status of a rollback that is under way, or has returned and has last steps to do."""
    if target.returned_live and mark.state != "open":
        gone = "" if target.holder else "; its run is gone, and the watchdog opens the file within moments: look again"
        return LiveStatus(MoveState.IN_THE_WINDOW, f"Postgres says that the game returned{gone}")
    if target.returned_live:
        return LiveStatus(MoveState.RETURNED, "players play on SQLite; the proof of the instant is still to come")
    nobody = "" if target.holder else "; no run is at work on it"
    waiting = None if target.log is None else target.log.waiting
    left = f"{_waits(waiting)}{nobody}"
    assert target.orders is not None
    if target.orders.go is Go.TAKEN and target.holder and not target.orders.waiting:
        return LiveStatus(MoveState.IN_THE_WINDOW, f"the go is taken, and the window comes as soon as it can; {left}")
    if ordered := _ordered(target.orders, left, at_work=bool(target.holder)):
        return ordered
    if target.log is None or not target.log.leads_on:
        return LiveStatus(MoveState.COPYING_BACK, f"everything is written back once, while players play; {left}")
    return LiveStatus(MoveState.CATCHING_UP, left)


def _waits(waiting: int | None) -> str:
    if waiting is None:
        return "how many changes of players wait is not known"
    return f"{counted(waiting, 'changes')} of players {'waits' if waiting == 1 else 'wait'}"


_ABORT = "--abort undoes it"


def _ordered(orders: Orders, left: str, *, at_work: bool) -> LiveStatus | None:
    """Return the state that people's orders brought the attempt to; None if it goes on by itself."""
    if orders.failed and not at_work:
        return LiveStatus(MoveState.FAILED, f"{orders.failed}; {left}")
    if orders.paused:
        then = "" if at_work else "; no run is at work on it: then {0}"
        reason = f"by {orders.paused_by} at {orders.paused_at}; {left}"
        return LiveStatus(MoveState.PAUSED, reason, "--resume", f"has it go on{then}")
    if orders.go is Go.HOLDING:
        reason = f"until a go is ordered; {left}"
        if at_work:
            return LiveStatus(MoveState.HOLDING, reason, "--go", "orders the window")
        return LiveStatus(MoveState.HOLDING, reason, "", f"goes on, and holds again; {_ABORT}")
    return _going(orders, left, at_work=at_work)


def _going(orders: Orders, left: str, *, at_work: bool) -> LiveStatus | None:
    """Return the state of an attempt whose go was ordered, or that waits on its way to the window."""
    ordered = orders.go in (Go.ORDERED, Go.TAKEN) and bool(orders.go_by)
    by = f"by {orders.go_by} at {orders.go_at}"
    if not at_work:
        goes_on = f"goes on to the window; with --hold it holds instead; {_ABORT}"
        return LiveStatus(MoveState.GO_ORDERED, f"{by}; {left}", "", goes_on) if ordered else None
    back = ("--hold", "takes the go back, if it comes in time") if orders.go is Go.ORDERED else ()
    if orders.waiting:
        return LiveStatus(MoveState.WAITING, f"{orders.waiting}; {left}", *back)
    return LiveStatus(MoveState.GO_ORDERED, f"{by}; {left}", *back) if ordered else None
