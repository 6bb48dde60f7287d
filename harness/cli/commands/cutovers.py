"""What `invoke cutover` and `rollback` do: the runs, with a gate's certificate and the smoke."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from db import environments
from db.confirmation import Change, Confirm
from db.console.output import command_line
from db.console.progress import Progress
from db.cutover import ending, rollback
from db.cutover import run as cutover_run
from db.cutover.dry_run import STANDING
from db.cutover.ports import Smoke
from db.cutover.report import Finding, Mark, Report, Verdict
from db.environments import Environment
from db.errors import Inconclusive, Refusal
from db.signing import UNSIGNED_STAGES
from harness.gate import admission, checkout
from harness.smoke import smoke

if TYPE_CHECKING:
    from db.console.output import Output
    from db.processes.interruption import Signals

ROOT = Path(__file__).parents[3]

_TODO = {
    Verdict.REFUSED: "mend each ✗ above, then make the dry run again: {}",
    Verdict.INCONCLUSIVE: "see to each ? above, then make the dry run again: {}",
}
"""What comes after a dry run that found something."""

_ELSEWHERE = "do what `where the move stands` says above; or see what is next: invoke status --env {1}"

_SIGNS = {Mark.OK: "✓", Mark.REFUSED: "✗", Mark.NOT_JUDGED: "?"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for."""

    environment: Environment
    offline: bool
    dry_run: bool
    abort: bool


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


def end_with(env: Environment, out: Output, signals: Signals, *, dry_run: bool) -> None:
    """Make the task ask the stores for its last line when it ends, and hold signals meanwhile."""
    out.at_end = partial(ending.ended, env, dry_run=dry_run)
    out.signals = signals


def asked(wish: Wish, where: str, confirm: Confirm) -> Callable[[], None]:
    """Return what the run calls before its first change."""
    env = wish.environment
    does = f"undoes the move of the live game {where}" if wish.abort else f"moves the live game {where}"
    return partial(confirm, Change(env, f"{does}: {env.legacy.redacted}, {env.target.redacted}"))


def cutover(
    wish: Wish, progress: Progress, signals: Signals, confirm: Callable[[], None], *, certificate: str = ""
) -> Report:
    """Move the game to Postgres. Errors: as of `db.cutover.run.run`.

    certificate: the path of the gate's report; by default where the workflow `promote` leaves it.
    """
    proof = Path(certificate or f"out/certificate-{wish.environment.name}.json")
    return cutover_run.run(
        wish.environment,
        evidence=partial(_admit, proof=proof, remember=not wish.dry_run),
        smoke=_smoke(wish),
        demands=DEMANDS,
        confirm=confirm,
        offline=wish.offline,
        dry_run=wish.dry_run,
        abort=wish.abort,
        progress=progress,
        signals=signals,
    )


def roll_back(
    wish: Wish,
    progress: Progress,
    signals: Signals,
    confirm: Callable[[], None],
    *,
    discard_writes: bool,
    accept_loss: int | None,
) -> Report:
    """Move the game back to the legacy file. Errors: as of `db.cutover.rollback.run`."""
    return rollback.run(
        wish.environment,
        smoke=_smoke(wish),
        demands=DEMANDS,
        confirm=confirm,
        offline=wish.offline,
        dry_run=wish.dry_run,
        abort=wish.abort,
        discard_writes=discard_writes,
        accept_loss=accept_loss,
        progress=progress,
        signals=signals,
    )


def _smoke(wish: Wish) -> Smoke:
    """Return the smoke to play. An undo plays none and needs no token; a dry run reports a missing token as a check."""
    token = "" if wish.abort or wish.dry_run else environments.operator_token(wish.environment)
    return partial(smoke.run, operator_token=token)


def _can_play(env: Environment) -> None:
    """Check that the smoke has scenarios and a token that the service takes. Raises Refusal."""
    smoke.check(env.services, environments.operator_token(env))


DEMANDS = (("smoke", _can_play),)


def _admit(env: Environment, proof: Path, *, remember: bool) -> None:
    """Refusal unless the certificate admits this commit; development and test need none, but a wrong one is refused."""
    if proof.exists() or env.name not in UNSIGNED_STAGES:
        admission.admit(env, proof, ROOT, remember=remember)


def show(report: Report, out: Output) -> None:
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
    again = command_line() or f"invoke {report.verb} --env {report.environment} --dry-run"
    todo = _TODO.get(report.verdict, "")
    if any(finding.name == STANDING and finding.mark is Mark.REFUSED for finding in report.checks):
        todo = _ELSEWHERE  # The same dry run would be refused again.
    out.end(str(report.verdict), todo.format(again, report.environment))


def exit_code(report: Report) -> int:
    """Return the exit code: 0, or for a dry run 2 if a check failed, 3 if one could not be judged."""
    return {Verdict.REFUSED: Refusal.exit_code, Verdict.INCONCLUSIVE: Inconclusive.exit_code}.get(report.verdict, 0)


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{_SIGNS[finding.mark]} {finding.name}{f': {finding.note}' if finding.note else ''}"
    for name in ("expected", "found", "where", "do"):
        if text := getattr(finding, name):
            yield f"    {name + ':':<9} {text}"
