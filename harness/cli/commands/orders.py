"""`--go`, `--hold`, `--pause` and `--resume` of `invoke cutover` and `rollback`: orders for a live attempt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from db import environments
from db.confirmation import Confirm
from db.console.output import Output
from db.cutover import ending, ordering
from db.cutover.ordering import OrderReport
from db.environments import Environment
from db.errors import Refusal, ToolError
from harness.cli.framework import MoveOptions, OrderOptions

NOTHING_BEGUN = "Nothing was begun."


def is_order(move: MoveOptions, options: OrderOptions) -> bool:
    """Return True if the options order something of an attempt that is under way, and make or undo none.

    A hold is an order while a tool is at work on a live attempt; else it is for the run that begins or goes on.
    """
    if options.hold and not (move.abort or move.dry_run):
        return _is_at_work(move.env)
    return options.go or options.pause or options.resume


def _is_at_work(name: str) -> bool:
    try:
        return ordering.is_at_work(environments.load(name))
    except ToolError:  # The run says what is wrong.
        return False


def check(verb: str, options: OrderOptions, given: Sequence[str]) -> None:
    """Check what an order does not go with. given: other options of the task with a value. Raises Refusal."""
    if given:
        raise Refusal(
            f"--{options.named} alone",
            f"--{given[0]}",
            where=f"invoke {verb}",
            do=f"--{given[0]} would change nothing beside it. {NOTHING_BEGUN}",
        )


def of(verb: str, options: OrderOptions, confirmed: Callable[[], Confirm]) -> Callable[[Environment], OrderReport]:
    """Return the order that the options name. confirmed: gives the permission that what moves the game on asks for."""
    way = ordering.THERE if verb == ordering.THERE.verb else ordering.BACK
    if options.go:
        return partial(ordering.go, confirm=confirmed(), way=way)
    if options.resume:
        return partial(ordering.resume, confirm=confirmed(), way=way)
    return partial(ordering.pause if options.pause else ordering.hold, way=way)


def end_with(env: Environment, out: Output) -> None:
    """Make the task ask the stores for its last line when it ends."""
    out.at_end = partial(ending.ended, env)


def show(report: OrderReport, out: Output) -> None:
    """Print what became of the order."""
    out.say(report.said)
    out.end(report.outcome)
