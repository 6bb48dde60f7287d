"""The move of the live game to Postgres, and back."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context

from harness.cli.framework import Whole, task
from harness.cli.framework.running import confirmation, leave
from harness.cli.texts import (
    ASKED,
    DRY_RUN,
    ENV,
    JSON,
)

_MOVE = {
    "env": ENV,
    "offline": "copy while read-only; the only way so far",
    "dry-run": DRY_RUN,
    "abort": "undo what was begun, wholly",
    **ASKED,
    "json": JSON,
}


@task(
    help={**_MOVE, "certificate": "the gate's report; out/certificate-ENV.json by default"},
    ignores={"abort": ["certificate"]},
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
    json: str = "",
) -> None:
    """Move the live game to Postgres: named steps, each safe to be killed at; run again to go on, --abort to undo."""
    from db import environments
    from db.confirmation import require_same_name
    from db.console.output import outcome
    from db.processes.interruption import Signals
    from harness.cli.commands import cutovers

    with Signals() as signals, outcome(json or None) as out:
        require_same_name(env, confirm)
        target = environments.load(env)
        cutovers.end_with(target, out, signals, dry_run=dry_run)
        cutovers.show_settings(target, out)
        confirmed = confirmation(out, env, yes, confirm, dry_run)
        wish = cutovers.Wish(target, offline=offline, dry_run=dry_run, abort=abort)
        proof = Path(certificate or f"out/certificate-{target.name}.json")
        report = cutovers.cutover(wish, proof, out.progress, signals, cutovers.asked(wish, "to Postgres", confirmed))
        cutovers.show(report, out)
        out.json(report)
    leave(cutovers.exit_code(report))


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
    from db import environments
    from db.confirmation import require_same_name
    from db.console.output import outcome
    from db.processes.interruption import Signals
    from harness.cli.commands import cutovers

    with Signals() as signals, outcome(json or None) as out:
        require_same_name(env, confirm)
        target = environments.load(env)
        cutovers.end_with(target, out, signals, dry_run=dry_run)
        cutovers.show_settings(target, out)
        confirmed = confirmation(out, env, yes, confirm, dry_run)
        wish = cutovers.Wish(target, offline=offline, dry_run=dry_run, abort=abort)
        loss = None if accept_loss < 0 else accept_loss
        report = cutovers.roll_back(
            wish,
            out.progress,
            signals,
            cutovers.asked(wish, "back to SQLite", confirmed),
            discard_writes=discard_writes,
            accept_loss=loss,
        )
        cutovers.show(report, out)
        out.json(report)
    leave(cutovers.exit_code(report))
