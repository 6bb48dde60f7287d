"""Reads the facts of an environment's database: from AWS, from the server, and from the folder of snapshots."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg

from db import environments, ops, snapshots
from db.environments import Environment
from db.errors import Refusal
from db.providers import aws as asking
from db.providers import rds
from db.providers.aws import Aws, Unanswered
from db.providers.requirement import DAILY_HOURS, OWN_DUMP_HOURS, Facts, Known, UnknownValue
from db.snapshots import Side
from db.target.requirements import TOOLS_CONNECTIONS

LOOPBACK = ("localhost", "127.0.0.1", "::1")

ROOM = """
select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true), '0')::int
"""
SLOW_LOG = "select setting::float8 from pg_settings where name = 'log_min_duration_statement'"
ENCRYPTED = "select ssl, coalesce(version, '') from pg_stat_ssl where pid = pg_backend_pid()"
ARCHIVE = """
select current_setting('archive_mode'), last_archived_time,
    coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false)
from pg_stat_archiver
"""


def of_aws(env: Environment, aws: Aws, now: datetime) -> Facts:
    """Return what AWS says of the instance; why not, where it does not answer."""
    keys = ("daily_snapshot", "pitr", "retention_days", "encrypted", "deletion_protection")
    try:
        described = rds.instance(aws, env.provider.instance)
    except Unanswered as error:
        return dict.fromkeys(("vcpus", "memory_gb", *keys), UnknownValue(str(error)))
    days, latest = described.retention_days, described.latest_restorable
    age = f", restorable to {_minutes(now, latest)} ago" if latest else ", no LatestRestorableTime"
    return {
        **_hardware(aws, described.kind),
        "daily_snapshot": _daily(aws, env.provider.instance, now),
        "pitr": Known(float(days > 0 and latest is not None), f"{'on' if days > 0 else 'off'}{age}"),
        "retention_days": Known(days, f"{days} days"),
        "encrypted": Known(float(described.encrypted), "on" if described.encrypted else "off"),
        "deletion_protection": Known(
            float(described.deletion_protection), "on" if described.deletion_protection else "off"
        ),
    }


def of_server(env: Environment) -> Facts:
    """Return what the server says of itself; why not, where it does not answer."""
    try:
        with ops.connect(env.target_direct, application="sudamr preflight") as conn:
            conn.execute("set default_transaction_read_only = on")
            return {
                "slow_log": _slow_log(conn),
                "tls": _tls(env, conn),
                "connections": _connections(env, conn),
                **(_archive(conn) if env.provider.name == "plain" else {}),
            }
    except (Refusal, psycopg.Error) as error:
        why, do = (error.found, error.do) if isinstance(error, Refusal) else (" ".join(str(error).split()), "")
        return dict.fromkeys(("slow_log", "tls", "connections"), UnknownValue(f"the server did not say: {why}", do))


def of_snapshots(env: Environment, now: datetime) -> Facts:
    """Return what the folder of snapshots holds: the newest one of Postgres that was restored and counted."""
    folder = env.snapshots.folder
    try:
        kept = snapshots.find(folder, env.name, side=Side.TARGET) if folder.is_dir() else []
        verified = [each for each in kept if snapshots.is_verified(each)]
    except (Refusal, OSError) as error:
        return {"own_dump": UnknownValue(f"the folder of snapshots can't be read: {' '.join(str(error).split())}")}
    if not verified:
        return {"own_dump": Known(0, f"none that was verified in {folder}")}
    newest = verified[-1]
    hours = (now - datetime.fromisoformat(newest.manifest.taken_at)).total_seconds() / 3600
    shown = f"{newest.folder.name}, {hours:,.1f} h ago"
    facts = {"own_dump": Known(float(hours <= OWN_DUMP_HOURS), shown)}
    if env.provider.name == "plain":
        facts["daily_snapshot"] = Known(float(hours <= DAILY_HOURS), shown)
    return facts


def of_provider(env: Environment, now: datetime) -> Facts:
    """Return what the provider says, where it can be asked: RDS alone. Raises Refusal without boto3."""
    return of_aws(env, asking.connect(env), now) if env.provider.name == "rds" else {}


def _hardware(aws: Aws, kind: str) -> Facts:
    try:
        vcpus, gb = rds.hardware(aws, kind)
    except Unanswered as error:
        return dict.fromkeys(("vcpus", "memory_gb"), UnknownValue(f"{kind}: {error}"))
    where = f"{kind}, by EC2's {kind.removeprefix('db.')}"
    return {"vcpus": Known(vcpus, f"{vcpus} ({where})"), "memory_gb": Known(gb, f"{gb:g} GB ({where})")}


def _daily(aws: Aws, name: str, now: datetime) -> Known | UnknownValue:
    try:
        made = rds.snapshots(aws, DBInstanceIdentifier=name, SnapshotType="automated")
    except Unanswered as error:
        return UnknownValue(str(error))
    times = [each.at for each in made if each.at is not None and each.status == "available"]
    if not times:
        return Known(0, "no automated snapshot")
    hours = (now - max(times)).total_seconds() / 3600
    return Known(float(hours <= DAILY_HOURS), f"{len(times)} automated, the newest {hours:,.1f} h ago")


def _slow_log(conn: ops.Connection) -> Known:
    milliseconds = _value(conn, SLOW_LOG)
    return Known(float(milliseconds >= 0), f"log_min_duration_statement = {milliseconds:g}")


def _tls(env: Environment, conn: ops.Connection) -> Known:
    urls = {"target": env.target, "target_direct": env.target_direct}
    if all(url.host.startswith("/") or url.host in LOOPBACK for url in urls.values()):
        return Known(1, "no network between: the server is on this machine")
    row = conn.execute(ENCRYPTED).fetchone()
    encrypted, version = row or (False, "")
    modes = {name: dict(url.parameters).get("sslmode", "prefer") for name, url in urls.items()}
    shown = ", ".join(f"{name}: {mode}" for name, mode in modes.items())
    return Known(
        float(encrypted and set(modes.values()) == {"verify-full"}),
        f"{shown}; {version or 'this session is not encrypted'}",
    )


def _connections(env: Environment, conn: ops.Connection) -> Known | UnknownValue:
    try:
        pool = environments.pool_size(env)
    except Refusal as error:
        return UnknownValue(f"the service's pool is unknown: {error.where}: {error.found}", error.do)
    needed = 2 * pool * len(env.services) + TOOLS_CONNECTIONS
    room = int(_value(conn, ROOM))
    return Known(
        float(room >= needed), f"{room}; {needed} needed: twice {len(env.services)} pools of {pool}, and tools"
    )


def _archive(conn: ops.Connection) -> Facts:
    row = conn.execute(ARCHIVE).fetchone()
    assert row is not None
    mode, last, failing = row
    if mode == "off":
        return {"pitr": Known(0, "archive_mode = off")}
    if failing:
        return {"pitr": Known(0, "the archive fails: pg_stat_archiver")}
    when = f"last {last.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if last else "no segment yet"
    return {"pitr": UnknownValue(f"the log is archived ({when}), but no query tells whether a base backup is kept")}


def _value(conn: ops.Connection, query: str) -> float:
    row = conn.execute(query).fetchone()
    assert row is not None
    return float(row[0])


def _minutes(now: datetime, then: datetime) -> str:
    return f"{(now - then).total_seconds() / 60:,.0f} min"
