"""Proves that RDS restores: snapshot, wait, a new instance in the source's network, count against the source, delete.

Never run against AWS by the project's own tests: they ask moto, and botocore's Stubber.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import psycopg

from db import ops
from db.console.progress import Progress, Silent
from db.environments import Environment
from db.errors import Failure, Inconclusive, Refusal
from db.files.alone import alone
from db.providers import aws as asking
from db.providers import leftovers, rds
from db.providers.aws import Aws, NotFound, Unanswered, asked
from db.providers.leftovers import FOLDER, POLL_SECONDS, Clock, RestoreNames
from db.providers.rds import Instance
from db.providers.table import NOT_RUN
from db.snapshots import postgres
from game.tables import JOURNALS
from game.urls import PostgresUrl

T = TypeVar("T")

MOST_MINUTES = 120
SAY_SECONDS = 120.0
AVAILABLE = "available"
FAILED_SNAPSHOT = frozenset({"failed"})
FAILED_INSTANCE = frozenset(
    {
        *("failed", "restore-error", "incompatible-restore", "incompatible-network", "incompatible-parameters"),
        *("incompatible-option-group", "inaccessible-encryption-credentials", "storage-full", "deleting"),
    }
)
GROWING = frozenset(table.name for table in JOURNALS)
"""Tables whose rows are never changed and never deleted."""


def at_instance(env: Environment, made: Instance) -> PostgresUrl:
    """Return the owner's URL of the same database on the restored instance."""
    return env.target_direct.with_(host=made.host, port=made.port)


@dataclass(frozen=True, slots=True)
class VerifyConfig:
    """The clock of a run, the folder of its notes, and the way to the restored database."""

    clock: Clock = field(default_factory=Clock)
    folder: Path = FOLDER
    progress: Progress = field(default_factory=Silent)
    url: Callable[[Environment, Instance], PostgresUrl] = at_instance
    minutes: int = MOST_MINUTES


