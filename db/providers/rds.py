"""An instance and its snapshots on RDS, as AWS describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from db.providers.aws import Aws, Unanswered, asked

GP2_PER_GB, GP2_LEAST, GP2_MOST = 3, 100, 16_000
"""IOPS of gp2: https://repost.aws/ja/knowledge-center/rds-low-burst-balance"""


@dataclass(frozen=True, slots=True)
class Instance:
    """A DB instance. allocated_gb: in GiB. iops: provisioned; None where AWS names none. host: "" before it has one."""

    name: str
    status: str
    kind: str
    storage_type: str
    allocated_gb: int
    iops: int | None
    retention_days: int
    encrypted: bool
    deletion_protection: bool
    latest_restorable: datetime | None
    subnet_group: str
    security_groups: tuple[str, ...]
    parameter_groups: tuple[str, ...]
    public: bool
    host: str
    port: int
    tags: Mapping[str, str]

    @property
    def provisioned_iops(self) -> int | None:
        """Return the IOPS that the storage gives; those of gp2 follow from its size. None if AWS names none."""
        if self.storage_type == "gp2":
            return min(max(GP2_PER_GB * self.allocated_gb, GP2_LEAST), GP2_MOST)
        return self.iops


@dataclass(frozen=True, slots=True)
class DbSnapshot:
    """A snapshot of an instance. at: None while it is being made. percent: how far AWS says that it is."""

    name: str
    status: str
    at: datetime | None
    percent: int
    tags: Mapping[str, str]


def instance(aws: Aws, name: str) -> Instance:
    """Return the instance. Raises NotFound or Unanswered."""
    (described,) = asked(lambda: aws.rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"])
    return _instance(described)


def instances(aws: Aws) -> list[Instance]:
    """Return every instance of the region. Raises Unanswered."""
    pages = asked(lambda: list(aws.rds.get_paginator("describe_db_instances").paginate()))
    return [_instance(each) for page in pages for each in page["DBInstances"]]


def snapshot(aws: Aws, name: str) -> DbSnapshot:
    """Return the snapshot. Raises NotFound or Unanswered."""
    (described,) = asked(lambda: aws.rds.describe_db_snapshots(DBSnapshotIdentifier=name)["DBSnapshots"])
    return _snapshot(described)


def snapshots(aws: Aws, **which: str) -> list[DbSnapshot]:
    """Return the snapshots of an instance or a type. Raises Unanswered."""
    pages = asked(lambda: list(aws.rds.get_paginator("describe_db_snapshots").paginate(**which)))
    return [_snapshot(each) for page in pages for each in page["DBSnapshots"]]


def hardware(aws: Aws, kind: str) -> tuple[int, float]:
    """Return vCPU and memory in GiB of a class: those of EC2's type of the same name. Raises Unanswered."""
    ec2 = kind.removeprefix("db.")
    types = asked(lambda: aws.ec2.describe_instance_types(InstanceTypes=[ec2])["InstanceTypes"])
    if not types:
        raise Unanswered(f"EC2 knows no type {ec2}")
    return types[0]["VCpuInfo"]["DefaultVCpus"], types[0]["MemoryInfo"]["SizeInMiB"] / 1024


def tagged(tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return AWS's list of tags as a mapping."""
    return {tag["Key"]: tag.get("Value", "") for tag in tags}


def _instance(described: Mapping[str, Any]) -> Instance:
    endpoint = described.get("Endpoint") or {}
    return Instance(
        name=described["DBInstanceIdentifier"],
        status=described.get("DBInstanceStatus", ""),
        kind=described.get("DBInstanceClass", ""),
        storage_type=described.get("StorageType", ""),
        allocated_gb=described.get("AllocatedStorage", 0),
        iops=described.get("Iops") or None,
        retention_days=described.get("BackupRetentionPeriod", 0),
        encrypted=bool(described.get("StorageEncrypted")),
        deletion_protection=bool(described.get("DeletionProtection")),
        latest_restorable=described.get("LatestRestorableTime"),
        subnet_group=(described.get("DBSubnetGroup") or {}).get("DBSubnetGroupName", ""),
        security_groups=tuple(sorted(each["VpcSecurityGroupId"] for each in described.get("VpcSecurityGroups", ()))),
        parameter_groups=tuple(each["DBParameterGroupName"] for each in described.get("DBParameterGroups", ())),
        public=bool(described.get("PubliclyAccessible")),
        host=endpoint.get("Address", ""),
        port=endpoint.get("Port", 0),
        tags=tagged(described.get("TagList", ())),
    )


def _snapshot(described: Mapping[str, Any]) -> DbSnapshot:
    return DbSnapshot(
        name=described["DBSnapshotIdentifier"],
        status=described.get("Status", ""),
        at=described.get("SnapshotCreateTime"),
        percent=described.get("PercentProgress", 0),
        tags=tagged(described.get("TagList", ())),
    )
