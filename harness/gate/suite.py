"""Every scenario in every way, in a pytest of its own; pytest-reportlog's lines are read while the run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from db import environments
from db.console.progress import Progress
from db.errors import Failure
from db.files import private
from db.processes import children
from db.servers import needed_secrets
from db.servers.vitals import Lost, lost
from game.redaction import redact
from harness.gate.report import Item
from harness.gate.report_log import ReportLog

TIMEOUT_SECONDS = 1800
LOOK_SECONDS = 0.25
SWEEPS = ("--faults=gate", "--races=gate")
WORKERS = min(8, 2 * (os.cpu_count() or 1))
"""Two for each core: an item waits for Postgres and for its children about as long as it works."""

ITS_OWN = {"PYTEST_ADDOPTS": "", "PYTEST_PLUGINS": ""}
"""Options that somebody set for runs of their own would narrow this one."""

RAN = frozenset({0, 1, 5})
"""pytest's exit codes where it ran what there is: all passed, some failed, there was none."""


def run(
    root: Path,
    postgres: str | None,
    progress: Progress,
    count: int,
    *,
    sweeps: Sequence[str] = SWEEPS,
    workers: int = WORKERS,
) -> tuple[Item, ...]:
    """Run the scenarios under `root`; a broken file is an item that failed. count: of the items, for the progress bar.

    Raises LostSuite, with the items until then, if the server, the machine or pytest itself was lost.
    """
    with tempfile.TemporaryDirectory(prefix="sudamr-gate-") as folder:
        report, log = Path(folder) / "report.jsonl", Path(folder) / "pytest.log"
        private.make(report)  # pytest-reportlog would make it with the umask's mode.
        command = [
            sys.executable,
            "-m",
            "pytest",
            "scenarios",
            "-q",
            "-n",
            str(workers),
            "--dist",
            "worksteal",
            "-p",
            "no:cacheprovider",
            "-p",
            "harness.pytest_plugin.losses",
            f"--report-log={report}",
            "--report-log-exclude-logs-on-passed-tests",
            *sweeps,
        ]
        command += [f"--postgres={postgres}"] if postgres else []
        with private.opened(log, "wb") as log_file:
            pytest = children.started(
                command,
                cwd=root,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                env=environments.child_variables(ITS_OWN, secrets=needed_secrets(postgres)),
            )
            # After Ctrl-C too the bar is closed: one that stays is drawn again below the last line.
            with progress.bar("scenarios", count, "items") as advance, _terminated_as_interrupted(), pytest as process:
                watched = ReportLog(report, advance)
                _wait(process, watched)
        if cause := watched.lost or _not_run(process.returncode, watched.items, log):
            raise LostSuite(lost(cause), tuple(watched.items))
        return tuple(watched.items)


class LostSuite(Lost):
    """The suite could not be run to its end. items: what had ended by then."""

    def __init__(self, error: Lost, items: tuple[Item, ...]) -> None:
        super().__init__(error.expected, error.found, do=error.do)
        self.items = items


def _not_run(code: int | None, items: Sequence[Item], log: Path) -> str:
    """Return why pytest did not run what there is; empty if it did."""
    if code is not None and code < 0:
        return f"the pytest that runs the scenarios was ended by {signal.Signals(-code).name}"
    # pytest ends with 1 where a test failed, and also where the plugin could start no server.
    if code not in RAN or (code == 1 and not items):
        return f"the pytest that runs the scenarios ended with exit code {code}: {redact(_last(log))}"
    return ""


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C within the block, so that what we started ends with us."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait(process: subprocess.Popen[bytes], watched: ReportLog) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while process.poll() is None and not watched.lost:
        if time.monotonic() > deadline:
            raise Failure(f"the scenarios within {TIMEOUT_SECONDS} s", "no end", where="the gate's suite")
        try:
            process.wait(LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            watched.look()
    watched.look()


def _last(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return " / ".join(lines[-3:]) or "no output"
