"""The identity of a legacy file. No copy of the file has the same one, wherever it lies.

It is the path without links, the number of the file system and the file's inode there. A copy beside it has another
path; one that is renamed into its place, or that lies where a volume is not mounted, has another inode or file system.
The path belongs to it, because SQLite keeps the log beside a name: a second hard link is another store. The number is
statvfs's, which most file systems keep for as long as they exist; stat's device may change with each start of the
machine. Nothing is written into the file: a copy would share it, and the schema is the game's own.
"""

from __future__ import annotations

import os
from pathlib import Path

from game.errors import StoreUnavailable


def of(path: Path) -> str:
    """Return the file's identity. Costs three system calls. Raises StoreUnavailable if it can't be reached."""
    try:
        resolved = path.resolve(strict=True)
        return f"legacy:{resolved}#{os.statvfs(resolved).f_fsid:x}.{resolved.stat().st_ino:x}"
    except (OSError, RuntimeError) as error:  # RuntimeError: links that go round, before Python 3.13.
        raise StoreUnavailable(f"the legacy file: {error}") from error
