"""Tasks for the days after the move: the watch, upkeep, and what the provider of the server promises."""

from __future__ import annotations

from invoke.context import Context

from harness.cli.framework import Consent, Whole, task
from harness.cli.framework.running import confirmation, judged, leave
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


@task(
    help={
        "env": ENV,
        "pause": "have the process that follows pause; the change log grows, up to its bound",
        "resume": "have it go on",
        "stop": "have it end, and nothing follow from now on",
        "json": JSON,
    },
    ignores={"stop": ["pause", "resume"], "pause": ["resume"]},
)
def follow(
    _c: Context,
    env: str = "",
    pause: bool = False,
    resume: bool = False,
    stop: bool = False,
    consent: Consent = Consent(),
    json: str = "",
) -> None:
    """Keep the legacy file up to date. After a cutover: a way back stays short."""
    from db import environments
    from db.console.output import outcome
    from db.follow.ending_signals import GentleSignals
    from harness.cli.commands import follows

    with GentleSignals() as signals, outcome(json or None) as out:
        out.signals = signals
        order = follows.order_of(pause=pause, resume=resume, stop=stop)
        confirmed = confirmation(out, env, consent)
        target = environments.load(env)
        follows.end_with(target, out)
        report = follows.follow(target, confirmed, signals, out) if order is None else order(target)
        follows.show(report, out)
        out.json(report)
    leave(follows.exit_code(report))


@task(help={"env": ENV, "dump": "take the backups although none is due", "json": JSON})
def upkeep(_c: Context, env: str = "", dump: bool = False, json: str = "") -> None:
    """Keep an environment well: backups, restored and tried; statistics; indexes. Safe to schedule."""
    from harness.cli.commands import upkeeps

    judged(json, lambda progress: upkeeps.run(env, dump, progress), upkeeps.show)


@task(help={"env": ENV, "json": JSON})
def preflight(_c: Context, env: str = "", json: str = "") -> None:
    """Judge if the server is fit for production: vCPU, backups, TLS and more; see docs/providers.md."""
    from db import environments
    from db.providers import preflight as judging
    from harness.cli.commands import provider_checks

    judged(json, lambda _progress: judging.run(environments.load(env)), provider_checks.show_preflight)


@task(
    help={
        "env": ENV,
        "clean": "only delete what an earlier run left with the provider",
        "minutes": "how long to wait for the snapshot and the new instance",
        "json": JSON,
    },
    ignores={"minutes": ["clean"]},
)
def verify(_c: Context, env: str = "", clean: bool = False, minutes: int = Whole(120), json: str = "") -> None:
    """Prove the provider's restore: snapshot, new instance, count, delete; RDS. Not run against AWS by the tests."""
    from harness.cli.commands import provider_checks

    judged(json, lambda progress: provider_checks.verify(env, clean, minutes, progress), provider_checks.show_verify)


@task(
    help={
        "env": ENV,
        "on": "close the game to players' writes, on the store that serves them now",
        "off": "open it again; never what a cutover or a rollback has fenced",
        "reason": "why, in a few words; `invoke status` shows them",
        "json": JSON,
    },
    required=["reason", "on|off"],
    ignores={"on": ["off"]},
)
def fence(
    _c: Context,
    env: str = "",
    on: bool = False,
    off: bool = False,
    reason: str = "",
    consent: Consent = Consent(),
    json: str = "",
) -> None:
    """Close the game in an emergency, and open it: no player can write, each can read."""
    from db import environments
    from db.console.output import outcome
    from db.cutover import emergency
    from db.processes.interruption import Signals
    from harness.cli.commands import fences

    del off  # The command line has exactly one of both.
    with Signals() as signals, outcome(json or None) as out:
        out.signals = signals
        confirmed = confirmation(out, env, consent)
        target = environments.load(env)
        fences.end_with(target, out)
        report = (emergency.close if on else emergency.lift)(target, reason, confirmed)
        fences.show(report, out)
        out.json(report)
