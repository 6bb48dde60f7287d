"""A pretended AWS: moto, with one instance in a network of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import boto3
import pytest
from moto import mock_aws

from db.environment_plans import ProviderPlan
from db.environments import Environment
from db.providers import aws
from db.providers.aws import Aws

REGION, NAME = "ap-northeast-2", "sudamr-prod"


@pytest.fixture
def on_rds(env: Environment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Environment]:
    """The environment, whose server is an instance of RDS with everything as it should be."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        make_instance()
        yield replace(env, provider=ProviderPlan("rds", NAME, REGION))


@pytest.fixture
def clients(on_rds: Environment) -> Aws:
    return aws.connect(on_rds)


def make_instance() -> None:
    """Make a network, a subnet group, a security group, a parameter group, and the instance in them."""
    ec2 = boto3.client("ec2", REGION)
    rds = boto3.client("rds", REGION)
    network = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=network, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"]
        for n, zone in enumerate("ac")
    ]
    group = ec2.create_security_group(GroupName="players", Description="of the test", VpcId=network)["GroupId"]
    rds.create_db_subnet_group(
        DBSubnetGroupName="inner",
        DBSubnetGroupDescription="of the test",
        SubnetIds=[each["SubnetId"] for each in subnets],
    )
    rds.create_db_parameter_group(
        DBParameterGroupName="game", DBParameterGroupFamily="postgres15", Description="of the test"
    )
    rds.create_db_instance(
        DBInstanceIdentifier=NAME,
        DBInstanceClass="db.m6g.large",
        Engine="postgres",
        AllocatedStorage=100,
        StorageType="gp2",
        MasterUsername="sudamr",
        MasterUserPassword="of-the-test",
        BackupRetentionPeriod=14,
        StorageEncrypted=True,
        DeletionProtection=True,
        DBSubnetGroupName="inner",
        VpcSecurityGroupIds=[group],
        DBParameterGroupName="game",
    )
