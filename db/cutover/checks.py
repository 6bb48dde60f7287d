"""Checks: a run stops at the first that refuses, a dry run makes all of them and lists what each found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from db.cutover.move import FAILURES
from db.cutover.report import Finding, Mark
from db.errors import Failure, Inconclusive, Refusal, ToolError
from db.progress import Progress
from db.redaction import redact


@dataclass(frozen=True, slots=True)
class Check:
    """A named check; `run` raises what refuses it and may return a note. It changes nothing.

    needs: the names of checks without which this one can't be judged. begins: only a run that begins asks it; one that
    goes on may find players read-only already, and must not be stopped.
    """

    name: str
    run: Callable[[], str | None]
    needs: tuple[str, ...] = ()
    begins: bool = True


def require(checks: Iterable[Check], progress: Progress) -> None:
    """Make the checks in order and say each as it passes. Raises Refusal or Inconclusive at the first that does not."""
    for check in checks:
        note = _run(check)
        progress.say(f"     {check.name}: {note or 'ok'}")


def judge(checks: Iterable[Check]) -> tuple[Finding, ...]:
    """Make every check that can be made; one whose needs were not met is not judged, and its note says why."""
    found: dict[str, Finding] = {}
    for check in checks:
        unmet = [name for name in check.needs if name in found and found[name].mark is not Mark.OK]
        if unmet:
            found[check.name] = Finding(check.name, Mark.NOT_JUDGED, f"not judged before: {', '.join(unmet)}")
        else:
            found[check.name] = _found(check)
    return tuple(found.values())


def _found(check: Check) -> Finding:
    try:
        return Finding(check.name, Mark.OK, _run(check) or "")
    except ToolError as error:
        mark = Mark.NOT_JUDGED if isinstance(error, Inconclusive) else Mark.REFUSED
        return Finding(
            check.name, mark, expected=error.expected, found=error.found, where=error.where, do=error.do
        )  # fmt: skip


def _run(check: Check) -> str | None:
    """Raises Refusal for what a store, a file or a process raises too: nothing was changed yet."""
    try:
        return check.run()
    except Failure as error:
        raise Refusal(error.expected, error.found, where=error.where, do=error.do) from error
    except FAILURES as error:
        found = redact(" ".join(str(error).split())) or type(error).__name__
        raise Refusal(
            f"an answer to the check `{check.name}`", found, do="Nothing was changed. Mend it, and run again."
        ) from error
