"""The benchmarks from end to end on very few rounds, and what their figures are worth: ratios, targets, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from db.console.progress import Silent
from db.errors import Failure, Refusal
from db.servers import Server
from harness.bench import actions, databases, follow, pgbench, window
from harness.bench.actions import CellRounds, Measurement
from harness.bench.samples import Spread, TargetsJudgement, Threshold, percentile, ratio
from harness.bench.setup import RecordedStatement
from harness.bench.targets import Web
from harness.bench.workers import Round, Timing, WorkerPool
from harness.load.steady import Answered
from tests.fixtures.given_server import given

ROOT = Path(__file__).parents[3]


def measured(dispatch: float, ceiling: float, bench: float | None) -> Measurement:
    measurements = CellRounds()
    for factor in (1, 10, 0.1):  # Rounds that were lucky and unlucky: the medians are those of the first.
        measurements.add("dispatch", dispatch * factor, [0.010, 0.020])
        measurements.add("ceiling", ceiling * factor)
        measurements.add("http", 1.0, [0.5])
        if bench is not None:
            measurements.add("pgbench", bench * factor)
    return measurements.cell("equip", 8)


def test_percentiles_are_the_nearest_ranks() -> None:
    hundred = [float(n) for n in range(1, 101)]
    assert [percentile(hundred, percent) for percent in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([7.0], 50) == 7
    assert percentile([], 50) == 0
    assert Spread.of([0.003, 0.001, 0.002]) == Spread(2.0, 3.0, 3.0, 3)


def test_a_ratio_is_of_the_medians_of_rounds() -> None:
    assert ratio([100, 40, 90], [400, 200, 100]) == 90 / 200
    assert ratio([1.0], []) is None
    cell = measured(dispatch=50, ceiling=100, bench=200)
    assert (cell.ratio_ceiling, cell.ratio_pgbench) == (0.5, 0.25)
    assert cell.dispatch.samples == 6


def test_a_round_lasts_from_the_first_begin_to_the_last_end_of_all_processes() -> None:
    played = Round.of([Timing(10.0, 11.0, (0.5, 0.5)), Timing(10.5, 12.0, (0.1, 0.2))])
    assert played.tps == 2.0
    assert sorted(played.seconds) == [0.1, 0.2, 0.5, 0.5]


@pytest.mark.parametrize(
    ("dispatch", "bench", "verdict"),
    [(50, 200, "pass"), (39, 100, "fail"), (50, 251, "fail"), (50, None, "inconclusive")],
)
def test_a_missed_target_fails_and_one_that_nobody_measured_is_inconclusive(
    dispatch: float, bench: float | None, verdict: str
) -> None:
    judged = actions.judge([measured(dispatch, 100, bench)])
    assert judged.verdict == verdict
    assert bool(judged.missed) == (verdict == "fail")


def test_no_target_at_all_is_no_pass_and_a_missed_one_outweighs_an_unmeasured() -> None:
    assert TargetsJudgement.of([]).verdict == "inconclusive"
    both = TargetsJudgement.of([Threshold("a", None, least=1), Threshold("reset, p50 in ms", 1.2, most=1.0)])
    assert (both.verdict, both.missed) == ("fail", ("reset, p50 in ms: at most 1.0, found 1.200",))


def test_pgbench_gets_the_same_sql_with_the_player_and_the_request_drawn() -> None:
    statement = RecordedStatement(
        "UPDATE t SET a = %(v0)s::BIGINT, b = %(v1)s, c = %(v4)s, d = 'x%%' WHERE u = %(v2)s::VARCHAR AND r = %(v3)s",
        {"v0": 7, "v1": None, "v4": True},
        ("v2",),
        ("v3",),
    )
    script = pgbench.script([statement], 100)
    assert (
        "a = :s0_v0::BIGINT, b = NULL, c = :s0_v4, d = 'x%' WHERE u = :player::VARCHAR AND r = :request;" in script.text
    )
    assert script.variables == {"s0_v0": "7", "s0_v4": "true"}
    assert "\\set player random(2, 101)" in script.text
    assert (script.text.count("BEGIN;"), script.text.count("COMMIT;")) == (1, 1)


def test_what_a_client_runs_into_is_said_and_not_counted() -> None:
    with WorkerPool(1) as pool_of_workers, pytest.raises(Failure, match="ConnectionRefusedError"):
        pool_of_workers.play(Web(("http://127.0.0.1:9",), "no token"), "equip", ["2"], 1, "run")


def test_actions_are_measured_on_every_side(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    report = actions.run(2, 8, given(server.maintenance, monkeypatch), Silent(), clients=(1, 8))
    assert [(cell.action, cell.clients) for cell in report.cells] == [
        (action, clients) for action in ("claim_mail", "equip", "enhance") for clients in (1, 8)
    ]
    for cell in report.cells:
        assert cell.dispatch_tps > 0
        assert cell.ceiling_tps > 0
        assert cell.http_tps > 0
        assert cell.ratio_ceiling == cell.dispatch_tps / cell.ceiling_tps
        assert (cell.dispatch.samples, cell.http.samples) == (16, 16)
        assert cell.dispatch.p50_ms <= cell.dispatch.p95_ms <= cell.dispatch.p99_ms
    assert report.verdict in {"pass", "fail", "inconclusive"}


def test_databases_are_measured_every_way_and_a_missing_one_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = databases.run(2, 0, given(server.maintenance, monkeypatch), Silent())
    ways = {"clone", "bare", "bare, FILE_COPY", "reset", "reset, not restricted"}
    assert ways <= report.ways.keys() <= ways | {"pytest-postgresql"}
    assert report.clone_of_bare is not None
    assert ("pytest-postgresql" in report.ways) != ("pytest-postgresql" in report.absent)
    assert {way.samples for way in report.ways.values()} == {2}


def test_the_task_writes_its_report_and_ends_with_its_exit_code(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.json"
    done = subprocess.run(
        [
            Path(sys.executable).parent / "invoke",
            "bench.databases",
            "--rounds",
            "1",
            "--containers",
            "0",
            "--postgres",
            given(server.maintenance, monkeypatch),
            "--json",
            str(path),
        ],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    report = json.loads(path.read_text())
    assert done.returncode == {"pass": 0, "fail": 1, "inconclusive": 3}[report["verdict"]], done.stderr
    assert report["ways"]["reset"]["p50_ms"] > 0


@pytest.mark.parametrize("wish", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_a_window_of_nothing_is_refused_before_anything_is_started(wish: tuple[int, int, int]) -> None:
    with pytest.raises(Refusal, match="--players 1000"):
        window.run(*wish, 0, None, Silent())


@pytest.mark.parametrize("wish", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_a_file_that_follows_nothing_is_refused_before_anything_is_started(wish: tuple[int, int, int]) -> None:
    with pytest.raises(Refusal, match="--minutes 30"):
        follow.run(*wish, None, Silent())


def test_what_a_disturbance_refuses_is_its_own_and_not_the_steady_states() -> None:
    disturbance = follow.Disturbance("server crashed", began=10.0, ended=12.0, small=13.0)
    answers = [
        Answered("equip", sent=9.7, ended=9.9, status=503),
        Answered("equip", sent=9.9, ended=10.1, status=503),
        Answered("equip", sent=10.0, ended=10.5, status=503),
        Answered("equip", sent=14.9, ended=15.0, status=0),
        Answered("equip", sent=15.1, ended=15.2, status=0),
    ]
    recovery = follow.recovery_of(disturbance, answers)
    assert (recovery.seconds, recovery.refused, recovery.dropped) == (1.0, 2, 1)
    assert [one for one in answers if not disturbance.covers(one)] == [answers[0], answers[4]]
    assert str(recovery) == "server crashed: the lag was below 1.5 s after 1 s; 2 requests refused, 1 dropped"
