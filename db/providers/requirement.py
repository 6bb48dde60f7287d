"""A requirement of a production database as data: its limit, the limit's source, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from db.environment_plans import ProviderName


class RequirementOutcome(StrEnum):
    """The outcome of a requirement: met, stated by the operator, unmet, or unknown."""

    MET = "met"
    STATED = "stated, not checked"
    UNMET = "unmet"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Known:
    """A value that was read somewhere. shown: with its unit, and where it was read."""

    value: float
    shown: str


@dataclass(frozen=True, slots=True)
class UnknownValue:
    """A value that nobody could read: why, in a clause, and what to do to know it; "": where the provider shows it."""

    why: str
    do: str = ""


Facts = Mapping[str, Known | UnknownValue]
"""By the requirement's key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """A requirement: a least value; of what is or is not, 1. key: as in provider.stated. do: for one that is unmet.

    do_on: what to do on one provider. stated: the operator may state it.
    """

    key: str
    name: str
    least: float
    limit: str
    source: str
    do: str
    do_on: Mapping[ProviderName, str]
    stated: bool = True


PLAN = "the deployment plan: managed Postgres of at least 2 vCPU and 4 GB"
SNAPSHOTS = "the deployment plan: snapshots daily at least, point-in-time recovery on"
MODIFY = "aws rds modify-db-instance --db-instance-identifier {instance} --apply-immediately"
SLOW_LOG_MS = 1_000

OWN_DUMP_HOURS = 192
"""A weekly dump, and a day's delay."""

DAILY_HOURS = 26
"""A day, and the time that the snapshot itself takes."""

REQUIREMENTS = (
    Requirement(
        key="vcpus",
        name="vCPU",
        least=2,
        limit="at least 2",
        source=PLAN,
        do="Move to a machine of 2 vCPU or more.",
        do_on={"rds": f"{MODIFY} --db-instance-class CLASS, with one of 2 vCPU or more."},
    ),
    Requirement(
        key="memory_gb",
        name="memory",
        least=4,
        limit="at least 4 GB",
        source=PLAN,
        do="Move to a machine of 4 GB or more.",
        do_on={"rds": f"{MODIFY} --db-instance-class CLASS, with one of 4 GB or more."},
    ),
    Requirement(
        key="daily_snapshot",
        name="daily snapshot",
        least=1,
        limit=f"one of the last {DAILY_HOURS} h",
        source=SNAPSHOTS,
        do="Have the provider take one each day.",
        do_on={
            "rds": f"{MODIFY} --backup-retention-period 7",
            "plain": "Take one each day: invoke snapshot.take --env {env}",
        },
    ),
    Requirement(
        key="pitr",
        name="point-in-time recovery",
        least=1,
        limit="on",
        source=SNAPSHOTS,
        do="Turn it on; with some providers a larger plan is needed: docs/providers.md.",
        do_on={
            "rds": f"{MODIFY} --backup-retention-period 7",
            "plain": "Archive the log (archive_mode, archive_command), and take a base backup.",
        },
    ),
    Requirement(
        key="retention_days",
        name="retention",
        least=7,
        limit="at least 7 days",
        source="a week: a loss that is noticed after a weekend can still be undone",
        do="Keep backups for 7 days or more.",
        do_on={"rds": f"{MODIFY} --backup-retention-period 7"},
    ),
    Requirement(
        key="encrypted",
        name="encryption at rest",
        least=1,
        limit="on",
        source="a disk, or a copy of it, that leaves the provider must not be readable",
        do="Move to an instance whose storage is encrypted.",
        do_on={},
    ),
    Requirement(
        key="deletion_protection",
        name="deletion protection",
        least=1,
        limit="on",
        source="one wrong command must not delete what players own",
        do="Forbid the deletion, where the provider can.",
        do_on={"rds": f"{MODIFY} --deletion-protection"},
    ),
    Requirement(
        key="slow_log",
        name="slow query log",
        least=1,
        limit="on",
        source="the deployment plan: queries watched, slow query log",
        do=f"ALTER SYSTEM SET log_min_duration_statement = {SLOW_LOG_MS}; SELECT pg_reload_conf();",
        do_on=dict.fromkeys(
            ("rds", "cloud-sql", "supabase", "render"),
            f"Set log_min_duration_statement = {SLOW_LOG_MS} among the provider's parameters of the server.",
        ),
        stated=False,
    ),
    Requirement(
        key="tls",
        name="TLS",
        least=1,
        limit="verify-full in target and target_direct",
        source="passwords and players' data travel; without verify-full anybody in between can be the server",
        do="Add sslmode=verify-full and sslrootcert=FILE to the URLs of target and target_direct.",
        do_on={},
        stated=False,
    ),
    Requirement(
        key="connections",
        name="connections",
        least=1,
        limit="twice the service's pools, and those of the tools",
        source="during a restart old and new processes hold their pools at once",
        do="Raise max_connections (a larger instance has more), or lower POOL_SIZE of the service.",
        do_on={},
        stated=False,
    ),
    Requirement(
        key="own_dump",
        name="our own dump outside it",
        least=1,
        limit=f"a verified one of the last {OWN_DUMP_HOURS // 24} days",
        source="the deployment plan: automatic backups, and a weekly pg_dump",
        do="Take one, on a machine that is not the provider's: invoke snapshot.take --env {env}",
        do_on={},
        stated=False,
    ),
)
