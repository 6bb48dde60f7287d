"""Orders a live attempt of either direction to hold, to go, to pause or to resume, from another terminal.

Each order is one conditional UPDATE with the attempt's run, so it is in time, or it is refused and changes nothing.
Errors: Refusal with nothing changed; Failure where the order stands and the tool that is to follow it is gone;
Inconclusive where Postgres stops answering.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import psycopg

from db import ops
from db.confirmation import Change, Confirm, require_own
from db.environments import Environment
from db.errors import Failure, Inconclusive, Refusal
from db.ops import Connection, Phase, fence, locks, orders
from db.ops.locks import Holder
from db.ops.orders import Go, Orders
from db.processes import operator
from game.redaction import redact

TAKEN_SECONDS = 10.0
"""How long whoever ordered the go waits to see what becomes of it; the tool looks five times a second."""

LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Direction:
    """A direction in which orders are given. verb: of its task. begun, beyond: the phases before and after its point
    of no return. copies: what it does in a clause; to: where the game goes.
    """

    verb: str
    begun: Phase
    beyond: Phase
    copies: str
    to: str
    plays: str


THERE = Direction("cutover", Phase.LOADING, Phase.LIVE, "copies", "to Postgres", "players play on Postgres")
BACK = Direction("rollback", Phase.LIVE, Phase.RETURNED, "writes back", "back to SQLite", "players play on SQLite")


@dataclass(frozen=True, slots=True)
class OrderReport:
    """An order that counts. outcome: live, returned, taken, ordered, held, paused or resumed.

    changed: False if it was so already. said: the same in a sentence.
    """

    environment: str
    run: str
    outcome: str
    changed: bool
    said: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """The live attempt that is under way. holder: who holds the run lock for it, None if no tool is at work."""

    run: str
    orders: Orders
    holder: Holder | None


def is_at_work(env: Environment) -> bool:
    """Return True if a tool is at work on a live attempt. Raises Refusal or Inconclusive if it can't be known."""
    with _asking(env) as conn:
        ops.require_marker(conn, env.name)
        holder = locks.holder(conn)
        return holder is not None and orders.read(conn, holder.run) is not None


def go(env: Environment, confirm: Confirm, way: Direction = THERE) -> OrderReport:
    """Order the window of a tool that holds, and wait some seconds to see what becomes of the order."""
    with _asking(env) as conn:
        attempt = _attempt(env, conn, way)
        _require_tool(env, attempt, way)
        confirm(Change(env, f"has run {attempt.run} move the live game {way.to}: {_stores(env)}"))
        changed = orders.order_go(conn, attempt.run, operator.name())
        if not changed:
            attempt = _attempt(env, conn, way)
            if attempt.orders.go not in (Go.ORDERED, Go.TAKEN):
                _refuse_go(env, attempt, way)
        return _seen(env, conn, attempt.run, way, changed=changed)


def hold(env: Environment, way: Direction = THERE) -> OrderReport:
    """Take a go back, or make a run hold that would go on by itself. It only delays the window, so nobody is asked."""
    require_own(env)
    with _asking(env) as conn:
        attempt = _attempt(env, conn, way)
        changed = orders.order_hold(conn, attempt.run)
        now = _attempt(env, conn, way)
        if now.orders.go is Go.TAKEN:
            _too_late(env, now, way)
        if not changed:
            said = f"run {now.run} is to hold already"
        elif attempt.orders.go is Go.ORDERED:
            said = f"the go that {attempt.orders.go_by} ordered is taken back: run {now.run} holds"
        else:
            said = f"run {now.run} is to hold before its window"
        return _report(env, now, "held", changed, said)


