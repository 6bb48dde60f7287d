"""Whose account a server runs under, and where its files may lie. Postgres refuses to run as root."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from db.errors import Refusal

LASTING = Path("/var/tmp")  # noqa: S108  # what is made in it has mode 0700
MEMORY = Path("/dev/shm")  # noqa: S108  # a tmpfs where there is one: a throwaway server writes no disk

MEMORY_BYTES = 3 << 30
"""Free in memory for a game of 200 MB, its indexes and a gigabyte of WAL; containers often have a /dev/shm of 64 MB."""

DISK_BYTES = 256 << 20
"""Free elsewhere: a server, its templates and a few dozen clones."""


@dataclass(frozen=True)
class UnixUser:
    """An account that exists already: none is ever made."""

    name: str
    uid: int
    gid: int


def lesser(names: Sequence[str] = ("postgres", "nobody")) -> UnixUser | None:
    """Return the account to drop to if this is root; None otherwise: a server then runs as oneself.

    Raises Refusal if root finds none of the names.
    """
    if os.geteuid() != 0:
        return None
    for name in names:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return UnixUser(name, entry.pw_uid, entry.pw_gid)
    raise Refusal(f"an account to run Postgres under, out of {', '.join(names)}", "none", do="Run as an ordinary user.")


def scratch(*, programs: bool = False) -> Path:
    """Return the folder under which a server's folder is made: in memory where that has room, else the temporary one.

    programs: one that files can be executed from. Raises Refusal if none has room.
    """
    temporary, lasting = Path(tempfile.gettempdir()), LASTING
    for base, room in ((MEMORY, MEMORY_BYTES), (temporary, DISK_BYTES), (lasting, DISK_BYTES)):
        if _usable(base, programs) and shutil.disk_usage(base).free >= room:
            return base
    raise Refusal(
        f"a folder with {DISK_BYTES >> 20} MB free",
        f"none out of {MEMORY}, {temporary}, {lasting}",
        do="Name one with TMPDIR, one that every account may enter.",
    )


def _usable(base: Path, programs: bool) -> bool:
    """Return True if this process may write to the folder, and other accounts may enter it."""
    if not base.is_dir() or not os.access(base, os.W_OK | os.X_OK):
        return False
    if programs and os.statvfs(base).f_flag & getattr(os, "ST_NOEXEC", 0):
        return False
    return os.geteuid() != 0 or all(
        folder.stat().st_mode & stat.S_IXOTH for folder in (base.resolve(), *base.resolve().parents)
    )
