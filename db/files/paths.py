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
    """Check that a file is there which this user may read; it may be empty. do: for a path that is wrong."""
    description = paths.describe(path)
    if description in (paths.FILE, paths.EMPTY):
        return
    remedy = "Allow this user to read it." if description == paths.UNREADABLE else do
    raise Refusal(expected, description, where=where or str(path), do=remedy)


def require_folder(path: Path, expected: str, *, do: str) -> None:
    """Check that a folder is there which this user may list and enter."""
    description = paths.describe(path)
    if description == paths.FOLDER and not paths.may(path, os.R_OK | os.X_OK):
        description, do = "a folder that this user may not read", "Allow this user to read it."
    elif description == paths.FOLDER:
        return
    raise Refusal(expected, description.replace(paths.NOTHING, "no such folder"), where=str(path), do=do)


def require_new(path: Path, *, beside: tuple[str, ...] = sidecars.SUFFIXES) -> None:
    """Check that a file can be made at the path, and that nothing is there, nor at the names beside it."""
    _require_parent(path, "a folder that exists, to write into")
    if len(os.fsencode(path.name)) > MOST_NAME_BYTES:
        raise Refusal(
            f"the name of a file in {MOST_NAME_BYTES} bytes or fewer",
            "a name that is too long",
            where=str(path),
            do="Nothing was begun. Name a shorter one.",
        )
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
    """Check that a file can be written at the path: a new one, or one that is replaced. Devices and pipes will do."""
    description = paths.describe(path)
    if paths.may(path, os.F_OK):
        if description == paths.FOLDER:
            raise Refusal(
                expected, description, where=str(path), do="Nothing was begun. Name a file in it, or another path."
            )
        if not paths.may(path, os.W_OK):
            raise Refusal(
                expected, "a file that this user may not write", where=str(path), do="Nothing was begun. Name another."
            )
        return
    if description != paths.NOTHING and not description.startswith(("a link to", "no folder")):
        raise Refusal(expected, description, where=str(path), do="Nothing was begun. Name another.")
    _require_parent(Path(os.path.realpath(path)), expected)


def _require_parent(path: Path, expected: str) -> None:
    parent = path.parent
    description = paths.describe(parent)
    if description != paths.FOLDER:
        description = f"no folder {parent}" if description == paths.NOTHING else f"{description} at {parent}"
        raise Refusal(
            expected, description, where=str(path), do="Nothing was begun. Make the folder, or name another path."
        )
    if not paths.may(parent, os.W_OK | os.X_OK):
        raise Refusal(
            expected,
            f"a folder {parent} that this user may not write into",
            where=str(path),
            do="Nothing was begun. Name another path, or allow this user to write there.",
        )
