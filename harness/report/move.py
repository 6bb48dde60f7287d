"""The report of a move, read from the journal in its folder, so a run that was killed has one too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from db.console.live_view import durations
from db.cutover import live_record
from db.cutover.back import LIVE_ROLLBACK
from db.cutover.context import READ_ONLY_BEGINS, RUNS, read_only_seconds
from db.cutover.cutover import CUTOVER
from db.cutover.journal import END, RUN, Journal, JournalEntry
from db.cutover.live import LIVE_CUTOVER
from db.cutover.report import StepStatus
from db.cutover.rollback import ROLLBACK
from db.cutover.runbook import Step
from db.errors import Refusal
from db.files import json_files
from game.redaction import redact

NOT_ENDED = "not ended"
ROWS, INDEPENDENT, INSTANT = "rows", "independent", "instant"
"""The proofs: every row rebuilt, the one without the codec, the one of the window's instant."""

_OF_ROWS = ("players", "mismatches")
_OF_INDEPENDENT = "independent_"
"""How the names begin, among the counts, of what the independent proof compared."""

_DO = "Name the folder of a run in var/, as the last line of its report names it: --run ID"


@dataclass(frozen=True, slots=True)
class ReportedStep:
    """A step, planned against actual. seconds: of all processes of the run; began: epoch seconds, None if it did not.

    error: why it failed last, or "". undo: it is one of the undo's.
    """

    number: str
    name: str
    true_after: str
    status: str
    seconds: float = 0.0
    began: float | None = None
    error: str = ""
    undo: bool = False


@dataclass(frozen=True, slots=True)
class ReportedRound:
    """A round. at: epoch seconds, of its commit; ms: from its snapshot to then; lag: the most, just before; None for
    the first.
    """

    number: int
    at: float
    players: int
    rows: int
    written: int
    ms: float
    lag_seconds: float | None


@dataclass(frozen=True, slots=True)
class CopyPoint:
    """The state of the copy at a moment, epoch seconds. share: the part of the time that it worked, by its throttle."""

    at: float
    players: int
    total: int
    rows: int
    bytes: int
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class ReportedWindow:
    """The window that was passed. ms: until players played on the other store.

    parts_ms: how long each part took, in order; attempts: those that were opened again among them; missed: why, each.
    """

    began: float
    ms: float
    parts_ms: Mapping[str, float]
    attempts: int
    missed: tuple[str, ...]
    last_round: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ClientFigures:
    """The move as clients saw it; None where nobody counted. freeze_seconds: first refusal to first grant."""

    window_seconds: float | None = None
    freeze_seconds: float | None = None
    held_requests: int | None = None
    refused_during_move: int | None = None
    acknowledged: int | None = None
    retried: int | None = None
    missing: int | None = None
    duplicated: int | None = None


