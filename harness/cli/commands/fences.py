"""`invoke fence`: shows what was set or lifted, and ends with the line that says who serves the players."""

from __future__ import annotations

from functools import partial

from db.console.output import Output
from db.counts import count
from db.cutover import emergency
from db.cutover.emergency import CLOSED, FenceReport
from db.environments import Environment


def end_with(env: Environment, out: Output) -> None:
    """Make the task ask the stores for its last line when it ends."""
    out.at_end = partial(emergency.ended, env)


def show(report: FenceReport, out: Output) -> None:
    """Print what was done, with the fence that stands or stood."""
    if report.fence is None:
        out.say("no emergency fence stands.")
    elif report.outcome == CLOSED:
        out.say(f"an emergency fence {'stands' if report.changed else 'stands already,'} {report.fence}.")
        out.say(f"proven: {count(report.refused, 'write')} tried, each refused.")
    else:
        out.say(f"the emergency fence is lifted: it stood {report.fence}.")
    out.end(report.outcome)
