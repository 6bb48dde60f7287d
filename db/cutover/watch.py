"""Watches after a cutover that all services serve Postgres, the smoke passes and the health hook ends with 0.

It looks at once, at least once a minute, ten times in a short watch, and once more when its time is up, so that it sees
a breach in the last second too.
"""

from __future__ import annotations

import time

from db.console.progress import Countdown, countdown
from db.cutover import hooks, services, switch
from db.cutover.context import FAILURES, RunContext
from db.cutover.cutover_steps import play
from db.errors import ToolError
from game.redaction import redact

EVERY_SECONDS = 60.0
LOOKS = 10
LEAST_SECONDS = 1.0
"""The least time between two looks: each plays a smoke."""

ANSWER_SECONDS = 10.0
"""How long a service may take to answer while somebody restarts it."""

TICK_SECONDS = 1.0

now = time.monotonic
"""The clock, in seconds. Tests replace it."""

sleep = time.sleep


def watch(context: RunContext) -> str | None:
    """Look at the services, a smoke play and the health hook for policy.watch_seconds; 0 looks at nothing.

    Returns the first breach in a sentence, after writing it to the journal, or None. A store's error is a breach.
    """
    seconds = context.env.policy.watch_seconds
    if not seconds:
        context.config.progress.say("     no watch: policy.watch_seconds is 0")
        return None
    context.config.progress.say(f"     watching for {seconds:g} s; players play already, Ctrl-C ends the watch alone")
    with countdown(context.config.progress, "watching", seconds) as shown:
        breach = _watch(context, seconds, shown)
    if breach is None:
        context.config.progress.say("     the watch was quiet")
    else:
        context.journal.write("breach", "watch", found=breach)
    return breach


def _watch(context: RunContext, seconds: float, shown: Countdown) -> str | None:
    every = interval(seconds)
    began = now()
    ends = began + seconds
    while True:
        due = min(now() + every, ends)
        last = now() >= ends
        context.config.signals.check()
        if last:
            shown.seen("the last look", last=True)
        if breach := _look(context):
            return breach
        shown.seen(_summary(context), last=last)
        if last:
            return None
        while (left := due - now()) > 0:
            sleep(min(TICK_SECONDS, left))
            shown.passed(now() - began)


def _summary(context: RunContext) -> str:
    """Say what a look without a breach saw, with the time of day; it fits beside the bar."""
    many = len(context.env.services)
    health = ", health" if context.env.hooks.health else ""
    return f"{time.strftime('%H:%M:%S')}: {many} process{'' if many == 1 else 'es'}, smoke{health} passed"


def interval(seconds: float) -> float:
    """Return the seconds from one look to the next, in a watch of this length."""
    return min(EVERY_SECONDS, max(LEAST_SECONDS, seconds / LOOKS))


def _look(context: RunContext) -> str | None:
    """Return what is wrong now, or None. An error of a store or a process is a breach too: players play there."""
    place = context.env.target
    try:
        identity = switch.store_identity(place)
        services.wait_for(
            context.env.services,
            lambda ready: services.serves(ready, place, identity),
            what=f"every process to serve {place.redacted}",
            timeout_seconds=ANSWER_SECONDS,
        )
        play(context, context.env.target_direct)
        hooks.run(context.env, "health", context.journal, engine="postgres", timeout_seconds=EVERY_SECONDS)
    except ToolError as error:
        return str(error)
    except FAILURES as error:
        return redact(str(error).strip()) or type(error).__name__
    return None
