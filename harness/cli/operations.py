"""Tasks for the days after the move: the watch, and upkeep."""

from __future__ import annotations

from invoke.context import Context

from harness.cli.framework import task
from harness.cli.framework.running import judged
from harness.cli.texts import ENV, JSON


@task(
    help={"env": ENV, "once": "look once, and end with its exit code: for a timer or a script", "json": JSON},
    needs={"json": ["once"]},
)
def watch(_c: Context, env: str = "", once: bool = False, json: str = "") -> None:
    """Watch an environment: checks, alarms, heartbeat; see docs/watch.md."""
    from db import environments
    from db.console.output import outcome
    from harness.cli.commands import watches

    if once:
        judged(json, lambda _progress: watches.once(env), watches.show)
        return
    with outcome(None) as out:
        watches.keep_showing(environments.load(env), out, out.console)


@task(help={"env": ENV, "dump": "take the backups although none is due", "json": JSON})
def upkeep(_c: Context, env: str = "", dump: bool = False, json: str = "") -> None:
    """Keep an environment well: backups, restored and tried; statistics; indexes. Safe to schedule."""
    from harness.cli.commands import upkeeps

    judged(json, lambda progress: upkeeps.run(env, dump, progress), upkeeps.show)
