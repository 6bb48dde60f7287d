"""What a process has loaded before it serves stays out of every collection of garbage, and collections go on.

Beside others it loads on a thread that comes after them, and the process itself keeps its priority.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import game
from game.service import child

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


def test_what_is_loaded_is_left_out_of_collections_and_they_go_on(tmp_path: Path) -> None:
    variables = {
        "PYTHONPATH": str(Path(game.__file__).parent.parent),
        "DATABASE_URL": f"sqlite:///{tmp_path / 'game.sqlite'}",
        "CHANCE_SECRET": secrets.token_urlsafe(16),
        "TOKEN_SECRET": secrets.token_urlsafe(16),
    }
    command = [sys.executable, "-c", PROGRAM]
    ran = subprocess.run(command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert ran.stdout.split() == ["b'L'", "True", "True"], ran.stderr


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
