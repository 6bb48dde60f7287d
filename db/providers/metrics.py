"""Reads an instance's metrics of CloudWatch: those of the last minutes, and a week of free storage.

Names and units: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-metrics.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from db.environments import Environment
from db.providers import aws as asking
from db.providers import rds
from db.providers.aws import Aws, asked
from db.providers.rds import Instance

RECENT = ("CPUUtilization", "DatabaseConnections", "ReadIOPS", "WriteIOPS", "FreeStorageSpace", "BurstBalance")
RECENT_WINDOW, RECENT_PERIOD = timedelta(minutes=15), timedelta(minutes=1)
STORAGE = "FreeStorageSpace"
STORAGE_WINDOW, STORAGE_PERIOD = timedelta(days=7), timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """A metric's average over one period."""

    at: datetime
    value: float


@dataclass(frozen=True, slots=True)
class MetricsReading:
    """The instance with its metrics, oldest first. storage: a week of free bytes, by the hour."""

    instance: Instance
    recent: Mapping[str, tuple[MetricPoint, ...]]
    storage: tuple[MetricPoint, ...]


def read(env: Environment, at: datetime) -> MetricsReading:
    """Ask AWS once for all. Raises Refusal without boto3 or the instance's name, Unanswered without an answer."""
    aws = asking.connect(env)
    instance = rds.instance(aws, env.provider.instance)
    recent = _series(aws, instance.name, RECENT, at, RECENT_WINDOW, RECENT_PERIOD)
    week = _series(aws, instance.name, (STORAGE,), at, STORAGE_WINDOW, STORAGE_PERIOD)
    return MetricsReading(instance, recent, week[STORAGE])


def _series(
    aws: Aws, name: str, metrics: Sequence[str], at: datetime, window: timedelta, period: timedelta
) -> dict[str, tuple[MetricPoint, ...]]:
    pages = asked(
        lambda: list(
            aws.cloudwatch.get_paginator("get_metric_data").paginate(
                MetricDataQueries=[_query(number, name, metric, period) for number, metric in enumerate(metrics)],
                StartTime=at - window,
                EndTime=at,
                ScanBy="TimestampAscending",
            )
        )
    )
    series: dict[str, list[MetricPoint]] = {metric: [] for metric in metrics}
    for page in pages:
        for result in page["MetricDataResults"]:
            points = zip(result["Timestamps"], result["Values"], strict=True)
            series[metrics[int(result["Id"].removeprefix("m"))]] += [
                MetricPoint(when, float(value)) for when, value in points
            ]
    return {metric: tuple(sorted(points, key=lambda point: point.at)) for metric, points in series.items()}


def _query(number: int, name: str, metric: str, period: timedelta) -> dict[str, Any]:
    return {
        "Id": f"m{number}",
        "MetricStat": {
            "Metric": {
                "Namespace": "AWS/RDS",
                "MetricName": metric,
                "Dimensions": [{"Name": "DBInstanceIdentifier", "Value": name}],
            },
            "Period": int(period.total_seconds()),
            "Stat": "Average",
        },
    }
