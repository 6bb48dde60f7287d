"""Records which lines of some files each test runs, in its own process and in the Pythons that it starts.

Python loads this file at its start, before anything else, where its folder is on PYTHONPATH; the file must therefore
load nothing of the project. A line is written the first time that a process runs it in a test, at once: a process that
is killed has said what it ran. It makes Python some two times slower.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

FILES = "AUDIT_TRACED_FILES"
FOLDER = "AUDIT_TRACED_INTO"
TEST = "AUDIT_TRACED_TEST"

_Trace = Callable[[FrameType, str, Any], Any]


class Recorder:
    """Writes `test TAB file TAB line` into a file of this process; the test is the one that the environment names."""

    def __init__(self, folder: str, files: frozenset[str]) -> None:
        self._folder, self._files = folder, files
        self._seen: set[tuple[str, int]] = set()
        self._test = os.environ.get(TEST, "")
        self._descriptor = -1
        self._process = 0

    def begin(self, test: str) -> None:
        """Count from now on for this test, here and in the processes that start from now on."""
        os.environ[TEST] = self._test = test
        self._seen.clear()

    def start(self) -> None:
        """Trace this thread and the threads that start from now on."""
        threading.settrace(self.called)
        sys.settrace(self.called)

    def called(self, frame: FrameType, event: str, _argument: Any) -> _Trace | None:
        """Trace the lines of the files alone."""
        return self._line if event == "call" and frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, _argument: Any) -> _Trace:
        place = (frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and place not in self._seen:
            self._seen.add(place)
            if self._test:
                self._write(f"{self._test}\t{place[0]}\t{place[1]}\n")
        return self._line

    def _write(self, line: str) -> None:
        if self._process != os.getpid():  # A fork has a file of its own.
            self._process = os.getpid()
            name = os.path.join(self._folder, f"{self._process}.lines")  # noqa: PTH118  # pathlib would be loaded
            self._descriptor = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(self._descriptor, line.encode("utf-8", "surrogatepass"))


RECORDER: Recorder | None = None
if FOLDER in os.environ:
    RECORDER = Recorder(os.environ[FOLDER], frozenset(os.environ[FILES].split(os.pathsep)))
    RECORDER.start()
