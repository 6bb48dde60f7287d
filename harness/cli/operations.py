"""Tasks for the days after the move: the watch."""

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
    from db.monitor import watch as watching
    from harness.cli.commands import watches

    if once:
        target = environments.load(env)
        judged(json, lambda _progress: watching.once(target, watches.expected_settings(target)), watches.show)
        return
    with outcome(None) as out:
        watches.keep_showing(environments.load(env), out, out.console)
