"""Every scenario in every way, in a pytest of its own; what each item found is read while the run goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from db import environments
from db.console.progress import Advance, Progress
from db.errors import Failure
from db.files import private
from db.processes import children
from db.servers import needed_secrets
from db.servers.vitals import Lost, lost
from game.redaction import redact
from harness.gate.report import Item

TIMEOUT_SECONDS = 1800
LOOK_SECONDS = 0.25
SWEEPS = ("--faults=gate", "--races=gate")
WORKERS = 2
ITS_OWN = {"PYTEST_ADDOPTS": "", "PYTEST_PLUGINS": ""}
"""What somebody set for runs of their own would narrow this one."""

RAN = frozenset({0, 1, 5})
"""pytest's exit codes where it ran what there is: all passed, some failed, there was none."""


def run(
    root: Path, postgres: str | None, progress: Progress, *, sweeps: Sequence[str] = SWEEPS, workers: int = WORKERS
) -> tuple[Item, ...]:
    """Run the scenarios under `root`; a broken file is an item that failed.

    Raises LostSuite, with the items until then, if the server, the machine or pytest itself was lost.
    """
    with tempfile.TemporaryDirectory(prefix="sudamr-gate-") as folder:
        events, log = Path(folder) / "events.jsonl", Path(folder) / "pytest.log"
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
            "harness.pytest_plugin.events",
            f"--events={events}",
            *sweeps,
        ]
        command += [f"--postgres={postgres}"] if postgres else []
        with private.opened(log, "wb") as log_file:
            pytest = children.started(
                command,
                cwd=root,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                env=environments.beside(ITS_OWN, secrets=needed_secrets(postgres)),
            )
            with _terminated_as_interrupted(), Watched(events, progress) as watched, pytest as process:
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


class Watched:
    """The lines that a run writes, read as they come; a bar as soon as it is known how many there are."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self.items: list[Item] = []
        self.lost = ""
        self._path = path
        self._progress = progress
        self._read = 0
        self._bar = ExitStack()
        self._advance: Advance = lambda _more: None

    def look(self) -> None:
        """Read what has been written since."""
        for line in self._lines():
            if "lost" in line:
                self.lost = line["lost"]
            if self.lost:  # What ends after it failed for the loss, or passed without the server.
                return
            if "collected" in line:
                self._advance = self._bar.enter_context(self._progress.bar("scenarios", line["collected"], "items"))
            elif line["verdict"] != "skipped":
                self.items.append(_item(line))
                self._advance(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_cause: object) -> None:
        # After Ctrl-C too: a bar that stays is drawn again below the last line.
        self._bar.close()

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Yield the lines that were written since and are whole: the last may be half written."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            yield json.loads(line)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C within the block, so that what we started ends with us."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait(process: subprocess.Popen[bytes], watched: Watched) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while process.poll() is None and not watched.lost:
        if time.monotonic() > deadline:
            raise Failure(f"the scenarios within {TIMEOUT_SECONDS} s", "no end", where="the gate's suite")
        try:
            process.wait(LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            watched.look()
    watched.look()


def _item(line: dict[str, Any]) -> Item:
    file, _, way = str(line["item"]).partition("::")
    return Item(
        file=file,
        way=way or "collection",
        passed=line["verdict"] == "passed",
        seconds=float(line["seconds"]),
        found=redact(str(line["found"])),
        sweep=line.get("sweep") or {},
    )


def _last(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return " / ".join(lines[-3:]) or "no output"
