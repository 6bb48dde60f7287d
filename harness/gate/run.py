"""A gate from start to end: migrations and a backup, every scenario in every way, the whole move and the way back.

Some six minutes on two cores. Everything runs on throwaway servers; nothing of any environment is touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from db import environments, transfer
from db.console.output import plain
from db.console.progress import Progress
from db.counts import count, lines_of
from db.errors import Failure, Refusal
from db.legacy.source import opened
from db.servers.vitals import Lost
from db.signing import SIGNING_KEY, UNSIGNED_STAGES
from db.transfer.live import capture, copying
from harness import rehearsal
from harness.gate import certificate, due, parts, struck, suite
from harness.gate.admission import checkout_state
from harness.gate.certificate import Certificate, CheckoutState
from harness.gate.estimate import Estimate
from harness.gate.report import Ended, GatePart, GateReport, Item, ItemKind, count_files, doubts, judge, sweeps
from harness.play import requests
from harness.rehearsal import RehearsalReport
from harness.sweeps import threes

if TYPE_CHECKING:
    from db.console.output import Output

SENTENCES = {
    "servers": "migrations up from nothing and drift, a backup restored and counted",
    "suite": "every scenario on both stores and side by side, every action under every fault, races in every order",
    "strikes": "every move watched at each of its statements, and struck inside its steps, since the gate began",
    "rehearsal": "the whole move and the way back, under load",
}
"""The work of each part, in the order in which they are tried."""

SEEDS: Mapping[str, str] = {
    "players": str(parts.SEED),
    "dice": requests.SEED,
    "clients": str(rehearsal.SEED),
    "orders": threes.SEED,
}
"""Everything that is made or drawn follows from them, so a gate can be repeated."""

DURATIONS = Path("out/gate-durations.json")
SHOWN_FAILURES = 10
SHOWN_LINES = 12
"""The lines shown of each failure; the page has all."""


@dataclass(frozen=True, slots=True)
class GateOptions:
    """The options of a gate. legacy: a file to rehearse with, else `players` are made; postgres: the servers' kind."""

    environment: str
    legacy: Path | None = None
    players: int = 100
    postgres: str | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """All that a gate found, before it is judged."""

    parts: tuple[GatePart, ...]
    settings: Mapping[str, str]
    items: tuple[Item, ...]
    due: frozenset[str]
    rehearsed: RehearsalReport


def run(options: GateOptions, root: Path, progress: Progress) -> GateReport:
    """Return the gate's finding, its certificate included.

    Raises Refusal where nothing can be proven at all, also without a key for an environment that asks for a signature.
    """
    environments.check_name(options.environment)
    key = environments.secret(SIGNING_KEY)
    _check_key(options.environment, key)
    began, before = time.monotonic(), checkout_state(root)
    if options.legacy is not None:
        transfer.profile(options.legacy)
    if not before.clean:
        progress.say("The tree has changes that are not committed: the certificate will say so, and be refused.")
    findings = _find(options, root, progress)
    after = checkout_state(root)
    report = _report(options, findings, time.monotonic() - began)
    return _certified(report, findings, before if before == after else _changed(after), key)


def _check_key(environment: str, key: str | None) -> None:
    """Raise Refusal if the certificate could not be signed: minutes are long to learn that it is worth nothing."""
    if key:
        certificate.signature({}, {}, key)
    elif environment not in UNSIGNED_STAGES:
        raise Refusal(
            f"{SIGNING_KEY}, with which a certificate for {environment} is signed",
            "none",
            do="Export it, or write it into .env. To try the commit without a signed certificate:"
            " invoke gate --env test",
        )


