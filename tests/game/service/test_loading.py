"""What a process has loaded before it serves stays out of every collection of garbage, and collections go on.

Beside others it loads on a thread that comes after them, and the process itself keeps its priority.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import game
from game.service import child
from game.service.process import LOADED

PROGRAM = """
import gc, os, socket
gc.disable()
from game.service import serving
ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
says, said = os.pipe()
serve = serving.load(*ports, said, warm=False)
assert serve() == 1, "its standard input is closed, so that it serves nobody"
print(os.read(says, 1), gc.isenabled(), gc.get_freeze_count() > len(gc.get_objects()))
"""


def settings(folder: Path) -> dict[str, str]:
    """Return the environment of a service whose legacy file is not there yet."""
    return {
        "PYTHONPATH": str(Path(game.__file__).parent.parent),
        "DATABASE_URL": f"sqlite:///{folder / 'game.sqlite'}",
        "CHANCE_SECRET": secrets.token_urlsafe(16),
        "TOKEN_SECRET": secrets.token_urlsafe(16),
    }


def test_what_is_loaded_is_left_out_of_collections_and_they_go_on(tmp_path: Path) -> None:
    variables = settings(tmp_path)
    command = [sys.executable, "-c", PROGRAM]
    ran = subprocess.run(command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert ran.stdout.split() == ["b'L'", "True", "True"], ran.stderr


def test_a_process_loads_whose_supervisor_is_of_a_version_that_shared_no_digests(tmp_path: Path) -> None:
    """A deploy exchanges the files below a supervisor, which then starts new processes as it always did."""
    variables = settings(tmp_path)
    message, says = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as public, socket.create_server(("127.0.0.1", 0)) as private:
        given = [public.fileno(), private.fileno(), says]
        command = [sys.executable, "-m", "game.service.child", *map(str, given), "0"]
        ran = subprocess.run(
            command,
            env=variables,
            stdin=subprocess.DEVNULL,
            pass_fds=given,
            capture_output=True,
            text=True,
            check=False,
        )
    os.close(says)
    assert (os.read(message, 1), ran.returncode) == (LOADED, 1), ran.stderr
    os.close(message)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_a_process_loads_behind_others_on_a_thread_whose_priority_is_its_own() -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    had, seen = priority(), []

    def load() -> None:
        seen.append(priority())

    assert child.behind_others(load) is None
    assert seen == [min(19, had + child.NICENESS)]
    assert priority() == had
