"""A small disk: it is full when it was filled, and nothing of it stays, however its owner ends."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from db.errors import Refusal
from harness.load import small_disk
from tests.fixtures.small_disk import durable
from tests.fixtures.waiting import until

OWNER = """
import sys
from harness.load import small_disk
with small_disk.durable(megabytes=16) as disk:
    print(disk.folder, flush=True)
    sys.stdin.read()
"""


def test_a_disk_that_was_filled_takes_no_byte_more_until_it_is_freed() -> None:
    with durable(megabytes=16) as disk:
        disk.fill()
        with pytest.raises(OSError, match="No space") as full:
            (disk.folder / "more").write_bytes(bytes(1 << 16))
        assert full.value.errno == errno.ENOSPC
        disk.free()
        (disk.folder / "more").write_bytes(bytes(1 << 16))
    assert not disk.folder.parent.exists()


def test_a_killed_owner_leaves_no_mount_and_no_folder() -> None:
    with durable(megabytes=16):
        """This user may mount one."""
    command = [sys.executable, "-c", OWNER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        assert os.path.ismount(folder)
        owner.kill()
    until(lambda: [str(path) for path in (folder, folder.parent) if path.exists()])
    assert str(folder) not in Path("/proc/self/mounts").read_text()


def test_a_user_who_may_not_mount_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Refusal, match="Run as a user who may mount"), small_disk.durable(megabytes=16):
        pass
