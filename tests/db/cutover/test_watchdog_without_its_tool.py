"""A watchdog whose tool is gone before it is ready ends without a word: nothing has begun that it could settle."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from db.cutover.watchdog import Guarded
from db.environments import child_variables
from game.legacy.fence_schema import Owner

GUARDED = pickle.dumps(Guarded(cast(Any, None), Path(), Owner("run", "store")))


@pytest.mark.parametrize("heard", [b"", GUARDED[:-1], GUARDED], ids=["nothing", "a part", "all"])
def test_a_watchdog_that_its_tool_did_not_wait_for_ends_in_silence(heard: bytes) -> None:
    read, write = os.pipe()
    os.close(read)  # As the tool's end is once it has died.
    command = [sys.executable, "-m", "db.cutover.watchdog"]
    try:
        ran = subprocess.run(
            command, input=heard, stdout=write, stderr=subprocess.PIPE, env=child_variables(), check=False
        )
    finally:
        os.close(write)
    assert (ran.returncode, ran.stderr) == (0, b"")