@dataclass
class _Search:
    """The results of a gate so far."""

    options: GateOptions
    root: Path
    progress: Progress
    due: frozenset[str]
    struck: Callable[[], GatePart]
    parts: list[GatePart] = field(default_factory=list)
    settings: Mapping[str, str] = field(default_factory=dict)
    items: tuple[Item, ...] = ()
    rehearsed: RehearsalReport = field(default_factory=lambda: RehearsalReport(str(Ended.INCONCLUSIVE)))

    def servers(self) -> None:
        """Migrate up from nothing and look for drift; restore a backup and count."""
        tried, self.settings = parts.run(self.options.postgres, self.options.players, self.progress)
        self.parts += tried

    def suite(self) -> None:
        """Run every scenario on both stores and side by side, every action under every fault, races in every order."""
        try:
            self.items = suite.run(self.root, self.options.postgres, self.progress, len(self.due))
        except suite.LostSuite as error:
            self.items = error.items
            raise

    def strikes(self) -> None:
        """Wait for the strikes, which go on beside the parts before."""
        self.parts.append(self.struck())

    def rehearsal(self) -> None:
        """Rehearse the whole move and the way back, and both with the game stopped, under load.

        A file that can't be copied while players play is moved with the game stopped alone.
        """
        options = self.options
        why_not = "" if options.legacy is None else _why_not_live(options.legacy)
        if why_not:
            self.progress.say(f"     with the game stopped alone: {why_not}")
        self.rehearsed = rehearsal.rehearse(
            options.players,
            options.legacy,
            options.postgres,
            self.progress,
            offline=bool(why_not),
            both_ways=not why_not,
        )
        self.parts.append(_rehearsal(self.rehearsed))


def _why_not_live(legacy: Path) -> str:
    """Return why the file can't be copied while players play; "" if it can."""
    with opened(legacy) as source:
        try:
            copying.require_live(source)
            capture.captured(source)
        except Refusal as error:
            return f"expected {error.expected}; found {error.found}"
    return ""


def _find(options: GateOptions, root: Path, progress: Progress) -> Findings:
    """Try each part. Where a server or the machine is lost, the rest is not tried: it would be lost too."""
    with struck.beside(root, options.postgres) as strikes:
        search = _Search(options, root, progress, due.items(root), strikes)
        _try_each(search, Estimate(root / DURATIONS, len(search.due)))
    return Findings(tuple(search.parts), search.settings, search.items, search.due, search.rehearsed)


def _try_each(search: _Search, estimate: Estimate) -> None:
    ways = {
        "servers": search.servers,
        "suite": search.suite,
        "strikes": search.strikes,
        "rehearsal": search.rehearsal,
    }
    for part, act in ways.items():
        search.progress.say(estimate.line(part, SENTENCES[part]))
        began = time.monotonic()
        try:
            act()
        except Lost as error:
            search.parts += _not_proven(list(ways), part, error, time.monotonic() - began)
            break
        except Failure as error:
            search.parts.append(GatePart(part, Ended.FAIL, round(time.monotonic() - began, 1), {}, (str(error),)))
        estimate.took(part, time.monotonic() - began)
    else:
        estimate.keep()


def _not_proven(names: list[str], part: str, error: Lost, seconds: float) -> Iterator[GatePart]:
    yield GatePart(part, Ended.INCONCLUSIVE, round(seconds, 1), {}, (error.found,))
    for name in names[names.index(part) + 1 :]:
        yield GatePart(name, Ended.INCONCLUSIVE, 0.0, {}, (f"not tried: the gate ended in the part {part}",))


def _rehearsal(report: RehearsalReport) -> GatePart:
    back, offline = report.rollback, report.offline or report
    figures = {
        "players": report.players,
        "values": report.source,
        "quarantined": report.quarantined,
        "held": report.held,
        "requests acknowledged": back.acknowledged,
        "sent twice": back.retried,
        "pairs in real time": back.history.real_time_pairs,
        "pairs across the switch": report.history.across_switch,
        "pairs across the switch back": back.history.across_switch,
        "requests nobody knows the end of": back.history.unknown,
        "window, seconds": report.window_seconds or 0.0,
        "requests held in the window": report.held_requests,
        "window on the way back, seconds": back.window_seconds or 0.0,
        "requests held in the window on the way back": back.held_requests,
        "read-only offline, seconds": offline.read_only_seconds,
        "read-only offline on the way back, seconds": (report.offline_rollback or back).read_only_seconds,
    }
    if offline.predicted_seconds is not None:
        figures["read-only offline, seconds predicted"] = offline.predicted_seconds
    return GatePart("rehearsal", Ended(report.verdict), report.seconds, figures, report.every_problem)