@dataclass(frozen=True, slots=True)
class Restored:
    """The result of a restore. faults: tables whose counts disagree. recovery_point_minutes: None: AWS named none."""

    environment: str
    instance: str
    counts: Mapping[str, int]
    faults: tuple[str, ...]
    recovery_point_minutes: float | None
    snapshot_minutes: float
    restore_minutes: float
    minutes: float
    deleted: tuple[str, ...]
    not_run: str = NOT_RUN

    @property
    def verdict(self) -> str:
        """pass, or fail for a table whose counts disagree."""
        return "fail" if self.faults else "pass"


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The instances and snapshots of earlier runs that were deleted."""

    environment: str
    deleted: tuple[str, ...]
    verdict: str = "pass"


@dataclass(frozen=True, slots=True)
class _Counts:
    identity: str
    rows: Mapping[str, int]


def clean(env: Environment, config: VerifyConfig) -> Cleaned:
    """Delete whatever bears the mark and tag of this environment, whichever machine's run left it.

    Raises Inconclusive where AWS does not answer, or refuses.
    """
    aws = _connect(env)
    with _alone(env, config.folder):
        try:
            left = [*filter(None, [leftovers.noted(env, config.folder)]), *leftovers.marked(env, aws)]
            deleted = leftovers.delete(env, aws, dict.fromkeys(left), config.clock)
        except Unanswered as error:
            raise _left(env, error) from error
        leftovers.forget(env, config.folder)
        return Cleaned(env.name, tuple(deleted))


def run(env: Environment, config: VerifyConfig) -> Restored:
    """Restore the instance's newest state into a new instance, count it, and delete what was made, however it ends.

    First deletes what a dead run of this machine left. Raises Refusal where the provider is not rds; Failure where AWS
    says that it failed; Inconclusive where it does not end in time, or AWS does not answer.
    """
    aws = _connect(env)
    with _alone(env, config.folder):
        try:
            _clear(env, aws, config)
            source = rds.instance(aws, env.provider.instance)
        except Unanswered as error:
            raise _left(env, error) from error
        made = leftovers.names(env)
        leftovers.note(env, made, config.folder)
        try:
            restored = _restore(env, aws, source, made, config)
        except BaseException:  # Ctrl-C too: what was made costs money until it is deleted.
            _undo(env, aws, config)
            raise
        return _finish(env, aws, restored, config)


def _restore(env: Environment, aws: Aws, source: Instance, made: RestoreNames, config: VerifyConfig) -> Restored:
    began = config.clock.now()
    say = config.progress.say
    recovery = (datetime.now(UTC) - source.latest_restorable).total_seconds() / 60 if source.latest_restorable else None
    before = _count(env.target_direct)
    say(f"snapshot {made.snapshot} of {source.name}")
    _answered(
        lambda: aws.rds.create_db_snapshot(
            DBInstanceIdentifier=source.name, DBSnapshotIdentifier=made.snapshot, Tags=leftovers.tags(env)
        )
    )
    _wait("the snapshot", lambda: _snapshot_status(aws, made.snapshot), FAILED_SNAPSHOT, began, config)
    after, snapped = _count(env.target_direct), config.clock.now()
    say(f"restore into the new instance {made.instance}")
    _answered(lambda: aws.rds.restore_db_instance_from_db_snapshot(**_asked_for(env, source, made)))
    _wait("the instance", lambda: rds.instance(aws, made.instance).status, FAILED_INSTANCE, began, config)
    instance = _answered_instance(aws, made.instance)
    _require_same_groups(source, instance)
    url = config.url(env, instance)
    say(f"count at {url.redacted}")
    counted, ended = _count_restored(url), config.clock.now()
    return Restored(
        environment=env.name,
        instance=source.name,
        counts=counted.rows,
        faults=tuple(_faults(before, counted, after)),
        recovery_point_minutes=recovery,
        snapshot_minutes=(snapped - began) / 60,
        restore_minutes=(ended - snapped) / 60,
        minutes=(ended - began) / 60,
        deleted=(),
    )


def _asked_for(env: Environment, source: Instance, made: RestoreNames) -> dict[str, object]:
    """Return what RDS needs to put the new instance where the source is; without, it takes its default groups."""
    groups = {
        "DBSubnetGroupName": source.subnet_group,
        "VpcSecurityGroupIds": list(source.security_groups),
        "DBParameterGroupName": next(iter(source.parameter_groups), ""),
    }
    return {
        "DBInstanceIdentifier": made.instance,
        "DBSnapshotIdentifier": made.snapshot,
        "DBInstanceClass": source.kind,
        "PubliclyAccessible": source.public,
        "MultiAZ": False,
        "DeletionProtection": False,
        "BackupRetentionPeriod": 0,  # Else RDS begins a backup of it at once.
        "Tags": leftovers.tags(env),
        **{key: value for key, value in groups.items() if value},
    }


def _wait(what: str, status: Callable[[], str], failed: frozenset[str], began: float, config: VerifyConfig) -> None:
    """Ask for the status until it is available. Raises Failure for one of the failed ones, Inconclusive in the end."""
    shown, shown_at = "", began
    while True:
        now = _answered(status)
        if now == AVAILABLE:
            return
        if now in failed:
            raise Failure(
                f"{what} to become available", f"the status {now}", do="Look at the events of RDS, then run it again."
            )
        minutes = (config.clock.now() - began) / 60
        if minutes > config.minutes:
            raise Inconclusive(
                f"{what} to become available in {config.minutes} minutes",
                f"the status {now}",
                do="Run it again with more --minutes, or look at the events of RDS.",
            )
        if now != shown or config.clock.now() - shown_at > SAY_SECONDS:
            config.progress.say(f"{what} is {now}, after {minutes:.0f} min")
            shown, shown_at = now, config.clock.now()
        config.clock.sleep(POLL_SECONDS)


def _count(url: PostgresUrl) -> _Counts:
    with ops.connect(url, application="sudamr provider.verify") as conn, conn.transaction():
        conn.execute("set transaction isolation level repeatable read, read only")
        return _Counts(ops.identity(conn), postgres.count(conn, url.schema))


def _count_restored(url: PostgresUrl) -> _Counts:
    try:
        return _count(url)
    except (Refusal, psycopg.Error) as error:
        why = error.found if isinstance(error, Refusal) else " ".join(str(error).split())
        raise Inconclusive(
            "to count the rows of the restored instance",
            why,
            where=url.redacted,
            do="Run it where the environment's own database can be reached, in its network.",
        ) from error


def _faults(before: _Counts, restored: _Counts, after: _Counts) -> list[str]:
    """Return where the restored rows can't be those of an instant between the two counts of the source.

    Players play meanwhile, so a table that also shrinks is only compared where no receipt was written in between.
    """
    faults = [] if restored.identity == before.identity else ["it is not this database: another identity"]
    quiet = before.rows.get("action_receipts") == after.rows.get("action_receipts")
    for table in sorted({*before.rows, *restored.rows}):
        low, count, high = (counts.rows.get(table, -1) for counts in (before, restored, after))
        if quiet or table in GROWING:
            if not min(low, high) <= count <= max(low, high):
                faults.append(f"{table}: {count:,} rows, of {low:,} to {high:,}")
        elif count < 0 or (count == 0 and low and high):
            faults.append(f"{table}: {max(count, 0):,} rows, of {low:,} and {high:,}")
    return faults


def _require_same_groups(source: Instance, made: Instance) -> None:
    for what in ("subnet_group", "security_groups", "parameter_groups"):
        if getattr(source, what) != getattr(made, what):
            raise Failure(
                f"the source's {what.replace('_', ' ')}: {getattr(source, what)}",
                f"{getattr(made, what)}",
                where=made.name,
                do="Look at the events of RDS, then run it again.",
            )


def _snapshot_status(aws: Aws, name: str) -> str:
    return rds.snapshot(aws, name).status


def _answered_instance(aws: Aws, name: str) -> Instance:
    return _answered(lambda: rds.instance(aws, name))


def _answered(call: Callable[[], T]) -> T:
    """Return AWS's answer. Raises Inconclusive without one."""
    try:
        return asked(call)
    except Unanswered as error:
        raise Inconclusive(
            "an answer of AWS", str(error), do="Look if it can be reached and lets you, then run it again."
        ) from error


