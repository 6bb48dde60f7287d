"""Orders of an operator for the process that follows: to pause, to go on, to stop. Each is one conditional UPDATE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from db import ops
from db.environments import Environment
from db.errors import Refusal
from db.ops import following
from db.processes import operator


@dataclass(frozen=True, slots=True)
class FollowOrder:
    """An order. outcome: paused, resumed or stopped. changed: False if nothing was. said: that, for people."""

    environment: str
    outcome: str
    changed: bool
    said: str


def pause(env: Environment) -> FollowOrder:
    """Pause the rounds: the change log of Postgres grows meanwhile, up to its bound."""
    return _order(env, "paused", lambda conn: following.order_pause(conn, operator.name()), "pauses")


def resume(env: Environment) -> FollowOrder:
    """Have the rounds go on."""
    return _order(env, "resumed", following.order_resume, "goes on")


def stop(env: Environment) -> FollowOrder:
    """End the process, or keep one that is gone from being missed: nothing follows from now on."""
    return _order(env, "stopped", lambda conn: following.order_stop(conn, operator.name()), "ends")


def _order(env: Environment, outcome: str, order: Callable[[ops.Connection], bool], does: str) -> FollowOrder:
    with ops.connect(env.target_direct, application="sudamr order") as conn:
        ops.require_marker(conn, env.name)
        row = following.read(conn)
        if row is None or row.state is following.FollowState.RETURNED:
            raise Refusal(
                "a legacy file that follows",
                "none" if row is None else "one that did until the game returned to it",
                where=env.target_direct.redacted,
                do=f"Nothing was changed. To have it follow: invoke follow --env {env.name}",
            )
        changed = order(conn)
        work = "" if following.at_work(conn) else "; no process is at work"
        if not changed:
            said = f"Nothing was changed: {_standing(following.read(conn) or row)}{work}."
            return FollowOrder(env.name, outcome, changed, said)
        return FollowOrder(env.name, outcome, changed, f"{row.process}: it {does}{work}.")


def _standing(row: following.Following) -> str:
    """Say in a clause which order stands."""
    if row.ordered is following.Order.NONE:
        return "no order stands"
    what = "a pause" if row.ordered is following.Order.PAUSE else "the end"
    return f"{row.ordered_by} ordered {what} at {row.ordered_at}"
