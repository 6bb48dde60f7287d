"""Ctrl-C reaches all processes of a terminal: no worker takes it, nor does the first, which Python starts otherwise."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

STARTS = """
import psutil
from harness.bench.workers import WorkerPool

if __name__ == "__main__":
    with WorkerPool(2):
        for child in psutil.Process().children():
            if "spawn_main" in " ".join(child.cmdline()):
                print(next(line for line in open(f"/proc/{child.pid}/status") if line.startswith("SigBlk")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which signals a process has blocked")
def test_no_worker_takes_ctrl_c(tmp_path: Path) -> None:
    script = tmp_path / "starts.py"
    script.write_text(STARTS)
    done = subprocess.run([sys.executable, script], check=True, capture_output=True, text=True)
    blocked = [int(line.split()[1], 16) for line in done.stdout.split("\n") if line]
    assert len(blocked) == 2
    assert all(mask & 1 << signal.SIGINT - 1 for mask in blocked)
