"""Describes what is found at a path, for messages."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

NOTHING = "no such file"
NO_FOLDER = "no folder"
DANGLING = "a link to"
FOLDER = "a folder"
FILE = "a file"
EMPTY = "an empty file"
UNREADABLE = "a file that this user may not read"

_KINDS = {
    stat.S_IFDIR: FOLDER,
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_FAULTS = {
    errno.EACCES: "a folder above it that this user may not enter",
    errno.ELOOP: "links that lead in a circle",
    errno.ENAMETOOLONG: "a name that is too long for a file",
    errno.ENOTDIR: "a file where a folder of the path should be",
}


def may(path: Path, mode: int) -> bool:
    """Return True if this process may read, write or enter (os.R_OK and the like) what is at the path."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def describe(path: Path) -> str:
    """Say in a few words what is at the path, following links; FILE for a readable file that holds anything."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return _missing(path)
    except OSError as error:
        return _FAULTS.get(error.errno or 0, error.strerror or type(error).__name__)
    except ValueError:  # A null character, which a setting's text can hold.
        return "a character that no path can have"
    if not stat.S_ISREG(status.st_mode):
        return _KINDS[stat.S_IFMT(status.st_mode)]
    if not may(path, os.R_OK):
        return UNREADABLE
    return FILE if status.st_size else EMPTY


def describe_folder(path: Path) -> str:
    """Say the same of a path where a folder should be, and name the folder."""
    text = describe(path)
    if text == NOTHING:
        return f"{NO_FOLDER} {path}"
    return text if text.startswith(NO_FOLDER) else f"{text} at {path}"


def is_missing(text: str) -> bool:
    """Return True if the text, of this module, says that nothing is there, or no folder that would hold it."""
    return text == NOTHING or text.startswith(NO_FOLDER)


def _missing(path: Path) -> str:
    if path.is_symlink():
        return f"{DANGLING} {path.readlink()}, where nothing is"
    if not path.parent.exists():
        return f"{NO_FOLDER} {path.parent}"
    return NOTHING
