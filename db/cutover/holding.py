"""Holds and pauses a live attempt of either direction as people order it, see db.ops.orders; players play meanwhile.

A pause begins after the batch or the round that is under way. A run that a signal ends here leaves the attempt as it
is: what was copied stays, changes are still noted, and what was ordered stands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from db.console.live_view import Dirty, MoveState
from db.cutover import services
from db.cutover.context import FAILURES, RunContext
from db.cutover.runbook import LeftStanding
from db.ops import orders
from db.ops.orders import Go, Orders
from db.processes.interruption import Interrupted

ROUND_SECONDS = 10.0
"""Between two rounds of a run that holds: each leaves dead rows in Postgres and pages in the log of its target."""

LOOK_SECONDS = 0.2
"""Between two looks at what was ordered: one row of Postgres, by its key."""

CALM_SECONDS = 30.0
"""So long a window is put off at most, because requests take longer than usual."""

SETTLE_SECONDS = 10.0
"""So long a restart waits at most, after a window, until requests take what they took before."""

PROOF_SECONDS = 600.0
"""A proof that is older is made again before the window: since then only the rounds say that the copy is right."""

monotonic = time.monotonic
"""The clock by which a proof of this process ages, in seconds. Postgres's own can be set back."""


@dataclass(frozen=True, slots=True)
class ReadyMove:
    """A move that is ready for its window. round: applies and records one. prove: makes the proof of every player
    again. proof_seconds: returns the age of the last proof, None if none of this run stands. dirty: see db.console.
    """

    round: Callable[[], object]
    prove: Callable[[], object]
    proof_seconds: Callable[[], float | None]
    dirty: Dirty


def begin(context: RunContext) -> None:
    """Make the row of orders for this run. Earlier orders for it stand, unless it is to hold now."""
    orders.begin(context.conn, context.journal.run, hold=context.config.hold)


def wait_while_paused(context: RunContext) -> bool:
    """Return once the attempt is not paused; True if it was. Raises LeftStanding at a signal."""
    order = _read(context)
    if order is None or not order.paused:
        return False
    reason = f"{by(order)}; to go on: {command(context, '--resume')}"
    context.config.progress.say(f"     paused {reason}")
    context.journal.write("paused", by=order.paused_by)
    with _left_standing(context), context.config.view.doing(MoveState.PAUSED, reason=reason):
        while (order := _read(context)) is not None and order.paused:
            _look_later(context)
    context.config.progress.say("     resumed")
    context.journal.write("resumed")
    return True


def until_go(context: RunContext, ready: ReadyMove) -> dict[str, Any]:
    """Hold before the window, with a round each ten seconds, until a go is ordered; take the go. Returns facts.

    Raises LeftStanding at a signal.
    """
    began, rounds = time.monotonic(), 0
    with _left_standing(context):
        if _taken(context, ready):
            return {"rounds": rounds}
        reason = f"until a go is ordered: {command(context, '--go')}"
        context.config.progress.say(f"     holding {reason}")
        with context.config.view.doing(MoveState.HOLDING, ready.dirty, reason):
            while not _taken(context, ready):
                wait_while_paused(context)
                orders.stand_ready(context.conn, context.journal.run)
                ready.round()
                context.config.observer("at", "hold")
                rounds += 1
                _wait_for_an_order(context)
    return {"rounds": rounds, "held_seconds": round(time.monotonic() - began, 3)}


def until_calm(context: RunContext, apply_round: Callable[[], object], most_seconds: float = CALM_SECONDS) -> None:
    """Apply rounds until requests take hardly longer than without the move, or the time is over.

    A window in a busy moment would delay requests that are already slow.
    """
    until, said = time.monotonic() + most_seconds, False
    while not context.leeway.is_calm and time.monotonic() < until:
        if not said:
            context.config.progress.say("     waiting for a calm moment: requests take longer than before")
            said = True
        wait_while_paused(context)
        context.require_lock()
        apply_round()
        _look_later(context)


def let_settle(context: RunContext) -> None:
    """Return once the service answers as before, or SETTLE_SECONDS have passed.

    After a window those who waited in it come first: a restart wants a processor for seconds.
    """
    until = time.monotonic() + SETTLE_SECONDS
    while not context.leeway.is_calm and time.monotonic() < until:
        _look_later(context)
    services.let_settle(context.env.services)


def by(order: Orders) -> str:
    """Say who paused the attempt, and when."""
    return f"by {order.paused_by} at {order.paused_at}"


def command(context: RunContext, options: str) -> str:
    """Return a command of this environment's move."""
    return f"invoke {context.verb} --env {context.env.name} {options}"


def _taken(context: RunContext, ready: ReadyMove) -> bool:
    """Take the go if that may be; before it make the proof again, if it has become old."""
    order = _read(context)
    if order is not None and order.go in (Go.UNASKED, Go.ORDERED, Go.TAKEN) and not order.paused:
        _prove_again(context, ready)
    return orders.take(context.conn, context.journal.run)


def _prove_again(context: RunContext, ready: ReadyMove) -> None:
    age = ready.proof_seconds()
    if age is not None and 0 <= age <= PROOF_SECONDS:
        return
    if age is None:
        old = "none of this run stands"
    else:
        old = f"the last proof is {age / 60:.0f} minutes old" if age > 0 else "the server's clock was set back since"
    reason = f"every player is proven again: {old}"
    context.config.progress.say(f"     waiting because {reason}")
    orders.wait(context.conn, context.journal.run, reason)
    with context.config.view.doing(MoveState.WAITING, reason=reason):
        context.config.observer("at", "proven again")
        ready.prove()
    orders.wait(context.conn, context.journal.run, "")


def copy_proof_seconds(context: RunContext) -> float | None:
    """Return the age in seconds of the proof of a copy, by the clock that says more; None if none of this run stands.

    Another process's proof has Postgres's clock alone: the age is negative where that was set back behind it.
    """
    age, own = orders.proven_seconds(context.conn, context.journal.run), own_proof_seconds(context)
    return age if age is None or own is None else max(age, own)


def own_proof_seconds(context: RunContext) -> float | None:
    """Return the age in seconds of the proof that this process made; None if it made none."""
    return None if context.proven_at is None else monotonic() - context.proven_at


def _wait_for_an_order(context: RunContext) -> None:
    until = time.monotonic() + ROUND_SECONDS
    while time.monotonic() < until:
        order = _read(context)
        if order is None or order.paused or order.go is not Go.HOLDING:
            return
        _look_later(context)


def _read(context: RunContext) -> Orders | None:
    """Read the orders on the connection that holds the lock: a lock that is lost ends the wait."""
    context.config.signals.check()
    return orders.read(context.conn, context.journal.run)


def _look_later(context: RunContext) -> None:
    context.config.signals.check()
    time.sleep(LOOK_SECONDS)  # The order is a row that another process writes: it can come at any moment.


@contextmanager
def _left_standing(context: RunContext) -> Iterator[None]:
    """Make of a signal a LeftStanding, and say what stays."""
    try:
        yield
    except LeftStanding:
        raise
    except KeyboardInterrupt as error:
        raise _left(context, error) from error
    except FAILURES:
        # The module sqlite3 makes an error of its own of what a handler raises.
        try:
            context.config.signals.check()
        except Interrupted as error:
            raise _left(context, error) from error
        raise


def _left(context: RunContext, signal: KeyboardInterrupt) -> LeftStanding:
    stays = "the copy, change capture" if context.verb == "cutover" else "what was written back, the change log"
    context.config.progress.say(f"     nothing is undone: {stays} and what was ordered stay")
    return LeftStanding(str(signal))
