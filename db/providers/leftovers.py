"""Instances and snapshots that `invoke provider.verify` makes on RDS: their mark, the note of them, their deletion.

What bears not both the mark in its name and the environment's tag is never touched. The note is written before AWS is
asked to make anything, so what a run leaves that is killed anywhere is found by the next.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from db.environments import Environment
from db.errors import Refusal
from db.files import json_files, private
from db.providers import rds
from db.providers.aws import Aws, NotFound, Unanswered, asked

FOLDER = Path("var") / "provider"
MARK = "sudamr-verify-"
TAG = "sudamr-verify"
Described = TypeVar("Described", rds.Instance, rds.DbSnapshot)
GONE_SECONDS, POLL_SECONDS = 1_800.0, 15.0


@dataclass(frozen=True, slots=True)
class RestoreNames:
    """The names of a run's snapshot and of its instance."""

    snapshot: str
    instance: str


@dataclass(frozen=True, slots=True)
class Clock:
    """The source of the time; tests replace it."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def names(env: Environment) -> RestoreNames:
    """Return two new names with the mark."""
    name = f"{MARK}{env.name}-{secrets.token_hex(4)}"
    return RestoreNames(name, name)


def tags(env: Environment) -> list[dict[str, str]]:
    """Return the tag of what is made for an environment, as AWS takes it."""
    return [{"Key": TAG, "Value": env.name}]


def is_ours(env: Environment, name: str, tagged: Mapping[str, str]) -> bool:
    """Return True if it bears the mark and the tag of this environment, and is not the one that players play on."""
    return name.startswith(f"{MARK}{env.name}-") and tagged.get(TAG) == env.name and name != env.provider.instance


def note(env: Environment, made: RestoreNames, folder: Path) -> None:
    """Write the names down, before anything of that name is made."""
    private.make_folder(folder)
    private.write_whole(_path(env, folder), json.dumps({"snapshot": made.snapshot, "instance": made.instance}).encode())


def noted(env: Environment, folder: Path) -> RestoreNames | None:
    """Return what a run on this machine left; None if it left nothing. Raises Refusal for a note that is none."""
    path = _path(env, folder)
    if not path.exists():
        return None
    do = f"Remove the file, then run: invoke provider.verify --env {env.name} --clean"
    read = json_files.read_json(
        path,
        "the names that a restore noted",
        do=do,
        most_bytes=json_files.MOST_BYTES_OF_A_NOTE,
    )
    fields = read if isinstance(read, dict) else {}
    made = RestoreNames(str(fields.get("snapshot")), str(fields.get("instance")))
    if not (made.snapshot.startswith(MARK) and made.instance.startswith(MARK)):
        raise Refusal(f"names that begin with {MARK}", json_files.shown(str(read)), where=str(path), do=do)
    return made


def forget(env: Environment, folder: Path) -> None:
    """Remove the note: all of it is deleted."""
    _path(env, folder).unlink(missing_ok=True)


def marked(env: Environment, aws: Aws) -> list[RestoreNames]:
    """Return all that bears the mark and tag of this environment, whichever machine made it. Raises Unanswered."""
    instances = [each.name for each in rds.instances(aws) if is_ours(env, each.name, each.tags)]
    snapshots = [each.name for each in rds.snapshots(aws, SnapshotType="manual") if is_ours(env, each.name, each.tags)]
    return [RestoreNames(name, name) for name in sorted({*instances, *snapshots})]


def delete(env: Environment, aws: Aws, made: Iterable[RestoreNames], clock: Clock | None) -> list[str]:
    """Delete what is there of it, and wait until AWS no longer lists it. Return the names that were deleted.

    clock: None: only ask for the deletion. Raises Unanswered where AWS refuses, or still lists one after GONE_SECONDS.
    """
    deleted = []
    for each in made:
        if _delete_instance(env, aws, each.instance):
            deleted.append(f"instance {each.instance}")
        if _delete_snapshot(env, aws, each.snapshot):
            deleted.append(f"snapshot {each.snapshot}")
        if clock is not None:
            _wait_until_gone(aws, each, clock)
    return deleted


def _own(
    env: Environment, aws: Aws, name: str, read: Callable[[Aws, str], Described], kind: str = ""
) -> Described | None:
    """Return what AWS says of an instance or a snapshot of ours; None if it is gone. Raises Unanswered if not ours."""
    try:
        described = read(aws, name)
    except NotFound:
        return None
    if not is_ours(env, name, described.tags):
        raise Unanswered(f"{kind}{name} bears no mark and tag of {env.name}, so it was left alone")
    return described


def _delete_instance(env: Environment, aws: Aws, name: str) -> bool:
    described = _own(env, aws, name, rds.instance)
    if described is None:
        return False
    if described.status == "deleting":
        return True
    if described.deletion_protection:  # Of the source's, where AWS did not take ours.
        asked(
            lambda: aws.rds.modify_db_instance(
                DBInstanceIdentifier=name, DeletionProtection=False, ApplyImmediately=True
            )
        )
    asked(
        lambda: aws.rds.delete_db_instance(
            DBInstanceIdentifier=name, SkipFinalSnapshot=True, DeleteAutomatedBackups=True
        )
    )
    return True


def _delete_snapshot(env: Environment, aws: Aws, name: str) -> bool:
    if _own(env, aws, name, rds.snapshot, "the snapshot ") is None:
        return False
    asked(lambda: aws.rds.delete_db_snapshot(DBSnapshotIdentifier=name))
    return True


def _wait_until_gone(aws: Aws, made: RestoreNames, clock: Clock) -> None:
    began = clock.now()
    while _is_there(aws, made.instance):
        if clock.now() - began > GONE_SECONDS:
            raise Unanswered(f"the instance {made.instance} is still being deleted")
        clock.sleep(POLL_SECONDS)


def _is_there(aws: Aws, name: str) -> bool:
    try:
        rds.instance(aws, name)
    except NotFound:
        return False
    return True


def _path(env: Environment, folder: Path) -> Path:
    return folder / f"{env.name}.json"