def _clear(env: Environment, aws: Aws, config: VerifyConfig) -> None:
    """Delete what an earlier run left at AWS, if one left something."""
    left = leftovers.noted(env, config.folder)
    if left is not None:
        config.progress.say("delete what an earlier run left")
        leftovers.delete(env, aws, [left], config.clock)
        leftovers.forget(env, config.folder)


def _undo(env: Environment, aws: Aws, config: VerifyConfig) -> None:
    """Ask for the deletion of what was made, and wait no longer. The note stays: the next run looks if it is gone."""
    left = leftovers.noted(env, config.folder)
    try:
        deleted = leftovers.delete(env, aws, filter(None, [left]), None)
    except Unanswered as error:
        config.progress.say(str(_left(env, error)))
    else:
        config.progress.say(f"being deleted: {', '.join(deleted) or 'nothing, for nothing was made'}")


def _finish(env: Environment, aws: Aws, restored: Restored, config: VerifyConfig) -> Restored:
    made = leftovers.noted(env, config.folder)
    assert made is not None, "noted before it was made"
    try:
        deleted = leftovers.delete(env, aws, [made], config.clock)
    except Unanswered as error:
        raise _left(env, error) from error
    leftovers.forget(env, config.folder)
    return replace(restored, deleted=tuple(deleted))


def _left(env: Environment, error: Unanswered) -> Inconclusive:
    """Return the verdict when AWS did not answer: the instance is unknown, or what was made may still be there."""
    if isinstance(error, NotFound):
        return Inconclusive(
            f"the instance {env.provider.instance}",
            str(error),
            do="Correct instance and region, as the console of RDS shows them.",
        )
    return Inconclusive(
        "AWS to delete what was made",
        str(error),
        do=f"It costs money while it lives. Delete it: invoke provider.verify --env {env.name} --clean",
    )


def _connect(env: Environment) -> Aws:
    if env.provider.name != "rds":
        raise Refusal(
            "the provider rds, whose restores can be asked for from here",
            env.provider.name,
            where=f"{env.files_read.file_of('provider')} [{env.name}.provider]",
            do="Restore by hand as docs/providers.md says; for a dump of our own: invoke snapshot.verify --env"
            f" {env.name} --path FOLDER",
        )
    return asking.connect(env)


def _alone(env: Environment, folder: Path) -> AbstractContextManager[None]:
    """Lock the environment, so that one restore runs at a time."""
    return alone(
        folder / f"{env.name}.lock",
        f"restore of {env.name}",
        do="Wait for it, or end it with Ctrl-C: it deletes what it made.",
    )
