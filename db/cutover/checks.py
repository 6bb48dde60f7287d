"""The checks before a run. A run stops at the first that refuses; a dry run makes all and lists the findings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from db.console.progress import Progress
from db.cutover.context import FAILURES
from db.cutover.report import CheckMark, CheckResult
from db.errors import Failure, Inconclusive, Refusal, ToolError
from game.redaction import redact


@dataclass(frozen=True, slots=True)
class PreflightCheck:
    """A named check that changes nothing. `run` raises an error if it fails, and may return a note.

    needs: names of checks that must pass before this one can be judged. begins: only for a run that begins; a run that
    goes on must not be stopped by it, since players may be read-only already.
    """

    name: str
    run: Callable[[], str | None]
    needs: tuple[str, ...] = ()
    begins: bool = True


Checks: TypeAlias = tuple[PreflightCheck, ...]


def require(checks: Iterable[PreflightCheck], progress: Progress) -> None:
    """Make the checks in order and print each that passes. Raises Refusal or Inconclusive at the first that fails."""
    for check in checks:
        note = _run(check)
        progress.say(f"     {check.name}: {note or 'ok'}")


def judge(checks: Iterable[PreflightCheck]) -> tuple[CheckResult, ...]:
    """Make every check in order. Leave out one whose need, made before it, did not pass; its note names such needs.

    It is NOT_JUDGED then, as is a check that raises Inconclusive. Needs that were not made before are ignored.
    """
    findings: dict[str, CheckResult] = {}
    for check in checks:
        unmet = [name for name in check.needs if name in findings and findings[name].mark is not CheckMark.OK]
        if unmet:
            findings[check.name] = CheckResult(
                check.name, CheckMark.NOT_JUDGED, f"not judged before: {', '.join(unmet)}"
            )
        else:
            findings[check.name] = _finding(check)
    return tuple(findings.values())


def _finding(check: PreflightCheck) -> CheckResult:
    try:
        return CheckResult(check.name, CheckMark.OK, _run(check) or "")
    except ToolError as error:
        mark = CheckMark.NOT_JUDGED if isinstance(error, Inconclusive) else CheckMark.REFUSED
        return CheckResult(check.name, mark, expected=error.expected, found=error.found, where=error.where, do=error.do)


def _run(check: PreflightCheck) -> str | None:
    """Make the check. Raises Refusal also for errors of a store, a file or a process: nothing was changed yet."""
    try:
        return check.run()
    except Failure as error:
        raise Refusal(error.expected, error.found, where=error.where, do=error.do) from error
    except FAILURES as error:
        message = redact(" ".join(str(error).split())) or type(error).__name__
        raise Refusal(
            f"an answer to the check `{check.name}`",
            message,
            do="Nothing was changed. Mend what this names, and run again.",
        ) from error
