"""`invoke preflight`: a requirement is met, unmet by a planted defect, unknown with where to read it, or stated."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from db import environments, snapshots
from db.environment_plans import ProviderPlan, Stated
from db.environments import Environment
from db.errors import Refusal
from db.providers import aws, facts, preflight
from db.providers.aws import Aws
from db.providers.preflight import Preflight
from db.providers.requirement import Facts, Known, RequirementOutcome, UnknownValue
from db.snapshots import Side
from tests.fixtures.pretended_aws import NAME

ROOT = Path(__file__).parents[3]
NOW = datetime.now(UTC)
SERVER: Facts = {key: Known(1, "as it should be") for key in ("slow_log", "tls", "connections")}
ASKED = ("vCPU", "memory", "daily snapshot", "point-in-time recovery", "retention", "encryption at rest")


def of(result: Preflight, outcome: RequirementOutcome) -> list[str]:
    return [each.name for each in result.findings if each.outcome is outcome]


def on_aws(env: Environment, clients: Aws, now: datetime | None = None) -> Preflight:
    return preflight.judge(env, {**SERVER, **facts.of_aws(env, clients, now or datetime.now(UTC))})


@pytest.mark.plan(6)
def test_an_instance_as_it_should_be_is_fit(on_rds: Environment, clients: Aws) -> None:
    result = on_aws(on_rds, clients)
    assert (result.verdict, of(result, RequirementOutcome.MET)) == ("pass", [each.name for each in result.findings])
    assert "not run against AWS" in result.not_run
    assert all(each.value and each.limit and each.source for each in result.findings)


Plant = Callable[[Aws], object]
PLANTS: dict[str, tuple[Plant, list[str]]] = {
    "one vCPU": (lambda aws: modify(aws, DBInstanceClass="db.m6g.medium"), ["vCPU"]),
    "1 GB": (lambda aws: modify(aws, DBInstanceClass="db.t4g.micro"), ["memory"]),
    "retention of 3 days": (lambda aws: modify(aws, BackupRetentionPeriod=3), ["retention"]),
    "no backups": (lambda aws: modify(aws, BackupRetentionPeriod=0), ["point-in-time recovery", "retention"]),
    "deletable": (lambda aws: modify(aws, DeletionProtection=False), ["deletion protection"]),
}


def modify(clients: Aws, **how: Any) -> None:
    clients.rds.modify_db_instance(DBInstanceIdentifier=NAME, ApplyImmediately=True, **how)


@pytest.mark.plan(6, cases=("one vCPU", "1 GB"))
@pytest.mark.plan(7, cases=("no backups",))
@pytest.mark.parametrize("defect", PLANTS)
def test_a_planted_defect_is_unmet_alone_with_a_command_that_names_the_instance(
    on_rds: Environment, clients: Aws, defect: str
) -> None:
    plant, names = PLANTS[defect]
    plant(clients)
    result = on_aws(on_rds, clients)
    assert (result.verdict, of(result, RequirementOutcome.UNMET)) == ("fail", names)
    assert all(NAME in each.do for each in result.findings if each.outcome is RequirementOutcome.UNMET)


@pytest.mark.plan(7)
def test_a_snapshot_of_two_days_ago_is_no_daily_one(on_rds: Environment, clients: Aws) -> None:
    assert of(on_aws(on_rds, clients, NOW + timedelta(days=2)), RequirementOutcome.UNMET) == ["daily snapshot"]


def test_storage_that_is_not_encrypted_is_unmet(on_rds: Environment, clients: Aws) -> None:
    plain = replace(on_rds, provider=replace(on_rds.provider, instance="open"))
    clients.rds.create_db_instance(
        DBInstanceIdentifier="open", DBInstanceClass="db.m6g.large", Engine="postgres", AllocatedStorage=20
    )
    assert "encryption at rest" in of(on_aws(plain, clients), RequirementOutcome.UNMET)


def test_what_aws_does_not_say_is_inconclusive_and_can_be_stated(on_rds: Environment, clients: Aws) -> None:
    modify(clients, DBInstanceClass="db.serverless")
    result = on_aws(on_rds, clients)
    assert (result.verdict, of(result, RequirementOutcome.UNKNOWN)) == ("inconclusive", ["vCPU", "memory"])
    assert "vcpus = … in [test.provider.stated]" in result.findings[0].do
    stated = replace(on_rds, provider=replace(on_rds.provider, stated=Stated(vcpus=2, memory_gb=4)))
    result = on_aws(stated, clients)
    assert (result.verdict, of(result, RequirementOutcome.STATED)) == ("pass", ["vCPU", "memory"])


def test_what_was_checked_wins_over_what_was_stated(on_rds: Environment, clients: Aws) -> None:
    modify(clients, BackupRetentionPeriod=3)
    stated = replace(on_rds, provider=replace(on_rds.provider, stated=Stated(retention_days=30)))
    assert of(on_aws(stated, clients), RequirementOutcome.UNMET) == ["retention"]


def test_an_instance_that_aws_does_not_know_leaves_all_unknown(on_rds: Environment) -> None:
    lost = replace(on_rds, provider=replace(on_rds.provider, instance="nowhere"))
    result = on_aws(lost, aws.connect(lost))
    assert (result.verdict, of(result, RequirementOutcome.UNKNOWN)) == ("inconclusive", [*ASKED, "deletion protection"])
    assert "AWS refused DescribeDBInstances" in result.findings[0].why


def test_without_boto3_it_is_refused_with_the_command_that_installs_it(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(Refusal, match="no module boto3") as refused:
        preflight.run(replace(env, provider=ProviderPlan("rds", NAME, "ap-northeast-2")))
    assert refused.value.do == "Install it: `pip install --require-hashes --requirement requirements/rds.txt`"
    assert "\nboto3==" in (ROOT / "requirements" / "rds.txt").read_text()


@pytest.mark.parametrize("lacking", ["instance", "region"])
def test_an_instance_without_its_name_is_refused_until_it_is_written(env: Environment, lacking: str) -> None:
    whole = ProviderPlan("rds", NAME, "ap-northeast-2")
    with pytest.raises(Refusal, match=f"the key {lacking}"):
        aws.connect(replace(env, provider=replace(whole, **{lacking: ""})))
    assert aws.connect(replace(env, provider=whole))


def test_no_other_provider_needs_boto3() -> None:
    code = "import sys, db.providers.preflight, db.monitor.watch; assert 'boto3' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_plain_server_is_asked_what_it_knows_and_the_rest_is_unknown_or_stated(env: Environment) -> None:
    result = preflight.run(env)
    judged = {each.name: each for each in result.findings}
    assert of(result, RequirementOutcome.UNKNOWN) == [
        *("vCPU", "memory", "daily snapshot", "retention", "encryption at rest", "deletion protection")
    ]
    assert judged["point-in-time recovery"].value == "archive_mode = off"
    assert judged["slow query log"].do.startswith("ALTER SYSTEM SET log_min_duration_statement = 1000;")
    assert judged["connections"].outcome is RequirementOutcome.MET
    on_this_machine = env.target_direct.host in ("127.0.0.1", "localhost")
    assert judged["TLS"].outcome is (RequirementOutcome.MET if on_this_machine else RequirementOutcome.UNMET)
    assert judged["our own dump outside it"].outcome is RequirementOutcome.UNMET
    snapshots.take_verified(env, Side.TARGET)
    stated = Stated(vcpus=2, memory_gb=4, retention_days=6, encrypted=True, deletion_protection=False)
    result = preflight.run(replace(env, provider=ProviderPlan(stated=stated)))
    assert of(result, RequirementOutcome.STATED) == ["vCPU", "memory", "encryption at rest"]
    assert {"retention", "deletion protection"} < set(of(result, RequirementOutcome.UNMET))
    assert {"daily snapshot", "our own dump outside it"} < set(of(result, RequirementOutcome.MET))


def test_a_verified_dump_of_nine_days_ago_is_no_dump_of_the_last_eight(env: Environment) -> None:
    snapshots.take_verified(env, Side.TARGET)
    late = facts.of_snapshots(env, datetime.now(UTC) + timedelta(days=9))
    assert [late[key].value for key in ("own_dump", "daily_snapshot")] == [0, 0]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["supabase", "render", "plain"])
def test_our_own_dump_is_required_where_the_providers_is_not_enough(env: Environment, name: Any) -> None:
    names = [each.name for each in preflight.judge(replace(env, provider=ProviderPlan(name)), {}).findings]
    assert "our own dump outside it" in names
    other = preflight.judge(replace(env, provider=ProviderPlan("cloud-sql")), {})
    assert len(other.findings) == len(names) - 1


def test_a_server_that_is_away_leaves_what_only_it_knows_unknown(env: Environment) -> None:
    away = replace(env, target_direct=env.target_direct.with_(host="127.0.0.1", port=1))
    result = facts.of_server(away)
    assert {key for key, fact in result.items() if isinstance(fact, UnknownValue)} == {"slow_log", "tls", "connections"}
    assert all("refused" in fact.why and fact.do for fact in result.values() if isinstance(fact, UnknownValue))


def test_a_remote_server_without_verify_full_is_unmet(env: Environment) -> None:
    remote = env.target.with_(host="db.example", parameters=(("sslmode", "require"),))
    with facts.ops.connect(env.target_direct) as conn:
        judged = facts._tls(replace(env, target=remote), conn)
    assert judged.value == 0
    assert "target: require" in judged.shown


def test_too_few_connections_are_unmet(env: Environment, tmp_path: Path) -> None:
    env.pointer.path.write_text("POOL_SIZE=1000\n")
    many = replace(env, services=("http://127.0.0.1:1",))
    assert environments.pool_size(many) == 1000
    (fact,) = [fact for key, fact in facts.of_server(many).items() if key == "connections"]
    assert isinstance(fact, Known)
    assert fact.value == 0
