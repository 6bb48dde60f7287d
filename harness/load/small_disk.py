"""A small disk, mounted for a test or a measurement, which can be filled and freed again."""

from __future__ import annotations

import errno
import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from db import environments
from db.errors import Failure, Refusal
from db.files import private
from db.servers.reaper_client import ReaperClient
from game.redaction import redact

BALLAST = "ballast"
NAME = "sudamr-small-disk"


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A mounted disk. folder: its mount point."""

    folder: Path

    def fill(self, *, but_for: int = 0) -> None:
        """Fill the disk, except for `but_for` bytes. Others may write meanwhile."""
        with private.opened(self.folder / BALLAST, "ab") as opened:
            for size in (1 << 20, 1 << 12):
                while self._free_bytes - but_for >= size:
                    try:
                        os.write(opened.fileno(), bytes(size))
                    except OSError as error:
                        if error.errno != errno.ENOSPC:
                            raise
                        break

    def free(self) -> None:
        """Give back what `fill` took."""
        (self.folder / BALLAST).unlink(missing_ok=True)

    @property
    def _free_bytes(self) -> int:
        stat = os.statvfs(self.folder)
        return stat.f_bavail * stat.f_frsize


@contextmanager
def durable(*, megabytes: int) -> Iterator[SmallDisk]:
    """Mount a disk that is a file in the temporary folder, so that an fsync costs what it costs there.

    Nothing of it is left, however this process ends. Raises Refusal where this user may not mount.
    """
    made = Path(tempfile.gettempdir(), f"{NAME}-{secrets.token_hex(6)}")
    image, folder = made / "image", made / "mounted"
    with closing(ReaperClient()) as reaper:
        reaper.folder(made)
        reaper.mount(folder)
        private.make_folder(folder)
        try:
            with private.opened(image, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, megabytes << 20)
            # Run by the reaper, so that no mount can begin after the reaper has unmounted.
            for command in (
                ["mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image)],
                ["mount", "-t", "ext4", "-o", "loop", str(image), str(folder)],
            ):
                reaper.run(command, account=None, env=environments.child_variables(), log=made / "log")
        except (OSError, Failure) as error:
            raise _refusal(str(error)) from error
        yield SmallDisk(folder)


@contextmanager
def mounted(folder: Path, *, megabytes: int, mode: str = "0755") -> Iterator[SmallDisk]:
    """Make the folder, and mount a disk in memory on it. Raises Refusal where this user may not mount."""
    private.make_folder(folder)
    _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode={mode}", NAME, str(folder))
    try:
        yield SmallDisk(folder)
    finally:
        _run("umount", "--lazy", str(folder))


def _run(*command: str) -> None:
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, env=environments.child_variables(), timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _refusal(str(getattr(error, "stderr", None) or error)) from error


def _refusal(reason: str) -> Refusal:
    do = "Run as a user who may mount, such as root, on a machine with mkfs.ext4 and mount."
    return Refusal("a small disk", redact(" ".join(reason.split())), do=do)
