"""Checks of an instance on RDS, by CloudWatch and DescribeDBInstances. Not run against AWS: the tests ask moto."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, linear_regression

from db.monitor.check import Check, Limit, Measured, NotApplicable, NotJudged
from db.monitor.look import Look
from db.providers.metrics import RECENT_WINDOW, MetricPoint, MetricsReading

GIB = 1 << 30
DAY_SECONDS = 86_400.0
NEVER_DAYS = 3_650.0
LEAST_HOURS = 24
GROWN_SHARE = 0.05
"""A share of the storage: more than this within an hour is storage that was added, or a table that was dropped."""

MAX_CONNECTIONS = "select current_setting('max_connections')::int"


def cpu(look: Look) -> Measured:
    """Measure the CPU, in percent of all vCPUs."""
    reading = _reading(look)
    return _measured(_recent(reading, "CPUUtilization"), reading.instance.kind)


def connections(look: Look) -> Measured:
    """Measure the connections that AWS counts, in percent of max_connections."""
    count, most = _recent(_reading(look), "DatabaseConnections"), look.value(MAX_CONNECTIONS)
    return _measured(100.0 * count / most, f"{count:,.0f} of {most}")


def iops(look: Look) -> Measured:
    """Measure reads and writes a second, in percent of what is provisioned."""
    reading = _reading(look)
    provisioned = reading.instance.provisioned_iops
    done = _recent(reading, "ReadIOPS") + _recent(reading, "WriteIOPS")
    if not provisioned:
        raise NotJudged(f"AWS names no IOPS of the storage {reading.instance.storage_type}")
    return _measured(100.0 * done / provisioned, f"{done:,.0f} of {provisioned:,} ({reading.instance.storage_type})")


def free_storage(look: Look) -> Measured:
    """Measure the free storage, in percent of what is allocated."""
    reading = _reading(look)
    free, allocated = _recent(reading, "FreeStorageSpace") / GIB, reading.instance.allocated_gb
    if not allocated:
        raise NotJudged("AWS names no allocated storage")
    return _measured(100.0 * free / allocated, f"{free:,.1f} of {allocated:,} GiB")


def storage_left(look: Look) -> Measured:
    """Measure the days until the storage is full, by the trend of a week, or since storage was last added."""
    reading = _reading(look)
    points = _since_it_grew(reading.storage, GROWN_SHARE * reading.instance.allocated_gb * GIB)
    if len(points) < LEAST_HOURS:
        raise NotJudged(f"CloudWatch has {len(points)} hours of it; a trend needs {LEAST_HOURS}")
    seconds = [(point.at - points[0].at).total_seconds() for point in points]
    trend = linear_regression(seconds, [point.value for point in points])
    a_day = trend.slope * DAY_SECONDS
    free = points[-1].value
    if a_day >= 0:
        return Measured(NEVER_DAYS, f"{free / GIB:,.1f} GiB free, and not shrinking", seconds[-1])
    shown = f"{free / GIB:,.1f} GiB free, {-a_day / GIB:,.2f} GiB less a day"
    return Measured(min(free / -a_day, NEVER_DAYS), shown, seconds[-1])


def burst_balance(look: Look) -> Measured:
    """Measure the I/O credits that are left, in percent."""
    reading = _reading(look)
    if reading.instance.storage_type != "gp2":
        raise NotApplicable(f"the storage {reading.instance.storage_type} has no burst balance")
    return _measured(_recent(reading, "BurstBalance"), "gp2")


def recovery_point(look: Look) -> Measured:
    """Measure the minutes since the latest time to which RDS can restore."""
    latest = _reading(look).instance.latest_restorable
    if latest is None:
        return Measured(float("inf"), "no LatestRestorableTime: automated backups are off")
    return Measured((look.at - latest).total_seconds() / 60, f"LatestRestorableTime {latest:%Y-%m-%d %H:%M:%S}")


def _reading(look: Look) -> MetricsReading:
    if look.env.provider.name != "rds":
        raise NotApplicable(f"the provider is {look.env.provider.name}, not rds")
    reading = look.rds
    if isinstance(reading, str):
        raise NotJudged(reading)
    return reading


def _recent(reading: MetricsReading, metric: str) -> float:
    points = reading.recent[metric]
    if not points:
        raise NotJudged(f"CloudWatch has no data points of {metric}")
    return fmean(point.value for point in points)


def _measured(value: float, evidence: str) -> Measured:
    return Measured(value, evidence, RECENT_WINDOW.total_seconds())


def _since_it_grew(points: Sequence[MetricPoint], step: float) -> Sequence[MetricPoint]:
    grew = (n for n in range(len(points) - 1, 0, -1) if points[n].value - points[n - 1].value > step)
    return points[next(grew, 0) :]


_NO_DATA = "the provider is rds and AWS does not answer, or CloudWatch has no data points"

CHECKS = (
    Check(
        name="provider CPU",
        limit=Limit(
            70,
            "%",
            "https://aws.amazon.com/blogs/database/making-better-decisions-about-amazon-rds-with-amazon-cloudwatch-metrics/"
            ": 70 to 90 % can degrade performance",
        ),
        measure=cpu,
        defect="CPUUtilization of 95",
        not_judged=_NO_DATA,
        do="See what uses it: invoke watch --env {env} --once names the slow statements; else a larger instance class.",
    ),
    Check(
        name="provider connections",
        limit=Limit(80, "%", "a fifth is left for a restart of the service, which holds its pools twice for a moment"),
        measure=connections,
        defect="DatabaseConnections of nine tenths of max_connections",
        not_judged=_NO_DATA,
        do="See who holds them: SELECT usename, application_name, count(*) FROM pg_stat_activity GROUP BY 1, 2;",
    ),
    Check(
        name="provider IOPS",
        limit=Limit(80, "%", "a fifth is left for a vacuum or a backup; beyond what is provisioned, commands wait"),
        measure=iops,
        defect="ReadIOPS and WriteIOPS of nine tenths of what gp2 gives",
        not_judged=f"{_NO_DATA}, or AWS names no IOPS",
        do="Provision more: aws rds modify-db-instance --db-instance-identifier ... --iops ...",
    ),
    Check(
        name="provider free storage",
        limit=Limit(15, "%", "a full disk stops every write, and storage is not added in a minute", least=True),
        measure=free_storage,
        defect="FreeStorageSpace of a twentieth",
        not_judged=_NO_DATA,
        do="Add storage: aws rds modify-db-instance --db-instance-identifier ... --allocated-storage ...",
    ),
    Check(
        name="provider storage left",
        limit=Limit(14, "days", "two weeks to add storage, with a holiday in between", least=True),
        measure=storage_left,
        defect="FreeStorageSpace that shrinks by a tenth a day",
        not_judged=f"{_NO_DATA}, or less than a day of them since storage was added",
        do="Add storage: aws rds modify-db-instance --db-instance-identifier ... --allocated-storage ...",
    ),
    Check(
        name="provider burst balance",
        limit=Limit(20, "%", "at 0 gp2 falls to its baseline of 3 IOPS a GiB, and commands wait", least=True),
        measure=burst_balance,
        defect="BurstBalance of 5",
        not_judged=_NO_DATA,
        do="Move to gp3: aws rds modify-db-instance --db-instance-identifier ... --storage-type gp3",
    ),
    Check(
        name="provider recovery point",
        limit=Limit(
            15,
            "min",
            "https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIT.html: typically 5 minutes; 3 times that",
        ),
        measure=recovery_point,
        defect="automated backups turned off; a look an hour after LatestRestorableTime",
        not_judged="the provider is rds and AWS does not answer",
        do="invoke preflight --env {env}",
    ),
)
