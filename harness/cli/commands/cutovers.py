"""Runs `invoke cutover` and `rollback`, with a gate's certificate and the smoke."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from db import environments
from db.confirmation import Change, Confirm
from db.console import live_screen
from db.console.live_json import LiveJson
from db.console.live_view import LiveView
from db.console.output import command_line
from db.cutover import ending, moves
from db.cutover.context import RunConfig
from db.cutover.dry_run import STANDING
from db.cutover.ports import Provenance
from db.cutover.report import CheckMark, CheckResult, RunReport, RunVerdict
from db.environments import Environment
from db.errors import Inconclusive, Refusal
from db.processes.interruption import Signals
from db.signing import UNSIGNED_STAGES
from harness.cli.commands import plans
from harness.gate import admission, checkout
from harness.gate import certificate as certificates
from harness.smoke import smoke

if TYPE_CHECKING:
    from db.console.output import Output

ROOT = Path(__file__).parents[3]

_TODO = {
    RunVerdict.REFUSED: "mend each ✗ above, then make the dry run again: {}",
    RunVerdict.INCONCLUSIVE: "see to each ? above, then make the dry run again: {}",
}
"""The advice after a dry run that found something."""

_ELSEWHERE = "do what `where the move stands` says above; or see what is next: invoke status --env {1}"

_SIGNS = {CheckMark.OK: "✓", CheckMark.REFUSED: "✗", CheckMark.NOT_JUDGED: "?"}


def show_settings(env: Environment, out: Output) -> None:
    """Print the files that the environment was read from, and what the operator's file overrides."""
    out.say(f"settings of {env.name}:")
    raised = {f"  {override}" for override in env.files_read.raised}
    for line in env.files_read.lines():
        out.say(f"  {line}", alarm=line in raised)
    if str(ROOT / environments.DEFAULT_PATH) in {file.path for file in env.files_read.files} and (
        checkout.edited_settings(ROOT)
    ):
        out.say("  environments.toml is not as in the commit; see: git diff environments.toml", alarm=True)


def end_with(env: Environment, out: Output, signals: Signals, *, dry_run: bool, watches: bool) -> None:
    """Make the task ask the stores for its last line when it ends, and hold signals meanwhile.

    watches: what was interrupted after a cutover is most likely the watch: nobody is to be sent back to SQLite for it.
    """
    again = {"interrupted": f"invoke cutover --env {env.name} (watches again)"} if watches else {}
    out.at_end = partial(ending.ended, env, dry_run=dry_run, again=again)
    out.signals = signals


def configure(
    env: Environment,
    where: str,
    confirm: Confirm,
    out: Output,
    *,
    offline: bool,
    dry_run: bool,
    abort: bool,
    hold: bool = False,
) -> RunConfig:
    """Return the configuration of a run: the options of the command, with the smoke and what is asked first.

    where: "to Postgres" or "back to SQLite". Signals are held where `end_with` holds them.
    """
    does = "undoes the move of the live game" if abort else "moves the live game"
    change = Change(env, f"{does} {where}: {env.legacy.redacted}, {env.target.redacted}")
    # An undo plays no smoke and needs no token; a dry run reports a missing token as a check.
    token = "" if abort or dry_run else environments.operator_token(env)
    return RunConfig(
        partial(smoke.run, operator_token=token),
        demands=DEMANDS,
        confirm=partial(confirm, change),
        offline=offline,
        hold=hold,
        dry_run=dry_run,
        abort=abort,
        progress=out.progress,
        signals=out.signals or Signals(),
        operator_token=token,
        view=_view(out, streams=not (offline or dry_run or abort)),
        provenance=_provenance,
    )


def _view(out: Output, *, streams: bool) -> LiveView:
    """Return what shows a live move: to people, and to a machine that reads standard output."""
    shown = live_screen.shown_by(out.progress)
    write = out.stream if streams else None
    return shown if write is None else LiveJson(shown, write)


