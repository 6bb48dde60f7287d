"""The move of the live game to Postgres, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from invoke.context import Context

from harness.cli.framework import Whole, task
from harness.cli.framework.running import confirmation, leave
from harness.cli.texts import (
    ASKED,
    DRY_RUN,
    ENV,
    JSON,
)

if TYPE_CHECKING:
    from db.cutover.context import RunConfig
    from db.cutover.report import RunReport
    from db.environments import Environment

_MOVE = {
    "env": ENV,
    "offline": "copy while read-only; the only way so far",
    "dry-run": DRY_RUN,
    "abort": "undo what was begun, wholly",
    **ASKED,
    "json": JSON,
}


@task(
    help={
        **_MOVE,
        "certificate": "the gate's report; out/certificate-ENV.json by default",
        "plan": "the JSON of a dry run; anything unlike it is refused",
    },
    ignores={"abort": ["certificate", "plan"]},
)
def cutover(
    _c: Context,
    env: str = "",
    offline: bool = True,
    dry_run: bool = False,
    abort: bool = False,
    yes: bool = False,
    confirm: str = "",
    certificate: str = "",
    plan: str = "",
    json: str = "",
) -> None:
    """Move the live game to Postgres: named steps, each safe to be killed at; run again to go on, --abort to undo."""
    from harness.cli.commands import cutovers

    asked = _Asked(env, yes, confirm, json, offline=offline, dry_run=dry_run, abort=abort)
    _move(asked, "to Postgres", partial(cutovers.cutover, certificate=certificate, plan=plan))


@task(
    help={
        **_MOVE,
        "discard-writes": "leave on Postgres what players did; alone, it says how many to --accept-loss",
        "accept-loss": "how many writes are given up; must equal what is counted",
    },
    needs={"accept-loss": ["discard-writes"]},
    ignores={"abort": ["discard-writes", "accept-loss"]},
)
def rollback(
    _c: Context,
    env: str = "",
    offline: bool = True,
    dry_run: bool = False,
    abort: bool = False,
    yes: bool = False,
    confirm: str = "",
    discard_writes: bool = False,
    accept_loss: int = Whole(-1, 0),
    json: str = "",
) -> None:
    """Move the live game back to SQLite: with everything that players did on Postgres."""
    from harness.cli.commands import cutovers

    asked = _Asked(env, yes, confirm, json, offline=offline, dry_run=dry_run, abort=abort)
    loss = None if accept_loss < 0 else accept_loss
    _move(asked, "back to SQLite", partial(cutovers.roll_back, discard_writes=discard_writes, accept_loss=loss))


@dataclass(frozen=True, slots=True)
class _Asked:
    """The options that both directions have."""

    env: str
    yes: bool
    confirm: str
    json: str
    offline: bool
    dry_run: bool
    abort: bool


def _move(asked: _Asked, where: str, run: Callable[[Environment, RunConfig], RunReport]) -> None:
    """Run a move of one direction, or its dry run or abort; show it, and end with its exit code."""
    from db import environments
    from db.confirmation import require_same_name
    from db.console.output import outcome
    from db.processes.interruption import Signals
    from harness.cli.commands import cutovers

    with Signals() as signals, outcome(asked.json or None) as out:
        require_same_name(asked.env, asked.confirm)
        target = environments.load(asked.env)
        cutovers.end_with(target, out, signals, dry_run=asked.dry_run)
        cutovers.show_settings(target, out)
        confirmed = confirmation(out, asked.env, asked.yes, asked.confirm, asked.dry_run)
        options = {"offline": asked.offline, "dry_run": asked.dry_run, "abort": asked.abort}
        report = run(target, cutovers.configure(target, where, confirmed, out, **options))
        cutovers.show(report, out)
        out.json(report)
    leave(cutovers.exit_code(report))
