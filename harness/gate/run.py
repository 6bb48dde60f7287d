"""A gate from start to end: migrations and a backup, every scenario in every way, the whole move and the way back.

Some four minutes on two cores. Everything runs on throwaway servers; nothing of any environment is touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from db import environments, transfer
from db.console import plain
from db.progress import Progress
from harness import rehearsal
from harness.gate import certificate, due, parts, suite
from harness.gate.admission import SIGNING_KEY, standing
from harness.gate.certificate import Certificate, Standing
from harness.gate.estimate import Estimate
from harness.gate.report import Ended, GateReport, Item, Kind, Part, doubts, judge, sweeps, tally
from harness.play import replay
from harness.rehearsal import RehearsalReport

if TYPE_CHECKING:
    from db.console import Outcome

T = TypeVar("T")

DURATIONS = Path("out/gate-durations.json")
SHOWN_FAILURES = 10
SHOWN_LINES = 12
"""Of each; the page has it whole."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for. legacy: a file to rehearse with, else `players` are made; postgres: the servers' kind."""

    environment: str
    legacy: Path | None = None
    players: int = 100
    postgres: str | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """All that a gate found, before it is judged."""

    parts: tuple[Part, ...]
    settings: Mapping[str, str]
    items: tuple[Item, ...]
    due: frozenset[str]
    rehearsed: RehearsalReport


def run(wish: Wish, root: Path, progress: Progress) -> GateReport:
    """The gate's finding, its certificate included. Refusal where nothing can be proven at all."""
    environments.check_name(wish.environment)
    key = environments.secret(SIGNING_KEY)
    if key:
        certificate.signature({}, {}, key)  # A key that can't sign is better known now than in four minutes.
    began, before = time.monotonic(), standing(root)
    if wish.legacy is not None:
        transfer.profile(wish.legacy)
    _say_what_will_be_worth_less(wish, before, progress, signed=bool(key))
    found = _find(wish, root, progress)
    after = standing(root)
    report = _report(wish, found, time.monotonic() - began)
    return _certified(report, found, before if before == after else _changed(after), key)


def _find(wish: Wish, root: Path, progress: Progress) -> Findings:
    estimate = Estimate(root / DURATIONS)

    def timed(part: str, what: str, act: Callable[[], T]) -> T:
        progress.say(estimate.line(part, what))
        began = time.monotonic()
        done = act()
        estimate.took(part, time.monotonic() - began)
        return done

    tried, settings = timed(
        "servers", "migrations up from nothing and drift, a backup restored and counted",
        lambda: parts.run(wish.postgres, wish.players, progress),
    )  # fmt: skip
    items = timed(
        "suite", "every scenario on both stores and side by side, every action under every fault, races in every order",
        lambda: suite.run(root, wish.postgres, progress),
    )  # fmt: skip
    rehearsed = timed(
        "rehearsal", "the whole move and the way back, under load",
        lambda: rehearsal.rehearse(wish.players, wish.legacy, wish.postgres, progress=progress),
    )  # fmt: skip
    estimate.keep()
    return Findings((*tried, _rehearsal(rehearsed)), settings, items, due.items(root), rehearsed)


def _rehearsal(report: RehearsalReport) -> Part:
    back = report.rollback
    found = {
        "players": report.players, "values": report.source, "quarantined": report.quarantined, "held": report.held,
        "requests acknowledged": back.acknowledged, "sent twice": back.retried,
        "read-only, seconds": report.read_only_seconds, "read-only on the way back, seconds": back.read_only_seconds,
    }  # fmt: skip
    return Part("rehearsal", Ended(report.verdict), report.seconds, found, (*report.problems, *back.problems))


def _report(wish: Wish, found: Findings, seconds: float) -> GateReport:
    doubted = tuple(doubts(found.items, found.parts, found.due))
    return GateReport(
        verdict=judge(found.items, found.parts, doubted), environment=wish.environment, seconds=round(seconds, 1),
        scenarios=tally(found.items, Kind.SCENARIOS), twins=tally(found.items, Kind.TWINS),
        faults=sweeps(found.items, Kind.FAULTS), races=sweeps(found.items, Kind.RACES),
        doubts=doubted, parts=found.parts, items=found.items, rehearsal=found.rehearsed, certificate={},
    )  # fmt: skip


def _certified(report: GateReport, found: Findings, here: Standing, key: str | None) -> GateReport:
    """The report with its certificate: made of a failed gate too, to be refused by name."""
    engine = found.rehearsed.engine
    made = Certificate(
        environment=report.environment, verdict=str(report.verdict), commit=here.commit, clean=here.clean,
        schema_head=here.schema_head, scenario_digest=here.scenario_digest, scenarios=report.scenarios.count,
        twins=report.twins.count, faults_fired=report.faults.fired, race_orders=report.races.orders,
        rehearsed_players=found.rehearsed.players, freeze_seconds=float(found.rehearsed.read_only_seconds),
        server_kind=engine["kind"], server_version=engine["version"], server_settings=dict(found.settings),
        seeds={"players": str(parts.SEED), "dice": replay.SEED, "clients": str(rehearsal.SEED)},
        made_at=certificate.now().isoformat(timespec="seconds"),
    )  # fmt: skip
    rest = plain(report)
    del rest["certificate"]
    return replace(report, certificate=made.signed(key, rest))


def _changed(after: Standing) -> Standing:
    """A tree that was edited under the gate is of no commit."""
    return replace(after, clean=False)


def _say_what_will_be_worth_less(wish: Wish, here: Standing, progress: Progress, *, signed: bool) -> None:
    """Four minutes are long to learn that the certificate will be refused."""
    strict = wish.environment not in certificate.UNSIGNED_STAGES
    if not here.clean:
        progress.say("The tree has changes that are not committed: the certificate will say so, and be refused.")
    if strict and not signed:
        progress.say(f"{SIGNING_KEY} is not set: {wish.environment} refuses an unsigned certificate.")


def show(report: GateReport, speaks: Outcome) -> None:
    """The report for people."""
    rows: list[tuple[str, object]] = [
        (name, f"{counted.count} run, {counted.failures} failed")
        for name, counted in (("scenarios", report.scenarios), ("twins", report.twins))
    ]
    rows += [
        ("faults", f"{report.faults.cases} cases, {report.faults.fired} fired, {report.faults.failures} failed"),
        ("races", f"{report.races.orders} orders of {report.races.count}, {report.races.failures} failed"),
        *((part.name, f"{part.verdict} in {part.seconds:.1f} s") for part in report.parts),
        ("verdict", f"{report.verdict} in {report.seconds:.0f} s"),
    ]
    speaks.table(f"gate for {report.environment}", ("what", "found"), rows)
    for failed in [item for item in report.items if not item.passed][:SHOWN_FAILURES]:
        speaks.say("\n".join([failed.name, *failed.found.splitlines()[:SHOWN_LINES]]))
    for part in report.parts:
        for problem in part.problems:
            speaks.say(f"{part.name}: {problem}")
    for doubt in report.doubts:
        speaks.say(f"in doubt: {doubt}")
