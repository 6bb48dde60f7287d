"""Facts of each provider, each with the page that it was read on; docs/providers.md is made of them.

A figure that no page of the vendor's gave is not here: it is listed under `unknown`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from db.environment_plans import ProviderName

NOT_RUN = "not run against AWS: the project's own tests ask moto and botocore's Stubber"
"""Printed wherever AWS is asked, and written into the docs."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A sentence, and the address of the page that says it."""

    text: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """The known facts of a provider, each with the page that says so.

    checked: how `invoke preflight` learns what the server can't say. how_to_know: where the operator reads it.
    own_dump: why a dump of our own, outside the provider, is required; "" where it is not. unknown: what no page gave.
    """

    title: str
    restore: Fact
    pitr: Fact
    recovery_point: Fact | None
    retention: Fact | None
    checked: str
    how_to_know: str
    own_dump: str
    unknown: tuple[str, ...]
    not_run: str


_RDS = "https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide"
_SQL = "https://cloud.google.com/sql/docs/postgres/backup-recovery"
_SUPABASE = "https://supabase.com/docs/guides/platform/backups"
_RENDER = "https://docs.render.com/postgresql-backups"
_POSTGRES = "https://www.postgresql.org/docs/15/continuous-archiving.html"

PROVIDERS: Mapping[ProviderName, Provider] = {
    "rds": Provider(
        title="Amazon RDS",
        restore=Fact(
            "into a new instance, to any time within the retention; the source stays as it is. Security group and"
            " parameter group are the default ones unless they are named: `invoke provider.verify` names the source's",
            f"{_RDS}/USER_PIT.html",
        ),
        pitr=Fact(
            "on while automated backups are: a retention of 0 days turns them off",
            f"{_RDS}/USER_WorkingWithAutomatedBackups.BackupRetention.html",
        ),
        recovery_point=Fact("`LatestRestorableTime`, typically within the last 5 minutes", f"{_RDS}/USER_PIT.html"),
        retention=Fact(
            "0 to 35 days; 1 by default if made by API or CLI, 7 if made in the console",
            f"{_RDS}/USER_WorkingWithAutomatedBackups.BackupRetention.html",
        ),
        checked="boto3: DescribeDBInstances, DescribeDBSnapshots; vCPU and memory by EC2's DescribeInstanceTypes",
        how_to_know="aws rds describe-db-instances --db-instance-identifier {instance}",
        own_dump="",
        unknown=(
            "that db.m6g.large, say, has the vCPU and memory of EC2's m6g.large: preflight takes them by that name",
            "how long a restore takes: `invoke provider.verify` measures it",
        ),
        not_run=NOT_RUN,
    ),
    "cloud-sql": Provider(
        title="Google Cloud SQL",
        restore=Fact(
            "to a point in time: always into a new instance. From a backup: also into an instance that there is, which"
            " restarts",
            f"{_SQL}/restore",
        ),
        pitr=Fact(
            "by archived write-ahead logs; on by default in Enterprise Plus, and in Enterprise if made in the console",
            f"{_SQL}/pitr",
        ),
        recovery_point=Fact(
            "`gcloud sql instances get-latest-recovery-time INSTANCE` prints it; the page gives no figure",
            "https://cloud.google.com/sdk/gcloud/reference/sql/instances/get-latest-recovery-time",
        ),
        retention=Fact(
            "logs are kept for up to seven days (said in 2023, before the editions)",
            "https://cloud.google.com/blog/products/databases/point-in-time-recovery-without-impacting-instance-storage/",
        ),
        checked="by what the operator states; the server itself is asked for the rest",
        how_to_know="gcloud sql instances describe {instance}",
        own_dump="",
        unknown=("the recovery point in minutes", "the retention of Enterprise Plus, on a page about PostgreSQL"),
        not_run="nothing of it was run on Cloud SQL",
    ),
    "supabase": Provider(
        title="Supabase",
        restore=Fact(
            "over the project, which can't be reached meanwhile; on paid plans with physical backups also into a new"
            " project. Daily backups hold no passwords of custom roles: set them again",
            _SUPABASE,
        ),
        pitr=Fact(
            "an add-on of Pro, Team and Enterprise, with at least the Small compute; daily backups end with it",
            _SUPABASE,
        ),
        recovery_point=Fact("2 minutes at worst with PITR; up to 24 hours by daily backups", _SUPABASE),
        retention=Fact("daily backups: 7 days in Pro, 14 in Team, up to 30 in Enterprise", _SUPABASE),
        checked="by what the operator states; the server itself is asked for the rest",
        how_to_know="the project's Dashboard, Database > Backups",
        own_dump="a restore goes over the project, and deleting the project deletes its backups for good",
        unknown=("vCPU and memory by compute size", "how long PITR reaches back"),
        not_run="nothing of it was run on Supabase",
    ),
    "render": Provider(
        title="Render",
        restore=Fact("into a new instance, which the service is then pointed to", _RENDER),
        pitr=Fact("on every paid instance, never on a free one", _RENDER),
        recovery_point=Fact("ten minutes: no later time can be restored", _RENDER),
        retention=Fact("the past 3 days in Hobby workspaces, 7 in Professional or higher", _RENDER),
        checked="by what the operator states; the server itself is asked for the rest",
        how_to_know="the database's page in the Render Dashboard, Info and Recovery",
        own_dump="nothing older than 7 days can be restored, and less than that in a Hobby workspace",
        unknown=("vCPU and memory by instance type", "whether deletion can be forbidden"),
        not_run="nothing of it was run on Render",
    ),
    "plain": Provider(
        title="a server of your own",
        restore=Fact(
            "a base backup into an empty data directory, then the archived log, replayed to the time that you name",
            _POSTGRES,
        ),
        pitr=Fact("by a base backup and every archived segment of the log since; off unless you set it up", _POSTGRES),
        recovery_point=None,
        retention=None,
        checked="settings and archive: the server is asked; machine and backups: by what the operator states",
        how_to_know="the machine itself, and whoever runs its backups",
        own_dump="nobody else takes backups of it",
        unknown=("recovery point and retention: yours to choose (archive_timeout, and how long you keep what)",),
        not_run="the project's tests run on such servers; a restore of a base backup is not among them",
    ),
}