@dataclass(frozen=True, slots=True)
class MoveReport:
    """A move and all that its journal says of it. live: it was made while players played.

    began, ended: epoch seconds. operators: who ran it, in order. settings: files that were read, and what the
    operator's file overrides; weakened: those lines that allow more. proofs: what each compared, by name.
    """

    run: str
    verb: str
    environment: str
    verdict: str
    live: bool
    engine: str
    commit: str
    certificate: str
    operators: tuple[str, ...]
    settings: tuple[str, ...]
    weakened: tuple[str, ...]
    began: float
    ended: float
    read_only_seconds: float | None
    steps: tuple[ReportedStep, ...]
    window: ReportedWindow | None
    rounds: tuple[ReportedRound, ...]
    copying: tuple[CopyPoint, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    proofs: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    clients: ClientFigures | None = None


_CLIENTS = TypeAdapter(dict[str, object])


def folder_of(run: str, runs: Path = RUNS) -> Path:
    """Return the folder of a run by its id, or by its path. Raises Refusal if it has no journal."""
    named = Path(run) if Path(run).is_dir() else runs / run
    if Journal(named).first(RUN) is None:
        raise Refusal("the folder of a run, with its journal", f"none at {redact(str(named))}", do=_DO)
    return named


def read_clients(path: Path) -> ClientFigures:
    """Return what clients saw from the JSON of a rehearsal. Raises Refusal if it is none."""
    values = json_files.load_json(path, _CLIENTS, "the JSON of a rehearsal", do="Make it: invoke rehearse --json FILE")
    numbers: dict[str, Any] = {
        name: value
        for name, value in values.items()
        if name in ClientFigures.__dataclass_fields__ and isinstance(value, int | float)
    }
    return ClientFigures(**numbers)


def read(folder: Path, clients: ClientFigures | None = None) -> MoveReport:
    """Return the report of the run in this folder; see `folder_of`."""
    journal = Journal(folder)
    entries = [*journal.entries()]
    begun = [entry for entry in entries if entry.event == RUN]
    first, last = begun[0].facts, begun[-1].facts
    live = first.get("live") is True
    settings = tuple(_texts(last, "settings"))
    counted = _numbers(_last(entries, "counts"))
    return MoveReport(
        run=journal.run,
        verb=_text(first, "verb"),
        environment=_text(first, "environment"),
        verdict=_verdict(entries),
        live=live,
        engine=_text(last, "engine"),
        commit=_text(last, "commit"),
        certificate=_text(last, "certificate"),
        operators=tuple(dict.fromkeys(_text(entry.facts, "operator") for entry in begun)),
        settings=settings,
        weakened=tuple(line for line in settings if "WEAKER: " in line or "RAISED: " in line),
        began=begun[0].at,
        ended=entries[-1].at,
        read_only_seconds=read_only_seconds(journal),
        steps=tuple(_steps(entries, _text(first, "verb"), live=live)),
        window=_window(entries),
        rounds=tuple(_rounds(entries)),
        copying=tuple(_copying(entries)),
        counts={name: value for name, value in counted.items() if not name.startswith(_OF_INDEPENDENT)},
        proofs=_proofs(counted, _numbers(_last(entries, "instant"))),
        clients=clients,
    )


def _verdict(entries: Sequence[JournalEntry]) -> str:
    """Return the word of the end; one that a later process of the run follows is none."""
    for entry in reversed(entries):
        if entry.event == END:
            return _text(entry.facts, "verdict")
        if entry.event == RUN:
            break
    return NOT_ENDED


def _steps(entries: Sequence[JournalEntry], verb: str, *, live: bool) -> Iterator[ReportedStep]:
    there, back = (LIVE_CUTOVER, LIVE_ROLLBACK) if live else (CUTOVER, ROLLBACK)
    runbook = there if verb == CUTOVER.verb else back
    for step in runbook.plan:
        yield _step(step, entries, undo=False)
    for step in runbook.undo:
        if any(entry.step == step.name for entry in entries):
            yield _step(step, entries, undo=True)


def _step(step: Step, entries: Sequence[JournalEntry], *, undo: bool) -> ReportedStep:
    own = [entry for entry in entries if entry.step == step.name]
    ended = [entry for entry in own if entry.event in set(StepStatus)]
    begins = [entry.at for entry in own if entry.event == "begin"]
    status = StepStatus.PLANNED if not ended else StepStatus(ended[-1].event)
    shown = str(status)
    if begins and (not ended or ended[-1].at < begins[-1]):
        shown = "begun"
    return ReportedStep(
        step.number,
        step.name,
        step.true_after,
        shown,
        round(sum(_number(entry.facts, "seconds") for entry in ended), 3),
        begins[0] if begins else None,
        _text(ended[-1].facts, "error") if ended and status is StepStatus.FAILED else "",
        undo,
    )


def _window(entries: Sequence[JournalEntry]) -> ReportedWindow | None:
    passed = _last(entries, "window passed")
    if passed is None:
        return None
    parts = _numbers_of(passed.facts.get("parts_ms"))
    began = max((e.at for e in entries if e.event == READ_ONLY_BEGINS and e.at <= passed.at), default=passed.at)
    return ReportedWindow(
        began,
        _number(passed.facts, "window_ms"),
        durations(parts),
        int(_number(passed.facts, "attempts")),
        tuple(_text(entry.facts, "found") for entry in entries if entry.event == "window missed"),
        {name: int(value) for name, value in _numbers_of(passed.facts.get("last_round")).items()},
    )


def _rounds(entries: Sequence[JournalEntry]) -> Iterator[ReportedRound]:
    read_at: float | None = None
    lines = sorted((entry for entry in entries if entry.event == live_record.ROUND), key=lambda entry: entry.at)
    for number, entry in enumerate(lines, 1):
        facts, seconds = entry.facts, _number(entry.facts, "seconds")
        yield ReportedRound(
            number,
            entry.at,
            int(_number(facts, "players")),
            int(_number(facts, "rows")),
            int(_number(facts, "written")),
            round(seconds * 1000, 1),
            None if read_at is None else round(entry.at - read_at, 3),
        )
        read_at = entry.at - seconds


def _copying(entries: Sequence[JournalEntry]) -> Iterator[CopyPoint]:
    for entry in entries:
        if entry.event == live_record.COPYING:
            values = {name: int(_number(entry.facts, name)) for name in ("players", "total", "rows", "bytes")}
            # A journal of before the throttle has no share.
            yield CopyPoint(entry.at, **values, share=_number(entry.facts, "share") or 1.0)


def _last(entries: Sequence[JournalEntry], event: str) -> JournalEntry | None:
    return next((entry for entry in reversed(entries) if entry.event == event), None)


def _numbers(entry: JournalEntry | None) -> dict[str, int]:
    return {} if entry is None else {name: int(value) for name, value in _numbers_of(entry.facts).items()}


def _numbers_of(value: object) -> dict[str, float]:
    if not isinstance(value, dict):
        return {}
    return {str(name): one for name, one in value.items() if isinstance(one, int | float)}


def _proofs(counted: Mapping[str, int], instant: dict[str, int]) -> dict[str, dict[str, int]]:
    proofs = {
        ROWS: {name: counted[name] for name in _OF_ROWS if name in counted},
        INDEPENDENT: {
            name.removeprefix(_OF_INDEPENDENT): value
            for name, value in counted.items()
            if name.startswith(_OF_INDEPENDENT)
        },
        INSTANT: instant,
    }
    return {name: numbers for name, numbers in proofs.items() if numbers}


def _number(facts: Mapping[str, Any], name: str) -> float:
    value = facts.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _text(facts: Mapping[str, Any], name: str) -> str:
    value = facts.get(name)
    return redact(value) if isinstance(value, str) else ""


def _texts(facts: Mapping[str, Any], name: str) -> list[str]:
    value = facts.get(name)
    return [redact(one) for one in value if isinstance(one, str)] if isinstance(value, list) else []
