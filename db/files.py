"""Files that a user names: read, or checked to be writable, with one line where that fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dotenv import dotenv_values

from db import paths
from db.errors import Refusal
from db.part_file import part_of


def variables(path: Path, *, interpolate: bool = True) -> Mapping[str, str | None]:
    """Return what an env file says; nothing if there is none. Raises Refusal if it can't be read."""
    if not os.path.lexists(path):
        return {}
    paths.require_file(path, "an env file", do="Put the file there, or move away what is there.")
    try:
        return dotenv_values(path, interpolate=interpolate, encoding="utf-8")
    except UnicodeDecodeError as error:
        found = f"another encoding, from byte {error.start} on"
        raise Refusal("an env file in UTF-8", found, where=str(path), do="Save it in UTF-8.") from None


def require_writable(path: Path, option: str) -> None:
    """Raise Refusal if a file can't be written there. What stands there is not changed.

    Makes the folder of a relative path, and says so; the folder of an absolute path must exist. Where there is no
    file, one is made and removed: permissions, a read-only disk, a name that is too long all show, for root too.
    """
    expected = f"a file to write for {option}"
    try:
        if not path.is_absolute():
            _make_folder(path.parent)
        paths.require_writable(path, expected)
        _try(Path(os.path.realpath(path)))  # A link may point to where no file is yet.
    except OSError as error:
        found = (error.strerror or "another fault").lower()
        raise Refusal(expected, found, where=str(path), do="Nothing was begun. Name another.") from None


def replace(path: Path, content: bytes) -> None:
    """Write a file that is there anew, in one rename; its mode and owner stay, and a link goes on pointing at it."""
    path = path.resolve()
    was = path.stat()
    with part_of(path) as part:
        with part.open("wb") as file:
            file.write(content)
            os.fchown(file.fileno(), was.st_uid, was.st_gid)
            os.fchmod(file.fileno(), was.st_mode & 0o7777)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    fsync_folder(path.parent)


def fsync_folder(path: Path) -> None:
    """Have the folder's names on disk, without which a renamed file may be gone after a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_folder(folder: Path) -> None:
    if folder.exists():
        return
    folder.mkdir(parents=True)
    if sys.stderr is not None:  # The shell closed it (`2>&-`).
        with suppress(OSError):
            sys.stderr.write(f"made the folder {folder}\n")


def _try(path: Path) -> None:
    """Open the file, or make one and remove it. Raises OSError, for root too: a read-only disk, a name too long."""
    if path.exists():
        if path.is_file():  # To open a pipe would wait for its reader.
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
        return
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    path.unlink()
