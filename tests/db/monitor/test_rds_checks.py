"""Each check of RDS is silent on a sound instance, and names its defect where moto's CloudWatch has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db import ops
from db.environments import Environment
from db.monitor import watching
from db.monitor.check import Judgement, Outcome
from db.monitor.checks import rds
from db.monitor.watching import Looked
from db.providers.aws import Aws
from tests.fixtures.pretended_aws import NAME, clients, on_rds

__all__ = ["clients", "on_rds"]

GIB = 1 << 30
ALLOCATED = 100
SOUND = {
    "CPUUtilization": 20.0,
    "DatabaseConnections": 5.0,
    "ReadIOPS": 20.0,
    "WriteIOPS": 40.0,
    "BurstBalance": 99.0,
    "FreeStorageSpace": 60.0 * GIB,
}
PLANTS: Mapping[str, tuple[Mapping[str, float], str]] = {
    "provider CPU": ({"CPUUtilization": 95.0}, "db.m6g.large"),
    "provider IOPS": ({"ReadIOPS": 100.0, "WriteIOPS": 170.0}, "270 of 300 (gp2)"),
    "provider free storage": ({"FreeStorageSpace": 5.0 * GIB}, "5.0 of 100 GiB"),
    "provider burst balance": ({"BurstBalance": 5.0}, "gp2"),
}
"""By check: the metrics that are its defect, and what its evidence says."""


def put(clients: Aws, metrics: Mapping[str, float], at: datetime) -> None:
    clients.cloudwatch.put_metric_data(
        Namespace="AWS/RDS",
        MetricData=[
            {
                "MetricName": name,
                "Dimensions": [{"Name": "DBInstanceIdentifier", "Value": NAME}],
                "Timestamp": at,
                "Value": value,
            }
            for name, value in metrics.items()
        ],
    )


def put_week(clients: Aws, gib: Callable[[float], float], *, hours: int = 160) -> None:
    """Put free storage of each hour of a week. gib: of the days since the first hour."""
    began = datetime.now(UTC) - timedelta(hours=hours)
    for hour in range(hours):
        put(clients, {"FreeStorageSpace": gib(hour / 24) * GIB}, began + timedelta(hours=hour))


def looked(env: Environment, folder: Path) -> Looked:
    return watching.once(env, window_seconds=0.1, checks=rds.CHECKS, folder=folder)


def judged(env: Environment, folder: Path) -> dict[str, Judgement]:
    return {each.check: each for each in looked(env, folder).judgements}


def planted(clients: Aws, **more: float) -> None:
    put(clients, {**SOUND, **more}, datetime.now(UTC) - timedelta(minutes=3))


def test_a_sound_instance_is_in_breach_of_nothing(on_rds: Environment, clients: Aws, tmp_path: Path) -> None:
    planted(clients)
    put_week(clients, lambda _: 60.0)
    result = looked(on_rds, tmp_path)
    assert [each for each in result.judgements if each.outcome is not Outcome.OK] == []
    assert result.verdict == "pass"


@pytest.mark.parametrize("check", PLANTS)
def test_a_planted_defect_breaches_its_check_alone(
    on_rds: Environment, clients: Aws, tmp_path: Path, check: str
) -> None:
    metrics, evidence = PLANTS[check]
    planted(clients, **metrics)
    put_week(clients, lambda _: {**SOUND, **metrics}["FreeStorageSpace"] / GIB, hours=30)
    (breach,) = looked(on_rds, tmp_path).breaches
    assert (breach.check, breach.evidence, breach.window_seconds) == (check, evidence, 900.0)
    assert breach.do


def test_connections_near_the_servers_most_are_a_breach(on_rds: Environment, clients: Aws, tmp_path: Path) -> None:
    with ops.connect(on_rds.target_direct) as conn:
        row = conn.execute(rds.MAX_CONNECTIONS).fetchone()
    assert row
    planted(clients, DatabaseConnections=0.9 * row[0])
    breach = judged(on_rds, tmp_path)["provider connections"]
    assert (breach.outcome, breach.value) == (Outcome.BREACH, pytest.approx(90.0))


@pytest.mark.parametrize(
    ("gib", "outcome", "days"),
    [
        (lambda day: 60 - 6 * day, Outcome.BREACH, 3.4),
        (lambda day: 60 - 1 * day, Outcome.OK, 53.4),
        (lambda day: 50 + day, Outcome.OK, rds.NEVER_DAYS),
        # Ten GiB less a day, until storage was added two days ago: half a GiB a day since.
        (lambda day: 60 - 10 * day if day < 4 else 90 - 0.5 * day, Outcome.OK, 173.3),
    ],
    ids=["shrinking", "slowly", "growing", "since storage was added"],
)
def test_the_days_of_storage_left_follow_the_trend(
    on_rds: Environment, clients: Aws, tmp_path: Path, gib: Callable[[float], float], outcome: Outcome, days: float
) -> None:
    put_week(clients, gib)
    left = judged(on_rds, tmp_path)["provider storage left"]
    assert left.outcome is outcome
    assert left.value == pytest.approx(days, rel=0.02)


def test_an_hour_after_the_latest_restorable_time_is_a_breach(
    on_rds: Environment, clients: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_now", lambda: datetime.now(UTC) + timedelta(hours=1))
    point = judged(on_rds, tmp_path)["provider recovery point"]
    assert (point.outcome, round(point.value or 0)) == (Outcome.BREACH, 60)


def test_without_data_points_nothing_is_judged_but_the_recovery_point(
    on_rds: Environment, clients: Aws, tmp_path: Path
) -> None:
    result = looked(on_rds, tmp_path)
    assert {each.check for each in result.of(Outcome.OK)} == {"provider recovery point"}
    assert result.verdict == "inconclusive"
    assert all("CloudWatch has" in each.why for each in result.of(Outcome.NOT_JUDGED))


def test_storage_without_credits_has_no_burst_balance(on_rds: Environment, clients: Aws, tmp_path: Path) -> None:
    clients.rds.modify_db_instance(DBInstanceIdentifier=NAME, StorageType="gp3", ApplyImmediately=True)
    planted(clients)
    by_name = judged(on_rds, tmp_path)
    assert by_name["provider burst balance"].outcome is Outcome.NOT_APPLICABLE


def test_an_aws_that_knows_no_such_instance_leaves_all_unjudged(
    on_rds: Environment, clients: Aws, tmp_path: Path
) -> None:
    lost = replace(on_rds, provider=replace(on_rds.provider, instance="nowhere"))
    result = looked(lost, tmp_path)
    assert {each.outcome for each in result.judgements} == {Outcome.NOT_JUDGED}
    assert {each.why for each in result.judgements} == {"AWS refused DescribeDBInstances: DBInstanceNotFound"}


def test_on_another_provider_none_of_it_applies(env: Environment, tmp_path: Path) -> None:
    assert {each.outcome for each in looked(env, tmp_path).judgements} == {Outcome.NOT_APPLICABLE}