def cutover(env: Environment, config: RunConfig, *, certificate: str = "", plan: str = "") -> RunReport:
    """Move the game to Postgres. Errors: as of `db.cutover.engine.run`.

    certificate: the path of the gate's report; by default where the workflow `promote` leaves it. plan: the path of a
    dry run's JSON, to which the run is held. A dry run returns one.
    """
    config = plans.hold(env, config, plan, ROOT)
    proof = Path(certificate or f"out/certificate-{env.name}.json")
    config = dataclasses.replace(config, provenance=partial(_provenance, proof))
    report = moves.cut_over(env, config, evidence=partial(_admit, proof=proof, config=config))
    if not config.dry_run or config.abort:
        return report
    report = plans.with_plan(report, env, config, ROOT)
    plans.summarize(report)
    return report


def roll_back(env: Environment, config: RunConfig, *, discard_writes: bool, accept_loss: int | None) -> RunReport:
    """Move the game back to the legacy file. Errors: as of `db.cutover.engine.run`."""
    return moves.roll_back(env, config, discard_writes=discard_writes, accept_loss=accept_loss)


def _provenance(proof: Path | None = None) -> Provenance:
    """Say which code moves the game, and by which certificate; what can't be read is left empty."""
    commit = certified = ""
    with suppress(Refusal):
        commit = checkout.head(ROOT) + (", with uncommitted changes" if any(checkout.changes(ROOT)) else "")
    with suppress(Refusal):
        if proof is not None and proof.exists():
            admitted = certificates.read(proof, "")[0]
            certified = f"{proof}: commit {admitted.commit[:12]}, made at {admitted.made_at}"
    return Provenance(commit, certified)


def _can_play(env: Environment) -> None:
    """Check that the smoke has scenarios and a token that the service takes. Raises Refusal."""
    smoke.check(env.services, environments.operator_token(env))


DEMANDS = (("smoke", _can_play),)


def _admit(env: Environment, proof: Path, config: RunConfig) -> None:
    """Check that the certificate admits this commit; development and test need none, but a wrong one is refused."""
    if proof.exists() or env.name not in UNSIGNED_STAGES:
        admission.admit(env, proof, ROOT, offline=config.offline, remember=not config.dry_run)


def show(report: RunReport, out: Output) -> None:
    """Print a run for people: the checks of a dry run, the steps, what is weakened, and the time of read-only."""
    for finding in report.checks:
        for line in _lines(finding):
            out.say(line)
    rows = [(step.name, str(step.status), step.seconds) for step in report.steps]
    out.table(f"{report.verb} of {report.environment}, run {report.run}", ("step", "status", "seconds"), rows)
    for override in report.settings.raised:
        out.say(f"{override}", alarm=True)
    if report.read_only_seconds is not None:
        predicted = f"; predicted were {report.predicted_seconds:.0f} s" if report.predicted_seconds is not None else ""
        out.say(f"read-only for {report.read_only_seconds:.1f} s{predicted}")
    if report.plan is not None:
        out.say(f"digest of the plan: {report.plan['digest']}")
    again = command_line() or f"invoke {report.verb} --env {report.environment} --dry-run"
    todo = _TODO.get(report.verdict, "")
    if any(finding.name == STANDING and finding.mark is CheckMark.REFUSED for finding in report.checks):
        todo = _ELSEWHERE  # The same dry run would be refused again.
    out.end(str(report.verdict), todo.format(again, report.environment))


def exit_code(report: RunReport) -> int:
    """Return the exit code: 0, or for a dry run 2 if a check failed, 3 if one could not be judged."""
    return {RunVerdict.REFUSED: Refusal.exit_code, RunVerdict.INCONCLUSIVE: Inconclusive.exit_code}.get(
        report.verdict, 0
    )


def _lines(finding: CheckResult) -> Iterator[str]:
    yield f"{_SIGNS[finding.mark]} {finding.name}{f': {finding.note}' if finding.note else ''}"
    for name in ("expected", "found", "where", "do"):
        if text := getattr(finding, name):
            yield f"    {name + ':':<9} {text}"
