"""Each check of RDS is silent on a sound instance, and names its defect where moto's CloudWatch has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db import ops
from db.environments import Environment
from db.monitor import watching
from db.monitor.check import CheckOutcome, Judgement
from db.monitor.checks import rds
from db.monitor.watching import Looked
from db.providers.aws import Aws
from tests.db.monitor.plants_of_rds import PLANTS, SOUND, level, put, put_week
from tests.fixtures.pretended_aws import NAME, clients, on_rds

__all__ = ["clients", "on_rds"]


def looked(env: Environment, folder: Path) -> Looked:
    return watching.once(env, window_seconds=0.1, checks=rds.CHECKS, folder=folder)


def judged(env: Environment, folder: Path) -> dict[str, Judgement]:
    return {each.check: each for each in looked(env, folder).judgements}


def most_connections(env: Environment) -> int:
    with ops.connect(env.target_direct) as conn:
        row = conn.execute(rds.MAX_CONNECTIONS).fetchone()
    assert row
    return int(row[0])


def test_a_sound_instance_is_in_breach_of_nothing(on_rds: Environment, clients: Aws, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    put(clients, SOUND, now - timedelta(minutes=3))
    put_week(clients, level, now)
    result = looked(on_rds, tmp_path)
    assert [each for each in result.judgements if each.outcome is not CheckOutcome.OK] == []
    assert result.verdict == "pass"


@pytest.mark.plan(13, cases=("provider CPU", "provider connections", "provider IOPS"))
@pytest.mark.parametrize("check", PLANTS)
def test_a_planted_defect_breaches_its_check(
    on_rds: Environment, clients: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: str
) -> None:
    plant, now = PLANTS[check], datetime.now(UTC)
    at = now + timedelta(hours=plant.later)
    monkeypatch.setattr(watching, "_now", lambda: at)
    more = {"DatabaseConnections": plant.connections * most_connections(on_rds)} if plant.connections else {}
    put(clients, {**SOUND, **plant.metrics, **more}, at - timedelta(minutes=3))
    put_week(clients, plant.gib, at)
    breaches = {each.check: each for each in looked(on_rds, tmp_path).breaches}
    assert plant.evidence in breaches[check].evidence
    assert breaches[check].do
    assert set(breaches) == {check}


@pytest.mark.parametrize(
    ("gib", "days"),
    [
        (lambda day: 60 - day, 53.4),
        (lambda day: 50 + day, rds.NEVER_DAYS),
        # Ten GiB less a day, until storage was added two days ago: half a GiB a day since.
        (lambda day: 60 - 10 * day if day < 4 else 90 - 0.5 * day, 173.3),
    ],
    ids=["slowly", "growing", "since storage was added"],
)
def test_the_days_of_storage_left_follow_the_trend(
    on_rds: Environment, clients: Aws, tmp_path: Path, gib: Callable[[float], float], days: float
) -> None:
    put_week(clients, gib, datetime.now(UTC))
    left = judged(on_rds, tmp_path)["provider storage left"]
    assert left.outcome is CheckOutcome.OK
    assert left.value == pytest.approx(days, rel=0.02)


def test_without_data_points_nothing_is_judged_but_the_recovery_point(
    on_rds: Environment, clients: Aws, tmp_path: Path
) -> None:
    result = looked(on_rds, tmp_path)
    assert {each.check for each in result.of(CheckOutcome.OK)} == {"provider recovery point"}
    assert result.verdict == "inconclusive"
    assert all("CloudWatch has" in each.why for each in result.of(CheckOutcome.NOT_JUDGED))


def test_storage_without_credits_has_no_burst_balance(on_rds: Environment, clients: Aws, tmp_path: Path) -> None:
    clients.rds.modify_db_instance(DBInstanceIdentifier=NAME, StorageType="gp3", ApplyImmediately=True)
    put(clients, SOUND, datetime.now(UTC) - timedelta(minutes=3))
    assert judged(on_rds, tmp_path)["provider burst balance"].outcome is CheckOutcome.NOT_APPLICABLE


def test_an_aws_that_knows_no_such_instance_leaves_all_unjudged(on_rds: Environment, tmp_path: Path) -> None:
    lost = replace(on_rds, provider=replace(on_rds.provider, instance="nowhere"))
    result = looked(lost, tmp_path)
    assert {each.outcome for each in result.judgements} == {CheckOutcome.NOT_JUDGED}
    assert {each.why for each in result.judgements} == {"AWS refused DescribeDBInstances: DBInstanceNotFound"}


def test_on_another_provider_none_of_it_applies(env: Environment, tmp_path: Path) -> None:
    assert {each.outcome for each in looked(env, tmp_path).judgements} == {CheckOutcome.NOT_APPLICABLE}
