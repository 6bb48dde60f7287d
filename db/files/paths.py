"""Checks the paths that options and settings name, before anything opens them. Each raises Refusal.

A pipe or a device is no file to read from: opening one waits for ever, or reads it only once.
"""

from __future__ import annotations

import os
from pathlib import Path

from db.errors import Refusal
from game import paths
from game.legacy import sidecars

MOST_NAME_BYTES = 200
"""Linux allows 255. The file is made under a longer name first."""


def require_file(path: Path, expected: str, *, do: str, where: str = "") -> None:
    """Raise Refusal unless a file is there which this user may read; it may be empty. do: for a path that is wrong."""
    description = paths.describe(path)
    if description in (paths.FILE, paths.EMPTY):
        return
    remedy = "Allow this user to read it." if description == paths.UNREADABLE else do
    raise Refusal(expected, description, where=where or str(path), do=remedy)


def require_folder(path: Path, expected: str, *, do: str) -> None:
    """Raise Refusal unless a folder is there which this user may list and enter."""
    description = paths.describe(path)
    if description == paths.FOLDER and not paths.may(path, os.R_OK | os.X_OK):
        description, do = "a folder that this user may not read", "Allow this user to read it."
    elif description == paths.FOLDER:
        return
    raise Refusal(expected, description.replace(paths.NOTHING, "no such folder"), where=str(path), do=do)


def require_new(path: Path, *, beside: tuple[str, ...] = sidecars.SUFFIXES) -> None:
    """Raise Refusal if a file can't be made at the path, or something is there, or at the names beside it."""
    require_parent(path, "a folder to write into")
    _require_short(path)
    for name in (path, *(path.with_name(path.name + suffix) for suffix in beside)):
        if os.path.lexists(name):
            description = paths.describe(name)
            raise Refusal(
                "a name that is free",
                description,
                where=str(name),
                do="Name another path, or move away what is there; nothing is overwritten.",
            )


def require_writable(path: Path, expected: str) -> None:
    """Raise Refusal unless a file can be written at the path, new or replaced. Devices and pipes will do."""
    description = paths.describe(path)
    if paths.may(path, os.F_OK):
        if description == paths.FOLDER:
            raise Refusal(
                expected, description, where=str(path), do="Nothing was begun. Name a file in it, or another path."
            )
        if not paths.may(path, os.W_OK):
            found = "a file that this user may not write"
            raise Refusal(
                expected,
                found,
                where=str(path),
                do="Nothing was begun. Allow this user to write it, or name another path.",
            )
        return
    if description.startswith(paths.DANGLING):
        path = Path(os.path.realpath(path))
    elif not paths.is_missing(description):
        raise Refusal(expected, description, where=str(path), do="Nothing was begun. Name another path.")
    require_parent(path, expected)
    _require_short(path)


def _require_short(path: Path) -> None:
    if len(os.fsencode(path.name)) > MOST_NAME_BYTES:
        raise Refusal(
            f"the name of a file in {MOST_NAME_BYTES} bytes or fewer",
            "a name that is too long",
            where=str(path),
            do="Nothing was begun. Name a shorter one.",
        )


def require_parent(path: Path, expected: str) -> None:
    """Raise Refusal unless a file can be made in the path's folder.

    The folder of a relative path may be missing: `private.make_parent` makes it.
    """
    parent = path.parent if path.is_absolute() else _nearest(path.parent)
    if paths.describe(parent) != paths.FOLDER:
        raise Refusal(
            expected,
            paths.describe_folder(parent),
            where=str(path),
            do="Nothing was begun. Make the folder, or name another path.",
        )
    if not paths.may(parent, os.W_OK | os.X_OK):
        raise Refusal(
            expected,
            f"a folder {parent} that this user may not write into",
            where=str(path),
            do="Nothing was begun. Name another path, or allow this user to write there.",
        )


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest above it that is there; also one whose name no folder can have."""
    is_possible = len(os.fsencode(folder.name)) <= MOST_NAME_BYTES
    if is_possible and folder != folder.parent and paths.is_missing(paths.describe(folder)):
        return _nearest(folder.parent)
    return folder
