"""Makes the plan of a cutover from a dry run, shows it to the person who approves it, and holds a run to it."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from db import environments
from db.counts import few
from db.cutover import move_status, plan, plan_file
from db.cutover.context import RunConfig
from db.cutover.plan import Plan
from db.cutover.report import CheckMark, RunReport, RunVerdict
from db.environments import Environment
from db.errors import Refusal
from db.schema import migrate
from db.signing import SIGNING_KEY
from harness.gate import checkout
from harness.report import files as report_files

RUNBOOK, LIVE, OFFLINE = "runbook", "live", "offline"
"""A part of the plan, and its two values: whether players play while the copy is made."""

NAMED = 5
"""So many of the changed files are named."""


def hold(env: Environment, config: RunConfig, path: str, root: Path) -> RunConfig:
    """Return the configuration with what the plan approves. Raises Refusal of a plan that is not of what is there.

    A run that goes on is held to the same parts, but neither to the plan's age nor to having one: players may be
    read-only already.
    """
    if config.abort or (not path and env.policy.plan != "required"):
        return config
    if not path:
        _require_under_way(env, config)
        return config
    file = Path(path)
    approved = plan_file.read(file, env.name, key=environments.secret(SIGNING_KEY))
    status = move_status.read_status(env)
    now = plan.make(env, status, _code(root, config), key=environments.secret(SIGNING_KEY))
    if status.startable:
        plan_file.require_fresh(approved, file, datetime.now(UTC))
        approved = dataclasses.replace(approved, parts={**approved.parts, "moves before": approved.state})
        now = dataclasses.replace(now, parts={**now.parts, "moves before": now.state})
    plan.require_same(approved, now, file)
    return dataclasses.replace(config, most_seconds=approved.most_seconds)


def _require_under_way(env: Environment, config: RunConfig) -> None:
    """Raise Refusal if a run would begin without the plan that the policy demands. A dry run makes one."""
    if config.dry_run or not move_status.read_status(env).startable:
        return
    raise Refusal(
        "an approved plan, which policy.plan demands: --plan FILE",
        "none",
        where=f"{env.files_read.file_of('policy.plan')} [{env.name}]",
        do=f"{plan.anew(env.name)}. Then add: --plan out/plan-{env.name}.json",
    )


def with_plan(report: RunReport, env: Environment, config: RunConfig, root: Path) -> RunReport:
    """Return a dry run's report with the plan that it led to; without one if a check was not passed."""
    if report.verdict is not RunVerdict.PLANNED:
        return report
    key = environments.secret(SIGNING_KEY)
    status = move_status.read_status(env)
    made = plan.make(env, status, _code(root, config), key=key, predicted_seconds=report.predicted_seconds)
    return dataclasses.replace(report, plan=plan_file.to_json(made, key))


def summarize(report: RunReport) -> Path | None:
    """Add the plan, or why there is none, to the summary of GitHub's step; return the file, None elsewhere."""
    return report_files.add_to_summary("\n".join(summary(report)) + "\n")


def summary(report: RunReport) -> Iterator[str]:
    """Yield the lines of the plan as Markdown, for the person who approves it."""
    name = report.environment
    yield f"## Plan of the cutover of {name}"
    yield ""
    if report.plan is None:
        yield f"**There is no plan**: the dry run ended with {report.verdict}."
        yield ""
        for finding in report.checks:
            if finding.mark is not CheckMark.OK:
                found = finding.found or finding.note
                yield f"- {_code_of(finding.name)}: expected {_code_of(finding.expected)}; found {_code_of(found)}"
        return
    yield from _approved(report.plan)
    yield ""
    yield (
        "Approve it if each line is what you expect. The job that you approve runs"
        f" `invoke cutover --env {name} --plan` with this plan, and refuses anything else."
    )


def _approved(made: Mapping[str, object]) -> Iterator[str]:
    approved = plan_file.parsed(made)
    yield f"Digest {_code_of(str(made['digest']))}, {'signed' if made['signature'] else '**not signed**'}."
    yield ""
    yield from _table("what may not change", approved.parts)
    yield ""
    yield from _table("what may change", _facts(approved))
    yield ""
    yield "Not compared: " + "; ".join(map(_code_of, approved.not_compared)) + "."


def _facts(approved: Plan) -> dict[str, str]:
    window = "none: the game is moved already"
    if approved.parts.get(RUNBOOK) == LIVE:
        window = "about a tenth of a second, at most one: the copy is made while players play"
    elif approved.predicted_seconds is not None:
        window = f"{approved.predicted_seconds:.0f} s predicted; refused above {approved.most_seconds:.0f} s"
    return {
        "read-only": window,
        **approved.facts,
        "moves before": approved.state,
        "made at": f"{approved.made_at}; {plan_file.MAX_AGE.total_seconds() / 3600:.0f} hours to begin",
    }


def _table(title: str, rows: Mapping[str, str]) -> Iterator[str]:
    yield f"| {title} | |"
    yield "|---|---|"
    for name, value in rows.items():
        yield f"| {_code_of(name)} | {_code_of(value)} |"


def _code_of(text: str) -> str:
    """Return the text as code that no character of it can end, in a cell of a table too."""
    return f"<code>{html.escape(text).replace('|', '&#124;').replace('`', '&#96;')}</code>" if text else ""


def _code(root: Path, config: RunConfig) -> dict[str, str]:
    changes = list(checkout.changes(root))
    return {
        "commit": checkout.head(root),
        RUNBOOK: OFFLINE if config.offline else LIVE,
        "files unlike the commit": few([ascii(name)[1:-1] for name in changes], NAMED)[: plan.LONGEST_PART] or "none",
        "head of the schema": migrate.head(),
    }
