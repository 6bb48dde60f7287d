"""No standard stream ends a task otherwise than its work does: closed, broken, full, or of another encoding."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SECRET = "s3cret-of-the-tests"
TASK = f"""
import os, sys
from db.console.output import outcome
from db.cutover.ending import RunEnding
from db.errors import Failure
from db.processes.interruption import Signals

with Signals() as signals, outcome(sys.argv[2] or None) as speaks:
    speaks.at_end = lambda word, _todo="": RunEnding(word, "players play ✓", "fences", "command")
    speaks.signals = signals
    assert os.open(os.devnull, os.O_RDONLY) > 2, "nothing that is opened takes the number of a standard stream"
    speaks.progress.say("going ✓ 한글")
    if sys.argv[1] == "defect":
        raise RuntimeError("postgresql://owner:{SECRET}@host/db")
    if sys.argv[1] == "failure":
        raise Failure("a thing", "password={SECRET}", where="postgresql://owner:{SECRET}@host/db")
    signals.hold("It is ending.", "")
    os.kill(os.getpid(), 15)
    speaks.table("result", ("what", "found"), [("✓", "한글")] * 9)
    speaks.end("live")
    speaks.json({{"long": "한" * 200_000}})
"""
CODES = {"done": 0, "failure": 1, "defect": 1}
STREAMS = ("<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", "| head -c 1", "2>&1 | true")


@pytest.mark.parametrize(
    ("how", "to", "streams"),
    [*product(["done"], ["", "-"], STREAMS), *product(["failure", "defect"], ["-"], ["2>&-", "2>/dev/full"])],
)
def test_a_stream_that_takes_nothing_changes_no_exit_code(how: str, to: str, streams: str, tmp_path: Path) -> None:
    assert _code(tmp_path, how, to, streams) == CODES[how]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp949"])
def test_an_encoding_without_our_letters_changes_no_exit_code(encoding: str, tmp_path: Path) -> None:
    assert _code(tmp_path, "done", "", "", PYTHONIOENCODING=encoding) == 0


@pytest.mark.parametrize("how", ["defect", "failure"])
def test_no_secret_is_printed_or_written(how: str, tmp_path: Path) -> None:
    output = tmp_path / "said"
    into = tmp_path / "found.json"

    assert _code(tmp_path, how, str(into), f"> {output} 2>&1") == 1

    assert "expected a thing" in output.read_text() or "RuntimeError" in output.read_text()
    assert SECRET not in output.read_text() + into.read_text()
    assert json.loads(into.read_text())["verdict"] == "failed"


def _code(folder: Path, how: str, to: str, streams: str, **environ: str) -> int:
    """The exit code of a task whose streams the shell has turned so."""
    task, code = folder / "task.py", folder / "code"
    task.write_text(TASK)
    command = shlex.join([sys.executable, str(task), how, to])
    turned, pipe, command_after_pipe = streams.partition("| ")
    subprocess.run(
        ["/bin/bash", "-c", f"{{ {command} {turned}; echo $? >{code}; }} {pipe}{command_after_pipe}"],
        check=False,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
    )
    return int(code.read_text())