def _report(options: GateOptions, findings: Findings, seconds: float) -> GateReport:
    doubted = tuple(doubts(findings.items, findings.parts, findings.due))
    return GateReport(
        verdict=judge(findings.items, findings.parts, doubted),
        environment=options.environment,
        seconds=round(seconds, 1),
        scenarios=count_files(findings.items, ItemKind.SCENARIOS),
        twins=count_files(findings.items, ItemKind.TWINS),
        faults=sweeps(findings.items, ItemKind.FAULTS),
        races=sweeps(findings.items, ItemKind.RACES),
        doubts=doubted,
        parts=findings.parts,
        items=findings.items,
        rehearsal=findings.rehearsed,
        certificate={},
    )


def _certified(report: GateReport, findings: Findings, checkout: CheckoutState, key: str | None) -> GateReport:
    """Return the report with its certificate. A failed gate gets one too, so that it is refused by name."""
    engine = findings.rehearsed.engine
    made = Certificate(
        environment=report.environment,
        verdict=str(report.verdict),
        commit=checkout.commit,
        clean=checkout.clean,
        schema_head=checkout.schema_head,
        scenario_digest=checkout.scenario_digest,
        scenarios=report.scenarios.count,
        twins=report.twins.count,
        faults_fired=report.faults.fired,
        race_orders=report.races.orders,
        rehearsed_players=findings.rehearsed.players,
        window_seconds=findings.rehearsed.window_seconds,
        window_back_seconds=findings.rehearsed.rollback.window_seconds,
        freeze_seconds=(findings.rehearsed.offline or findings.rehearsed).read_only_seconds,
        server_kind=engine.get("kind", ""),
        server_version=engine.get("version", ""),
        server_programs=engine.get("programs", ""),
        server_settings=dict(findings.settings),
        seeds=dict(SEEDS),
        made_at=certificate.now().isoformat(timespec="seconds"),
    )
    rest = plain(report)
    del rest["certificate"]
    return replace(report, certificate=made.signed(key, rest))


def _changed(after: CheckoutState) -> CheckoutState:
    """Mark the checkout as not clean: a tree that was edited under the gate is of no commit."""
    return replace(after, clean=False)


def show(report: GateReport, out: Output) -> None:
    """Print the report of a gate for people."""
    faults, races = report.faults, report.races
    rows: list[tuple[str, object]] = [
        (name, f"{counted.count} run, {counted.failures} failed")
        for name, counted in (("scenarios", report.scenarios), ("twins", report.twins))
    ]
    rows += [
        (
            "faults",
            f"{count(faults.cases, 'case')}, {faults.fired} fired, {faults.failures} failed",
        ),
        (
            "races",
            f"{count(races.orders, 'order')} of {count(races.count, 'race')}, {races.failures} failed",
        ),
        *((part.name, f"{part.verdict} in {part.seconds:.1f} s") for part in report.parts),
        ("verdict", f"{report.verdict} in {report.seconds:.0f} s"),
    ]
    out.table(f"gate for {report.environment}", ("what", "found"), rows)
    failed = [item for item in report.items if not item.passed]
    blocks = ["\n".join([item.name, *lines_of(item.found.splitlines(), SHOWN_LINES)]) for item in failed]
    for block in lines_of(blocks, SHOWN_FAILURES, "failures", see="the page and --json have them all"):
        out.say(block)
    for part in report.parts:
        for problem in part.problems if part.verdict is Ended.FAIL else ():
            out.say(f"{part.name}: {problem}")
    for doubt in report.doubts:
        out.say(f"in doubt: {doubt}")
