"""Files that a user names: read, or checked to be writable, with one line where that fails."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from db.errors import Refusal


def variables(path: Path, *, interpolate: bool = True) -> Mapping[str, str | None]:
    """Return what an env file says; nothing if there is none. Raises Refusal if it can't be read."""
    try:
        if path.is_dir():
            raise IsADirectoryError
        return dotenv_values(path, interpolate=interpolate, encoding="utf-8")
    except OSError as error:
        raise unreadable("an env file", path, error) from None
    except UnicodeDecodeError:
        raise Refusal("an env file in UTF-8", "another encoding", where=str(path), do="Save it in UTF-8.") from None


def unreadable(expected: str, path: Path, error: OSError) -> Refusal:
    """Return the refusal of a file that can't be read, with what helps."""
    folder = isinstance(error, IsADirectoryError)
    return Refusal(
        expected, "a folder" if folder else f"one that can't be read ({(error.strerror or 'unknown').lower()})",
        where=str(path),
        do="Put the file in its place." if folder else "Run as a user who may read it, or correct its permissions.",
    )  # fmt: skip


def require_writable(path: Path, option: str) -> None:
    """Raise Refusal if a file can't be written there. What stands there is not changed.

    Makes the folder of a relative path; the folder of an absolute path must exist. Where there is no file, one is
    made and removed: permissions, a read-only disk, a name that is too long all show, for root too.
    """
    try:
        if not path.is_absolute():
            path.parent.mkdir(parents=True, exist_ok=True)
        _try(Path(os.path.realpath(path)))  # A link may point to where no file is yet.
    except OSError as error:
        raise Refusal(
            f"a file to write for {option}", _fault(error), where=str(path), do="Nothing was begun. Name another."
        ) from None


def _fault(error: OSError) -> str:
    match error:
        case IsADirectoryError():
            return "a folder"
        case FileNotFoundError():
            return "no such folder"
        case PermissionError():
            return "one that may not be written"
    return (error.strerror or "another fault").lower()


def _try(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError
    if path.exists() and not path.is_file():  # A pipe or a device: to open it would wait for its reader.
        if not os.access(path, os.W_OK):
            raise PermissionError(None, "Permission denied")
        return
    if path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
        return
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    path.unlink()
