"""A rehearsal with an unusual but sound file passes, as its transfer does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import harness.gate
import harness.rehearsal
from db.console.progress import Silent
from harness.gate.report import GatePart
from harness.rehearsal import run as rehearsal
from harness.rehearsal.report import PASS, RehearsalReport
from tests.db.legacy import unusual_schemas
from tests.db.legacy.unusual_cases import run
from tests.db.transfer.transferring import seeded

PLAYERS = 40
TOGETHER = {
    "players without rowids",
    "triggers that get in the way",
    "a trigger that keeps accounts",
    "a module that is not here",
    "a tokenizer that is not here",
    "statistics of another SQLite, sqlite_stat4",
    "a key made after a named index",
    "odd names",
    "two thousand columns without a rowid",
    "views and triggers that nothing stands behind",
}


def test_what_the_transfer_carries_the_rehearsal_plays_on(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    source = seeded(tmp_path / "game.db", PLAYERS)
    cases = [case for case in unusual_schemas.CARRIED if case.name in TOGETHER]
    assert len(cases) == len(TOGETHER)
    indexes: set[str] = set()
    for case in sorted(cases, key=lambda case: case.name != "players without rowids"):  # It makes `users` anew.
        run(source, *(step for step in case.steps if not (str(step).startswith("CREATE INDEX") and step in indexes)))
        indexes |= {step for step in case.steps if isinstance(step, str)}
    report = rehearsal.rehearse(0, source, pytestconfig.getoption("--postgres"), Silent(), offline=True)
    assert (report.verdict, report.problems, report.rollback.problems) == (PASS, (), ())
    judged = report.rollback.history
    assert judged.real_time_pairs > judged.across_switch > 0


def _untried() -> GatePart:
    raise AssertionError("the strikes were asked for")


def test_a_gate_rehearses_offline_alone_what_can_not_be_copied_while_players_play(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def rehearse(*_given: object, **how: bool) -> RehearsalReport:
        asked.append(how)
        return RehearsalReport(PASS)

    gate = sys.modules[harness.gate.run.__module__]
    monkeypatch.setattr(harness.rehearsal, "rehearse", rehearse)
    usual = seeded(tmp_path / "usual.db", 3)
    unusual = seeded(tmp_path / "unusual.db", 3)
    case = next(case for case in unusual_schemas.CARRIED if case.name == "players without rowids")
    run(unusual, *case.steps)
    for legacy in (None, usual, unusual):
        gate._Search(gate.GateOptions("test", legacy), tmp_path, Silent(), frozenset(), _untried).rehearsal()
    assert asked == [
        {"offline": False, "both_ways": True},
        {"offline": False, "both_ways": True},
        {"offline": True, "both_ways": False},
    ]
