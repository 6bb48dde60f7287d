"""What a process has loaded before it serves stays out of every collection of garbage, and collections go on."""

from __future__ import annotations

import secrets
import subprocess
import sys
from pathlib import Path

import game

PROGRAM = """
import gc, os, socket
gc.disable()
from game.service import serving
ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
says, said = os.pipe()
assert serving.serve(*ports, said) == 1, "its standard input is closed, so that it serves nobody"
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
