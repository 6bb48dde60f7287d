"""Checks of the backups: the age of the newest one that was verified, and of the last restore of one."""

from __future__ import annotations

from datetime import datetime

from db.errors import Refusal
from db.monitor.check import Check, Limit, Measured, NotJudged
from db.monitor.look import Look
from db.snapshots import manifest
from db.snapshots.manifest import Side, Snapshot

NEVER_HOURS = 24.0 * 365


def backup(look: Look) -> Measured:
    """Measure the hours since the newest snapshot of Postgres was taken; NEVER_HOURS if there is none.

    Raises NotApplicable unless players play on this Postgres, and NotJudged if the folder of snapshots can't be read.
    """
    look.require_live()
    newest = _snapshots(look)[-1:]
    if not newest:
        return Measured(NEVER_HOURS, f"none in {look.env.snapshots.folder}")
    return _age(look, datetime.fromisoformat(newest[0].manifest.taken_at), newest[0].folder.name)


def restored(look: Look) -> Measured:
    """Measure the hours since a snapshot was last restored in a scratch database and counted."""
    look.require_live()
    notes = [(note.at, each.folder.name) for each in _snapshots(look) if (note := manifest.note(each)) is not None]
    if not notes:
        return Measured(NEVER_HOURS, f"none of those in {look.env.snapshots.folder}")
    at, name = max(notes)
    return _age(look, datetime.fromisoformat(at), name)


def _snapshots(look: Look) -> list[Snapshot]:
    folder = look.env.snapshots.folder
    try:
        return manifest.find(folder, look.env.name, side=Side.TARGET) if folder.is_dir() else []
    except (Refusal, OSError) as error:
        raise NotJudged(f"the folder of snapshots can't be read: {' '.join(str(error).split())}") from error


def _age(look: Look, at: datetime, name: str) -> Measured:
    return Measured((look.at - at).total_seconds() / 3600, f"{name}, {at:%Y-%m-%d %H:%M} UTC")


CHECKS = (
    Check(
        name="age of the backup",
        limit=Limit(192, "h", "the deployment plan: a weekly pg_dump, and a day's delay"),
        measure=backup,
        defect="a newest snapshot of nine days ago",
        not_judged="the folder of snapshots can't be read",
        do="invoke upkeep --env {env}",
    ),
    Check(
        name="age of the last restore",
        limit=Limit(192, "h", "an untested backup may be of no use; each weekly one is restored and counted"),
        measure=restored,
        defect="snapshots of which none was restored for nine days",
        not_judged="the folder of snapshots can't be read",
        do="invoke upkeep --env {env}",
    ),
)
