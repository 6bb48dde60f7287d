"""The move of the live game to Postgres, and back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from invoke.context import Context

from harness.cli.framework import Consent, MoveOptions, OrderOptions, Whole, task
from harness.cli.framework.running import confirmation, leave
from harness.cli.texts import JSON

if TYPE_CHECKING:
    from db.cutover.context import RunConfig
    from db.cutover.report import RunReport
    from db.environments import Environment


ORDERS = ["hold", "go", "pause", "resume"]


@task(
    help={
        "certificate": "the gate's report; out/certificate-ENV.json by default",
        "plan": "the JSON of a dry run; anything unlike it is refused",
        "json": JSON,
    },
    ignores={
        "abort": ["certificate", "plan", *ORDERS],
        "dry-run": ORDERS,
        "offline": ORDERS,
        "go": ["hold", "pause", "resume"],
        "pause": ["hold", "resume"],
        "resume": ["hold"],
    },
)
def cutover(
    _c: Context,
    move: MoveOptions = MoveOptions(),
    order: OrderOptions = OrderOptions(),
    consent: Consent = Consent(),
    certificate: str = "",
    plan: str = "",
    json: str = "",
) -> None:
    """Move the game to Postgres while players play: named steps, each safe to be killed at; run again to go on."""
    from harness.cli.commands import cutovers, orders

    if orders.is_order(move, order):
        given = {"certificate": certificate, "plan": plan}
        _order("cutover", move, order, consent, json, [name for name, value in given.items() if value])
        return
    run = partial(cutovers.cutover, certificate=certificate, plan=plan)
    _move(move, consent, json, "cutover", "to Postgres", run, hold=order.hold)


@task(
    help={
        "discard-writes": "leave on Postgres what players did; alone, it says how many to --accept-loss",
        "accept-loss": "how many writes are given up; must equal what is counted",
        "json": JSON,
    },
    needs={"accept-loss": ["discard-writes"]},
    ignores={
        "abort": ["discard-writes", "accept-loss", *ORDERS],
        "dry-run": ORDERS,
        "offline": ORDERS,
        "discard-writes": ORDERS,
        "go": ["hold", "pause", "resume"],
        "pause": ["hold", "resume"],
        "resume": ["hold"],
    },
)
def rollback(
    _c: Context,
    move: MoveOptions = MoveOptions(),
    order: OrderOptions = OrderOptions(),
    consent: Consent = Consent(),
    discard_writes: bool = False,
    accept_loss: int = Whole(-1, 0),
    json: str = "",
) -> None:
    """Move the game back while players play. The legacy file gets everything that they did on Postgres."""
    from harness.cli.commands import cutovers, orders

    if orders.is_order(move, order):
        _order("rollback", move, order, consent, json, [])
        return
    loss = None if accept_loss < 0 else accept_loss
    rollback = partial(cutovers.roll_back, discard_writes=discard_writes, accept_loss=loss)
    _move(move, consent, json, "rollback", "back to SQLite", rollback, hold=order.hold)


def _move(
    move: MoveOptions,
    consent: Consent,
    json: str,
    verb: str,
    where: str,
    run: Callable[[Environment, RunConfig], RunReport],
    hold: bool = False,
) -> None:
    """Run a move of one direction, or its dry run or abort; show it, and end with its exit code."""
    from db import environments
    from db.confirmation import require_same_name
    from db.console.output import outcome
    from db.processes.interruption import Signals
    from harness.cli.commands import cutovers, move_pages

    with Signals() as signals, outcome(json or None) as out:
        require_same_name(move.env, consent.confirm)
        target = environments.load(move.env)
        watches = verb == "cutover" and not (move.dry_run or move.abort)
        cutovers.end_with(target, out, signals, dry_run=move.dry_run, watches=watches)
        cutovers.show_settings(target, out)
        confirmed = confirmation(out, move.env, consent, move.dry_run)
        options = {"offline": move.offline, "dry_run": move.dry_run, "abort": move.abort, "hold": hold}
        with move_pages.written(target, verb, out):
            report = run(target, cutovers.configure(target, where, confirmed, out, **options))
        cutovers.show(report, out)
        out.json(report)
    leave(cutovers.exit_code(report))


def _order(verb: str, move: MoveOptions, order: OrderOptions, consent: Consent, json: str, given: list[str]) -> None:
    """Order something of a live move that is under way; show what became of it."""
    from db import environments
    from db.confirmation import require_same_name
    from db.console.output import outcome
    from db.processes.interruption import Signals
    from harness.cli.commands import orders

    with Signals() as signals, outcome(json or None) as out:
        out.signals = signals
        orders.check(verb, order, given)
        require_same_name(move.env, consent.confirm)
        act = orders.of(verb, order, lambda: confirmation(out, move.env, consent))
        target = environments.load(move.env)
        orders.end_with(target, out)
        report = act(target)
        orders.show(report, out)
        out.json(report)
