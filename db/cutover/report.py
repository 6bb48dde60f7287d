"""The report of a run: the steps with their times, how long players were read-only, and how it ended."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from db.cutover.journal import Journal
from db.environment_files import FilesRead
from db.files import private


class RunVerdict(StrEnum):
    """The ending of a run, as its report names it."""

    LIVE = "live"
    RETURNED = "returned"
    UNDONE = "undone"
    PLANNED = "planned"
    REFUSED = "refused"
    INCONCLUSIVE = "inconclusive"


class StepStatus(StrEnum):
    """The ending of a step: done now, done before, still to do, or stopped."""

    DONE = "done"
    ALREADY = "already"
    PLANNED = "planned"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step; seconds of this process's own work on it."""

    name: str
    status: StepStatus
    seconds: float


class CheckMark(StrEnum):
    """The result of a check."""

    OK = "ok"
    REFUSED = "refused"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of a dry run: a note if it passed, else what was expected and found, where, and what to do."""

    name: str
    mark: CheckMark
    note: str = ""
    expected: str = ""
    found: str = ""
    where: str = ""
    do: str = ""


@dataclass(frozen=True, slots=True)
class LiveFigures:
    """The figures of a live move.

    window_ms: from the fence of the file to the lift of Postgres. parts_ms: the end of each part of the window, counted
    from its begin. attempts: windows, with those that were missed. instant: the number of players by how the proof of
    the instant proved them.
    """

    window_ms: float
    parts_ms: Mapping[str, float]
    attempts: int
    rounds: int
    last_round: Mapping[str, int]
    instant: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run of cutover or rollback.

    engine: the server's name and version. read_only_seconds: from the first fence to the end of read-only, None where
    it was never begun. predicted_seconds: of read-only, by the checks of this process; None if it made none. counts:
    what the copy or the writing back counted. checks: what a dry run found. settings: the files that the environment
    was read from, and what the operator's file overrides. plan: of a dry run that found nothing amiss, see
    `db.cutover.plan`. live: None for an offline move.
    """

    run: str
    verb: str
    environment: str
    verdict: RunVerdict
    engine: str
    steps: tuple[StepReport, ...]
    read_only_seconds: float | None
    live: LiveFigures | None = None
    counts: dict[str, int] = field(default_factory=dict)
    journal: str = ""
    checks: tuple[CheckResult, ...] = ()
    predicted_seconds: float | None = None
    settings: FilesRead = field(default_factory=FilesRead)
    plan: Mapping[str, object] | None = None


def save(report: RunReport, journal: Journal) -> None:
    """Put it beside the journal."""
    text = json.dumps(dataclasses.asdict(report), ensure_ascii=False, indent=2)
    private.write(journal.folder / "report.json", text + "\n")
