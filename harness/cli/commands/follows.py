"""`invoke follow`: has the legacy file follow Postgres, or orders something of the process that does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from db.confirmation import Change, Confirm
from db.console.output import INTERRUPTED, Output
from db.counts import counted
from db.cutover import ending
from db.environments import Environment
from db.follow import loop, orders, view
from db.follow.ending_signals import GentleSignals
from db.follow.loop import FollowConfig, FollowReport
from db.follow.orders import FollowOrder


def order_of(*, pause: bool, resume: bool, stop: bool) -> Callable[[Environment], FollowOrder] | None:
    """Return the order that the options name; None to follow."""
    given = [order for order, wished in ((orders.pause, pause), (orders.resume, resume), (orders.stop, stop)) if wished]
    return given[0] if given else None


def end_with(env: Environment, out: Output) -> None:
    """Make the task ask the stores for its last line when it ends."""
    follow = f"invoke follow --env {env.name}"
    again = {"interrupted": f"{follow} (follows again)", "paused": f"{follow} --resume (has it go on)"}
    out.at_end = partial(ending.ended, env, again=again)


def follow(env: Environment, confirm: Confirm, signals: GentleSignals, out: Output) -> FollowReport:
    """Follow until there is a reason to end; see `loop.follow`."""
    confirm(
        Change(
            env, f"writes what players do on {env.target_direct.redacted} into {env.legacy.redacted}, again and again"
        )
    )
    with view.shown_by(out.progress, out.stream) as shown:
        return loop.follow(env, FollowConfig(progress=out.progress, view=shown, signals=signals))


def show(report: FollowReport | FollowOrder, out: Output) -> None:
    """Print what became of the order; or how the following ended, with its figures."""
    if isinstance(report, FollowOrder):
        out.say(report.said)
    else:
        lag = "" if report.most_lag is None else f", the lag at most {report.most_lag:.1f} s"
        why = f" ({report.reason})" if report.reason else ""
        out.say(f"{report.outcome}{why}: {counted(report.rounds, 'rounds')} in {report.seconds:,.0f} s{lag}.")
    out.end(report.outcome)


def exit_code(report: FollowReport | FollowOrder) -> int:
    """Return 130 where a signal ended it, else 0."""
    return INTERRUPTED if report.outcome == "interrupted" else 0
