"""Files that get their name once they are whole: made beside it as `.NAME.….part`, and removed if that fails.

A part that a killed process left is removed by the next one that makes a file of the same name. A living process holds
a lock on its part, which the kernel drops when it ends.
"""

from __future__ import annotations

import fcntl
import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from game.legacy import sidecars

SUFFIX = ".part"
TOKEN_DIGITS = 8


@contextmanager
def part_of(path: Path) -> Iterator[Path]:
    """Make an empty file beside `path`, to be filled and renamed to it. Removes it when the block is left.

    Raises OSError if no file can be made there.
    """
    _remove_left(path)
    descriptor, part = _locked_part(path)
    try:
        yield part
    finally:
        _remove(part)
        os.close(descriptor)


def _locked_part(path: Path) -> tuple[int, Path]:
    while True:
        part = path.with_name(f".{path.name}.{secrets.token_hex(TOKEN_DIGITS // 2)}{SUFFIX}")
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if part.exists():  # Between the two calls above another process may have taken it for one that was left.
            return descriptor, part
        os.close(descriptor)


def _remove_left(path: Path) -> None:
    for left in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * TOKEN_DIGITS}{SUFFIX}"):
        with suppress(OSError):  # It is another process's, or another user's.
            descriptor = os.open(left, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(left)
            finally:
                os.close(descriptor)


def _remove(part: Path) -> None:
    for path in (part, *sidecars.beside(part)):
        path.unlink(missing_ok=True)
