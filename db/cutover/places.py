"""Checks that a move can write the pointer, the hooks' lock, the run's folder, the snapshots and the legacy file.

Each check asks the system (access) and writes nothing.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from db import service_file
from db.cutover import hooks
from db.cutover.context import RunContext
from db.errors import Refusal
from db.remedies import AS_THE_SERVICE
from game import paths

RUN_BYTES = 16_000_000
"""Space for a run's journal and report; a journal keeps 4,000 characters of each hook's output."""


def existing(path: Path) -> Path:
    """Return the path, or its nearest parent that exists."""
    return path if path.exists() else existing(path.parent)


def check_pointer(context: RunContext) -> None:
    """Check that a rename can replace the pointer and keep its owner, and the hooks' lock can be held."""
    service_file.values(context.env.pointer.path)
    path = context.env.pointer.path.resolve()
    _require_writable(path.parent, "the folder of the pointer", path.parent, AS_THE_SERVICE)
    was, root = path.stat(), os.geteuid() == 0
    if not root and was.st_uid != os.geteuid():
        raise Refusal(
            "a pointer that this user owns, to replace it",
            f"one of user {was.st_uid}",
            where=str(path),
            do=f"Run as that user: sudo -u '#{was.st_uid}' COMMAND",
        )
    if not root and was.st_gid not in (os.getegid(), *os.getgroups()):
        raise Refusal(
            "a pointer of a group that this user is in",
            f"one of group {was.st_gid}",
            where=str(path),
            do=f"Run in that group, or give the file this user's: chgrp {os.getegid()} {shlex.quote(str(path))}",
        )
    lock = hooks.lock_path(context.env)
    if lock.exists() and (lock.is_dir() or not os.access(lock, os.W_OK)):
        raise hooks.no_place(lock, "one that can't be written")


def check_run_folder(context: RunContext) -> None:
    """Check that the run's folder can be made, with room for its journal."""
    folder = context.config.folder.absolute()
    _require_writable(
        existing(folder), "the folder of the runs", folder, "Run from a checkout in which this user may write."
    )
    if (free := shutil.disk_usage(existing(folder)).free) < RUN_BYTES:
        raise Refusal(
            f"{RUN_BYTES / 1e6:.0f} MB free for the run's journal",
            f"{free / 1e6:.1f} MB",
            where=str(folder),
            do="Make room on the disk of that folder.",
        )


def check_snapshots(context: RunContext) -> None:
    """Check that the folder of snapshots can be made or written."""
    folder = context.env.snapshots.folder.absolute()
    _require_writable(
        existing(folder),
        "the folder of snapshots",
        folder,
        f"Name another in {context.env.files_read.file_of('snapshots.folder')} (snapshots.folder), or allow this user"
        " to write there.",
    )


def check_legacy(context: RunContext) -> None:
    """Check that the legacy file can be fenced: SQLite writes into it and beside it."""
    path = context.env.legacy.path.resolve()
    _require_writable(path.parent, "the folder of the legacy file", path.parent, AS_THE_SERVICE)
    if not os.access(path, os.W_OK):
        raise Refusal(
            "a legacy file that this user may write",
            "one that it may not",
            where=str(path),
            do=AS_THE_SERVICE,
        )


def _require_writable(folder: Path, what: str, wanted: Path, do: str) -> None:
    if not folder.is_dir():
        raise Refusal(
            f"{what}, to write into",
            paths.describe_folder(folder),
            where=str(wanted),
            do="Move that file away: a folder goes there.",
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        fault = f"{folder}, which this user may not write"
        raise Refusal(f"{what}, to write into", fault, where=str(wanted), do=do)
