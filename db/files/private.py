"""Reads the files that a user names, and writes every file of the tools: for their owner alone, whatever the umask.

Files are made with mode 0600 and folders with 0700. A file that stands there with a wider mode is narrowed before it is
written; a folder keeps its mode, and so do devices and pipes. The exceptions are listed in
tests/db/files/test_modes.py: the pointer keeps the mode that its operator gave it, and source files (revisions,
scenarios) get the umask's.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from dotenv import dotenv_values

from db.errors import Refusal
from db.files import paths
from db.files.part_file import part_of
from game import env_file

FILE_MODE = 0o600
FOLDER_MODE = 0o700


def write(path: Path, content: str | bytes) -> None:
    """Write the file, a text in UTF-8. Raises OSError; PermissionError for a file of another user."""
    with opened(path, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)


def opened(path: Path, mode: str) -> IO[Any]:
    """Open the file to write, append or make it (`wb`, `a`, `xb` …); text is UTF-8. Raises OSError as open() does."""
    # Path.open() takes no opener.
    return open(path, mode, encoding=None if "b" in mode else "utf-8", opener=_private)


def make(path: Path) -> None:
    """Make an empty file for a program that writes it: SQLite, say, whose journals get the file's mode.

    Raises FileExistsError if there is one.
    """
    opened(path, "xb").close()


def make_folder(path: Path) -> None:
    """Make the folder and those above it that are missing. One that is there keeps its mode. Raises OSError."""
    # Path.mkdir(parents=True, mode=...) gives its mode to the last folder alone.
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)


def _private(name: str, flags: int) -> int:
    # Emptied once it is narrowed: a file that can't be keeps what it has.
    descriptor = os.open(name, flags & ~os.O_TRUNC, FILE_MODE)
    try:
        _narrow(descriptor)
        if flags & os.O_TRUNC and stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.ftruncate(descriptor, 0)
    except BaseException:  # Ctrl-C too: nobody else knows the descriptor yet.
        os.close(descriptor)
        raise
    return descriptor


def _narrow(descriptor: int) -> None:
    """Take from a file the rights that others have. A device or a pipe stays as it is."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) and stat.S_IMODE(mode) & ~FILE_MODE:
        os.fchmod(descriptor, FILE_MODE)


def variables(path: Path, *, interpolate: bool = True) -> Mapping[str, str | None]:
    """Return what an env file says; nothing if there is none.

    Raises Refusal if it can't be read, and one for all of its lines that set nothing.
    """
    if not os.path.lexists(path):
        return {}
    paths.require_file(path, "an env file", do="Put the file there, or move away what is there.")
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        reason = f"another encoding, from byte {error.start} on"
        raise Refusal("an env file in UTF-8", reason, where=str(path), do="Save it in UTF-8.") from None
    require_well_formed(text, path)
    return dotenv_values(stream=io.StringIO(text), interpolate=interpolate)


def require_well_formed(text: str, path: Path) -> None:
    """Raise one Refusal for all lines of the env file that set nothing; it shows their numbers, never their text."""
    if reason := env_file.malformed(text):
        raise Refusal(env_file.EXPECTED, reason, where=str(path), do=env_file.REMEDY)


def require_writable(path: Path, option: str) -> None:
    """Raise Refusal if a file can't be written there. What stands there is not changed.

    The folder of an absolute path must exist; that of a relative one is made when the file is written (`make_parent`).
    Where there is no file, one is made and removed: permissions, a read-only disk all show, for root too.
    """
    expected = f"a file to write for {option}"
    try:
        paths.require_writable(path, expected)
        real = Path(os.path.realpath(path))  # A link may point to where no file is yet.
        if real.parent.is_dir():
            _try(real)
            _require_own(real, expected)
    except OSError as error:
        reason = (error.strerror or "another fault").lower()
        raise Refusal(expected, reason, where=str(path), do="Nothing was begun. Name another path.") from None


def _require_own(path: Path, expected: str) -> None:
    """Raise Refusal for a file of another user: its mode could not be narrowed, and its owner could read on."""
    if path.is_file() and os.geteuid() not in (0, path.stat().st_uid):
        raise Refusal(
            expected,
            "a file of another user, who could read what is written",
            where=str(path),
            do="Nothing was begun. Name a path where no file is yet.",
        )


def write_whole(path: Path, content: str | bytes, *, like: os.stat_result | None = None) -> None:
    """Write a file that has its name only once it is whole and on the disk; one that stands there is replaced.

    like: gives it this file's mode and owner. Raises OSError that names the file.
    """
    with naming(path), part_of(path) as part:
        with opened(part, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if like is not None:
                os.fchown(file.fileno(), like.st_uid, like.st_gid)
                os.fchmod(file.fileno(), like.st_mode & 0o7777)
        put(part, path)


def put(part: Path, path: Path, *, check: Callable[[], None] | None = None) -> None:
    """Give a file that was made under another name its own, once its bytes are on the disk; then flush the folder.

    check: runs between the two, and may refuse what stands there by now.
    """
    with part.open("rb") as file:
        os.fsync(file.fileno())
    if check is not None:
        check()
    part.replace(path)
    fsync_folder(path.parent)


def replace(path: Path, content: bytes) -> None:
    """Write a file that is there anew; its mode and owner stay, and a link goes on pointing at it."""
    path = path.resolve()
    write_whole(path, content, like=path.stat())


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an OSError of the block name this file. One of a write to an open file (a full disk) names none itself."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def fsync_folder(path: Path) -> None:
    """Have the folder's names on disk, without which a renamed file may be gone after a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_parent(path: Path) -> None:
    """Make the folder of a relative path if it is missing, and say so; call it after every check. Raises OSError."""
    folder = path.parent
    if path.is_absolute() or folder.exists():
        return
    make_folder(folder)
    if sys.stderr is not None:  # The shell closed it (`2>&-`).
        with suppress(OSError):
            sys.stderr.write(f"made the folder {folder}.\n")


def _try(path: Path) -> None:
    """Open the file, or make one and remove it. Raises OSError, for root too: a read-only disk, a name too long."""
    if path.exists():
        if path.is_file():  # To open a pipe would wait for its reader.
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
        return
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    path.unlink()
