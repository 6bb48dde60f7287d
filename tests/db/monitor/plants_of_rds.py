"""Plants the defects of an instance on RDS, in moto: its metrics in CloudWatch, and the time of the look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from db.providers.aws import Aws
from tests.fixtures.pretended_aws import NAME

GIB = 1 << 30
FREE = 60.0
SOUND = {
    "CPUUtilization": 20.0,
    "DatabaseConnections": 1.0,
    "ReadIOPS": 20.0,
    "WriteIOPS": 40.0,
    "BurstBalance": 99.0,
}


def level(_day: float) -> float:
    return FREE


@dataclass(frozen=True)
class Plant:
    """metrics: other than sound ones; connections: as a share of max_connections. gib: free storage, by the day of the
    week. later: the hours between the data and the look. evidence: a part of what the breach says.
    """

    evidence: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    connections: float = 0.0
    gib: Callable[[float], float] = level
    later: float = 0.0


PLANTS: Mapping[str, Plant] = {
    "provider CPU": Plant("db.m6g.large", {"CPUUtilization": 95.0}),
    "provider connections": Plant(" of ", connections=0.9),
    "provider IOPS": Plant("270 of 300 (gp2)", {"ReadIOPS": 100.0, "WriteIOPS": 170.0}),
    "provider free storage": Plant("5.0 of 100 GiB", gib=lambda _: 5.0),
    "provider storage left": Plant("6.00 GiB less a day", gib=lambda day: 60 - 6 * day),
    "provider burst balance": Plant("gp2", {"BurstBalance": 5.0}),
    "provider recovery point": Plant("LatestRestorableTime", later=0.5),
}


def put(clients: Aws, metrics: Mapping[str, float], at: datetime) -> None:
    """Put one data point of each metric."""
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


def put_week(clients: Aws, gib: Callable[[float], float], at: datetime, *, hours: int = 160) -> None:
    """Put the free storage of each hour until the look, and of its last minutes."""
    for hour in range(hours):
        put(clients, {"FreeStorageSpace": gib(hour / 24) * GIB}, at - timedelta(hours=hours - hour))
    put(clients, {"FreeStorageSpace": gib(hours / 24) * GIB}, at - timedelta(minutes=3))