def pause(env: Environment, way: Direction = THERE) -> OrderReport:
    """Pause the copy and the rounds. It only takes load from the stores, so nobody is asked."""
    require_own(env)
    with _asking(env) as conn:
        attempt = _attempt(env, conn, way)
        changed = orders.order_pause(conn, attempt.run, operator.name())
        now = _attempt(env, conn, way)
        if not now.orders.paused:
            if now.orders.go is Go.ORDERED:
                raise Refusal(
                    "an attempt without a go",
                    f"a go that {now.orders.go_by} ordered at {now.orders.go_at}",
                    where=f"run {now.run}",
                    do=f"Nothing was changed. Take it back first: invoke {way.verb} --env {env.name} --hold.",
                )
            _too_late(env, now, way)
        stands = "is paused" if changed else "is paused already"
        said = f"run {now.run} {stands}, by {now.orders.paused_by} at {now.orders.paused_at}"
        return _report(env, now, "paused", changed, said)


def resume(env: Environment, confirm: Confirm, way: Direction = THERE) -> OrderReport:
    """Have a paused attempt go on."""
    with _asking(env) as conn:
        attempt = _attempt(env, conn, way)
        confirm(Change(env, f"has run {attempt.run} copy the live game {way.to}: {_stores(env)}"))
        changed = orders.order_resume(conn, attempt.run)
        now = _attempt(env, conn, way)
        said = f"run {now.run} {'goes on' if changed else 'is not paused'}"
        return _report(env, now, "resumed", changed, said)


@contextmanager
def _asking(env: Environment) -> Iterator[Connection]:
    """Connect for an order. Raises Inconclusive if Postgres stops answering in the block: the order may count."""
    with ops.connect(env.target_direct, application="sudamr order") as conn:
        try:
            yield conn
        except psycopg.OperationalError as error:
            raise Inconclusive(
                "Postgres to say if the order counts",
                f"it stopped answering: {redact(str(error).splitlines()[0])}",
                where=env.target_direct.redacted,
                do=f"Bring it back; what counts is named by: invoke status --env {env.name}",
            ) from error


def _attempt(env: Environment, conn: Connection, way: Direction) -> Attempt:
    """Return the live attempt that is under way. Raises Refusal if none is, or it is past its point of no return."""
    ops.require_marker(conn, env.name)
    phase, run = ops.phase(conn), ops.phase_run(conn)
    if phase is way.beyond and (way is THERE or orders.is_return(conn, run or "")):
        raise Refusal(
            f"a live {way.verb} before its point of no return",
            f"run {run}, which is past it: the phase is {phase}",
            where=env.target_direct.redacted,
            do=f"It is too late, and nothing was changed. The next command: invoke status --env {env.name}",
        )
    if phase is not way.begun or run is None or ops.is_trial(run):
        raise Refusal(
            f"a live {way.verb} under way",
            f"none: the phase is {phase}",
            where=env.target_direct.redacted,
            do=f"Nothing was changed. To begin one that holds: invoke cutover --env {env.name} --hold."
            if way is THERE
            else f"Nothing was changed. Where the game is: invoke status --env {env.name}",
        )
    standing = orders.standing(conn)
    if standing is None and way is BACK and fence.recorded_state(conn) == "open":
        raise Refusal(
            "a live rollback under way",
            "none",
            where=env.target_direct.redacted,
            do=f"Nothing was changed. To begin one that holds: invoke rollback --env {env.name} --hold.",
        )
    if standing is None:
        raise Refusal(
            f"an attempt that {way.copies} while players play",
            f"run {run}, which copies offline, or has not begun to copy"
            if way is THERE
            else "a rollback that has stopped the game",
            where=env.target_direct.redacted,
            do=f"Nothing was changed. Where it stands: invoke status --env {env.name}",
        )
    holder = locks.holder(conn)
    return Attempt(standing.run, standing, holder if holder is not None and holder.run == standing.run else None)


def _require_tool(env: Environment, attempt: Attempt, way: Direction) -> None:
    """Raise Refusal if no tool is at work that could take a go."""
    if attempt.holder is None:
        raise Refusal(
            "a tool that holds",
            "none at work",
            where=f"run {attempt.run}",
            do=f"Nothing was changed. First go on with the attempt: invoke {way.verb} --env {env.name}.",
        )
    if attempt.holder.stopped:
        raise Refusal(
            "a tool that is at work",
            f"one that is stopped: {attempt.holder}",
            where=f"run {attempt.run}",
            do=f"Nothing was changed. kill -9 {attempt.holder.pid} is safe; then go on with the attempt:"
            f" invoke {way.verb} --env {env.name}.",
        )


