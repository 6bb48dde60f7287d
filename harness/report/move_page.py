"""The page of a move: verdict, who and what, steps planned against actual, the window, rounds, charts, proofs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from db.console.live_figures import MB, seconds_text, throttle_text
from db.cutover.cutover import CUTOVER
from db.cutover.report import RunVerdict, StepStatus
from db.files import private
from harness.report.charts import charts
from harness.report.move import ClientFigures, MoveReport, ReportedStep, ReportedWindow
from harness.report.templating import rendered

MOST_ROUNDS = 300
"""Rounds on the page: the last ones of a move that stood by for hours. The JSON has all."""

PAGE = "report.html"

_STATES: dict[str, str] = {RunVerdict.LIVE: "pass", RunVerdict.RETURNED: "pass", RunVerdict.UNDONE: "none"}
_STEP_STATES = {StepStatus.DONE: "pass", StepStatus.ALREADY: "pass", StepStatus.FAILED: "fail"}
_PARTS = {
    "fence": "the legacy file is fenced, and that is on its disk",
    "lock": "its write lock is held: nothing can be written any more",
    "last round": "what changed since the round before is applied",
    "checks": "quarantine, canaries, and a snapshot of this instant",
    "live": "point of no return: players play on Postgres",
    "moved": "the legacy file says that it moved; players play already",
}
_PARTS_BACK = {
    "lock": "`users` of Postgres is locked, with no command in flight",
    "fence": "the fence of Postgres is raised: nothing can be written any more",
    "last round": "what changed since the round before is in the legacy file, and on its disk",
    "checks": "the whole file, and canaries",
    "sent": "the phase and the fence are set",
    "returned": "point of no return: Postgres says that the game returned",
    "open": "the legacy file is open: players play on it",
}
_AFTER = ("moved",)
"""Parts after the window: players play meanwhile."""

_COUNTS = {
    "source": "values in the legacy file, counted by SQLite",
    "loaded": "values in Postgres",
    "quarantined": "values in the quarantine",
    "held": "players held",
    "aside": "findings aside",
    "mismatches": "values that differ",
    "players": "players",
}
_PROOFS = {
    "rows": "every row rebuilt from Postgres, before the window",
    "independent": "without the codec: SQLite's own JSON functions against SQL",
    "instant": "the instant of the window, every player",
}
_PROVEN = {
    "snapshot": "by the snapshot of the instant",
    "as_they_are": "as they are: no receipt since",
    "by_chain": "by their chain: who has played since",
    "units": "values",
    "compared": "figures compared",
    "left_out": "figures left out",
    "independent": "figures compared without the codec",
    **_COUNTS,
}
_CLIENTS = {
    "window_seconds": "window, by our own clock",
    "freeze_seconds": "read-only as players saw it: first refusal to first grant",
    "held_requests": "requests that waited in the window",
    "refused_during_move": "answers that told a client to come back later",
    "acknowledged": "requests granted",
    "retried": "times a request was sent again",
    "missing": "grants missing afterwards",
    "duplicated": "granted twice",
}


@dataclass(frozen=True, slots=True)
class ShownPart:
    """A part of the window: its share of the bar, and how it is said."""

    name: str
    meaning: str
    ms: float
    after: bool


@dataclass(frozen=True, slots=True)
class ShownStep:
    """A step as the page shows it. took: how long, "" where it was not begun; state: of its colour."""

    step: ReportedStep
    state: str
    began: str
    took: str
    window: bool


def page(report: MoveReport) -> str:
    """Return the whole page; every text in it is escaped."""
    window = report.window
    return rendered(
        "move.html",
        report=report,
        state=_STATES.get(report.verdict, "fail"),
        facts=_facts(report),
        tiles=_tiles(report),
        steps=[_step(step, report) for step in report.steps],
        parts=[] if window is None else _parts(window, _PARTS if report.verb == CUTOVER.verb else _PARTS_BACK),
        back=report.verb != CUTOVER.verb,
        missed=() if window is None else window.missed,
        rounds=report.rounds[-MOST_ROUNDS:],
        left_out=max(0, len(report.rounds) - MOST_ROUNDS),
        charts=charts(report),
        counts=[(_COUNTS.get(name, name), value) for name, value in report.counts.items()],
        proofs=[
            (_PROOFS.get(name, name), [(_PROVEN.get(key, key), value) for key, value in counts.items()])
            for name, counts in report.proofs.items()
        ],
        clients=_clients(report.clients),
        took=seconds_text,
    )


def write(report: MoveReport, into: Path) -> Path:
    """Write the page, for its owner alone."""
    private.write(into, page(report))
    return into


def _facts(report: MoveReport) -> list[tuple[str, str]]:
    return [
        ("environment", report.environment),
        ("run", report.run),
        ("began", _clock(report.began)),
        ("last entry", _clock(report.ended)),
        ("operator", ", ".join(report.operators) or "not recorded"),
        ("commit", report.commit or "not recorded"),
        ("certificate", report.certificate or "none"),
        ("server", report.engine or "not recorded"),
    ]


def _tiles(report: MoveReport) -> list[tuple[str, str, str, str]]:
    """Return the tiles: (what, how much, how that came about, state)."""
    window, counts = report.window, report.counts
    tiles = []
    if window is not None:
        tries = "at the first attempt" if window.attempts == 1 else f"at attempt {window.attempts}"
        tiles.append(("window", f"{window.ms:,.1f} ms", tries, "pass"))
    elif report.read_only_seconds is not None:
        tiles.append(("read-only", seconds_text(report.read_only_seconds), "by the journal", "plain"))
    if report.copying:
        size = f"{report.copying[-1].bytes / MB:,.1f} MB"
        slowest = throttle_text(min(point.share for point in report.copying))
        tiles.append(("copied while players played", size, f"at its slowest {slowest}", "plain"))
    if report.rounds:
        rows = sum(one.rows for one in report.rounds)
        tiles.append(("rounds", f"{len(report.rounds):,}", f"{rows:,} rows that players changed", "plain"))
    if "source" in counts:
        whole = counts["source"] == counts.get("loaded", 0) + counts.get("quarantined", 0)
        how = f"of {counts['source']:,}, {counts.get('quarantined', 0):,} in the quarantine"
        tiles.append(("values loaded", f"{counts.get('loaded', 0):,}", how, "pass" if whole else "fail"))
    if "mismatches" in counts:
        state = "fail" if counts["mismatches"] else "pass"
        tiles.append(("values that differ", f"{counts['mismatches']:,}", "of every row rebuilt", state))
    tiles.append(("from first to last", seconds_text(report.ended - report.began), "by the journal", "plain"))
    return tiles


def _step(step: ReportedStep, report: MoveReport) -> ShownStep:
    return ShownStep(
        step,
        _STEP_STATES.get(StepStatus(step.status), "none") if step.status in set(StepStatus) else "fail",
        "" if step.began is None else f"+{seconds_text(max(step.began - report.began, 0.0))}",
        "" if step.began is None else seconds_text(step.seconds),
        step.name == "window",
    )


def _parts(window: ReportedWindow, meanings: Mapping[str, str]) -> list[ShownPart]:
    return [ShownPart(name, meanings.get(name, ""), ms, name in _AFTER) for name, ms in window.parts_ms.items()]


def _clients(clients: ClientFigures | None) -> list[tuple[str, str]]:
    if clients is None:
        return []
    values = ((words, getattr(clients, name), name) for name, words in _CLIENTS.items())
    return [
        (words, seconds_text(value) if name.endswith("seconds") else f"{value:,}")
        for words, value, name in values
        if value is not None
    ]


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