def _refuse_go(env: Environment, attempt: Attempt, way: Direction) -> NoReturn:
    """Raise Refusal: the attempt does not hold, or is paused."""
    standing = attempt.orders
    if standing.paused:
        raise Refusal(
            "an attempt that goes on",
            f"one that {standing.paused_by} paused at {standing.paused_at}",
            where=f"run {attempt.run}",
            do=f"Nothing was changed. First: invoke {way.verb} --env {env.name} --resume.",
        )
    if standing.go is Go.UNASKED:
        raise Refusal(
            "an attempt that holds",
            "one that goes through its window by itself once it is ready",
            where=f"run {attempt.run}",
            do=f"Nothing was changed. To have it hold: invoke {way.verb} --env {env.name} --hold.",
        )
    raise Refusal(
        "an attempt that holds",
        "one that is not ready yet",
        where=f"run {attempt.run}",
        do=f"Nothing was changed. Order the go again once this says holding: invoke status --env {env.name}",
    )


def _too_late(env: Environment, attempt: Attempt, way: Direction) -> NoReturn:
    """Raise Refusal: the go was taken. A tool that took it and is gone left an attempt that can be made to hold."""
    again = f"The tool that took it is gone; go on, and hold: invoke {way.verb} --env {env.name} --hold."
    raise Refusal(
        "an attempt whose go was not taken yet",
        "one whose window follows at once" if attempt.holder else "one that took its go",
        where=f"run {attempt.run}",
        do=f"It is too late, and nothing was changed. The next command: invoke status --env {env.name}"
        if attempt.holder
        else f"Nothing was changed. {again}",
    )


def _report(env: Environment, now: Attempt, outcome: str, changed: bool, said: str) -> OrderReport:
    nobody = "" if now.holder else "; no tool is at work on it"
    return OrderReport(env.name, now.run, outcome, changed, f"{said}{nobody}.")


def _seen(env: Environment, conn: Connection, run: str, way: Direction, *, changed: bool) -> OrderReport:
    """Wait for what becomes of a go: the window, or a reason why it does not come yet."""
    until = time.monotonic() + TAKEN_SECONDS
    while True:
        phase, standing, holder = ops.phase(conn), orders.read(conn, run), locks.holder(conn)
        if phase is way.beyond and ops.phase_run(conn) == run:
            return OrderReport(env.name, run, str(phase), changed, f"run {run} took the go, and {way.plays}.")
        if phase is not way.begun or (way is THERE and ops.phase_run(conn) != run) or (way is BACK and not standing):
            raise _lost(env, run, f"the phase {phase}: it was undone")
        if standing is None or standing.go not in (Go.ORDERED, Go.TAKEN):
            raise _lost(env, run, "that the go was taken back")
        if holder is None:
            raise _lost(env, run, "that the tool is gone, while the go stands")
        if standing.waiting or time.monotonic() > until:
            taken = standing.go is Go.TAKEN
            said = f"run {run} {'took the go' if taken else 'has not taken the go yet'}"
            waits = f"; it waits because {standing.waiting}" if standing.waiting else ""
            return OrderReport(env.name, run, "taken" if taken else "ordered", changed, f"{said}{waits}.")
        time.sleep(LOOK_SECONDS)  # What becomes of it is written by the tool, another process.


def _stores(env: Environment) -> str:
    return f"{env.legacy.redacted}, {env.target.redacted}"


def _lost(env: Environment, run: str, found: str) -> Failure:
    """Return the failure of a run whose window, after a go, was not seen to its end."""
    return Failure(
        "the window after the go",
        found,
        where=f"run {run}",
        do=f"What it came to, and the next command: invoke status --env {env.name}",
    )
